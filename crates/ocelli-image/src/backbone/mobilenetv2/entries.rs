//! The registry's lines of this room.

use super::Config;
use crate::network::NetworkConfig;
use crate::zoo::{Accuracy, Entry};
use ocelli_data::Interpolation;

/// timm's table of results, 224 px.
const TIMM: &str = "timm results-imagenet.csv";

/// All variants.
pub fn entries() -> Vec<Entry> {
    let width = |name, width| {
        Entry::new(name, "mobilenetv2", move || NetworkConfig::MobileNetV2(Config::new(width)))
            .interpolation(Interpolation::Bicubic)
    };
    let deeper = |name, width, depth| {
        Entry::new(name, "mobilenetv2", move || NetworkConfig::MobileNetV2(Config::deeper(width, depth)))
            .interpolation(Interpolation::Bicubic)
    };
    let timm = |top1, top5| Accuracy::new(top1, top5, TIMM);
    vec![
        width("mobilenetv2_035", 0.35),
        width("mobilenetv2_050", 0.5).accuracy(timm(65.950, 86.088)),
        width("mobilenetv2_075", 0.75),
        width("mobilenetv2_100", 1.0).accuracy(timm(72.976, 91.010)),
        width("mobilenetv2_140", 1.4).accuracy(timm(76.520, 92.986)),
        deeper("mobilenetv2_110d", 1.1, 1.2).accuracy(timm(75.056, 92.186)),
        deeper("mobilenetv2_120d", 1.2, 1.4).accuracy(timm(77.302, 93.504)),
    ]
}
