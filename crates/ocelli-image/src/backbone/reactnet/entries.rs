//! The registry's lines of this room.

use super::{Config, resnet};
use crate::network::NetworkConfig;
use crate::zoo::{Accuracy, Entry};

const AUTHORS: &str = "authors' repository";

/// All variants.
pub fn entries() -> Vec<Entry> {
    let mobile = |name, system, elastic_link| {
        Entry::new(name, system, move || NetworkConfig::ReActNet(Config { elastic_link, ..Config::a() }))
    };
    let residual = |name, system, blocks, elastic_link| {
        Entry::new(name, system, move || {
            NetworkConfig::ReActResNet(resnet::Config { elastic_link, ..resnet::Config::new(blocks) })
        })
    };
    vec![
        mobile("reactnet_a", "reactnet", false).accuracy(Accuracy::top1(69.5, AUTHORS)),
        mobile("el_reactnet_a", "elastic_link", true),
        residual("reactnet18", "reactnet", [4, 4, 4, 4], false).accuracy(Accuracy::top1(65.9, AUTHORS)),
        residual("reactnet34", "reactnet", [6, 8, 12, 6], false),
        residual("el_reactnet18", "elastic_link", [4, 4, 4, 4], true),
        residual("el_reactnet34", "elastic_link", [6, 8, 12, 6], true),
    ]
}
