//! The registry's lines of this room.

use ocelli_nn::{ConvKind, MaskSharing, Versatile};

use super::{vgg, vgg_cifar};
use crate::backbone::resnet::{self, Block};
use crate::network::NetworkConfig;
use crate::zoo::{Accuracy, Entry};

const SYSTEM: &str = "versatile_filters";

/// All variants.
pub fn entries() -> Vec<Entry> {
    let vgg = |name, depth: vgg::Depth, batch_norm| {
        Entry::new(name, SYSTEM, move || NetworkConfig::VersatileVgg(vgg::Config::new(depth, batch_norm)))
    };
    let resnet = |name, block, layers, versatile| {
        Entry::new(name, SYSTEM, move || {
            NetworkConfig::ResNet(resnet::Config::new(block, layers).with_versatile(versatile))
        })
    };
    let mask = |name, ratio, sharing| {
        let mut entry = Entry::new(name, SYSTEM, move || {
            NetworkConfig::VersatileVggCifar(vgg_cifar::Config::new(ConvKind::Mask { ratio, sharing }))
        })
        .input_size(32);
        // Whole pictures, but with ImageNet's mean and deviation, as the authors' script has it.
        entry.crop_pct = 1.0;
        entry
    };
    let (v1, v2) = (Versatile::V1, Versatile::V2);
    let (basic, bottleneck) = (Block::Basic, Block::Bottleneck);
    vec![
        vgg("versatile_vgg11", vgg::Depth::Vgg11, false),
        vgg("versatile_vgg11_bn", vgg::Depth::Vgg11, true),
        vgg("versatile_vgg13", vgg::Depth::Vgg13, false),
        vgg("versatile_vgg13_bn", vgg::Depth::Vgg13, true),
        vgg("versatile_vgg16", vgg::Depth::Vgg16, false).accuracy(Accuracy::new(
            72.2,
            91.1,
            "authors' repository",
        )),
        vgg("versatile_vgg16_bn", vgg::Depth::Vgg16, true),
        vgg("versatile_vgg19", vgg::Depth::Vgg19, false),
        vgg("versatile_vgg19_bn", vgg::Depth::Vgg19, true),
        resnet("versatile_resnet18_v1", basic, [2, 2, 2, 2], v1),
        resnet("versatile_resnet18_v2", basic, [2, 2, 2, 2], v2),
        resnet("versatile_resnet34_v1", basic, [3, 4, 6, 3], v1),
        resnet("versatile_resnet34_v2", basic, [3, 4, 6, 3], v2),
        resnet("versatile_resnet50_v1", bottleneck, [3, 4, 6, 3], v1),
        resnet("versatile_resnet50_v2", bottleneck, [3, 4, 6, 3], v2).accuracy(Accuracy::new(
            74.5,
            91.8,
            "arXiv 2106.02898, table 4",
        )),
        resnet("versatile_resnet101_v1", bottleneck, [3, 4, 23, 3], v1),
        resnet("versatile_resnet101_v2", bottleneck, [3, 4, 23, 3], v2),
        mask("mask_vgg16_cifar_s4_shared", 4, MaskSharing::Shared),
        mask("mask_vgg16_cifar_s4", 4, MaskSharing::Separate),
        mask("mask_vgg16_cifar_s64", 64, MaskSharing::Separate),
    ]
}
