//! The registry's lines of this room.

use super::{Config, mobilenet};
use crate::network::NetworkConfig;
use crate::zoo::{Accuracy, Entry};

const SYSTEM: &str = "elastic_link";
const PAPER: &str = "arXiv 2112.10149, abstract";

/// All variants.
pub fn entries() -> Vec<Entry> {
    let resnet = |name, elastic_link| {
        Entry::new(name, SYSTEM, move || NetworkConfig::ElResNet(Config { elastic_link, ..Config::resnet26() }))
    };
    let mobile = |name, elastic_link| {
        Entry::new(name, SYSTEM, move || {
            NetworkConfig::ElMobileNet(mobilenet::Config { elastic_link, ..mobilenet::Config::v1() })
        })
    };
    vec![
        resnet("el_resnet26", true).accuracy(Accuracy::top1(64.0, PAPER)),
        resnet("resnet26_binary", false).accuracy(Accuracy::top1(57.9, PAPER)),
        mobile("el_mobilenet_v1", true).accuracy(Accuracy::top1(56.4, PAPER)),
        mobile("mobilenet_v1_binary", false),
    ]
}
