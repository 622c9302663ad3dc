//! The experiments there are.

use ocelli_image::NetworkConfig;
use ocelli_image::backbone::resnet::{SeConfig, cifar};

use super::{Arm, Experiment};

/// All experiments.
pub fn experiments() -> Vec<Experiment> {
    vec![senet()]
}

/// The experiment called `name`.
pub fn experiment(name: &str) -> Option<Experiment> {
    experiments().into_iter().find(|experiment| experiment.name == name)
}

/// Two basic blocks per stage, stride 2 in the stem: what trains in minutes on two cores.
fn small_resnet(widths: [usize; 3]) -> cifar::Config {
    cifar::Config { widths, stem_stride: 2, ..cifar::Config::new(2) }
}

fn senet() -> Experiment {
    let plain = small_resnet([16, 32, 64]);
    let se = cifar::Config { se: Some(SeConfig::paper(4)), ..plain.clone() };
    Experiment {
        name: "senet",
        claim: "squeeze-and-excitation lowers ResNet-110's CIFAR-10 error from 6.37 % to 5.21 % and ResNet-50's \
                ImageNet top-1 error from 24.80 % to 23.29 %, at under 1 % more computation",
        source: "Squeeze-and-Excitation Networks, arXiv 1709.01507",
        expectation: "SE above plain at equal depth and width",
        arms: vec![
            Arm { name: "plain ResNet", network: NetworkConfig::ResNetCifar(plain) },
            Arm { name: "SE, r = 4", network: NetworkConfig::ResNetCifar(se) },
        ],
        order: &[(1, 0)],
        epochs: 12,
    }
}

