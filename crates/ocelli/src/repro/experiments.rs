//! The experiments there are.

use ocelli_image::NetworkConfig;
use ocelli_image::backbone::ghostnet::{self, g_ghost, resnet_cifar};
use ocelli_image::backbone::resnet::{SeConfig, cifar};

use ocelli_image::backbone::versatile_filters::vgg_cifar;
use ocelli_image::backbone::{elastic_link, tnt, vig};
use ocelli_nn::{ConvKind, Dynamic, MaskSharing, Versatile};

use super::{Arm, Experiment, Recipe};

/// All experiments.
pub fn experiments() -> Vec<Experiment> {
    vec![
        senet(),
        ghostnet(),
        g_ghost(),
        vig(),
        tnt(),
        parameternet(),
        versatile_filters(),
        super::drnet::experiment(),
        super::addernet::experiment(),
        penal_connection(),
        elastic_link(),
        super::noisy::experiment(),
        super::quantisation::experiment(),
    ]
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
            Arm::new("plain ResNet", NetworkConfig::ResNetCifar(plain)),
            Arm::new("SE, r = 4", NetworkConfig::ResNetCifar(se)),
        ],
        order: &[(1, 0)],
        epochs: 12,
        recipe: Recipe::Sgd { lr: 0.1 },
        own: None,
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
            Arm::new("plain ResNet", NetworkConfig::ResNetCifar(plain)),
            Arm::new("Ghost modules, s = 2", NetworkConfig::GhostResNetCifar(ghost)),
            Arm::new("plain, thinned to 11/23/45", NetworkConfig::ResNetCifar(small_resnet([11, 23, 45]))),
        ],
        order: &[(1, 2)],
        epochs: 12,
        recipe: Recipe::Sgd { lr: 0.1 },
        own: None,
    }
}

fn g_ghost() -> Experiment {
    let base = g_ghost::Config {
        stem_stride: 1,
        drop_rate: 0.0,
        ..g_ghost::Config::regnet([1, 4, 4, 4], [24, 48, 96, 192], 8)
    };
    let arm = |name, config: g_ghost::Config| Arm::new(name, NetworkConfig::GGhost(config));
    Experiment {
        name: "g_ghost",
        claim: "G-Ghost stages make RegNetX-3.2G half as large (10.5 M parameters, 1.8 G multiply-accumulates) at 77.8 % \
                ImageNet top-1; the summary of all blocks (mix) makes up for what the cheap channels lack",
        source: "GhostNets on Heterogeneous Devices via Cheap Operations, arXiv 2201.03297",
        expectation: "G-Ghost close to the plain network at less cost, and not worse with mix than without",
        arms: vec![
            arm("plain RegNetX", g_ghost::Config { cheap_ratio: 0.0, ..base.clone() }),
            arm("G-Ghost, mix", base.clone()),
            arm("G-Ghost, no mix", g_ghost::Config { mix: false, ..base }),
        ],
        order: &[(1, 2), (1, 0)],
        epochs: 6,
        recipe: Recipe::Sgd { lr: 0.1 },
        own: None,
    }
}

fn vig() -> Experiment {
    let block = |k, dilation| vig::BlockConfig { k, dilation };
    let base = vig::Config {
        stem_stride: 4,
        stages: vec![vig::Stage {
            channels: 40,
            reduce: 1,
            blocks: vec![block(6, 1), block(7, 1), block(8, 2), block(9, 2)],
        }],
        ..vig::Config::isotropic(40, 4, 6, 32)
    };
    let arm = |name, graph| Arm::new(name, NetworkConfig::Vig(vig::Config { graph, ..base.clone() }));
    Experiment {
        name: "vig",
        claim: "a graph of nearest neighbours gives ViG-Ti 73.9 % ImageNet top-1 where its layers without the graph have \
                less, and Pyramid ViG-S 82.1 % at 4.6 G",
        source: "Vision GNN, arXiv 2206.00272",
        expectation: "the graph of neighbours above no graph (every node its own only neighbour); a fixed 3x3 grid on a \
                      par at 8x8 nodes",
        arms: vec![
            arm("no graph", vig::Graph::Own),
            arm("nearest neighbours, k 6 to 9", vig::Graph::Nearest),
            arm("fixed 3x3 grid", vig::Graph::Grid),
        ],
        order: &[(1, 0), (1, 2)],
        epochs: 10,
        recipe: Recipe::AdamW { lr: 2e-3, decay: 0.05 },
        own: None,
    }
}

fn tnt() -> Experiment {
    let small = |patch_size, inner_stride, outer_dim, inner_dim, inner: bool| {
        NetworkConfig::Tnt(tnt::Config {
            image_size: 32,
            patch_size,
            inner_stride,
            depth: 4,
            inner_transformer: inner,
            ..tnt::Config::new(outer_dim, 4, inner_dim, 2)
        })
    };
    Experiment {
        name: "tnt",
        claim: "the inner transformer lifts ImageNet top-1 from DeiT-S's 79.8 % (4.6 G) to TNT-S's 81.5 % (5.2 G)",
        source: "Transformer in Transformer, arXiv 2103.00112",
        expectation: "TNT slightly above the plain transformer of equal width and of equal cost where patches are coarse \
                      (16 px); not with patches of 8 px",
        arms: vec![
            Arm::new("plain ViT, patch 16, D 128", small(16, 4, 128, 8, false)),
            Arm::new("plain ViT, patch 16, D 132", small(16, 4, 132, 8, false)),
            Arm::new("TNT, patch 16, D 128", small(16, 4, 128, 8, true)),
            Arm::new("plain ViT, patch 8, D 88", small(8, 2, 88, 12, false)),
            Arm::new("TNT, patch 8, D 64", small(8, 2, 64, 12, true)),
        ],
        order: &[(2, 0), (2, 1), (4, 3)],
        epochs: 8,
        recipe: Recipe::AdamW { lr: 1e-3, decay: 0.05 },
        own: None,
    }
}

fn parameternet() -> Experiment {
    let net = |experts: Option<usize>, width| {
        let block = |kernel, hidden, channels, stride| ghostnet::BlockConfig {
            kernel,
            hidden,
            channels,
            se_ratio: 0.0,
            stride,
        };
        let conv = experts.map_or(ConvKind::Plain, |experts| ConvKind::Dynamic(Dynamic::new(experts)));
        NetworkConfig::GhostNet(ghostnet::Config {
            blocks: vec![
                vec![block(3, 32, 16, 1)],
                vec![block(3, 64, 24, 2), block(3, 72, 24, 1)],
                vec![block(3, 96, 40, 2), block(3, 120, 40, 1)],
            ],
            style: ghostnet::Style { conv, ..Default::default() },
            drop_rate: 0.0,
            ..ghostnet::Config::new(width)
        })
    };
    let arm = |name, network, pictures| Arm { pictures, ..Arm::new(name, network) };
    Experiment {
        name: "parameternet",
        claim: "pretraining on ImageNet-22K costs GhostNets of 300 M and 600 M multiply-accumulates 0.6 and 0.3 points, and \
                brings 1.9 and 2.6 where every convolution has four experts: parameters pay with data",
        source: "ParameterNet: Parameters Are All You Need, arXiv 2306.14525",
        expectation: "what four experts gain over one kernel grows with the number of pictures; at this size they may still \
                      lose outright",
        arms: vec![
            arm("plain, 1,500 pictures", net(None, 1.0), Some(1500)),
            arm("4 experts, 1,500 pictures", net(Some(4), 1.0), Some(1500)),
            arm("plain, all pictures", net(None, 1.0), None),
            arm("4 experts, all pictures", net(Some(4), 1.0), None),
            arm("plain, widened to the same parameters", net(None, 1.6), None),
        ],
        order: &[(1, 0), (3, 2), (3, 4)],
        epochs: 10,
        recipe: Recipe::Sgd { lr: 0.1 },
        own: None,
    }
}

fn penal_connection() -> Experiment {
    let vit = || {
        NetworkConfig::Tnt(tnt::Config {
            image_size: 32,
            patch_size: 8,
            inner_stride: 4,
            depth: 6,
            inner_transformer: false,
            ..tnt::Config::new(64, 4, 8, 2)
        })
    };
    let arm = |name, penal_tau, weight_decay| Arm {
        penal_tau,
        weight_decay,
        pictures: Some(1500),
        ..Arm::new(name, vit())
    };
    Experiment {
        name: "penal_connection",
        claim: "adding tau times the branch's output to its gradient improves residual networks in translation and image \
                recognition at no cost in use (no table could be verified)",
        source: "Rethinking skip connection model as a learnable Markov chain, arXiv 2209.15278",
        expectation: "some tau above none on few pictures, and not merely what more weight decay brings",
        arms: vec![
            arm("tau 0", 0.0, None),
            arm("tau 3e-4", 3e-4, None),
            arm("tau 1e-3", 1e-3, None),
            arm("tau 1e-2", 1e-2, None),
            arm("tau 0, weight decay 0.2", 0.0, Some(0.2)),
        ],
        order: &[(1, 0), (2, 0), (3, 0), (2, 4)],
        epochs: 6,
        recipe: Recipe::AdamW { lr: 2e-3, decay: 0.05 },
        own: None,
    }
}

fn elastic_link() -> Experiment {
    let bottlenecks = |elastic_link| {
        NetworkConfig::ElResNet(elastic_link::Config {
            small_stem: true,
            layers: [2, 2, 0, 0],
            widths: [8, 16, 32, 64],
            elastic_link,
            ..elastic_link::Config::resnet26()
        })
    };
    let pairs = |elastic_link| {
        NetworkConfig::ElMobileNet(elastic_link::mobilenet::Config {
            stem: 16,
            stages: vec![[32, 1], [64, 2], [64, 1]],
            elastic_link,
            ..elastic_link::mobilenet::Config::v1()
        })
    };
    Experiment {
        name: "elastic_link",
        claim: "Elastic-Link lifts a binary ResNet-26 from 57.9 % to 64.0 % ImageNet top-1, and lets a binary MobileNet, which \
                hardly converges without, reach 56.4 %",
        source: "Elastic-Link for Binarized Neural Network, arXiv 2112.10149",
        expectation: "links above none by several points in bottlenecks of 1x1 convolutions, and by more in depthwise and 1x1 \
                      pairs, at one number more per convolution",
        arms: vec![
            Arm::new("bottlenecks, no links", bottlenecks(false)),
            Arm::new("bottlenecks, Elastic-Link", bottlenecks(true)),
            Arm::new("depthwise pairs, no links", pairs(false)),
            Arm::new("depthwise pairs, Elastic-Link", pairs(true)),
        ],
        order: &[(1, 0), (3, 2)],
        epochs: 8,
        recipe: Recipe::AdamW { lr: 5e-3, decay: 0.0 },
        own: None,
    }
}

fn versatile_filters() -> Experiment {
    let net = |[a, b, c]: [usize; 3], conv| {
        NetworkConfig::VersatileVggCifar(vgg_cifar::Config {
            stages: vec![vec![a], vec![b, b], vec![c, c]],
            ..vgg_cifar::Config::new(conv)
        })
    };
    let full = [32, 64, 128];
    let mask = |sharing| ConvKind::Mask { ratio: 4, sharing };
    Experiment {
        name: "versatile_filters",
        claim: "nested filters bring VGG-16 from 528 to 206 MiB at 72.2 instead of 71.5 % ImageNet top-1; a basis and learned \
                masks bring CIFAR-10's VGG-16 from 56.1 to 16.0 MB at 93.4 instead of 93.5 %",
        source: "Learning Versatile Filters for Efficient Convolutional Neural Networks, NeurIPS 2018; Full-Stack Filters, \
                 arXiv 1908.02023",
        expectation: "versatile close to plain at half the weights, and above plain thinned to as many; masks of their own \
                      above shared ones",
        arms: vec![
            Arm::new("plain", net(full, ConvKind::Plain)),
            Arm::new("versatile, nested 3x3 and 1x1", net(full, ConvKind::Versatile(Versatile::V1))),
            Arm::new("plain, thinned to 23/45/90", net([23, 45, 90], ConvKind::Plain)),
            Arm::new("basis of a quarter, shared masks", net(full, mask(MaskSharing::Shared))),
            Arm::new("basis of a quarter, own masks", net(full, mask(MaskSharing::Separate))),
        ],
        order: &[(1, 0), (1, 2), (4, 3)],
        epochs: 6,
        recipe: Recipe::Sgd { lr: 0.03 },
        own: None,
    }
}
