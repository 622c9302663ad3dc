//! The registry's lines of this room.

use super::resnet50::Form;
use super::vgg_cifar::Ghost;
use super::{Config, resnet_cifar, resnet50, vgg_cifar};
use crate::network::NetworkConfig;
use crate::zoo::{Accuracy, Entry};

const PAPER: &str = "arXiv 1911.11907";

/// All variants.
pub fn entries() -> Vec<Entry> {
    let ghostnet = |name, width, accuracy| {
        Entry::new(name, "ghostnet", move || NetworkConfig::GhostNet(Config::new(width))).accuracy(accuracy)
    };
    let resnet50 = |name, form, ratio| {
        Entry::new(name, "ghostnet", move || NetworkConfig::GhostResNet50(resnet50::Config::new(form, ratio)))
    };
    let vgg = |name, ghost| {
        Entry::new(name, "ghostnet", move || NetworkConfig::VggCifar(vgg_cifar::Config::new(ghost))).cifar()
    };
    let imagenet = |top1, top5| Accuracy::new(top1, top5, PAPER);
    vec![
        ghostnet("ghostnet_050", 0.5, imagenet(66.2, 86.6)),
        ghostnet("ghostnet_100", 1.0, Accuracy::new(73.98, 91.46, "authors' release (state_dict_73.98.pth)")),
        ghostnet("ghostnet_130", 1.3, imagenet(75.7, 92.7)),
        resnet50("ghost_resnet50_s2", Form::Paper, 2).accuracy(imagenet(75.0, 92.3)),
        resnet50("ghost_resnet50_s4", Form::Paper, 4).accuracy(imagenet(74.1, 91.9)),
        resnet50("ghost_resnet50_s2_released", Form::Released, 2),
        resnet50("ghost_resnet50_s4_released", Form::Released, 4),
        Entry::new("ghost_resnet56_cifar", "ghostnet", || {
            NetworkConfig::GhostResNetCifar(resnet_cifar::Config::new(9))
        })
        .cifar(),
        vgg("ghost_vgg16_cifar", Some(Ghost { ratio: 2, cheap_kernel: 3 })),
        vgg("vgg16_cifar", None),
    ]
}
