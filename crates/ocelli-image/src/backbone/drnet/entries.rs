//! The registry's lines of this room.

use super::{Config, ShortcutNorms};
use crate::network::NetworkConfig;
use crate::zoo::{Accuracy, Entry};

const PAPER: &str = "arXiv 2106.02898, without a target for the cost";
const RELEASE: &str = "authors' release (readme); the paper has top-5";

/// All variants.
pub fn entries() -> Vec<Entry> {
    let entry =
        |name, config: fn() -> Config| Entry::new(name, "drnet", move || NetworkConfig::DrNet(config()));
    vec![
        entry("dr_resnet50", || Config::resnet([3, 4, 6, 3])).accuracy(Accuracy::new(77.5, 93.5, PAPER)),
        entry("dr_resnet50_released", || Config {
            shortcut_norms: ShortcutNorms::Always0,
            ..Config::resnet([3, 4, 6, 3])
        })
        .accuracy(Accuracy::new(77.4, 93.5, RELEASE)),
        entry("dr_resnet50_5way", || Config {
            resolutions: vec![224, 192, 168, 112, 96],
            ..Config::resnet([3, 4, 6, 3])
        }),
        entry("dr_resnet101", || Config::resnet([3, 4, 23, 3])).accuracy(Accuracy::new(79.0, 94.3, PAPER)),
        entry("dr_mobilenetv2", Config::mobilenetv2),
    ]
}
