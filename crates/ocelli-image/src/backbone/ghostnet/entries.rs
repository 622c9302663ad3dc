//! The registry's lines of this room.

use super::resnet50::Form;
use super::vgg_cifar::Ghost;
use super::{Config, g_ghost, resnet_cifar, resnet50, vgg_cifar};
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
    let regnet = |name, layers, widths, group_width| {
        Entry::new(name, "ghostnet", move || {
            NetworkConfig::GGhost(g_ghost::Config::regnet(layers, widths, group_width))
        })
    };
    let released = |top1| Accuracy::top1(top1, "authors' release");
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
        regnet("g_ghost_regnetx_002", [1, 1, 4, 7], [24, 56, 152, 368], 8),
        regnet("g_ghost_regnetx_004", [1, 2, 7, 12], [32, 64, 160, 384], 16),
        regnet("g_ghost_regnetx_006", [1, 3, 5, 7], [48, 96, 240, 528], 24),
        regnet("g_ghost_regnetx_008", [1, 3, 7, 5], [64, 128, 288, 672], 16),
        regnet("g_ghost_regnetx_016", [2, 4, 10, 2], [72, 168, 408, 912], 24),
        regnet("g_ghost_regnetx_032", [2, 6, 15, 2], [96, 192, 432, 1008], 48).accuracy(released(77.8)),
        regnet("g_ghost_regnetx_040", [2, 5, 14, 2], [80, 240, 560, 1360], 40).accuracy(released(78.6)),
        regnet("g_ghost_regnetx_064", [2, 4, 10, 1], [168, 392, 784, 1624], 56),
        regnet("g_ghost_regnetx_080", [2, 5, 15, 1], [80, 240, 720, 1920], 120).accuracy(released(79.0)),
        regnet("g_ghost_regnetx_120", [2, 5, 11, 1], [224, 448, 896, 2240], 112),
        regnet("g_ghost_regnetx_160", [2, 6, 13, 1], [256, 512, 896, 2048], 128).accuracy(released(79.9)),
        regnet("g_ghost_regnetx_320", [2, 7, 13, 1], [336, 672, 1344, 2520], 168),
        Entry::new("g_ghost_resnet50", "ghostnet", || {
            NetworkConfig::GGhost(g_ghost::Config::resnet([3, 4, 6, 3]))
        }),
        Entry::new("g_ghost_resnet101", "ghostnet", || {
            NetworkConfig::GGhost(g_ghost::Config::resnet([3, 4, 23, 3]))
        }),
    ]
}
