//! ParameterNet, its vision half: "ParameterNet: Parameters Are All You Need" (arXiv 2306.14525).
//!
//! Every convolution keeps several expert kernels; a gate mixes them into one per picture before it is convolved
//! ([`ocelli_nn::dynamic`]): several times the parameters at about the same cost. The host is C-GhostNet
//! ([`ghostnet`](super::ghostnet)), whose convolutions are chosen by configuration; any other network that takes a
//! [`ConvKind`] can be the host as well.
//!
//! | name | host, width | experts | parameters | MACs |
//! | --- | --- | --- | --- | --- |
//! | `parameternet_600m` | its own blocks, 1.9, hard-swish | 4 | 34,504,504 | 590 M |
//! | `parameternet_600m_e1`, `_e2`, `_e8` | the same | 1, 2, 8 | 19,852,939 / 24,736,794 / 54,039,924 | 575 / 580 / 609 M |
//! | `parameternet_300m` | GhostNet's blocks, 1.45, ReLU | 4 | 15,737,100 | 292 M |
//! | `parameternet_300m_e1`, `_e8` | the same | 1, 8 | 8,652,063 / 25,183,816 | 285 / 302 M |
//! | `ghostnet_600m` | as `parameternet_600m` | plain convolutions | 19,822,198 | 570 M |
//!
//! The layout of the 300M network was not released: the published counts for 1 and 8 experts are those of GhostNet at
//! width 1.45.

use ocelli_nn::{Activation, ConvKind, Dynamic};

use super::ghostnet::{BlockConfig, Config, Style};
use crate::network::NetworkConfig;
use crate::zoo::{Accuracy, Entry};

/// The 600M network with so many experts; plain convolutions for none.
pub fn parameternet_600m(experts: Option<usize>) -> Config {
    let block = |kernel, hidden, channels, se: bool, stride| BlockConfig {
        kernel,
        hidden,
        channels,
        se_ratio: if se { 0.25 } else { 0.0 },
        stride,
    };
    Config {
        blocks: vec![
            vec![block(3, 16, 16, false, 1)],
            vec![block(3, 48, 24, false, 2)],
            vec![block(3, 72, 24, false, 1)],
            vec![block(5, 72, 40, true, 2)],
            vec![block(3, 120, 40, true, 1); 2],
            vec![block(3, 240, 80, false, 2)],
            [
                vec![block(3, 200, 80, false, 1); 3],
                vec![block(3, 480, 112, true, 1)],
                vec![block(3, 672, 112, true, 1); 2],
            ]
            .concat(),
            vec![block(5, 672, 160, true, 2)],
            vec![block(3, 960, 160, true, 1); 5],
        ],
        style: Style {
            conv: kind(experts),
            activation: Activation::HardSwish,
            se_activation: Activation::HardSwish,
        },
        ..Config::new(1.9)
    }
}

/// The 300M network with so many experts.
pub fn parameternet_300m(experts: usize) -> Config {
    Config { style: Style { conv: kind(Some(experts)), ..Style::default() }, ..Config::new(1.45) }
}

fn kind(experts: Option<usize>) -> ConvKind {
    experts.map_or(ConvKind::Plain, |experts| ConvKind::Dynamic(Dynamic::new(experts)))
}

/// All variants.
pub fn entries() -> Vec<Entry> {
    let entry = |name, config: Config| {
        Entry::new(name, "parameternet", move || NetworkConfig::GhostNet(config.clone()))
    };
    vec![
        entry("parameternet_600m", parameternet_600m(Some(4)))
            .accuracy(Accuracy::top1(81.6, "arXiv 2306.14525, pretrained on ImageNet-22K")),
        entry("parameternet_600m_e1", parameternet_600m(Some(1))),
        entry("parameternet_600m_e2", parameternet_600m(Some(2))),
        entry("parameternet_600m_e8", parameternet_600m(Some(8))),
        entry("parameternet_300m", parameternet_300m(4)),
        entry("parameternet_300m_e1", parameternet_300m(1)),
        entry("parameternet_300m_e8", parameternet_300m(8)),
        entry("ghostnet_600m", parameternet_600m(None)),
    ]
}
