//! The registry's lines of this room.

use super::{Block, Config, SeConfig, Stem, cifar};
use crate::network::NetworkConfig;
use crate::zoo::{Accuracy, Entry};

/// torchvision's original weights (`IMAGENET1K_V1`), single crop 224.
const TORCHVISION: &str = "torchvision IMAGENET1K_V1";

/// All variants.
pub fn entries() -> Vec<Entry> {
    let plain = |name, block, layers, top1, top5| {
        Entry::new(name, "resnet", move || NetworkConfig::ResNet(Config::new(block, layers)))
            .accuracy(Accuracy::new(top1, top5, TORCHVISION))
    };
    let other = |name: &'static str, config: Config| {
        Entry::new(name, "senet", move || NetworkConfig::ResNet(config.clone()))
    };
    let small = |name, system, blocks, reduction: Option<usize>| {
        Entry::new(name, system, move || {
            let se = reduction.map(SeConfig::paper);
            NetworkConfig::ResNetCifar(cifar::Config { se, ..cifar::Config::new(blocks) })
        })
        .cifar()
    };
    vec![
        plain("resnet18", Block::Basic, [2, 2, 2, 2], 69.758, 89.078),
        plain("resnet34", Block::Basic, [3, 4, 6, 3], 73.314, 91.420),
        plain("resnet50", Block::Bottleneck, [3, 4, 6, 3], 76.130, 92.862),
        plain("resnet101", Block::Bottleneck, [3, 4, 23, 3], 77.374, 93.546),
        plain("resnet152", Block::Bottleneck, [3, 8, 36, 3], 78.312, 94.046),
        Entry::new("resnext50_32x4d", "resnet", || {
            NetworkConfig::ResNet(Config::new(Block::Bottleneck, [3, 4, 6, 3]).with_groups(32, 4))
        })
        .accuracy(Accuracy::new(77.618, 93.698, TORCHVISION)),
        other("seresnet18", Config::new(Block::Basic, [2, 2, 2, 2]).with_se()),
        other("seresnet34", Config::new(Block::Basic, [3, 4, 6, 3]).with_se()),
        other("seresnet50", Config::new(Block::Bottleneck, [3, 4, 6, 3]).with_se()),
        other("seresnet101", Config::new(Block::Bottleneck, [3, 4, 23, 3]).with_se()),
        other("seresnet152", Config::new(Block::Bottleneck, [3, 8, 36, 3]).with_se()),
        other("seresnext50_32x4d", Config::new(Block::Bottleneck, [3, 4, 6, 3]).with_groups(32, 4).with_se()),
        other(
            "seresnext101_32x4d",
            Config::new(Block::Bottleneck, [3, 4, 23, 3]).with_groups(32, 4).with_se(),
        ),
        other(
            "senet154",
            Config {
                stem: Stem::Deep { width: 64 },
                down_3x3: true,
                reduce_first: true,
                se: Some(SeConfig::MODERN),
                ..Config::new(Block::Bottleneck, [3, 8, 36, 3]).with_groups(64, 4)
            },
        ),
        small("resnet20_cifar", "resnet", 3, None),
        small("resnet32_cifar", "resnet", 5, None),
        small("resnet44_cifar", "resnet", 7, None),
        small("resnet56_cifar", "resnet", 9, None),
        small("resnet110_cifar", "resnet", 18, None),
        small("seresnet20_cifar", "senet", 3, Some(16)),
        small("seresnet56_cifar", "senet", 9, Some(16)),
        small("seresnet110_cifar", "senet", 18, Some(16)),
    ]
}
