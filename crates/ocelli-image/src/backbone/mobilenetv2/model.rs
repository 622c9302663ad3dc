//! The network.
//!
//! Keys: `conv_stem, bn1, blocks.0.J.{conv_dw,bn1,conv_pw,bn2}, blocks.I.J.{conv_pw,bn1,conv_dw,bn2,conv_pwl,
//! bn3}, conv_head, bn2, classifier`.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_nn::init::Draw;
use ocelli_nn::{
    Activation, BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Dropout, InitScheme, Linear, LinearConfig,
    Taps, global_avg_pool, make_divisible,
};
use serde::{Deserialize, Serialize};

use crate::backbone::resnet::cifar::{is_one, one};
use crate::backbone::{Backbone, BackboneConfig, FeatureInfo};

const RELU6: Activation = Activation::Relu6;

/// Expansion, channels, repeats and stride of the seven stages at width and depth 1.
const STAGES: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];

/// A MobileNetV2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Multiplier of all channel counts.
    pub width: f64,
    /// Multiplier of the repeats, rounded up.
    pub depth: f64,
    /// Keep stem, head, first and last stage at width and depth 1 (timm's deeper variants).
    pub fixed_ends: bool,
    /// Sets in every batch norm, for networks run at several resolutions.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub norm_sets: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Classes.
    pub num_classes: usize,
    /// Dropout before the classifier.
    pub drop_rate: f64,
}

impl Config {
    /// The published network at `width`.
    pub fn new(width: f64) -> Self {
        Self {
            width,
            depth: 1.0,
            fixed_ends: false,
            norm_sets: 1,
            in_channels: 3,
            num_classes: 1000,
            drop_rate: 0.0,
        }
    }

    /// timm's deeper variants.
    pub fn deeper(width: f64, depth: f64) -> Self {
        Self { depth, fixed_ends: true, ..Self::new(width) }
    }

    fn scaled(&self, channels: usize) -> usize {
        make_divisible(channels as f64 * self.width, 8, 0.9)
    }

    fn repeats(&self, stage: usize) -> usize {
        let (_, _, repeats, _) = STAGES[stage];
        let end = stage == 0 || stage + 1 == STAGES.len();
        if self.fixed_ends && end { repeats } else { (repeats as f64 * self.depth).ceil() as usize }
    }
}

/// Depthwise 3x3 and a linear pointwise convolution: the block without expansion.
#[derive(Module, Debug)]
pub(crate) struct Separable {
    conv_dw: Conv2d,
    bn1: BatchNorm,
    conv_pw: Conv2d,
    bn2: BatchNorm,
    shortcut: bool,
}

/// Expansion, depthwise 3x3, linear projection.
#[derive(Module, Debug)]
pub(crate) struct Inverted {
    conv_pw: Conv2d,
    bn1: BatchNorm,
    conv_dw: Conv2d,
    bn2: BatchNorm,
    conv_pwl: Conv2d,
    bn3: BatchNorm,
    shortcut: bool,
}

/// A block, with a shortcut where it keeps size and channels.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
pub(crate) enum Block {
    Separable(Separable),
    Inverted(Inverted),
}

impl Block {
    /// A block of `from → to` channels with `norm_sets` sets in its batch norms.
    pub(crate) fn new(
        [from, to]: [usize; 2],
        expansion: usize,
        stride: usize,
        norm_sets: usize,
        device: &Device,
    ) -> Self {
        let norm = |channels| BatchNormConfig::new(channels).sets(norm_sets).init(device);
        let pointwise = |from, to| Conv2dConfig::new(from, to, 1).init(device);
        let depthwise =
            |channels| Conv2dConfig::new(channels, channels, 3).stride(stride).groups(channels).init(device);
        let hidden = from * expansion;
        let shortcut = stride == 1 && from == to;
        if expansion == 1 {
            Self::Separable(Separable {
                conv_dw: depthwise(from),
                bn1: norm(from),
                conv_pw: pointwise(from, to),
                bn2: norm(to),
                shortcut,
            })
        } else {
            Self::Inverted(Inverted {
                conv_pw: pointwise(from, hidden),
                bn1: norm(hidden),
                conv_dw: depthwise(hidden),
                bn2: norm(hidden),
                conv_pwl: pointwise(hidden, to),
                bn3: norm(to),
                shortcut,
            })
        }
    }

    /// `[batch, from, h, w]` → `[batch, to, h / stride, w / stride]`; no activation at the end.
    pub(crate) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let (y, norm, shortcut) = match self {
            Block::Separable(s) => {
                let y = s.bn1.forward_then(s.conv_dw.forward(x.clone()), RELU6);
                (s.conv_pw.forward(y), &s.bn2, s.shortcut)
            }
            Block::Inverted(i) => {
                let y = i.bn1.forward_then(i.conv_pw.forward(x.clone()), RELU6);
                let y = i.bn2.forward_then(i.conv_dw.forward(y), RELU6);
                (i.conv_pwl.forward(y), &i.bn3, i.shortcut)
            }
        };
        if shortcut { norm.forward_add(y, x, Activation::Identity) } else { norm.forward(y) }
    }
}

/// Stem, seven stages, head.
#[derive(Module, Debug)]
pub struct Net {
    conv_stem: Conv2d,
    bn1: BatchNorm,
    blocks: Vec<Vec<Block>>,
    conv_head: Conv2d,
    bn2: BatchNorm,
    dropout: Dropout,
    classifier: Linear,
    #[module(skip)]
    maps: Vec<FeatureInfo>,
}

impl BackboneConfig for Config {
    type Net = Net;

    fn init(&self, device: &Device) -> Net {
        let norm = |channels| BatchNormConfig::new(channels).sets(self.norm_sets).init(device);
        let stem = if self.fixed_ends { 32 } else { self.scaled(32) };
        // The head never gets narrower than at width 1.
        let head = if self.fixed_ends { 1280 } else { self.scaled(1280).max(1280) };
        let mut channels_in = stem;
        let mut reduction = 2;
        let mut maps = Vec::new();
        let blocks = STAGES
            .iter()
            .enumerate()
            .map(|(stage, &(expansion, channels, _, stride))| {
                let channels = self.scaled(channels);
                reduction *= stride;
                // The last map of every resolution is what detectors want.
                if STAGES.get(stage + 1).is_none_or(|&(_, _, _, next)| next > 1) {
                    maps.push(FeatureInfo::new(format!("blocks.{stage}"), channels, reduction));
                }
                (0..self.repeats(stage))
                    .map(|block| {
                        let stride = if block == 0 { stride } else { 1 };
                        let built =
                            Block::new([channels_in, channels], expansion, stride, self.norm_sets, device);
                        channels_in = channels;
                        built
                    })
                    .collect()
            })
            .collect();
        Net {
            conv_stem: Conv2dConfig::new(self.in_channels, stem, 3).stride(2).init(device),
            bn1: norm(stem),
            blocks,
            conv_head: Conv2dConfig::new(channels_in, head, 1).init(device),
            bn2: norm(head),
            dropout: Dropout::new(self.drop_rate),
            classifier: LinearConfig::new(head, self.num_classes).init(device),
            maps,
        }
    }
}

impl Backbone for Net {
    fn forward_features(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
        let mut x = self.bn1.forward_then(self.conv_stem.forward(x), RELU6);
        taps.see("act1", &x);
        for (index, stage) in self.blocks.iter().enumerate() {
            for (inner, block) in stage.iter().enumerate() {
                x = block.forward(x);
                taps.see(format_args!("blocks.{index}.{inner}"), &x);
            }
            taps.see(format_args!("blocks.{index}"), &x);
        }
        self.bn2.forward_then(self.conv_head.forward(x), RELU6)
    }

    fn forward_head(&self, features: Tensor<4>, _taps: &mut Taps) -> Tensor<2> {
        let pooled = global_avg_pool(features).flatten::<2>(1, 3);
        self.classifier.forward(self.dropout.forward(pooled))
    }

    fn feature_info(&self) -> Vec<FeatureInfo> {
        self.maps.clone()
    }

    fn classifier(&self) -> &'static str {
        "classifier"
    }

    /// torchvision counts all blocks through, and calls what a unit consists of by its position.
    fn adopt(&self, foreign: &str) -> Option<String> {
        let last = 1 + self.blocks.iter().map(Vec::len).sum::<usize>();
        if let Some(leaf) = foreign.strip_prefix("classifier.1.") {
            return Some(format!("classifier.{leaf}"));
        }
        let (index, rest) = foreign.strip_prefix("features.")?.split_once('.')?;
        let mut index: usize = index.parse().ok()?;
        if index == 0 || index == last {
            let (part, leaf) = rest.split_once('.')?;
            return Some(match (index, part) {
                (0, "0") => format!("conv_stem.{leaf}"),
                (0, "1") => format!("bn1.{leaf}"),
                (_, "0") => format!("conv_head.{leaf}"),
                (_, "1") => format!("bn2.{leaf}"),
                _ => return None,
            });
        }
        let rest = rest.strip_prefix("conv.")?;
        let (unit, leaf) = rest.rsplit_once('.')?;
        index = index.checked_sub(1)?;
        let stage = self.blocks.iter().position(|stage| {
            let own = index < stage.len();
            index = if own { index } else { index - stage.len() };
            own
        })?;
        // The first stage does not expand.
        let ours = match (stage, unit) {
            (0, "0.0") => "conv_dw",
            (0, "0.1") => "bn1",
            (0, "1") => "conv_pw",
            (0, "2") => "bn2",
            (_, "0.0") => "conv_pw",
            (_, "0.1") => "bn1",
            (_, "1.0") => "conv_dw",
            (_, "1.1") => "bn2",
            (_, "2") => "conv_pwl",
            (_, "3") => "bn3",
            _ => return None,
        };
        Some(format!("blocks.{stage}.{index}.{ours}.{leaf}"))
    }

    fn init_scheme(&self) -> InitScheme {
        InitScheme { conv: Draw::KaimingNormalFanOutPerGroup, ..InitScheme::KAIMING }
    }
}
