//! The registry's lines of this room.

use ocelli_data::Interpolation;

use super::Config;
use crate::network::NetworkConfig;
use crate::zoo::{Accuracy, Entry};

/// Neighbours of a node in the published networks.
const K: usize = 9;

/// All variants.
pub fn entries() -> Vec<Entry> {
    let vig = |name, config: Config, top1, top5, crop_pct| {
        Entry::new(name, "vig", move || NetworkConfig::Vig(config.clone()))
            .crop_pct(crop_pct)
            .interpolation(Interpolation::Bicubic)
            .normalisation([0.5; 3], [0.5; 3])
            .accuracy(Accuracy::new(top1, top5, "mmpretrain, released weights"))
    };
    let isotropic = |channels, blocks| Config::isotropic(channels, blocks, K, 224);
    let pyramid = |channels, blocks| Config::pyramid(channels, blocks, K, [4, 2, 1, 1], 224);
    vec![
        vig("vig_ti_224_gelu", isotropic(192, 12), 74.31, 92.32, 0.9),
        vig("vig_s_224_gelu", isotropic(320, 16), 80.57, 95.23, 0.9),
        vig("vig_b_224_gelu", isotropic(640, 16), 82.51, 96.04, 0.9),
        vig("pvig_ti_224_gelu", pyramid([48, 96, 240, 384], [2, 2, 6, 2]), 78.44, 94.36, 0.9),
        vig("pvig_s_224_gelu", pyramid([80, 160, 400, 640], [2, 2, 6, 2]), 81.94, 95.98, 0.9),
        vig("pvig_m_224_gelu", pyramid([96, 192, 384, 768], [2, 2, 16, 2]), 82.96, 96.36, 0.9),
        vig("pvig_b_224_gelu", pyramid([128, 256, 512, 1024], [2, 2, 18, 2]), 83.49, 96.56, 0.95),
    ]
}
