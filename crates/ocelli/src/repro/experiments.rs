//! The experiments there are.

use ocelli_image::NetworkConfig;
use ocelli_image::backbone::ghostnet::resnet_cifar;
use ocelli_image::backbone::resnet::{SeConfig, cifar};

use super::{Arm, Experiment};

/// All experiments.
pub fn experiments() -> Vec<Experiment> {
    vec![senet(), ghostnet(), super::drnet::experiment()]
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

fn ghostnet() -> Experiment {
    let plain = small_resnet([16, 32, 64]);
    let ghost = resnet_cifar::Config { stem_stride: 2, ..resnet_cifar::Config::new(2) };
    Experiment {
        name: "ghostnet",
        claim: "Ghost modules halve ResNet-56's computation on CIFAR-10 (126 M to 63 M) at 92.7 % accuracy against \
                93.0 %, better than thinner networks of that cost",
        source: "GhostNets on Heterogeneous Devices via Cheap Operations, arXiv 2201.03297 and 1911.11907",
        expectation: "Ghost close to plain at about half the MACs, and above plain thinned to the same MACs",
        arms: vec![
            Arm { name: "plain ResNet", network: NetworkConfig::ResNetCifar(plain) },
            Arm { name: "Ghost modules, s = 2", network: NetworkConfig::GhostResNetCifar(ghost) },
            Arm {
                name: "plain, thinned to 11/23/45",
                network: NetworkConfig::ResNetCifar(small_resnet([11, 23, 45])),
            },
        ],
        order: &[(1, 2)],
        epochs: 12,
    }
}
