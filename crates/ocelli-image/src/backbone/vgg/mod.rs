//! VGG (arXiv 1409.1556) with batch norm, in torchvision's layout, optionally with squeeze-and-excitation behind
//! every convolution's ReLU (the SENet paper's section on it).
//!
//! | name | parameters |
//! | --- | --- |
//! | `vgg16_bn` | 138,365,992 |
//! | `se_vgg16_bn` | 138,596,784 |

mod model;

use crate::network::NetworkConfig;
use crate::zoo::{Accuracy, Entry};
pub use model::{Config, Net};

/// All variants. Of the one with gates only its accuracy is published, no weights.
pub fn entries() -> Vec<Entry> {
    let vgg = |name, system, reduction| {
        Entry::new(name, system, move || NetworkConfig::Vgg(Config::new(reduction)))
    };
    vec![
        vgg("vgg16_bn", "vgg", None).accuracy(Accuracy::new(73.360, 91.516, "torchvision IMAGENET1K_V1")),
        vgg("se_vgg16_bn", "senet", Some(16)).accuracy(Accuracy::new(74.78, 92.30, "arXiv 1709.01507")),
    ]
}
