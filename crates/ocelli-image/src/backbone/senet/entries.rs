//! The registry's lines of this room.

use super::weights::CAFFE_INPUT;
use super::{inception, legacy, mobilenet};
use crate::network::NetworkConfig;
use crate::zoo::{Accuracy, Entry};
use ocelli_data::Interpolation;

/// The authors' table of released models, single crop 224.
const RELEASED: &str = "authors' release (hujie-frank/SENet), Caffe weights";
/// The paper's tables, single crop 224.
const PAPER: &str = "arXiv 1709.01507";

/// timm's table of results, 224 px.
const TIMM: &str = "timm results-imagenet.csv";

/// All variants.
pub fn entries() -> Vec<Entry> {
    use legacy::Block::{Basic, ResNeXt, ResNet, SeNet154};
    let legacy = |name, block, layers| {
        Entry::new(name, "senet", move || NetworkConfig::SeNet(legacy::Config::new(block, layers)))
    };
    let released = |top1, top5| Accuracy::new(top1, top5, RELEASED);
    let timm = |top1, top5| Accuracy::new(top1, top5, TIMM);
    let paper = |top1, top5| Accuracy::new(top1, top5, PAPER);
    let inception = |name, reduction| {
        // These weights exist in Caffe's form only.
        let [blue, green, red] = CAFFE_INPUT.mean_bgr;
        Entry::new(name, "senet", move || NetworkConfig::BnInception(inception::Config::new(reduction)))
            .bgr([blue, green, red].map(|mean| mean / 255.0), [1.0 / 255.0; 3])
    };
    let mobilenet = |name, reduction| {
        Entry::new(name, "senet", move || NetworkConfig::MobileNet(mobilenet::Config::new(1.0, reduction)))
    };
    vec![
        legacy("legacy_seresnet18", Basic, [2, 2, 2, 2])
            .accuracy(timm(71.766, 90.332))
            .interpolation(Interpolation::Bicubic),
        legacy("legacy_seresnet34", Basic, [3, 4, 6, 3]).accuracy(timm(74.808, 92.126)),
        legacy("legacy_seresnet50", ResNet, [3, 4, 6, 3]).accuracy(released(77.63, 93.64)),
        legacy("legacy_seresnet101", ResNet, [3, 4, 23, 3]).accuracy(released(78.25, 94.28)),
        legacy("legacy_seresnet152", ResNet, [3, 8, 36, 3]).accuracy(released(78.66, 94.46)),
        legacy("legacy_seresnext26_32x4d", ResNeXt, [2, 2, 2, 2])
            .accuracy(timm(77.108, 93.314))
            .interpolation(Interpolation::Bicubic),
        legacy("legacy_seresnext50_32x4d", ResNeXt, [3, 4, 6, 3]).accuracy(released(79.03, 94.46)),
        legacy("legacy_seresnext101_32x4d", ResNeXt, [3, 4, 23, 3]).accuracy(released(80.19, 95.04)),
        legacy("legacy_senet154", SeNet154, [3, 8, 36, 3]).accuracy(released(81.32, 95.53)),
        inception("se_bn_inception", Some(16)).accuracy(released(76.38, 92.96)),
        inception("bn_inception", None).accuracy(paper(74.62, 92.11)),
        mobilenet("se_mobilenet_100", Some(16)).accuracy(paper(74.7, 92.3)),
        mobilenet("mobilenet_100", None).accuracy(paper(71.6, 90.6)),
    ]
}
