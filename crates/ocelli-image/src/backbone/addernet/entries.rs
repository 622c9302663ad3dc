//! The registry's lines of this room.

use super::{Block, Config, cifar};
use crate::network::NetworkConfig;
use crate::zoo::{Accuracy, Entry};

/// The authors' table.
const README: &str = "huawei-noah/AdderNet";

/// Deviations of the authors' CIFAR recipe.
const STD: [f32; 3] = [0.2023, 0.1994, 0.2010];

/// All variants.
pub fn entries() -> Vec<Entry> {
    let small = |name, blocks| {
        let entry = Entry::new(name, "addernet_quant", move || {
            NetworkConfig::AdderResNetCifar(cifar::Config::new(blocks))
        });
        entry.cifar().normalisation([0.4914, 0.4822, 0.4465], STD)
    };
    let large = |name, block, layers, top1, top5| {
        Entry::new(name, "addernet_quant", move || NetworkConfig::AdderResNet(Config::new(block, layers)))
            .accuracy(Accuracy::new(top1, top5, README))
    };
    vec![
        small("adder_resnet20", 3),
        small("adder_resnet32", 5),
        large("adder_resnet18", Block::Basic, [2, 2, 2, 2], 67.0, 87.6),
        large("adder_resnet50", Block::Bottleneck, [3, 4, 6, 3], 74.9, 91.7),
    ]
}
