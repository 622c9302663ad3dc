//! The registry's lines of this room.

use ocelli_data::Interpolation;

use super::Config;
use crate::network::NetworkConfig;
use crate::zoo::{Accuracy, Entry};

/// All variants.
pub fn entries() -> Vec<Entry> {
    let tnt = |name, config: Config, accuracy: Option<Accuracy>| {
        let size = config.image_size;
        let entry = Entry::new(name, "tnt", move || NetworkConfig::Tnt(config.clone()))
            .input_size(size)
            .crop_pct(0.9)
            .interpolation(Interpolation::Bicubic)
            .normalisation([0.5; 3], [0.5; 3]);
        match accuracy {
            Some(accuracy) => entry.accuracy(accuracy),
            None => entry,
        }
    };
    let paper = "arXiv 2103.00112";
    let release = "authors' release";
    let small = Config::new(384, 6, 24, 4);
    vec![
        tnt("tnt_ti_patch16_224", Config::new(192, 3, 12, 2), Some(Accuracy::new(73.9, 91.9, paper))),
        tnt("tnt_s_patch16_224", small.clone(), Some(Accuracy::new(81.5, 95.7, release))),
        tnt("tnt_b_patch16_224", Config::new(640, 10, 40, 4), Some(Accuracy::new(82.9, 96.3, release))),
        tnt("tnt_s_patch16_384", Config { image_size: 384, ..small }, None),
    ]
}
