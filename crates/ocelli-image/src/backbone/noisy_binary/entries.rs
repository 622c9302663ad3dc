//! The registry's lines of this room.

use super::Config;
use crate::network::NetworkConfig;
use crate::zoo::{Accuracy, Entry};

const SYSTEM: &str = "noisy_supervision_bnn";

/// The networks as they are deployed; mapping networks are attached by the configuration.
pub fn entries() -> Vec<Entry> {
    vec![
        Entry::new("bnn_resnet20_cifar", SYSTEM, || NetworkConfig::NoisyBinary(Config::resnet20())).cifar(),
        Entry::new("bnn_resnet18", SYSTEM, || NetworkConfig::NoisyBinary(Config::resnet18()))
            .accuracy(Accuracy::new(59.4, 81.7, "arXiv 2010.04871, fine-tuned")),
    ]
}
