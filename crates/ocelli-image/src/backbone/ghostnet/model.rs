//! C-GhostNet.
//!
//! Keys: `conv_stem, bn1, blocks.I.J.{ghost1,conv_dw,bn_dw,se,ghost2,shortcut}, blocks.9.0.{conv,bn1},
//! conv_head, classifier`, the authors' and timm's.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_nn::init::Draw;
use ocelli_nn::penal::branch;
use ocelli_nn::{
    Activation, BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, ConvKind, Convolution, DropPath, Dropout,
    GhostConfig, GhostModule, InitScheme, Linear, LinearConfig, MobileSqueezeExcite, Taps, global_avg_pool,
    make_divisible,
};
use serde::{Deserialize, Serialize};

use crate::backbone::{Backbone, BackboneConfig, FeatureInfo};

const RELU: Activation = Activation::Relu;

/// Channels behind the global pooling, at every width.
const HEAD: usize = 1280;

/// One bottleneck at width 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockConfig {
    /// Side of the depthwise kernels.
    pub kernel: usize,
    /// Channels between the Ghost modules.
    pub hidden: usize,
    /// Channels of the output.
    pub channels: usize,
    /// Hidden units of the gate per channel; 0 for no gate.
    pub se_ratio: f64,
    /// Stride.
    pub stride: usize,
}

/// Which map of every resolution detectors get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DetectorMaps {
    /// The last (`blocks.2, 4, 6, 8`), the paper's choice.
    #[default]
    Last,
    /// The first (`blocks.1, 3, 5, 7`), timm's choice.
    First,
}

/// What a network's convolutions and non-linearities are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Style {
    /// Kind of all convolutions but the strided depthwise ones, those of gates, and the head's.
    #[serde(default)]
    pub conv: ConvKind,
    /// The non-linearity.
    pub activation: Activation,
    /// The non-linearity inside gates.
    pub se_activation: Activation,
}

impl Default for Style {
    fn default() -> Self {
        Self { conv: ConvKind::Plain, activation: RELU, se_activation: RELU }
    }
}

impl Style {
    fn is_standard(&self) -> bool {
        *self == Self::default()
    }
}

/// A C-GhostNet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The bottlenecks, grouped as `blocks.I.J`.
    pub blocks: Vec<Vec<BlockConfig>>,
    /// Multiplier of all channel counts but the last.
    pub width: f64,
    /// Which maps detectors get.
    #[serde(default)]
    pub detector_maps: DetectorMaps,
    /// What convolutions and non-linearities are.
    #[serde(default, skip_serializing_if = "Style::is_standard")]
    pub style: Style,
    /// Stochastic depth of the last stage; grows linearly from 0 at the first.
    #[serde(default)]
    pub drop_path: f64,
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
        let block = |kernel, hidden, channels, se, stride| BlockConfig {
            kernel,
            hidden,
            channels,
            se_ratio: if se { 0.25 } else { 0.0 },
            stride,
        };
        Self {
            blocks: vec![
                vec![block(3, 16, 16, false, 1)],
                vec![block(3, 48, 24, false, 2)],
                vec![block(3, 72, 24, false, 1)],
                vec![block(5, 72, 40, true, 2)],
                vec![block(5, 120, 40, true, 1)],
                vec![block(3, 240, 80, false, 2)],
                vec![
                    block(3, 200, 80, false, 1),
                    block(3, 184, 80, false, 1),
                    block(3, 184, 80, false, 1),
                    block(3, 480, 112, true, 1),
                    block(3, 672, 112, true, 1),
                ],
                vec![block(5, 672, 160, true, 2)],
                vec![
                    block(5, 960, 160, false, 1),
                    block(5, 960, 160, true, 1),
                    block(5, 960, 160, false, 1),
                    block(5, 960, 160, true, 1),
                ],
            ],
            width,
            detector_maps: DetectorMaps::Last,
            style: Style::default(),
            drop_path: 0.0,
            in_channels: 3,
            num_classes: 1000,
            drop_rate: 0.2,
        }
    }

    fn scaled(&self, channels: usize) -> usize {
        make_divisible(channels as f64 * self.width, 4, 0.9)
    }
}

/// Ghost, depthwise where it strides, gate, Ghost, and a shortcut.
#[derive(Module, Debug)]
pub struct GhostBottleneck {
    ghost1: GhostModule,
    conv_dw: Option<Conv2d>,
    bn_dw: Option<BatchNorm>,
    se: Option<MobileSqueezeExcite>,
    ghost2: GhostModule,
    shortcut: Option<(Convolution, BatchNorm, Convolution, BatchNorm)>,
    drop_path: DropPath,
}

impl GhostBottleneck {
    /// Builds the block for exactly the channels of `block`, its parameters zeros until initialised or loaded.
    ///
    /// Its branch is dropped with probability `drop_path` in training.
    pub fn new(
        channels_in: usize,
        block: BlockConfig,
        style: Style,
        drop_path: f64,
        device: &Device,
    ) -> Self {
        let BlockConfig { kernel, hidden, channels, se_ratio, stride } = block;
        let Style { conv, activation, se_activation } = style;
        let norm = |channels| BatchNormConfig::new(channels).init(device);
        let depthwise =
            |channels| Conv2dConfig::new(channels, channels, kernel).stride(stride).groups(channels);
        let strided = stride > 1;
        Self {
            ghost1: GhostConfig::new(channels_in, hidden).conv(conv).activation(activation).init(device),
            conv_dw: strided.then(|| depthwise(hidden).init(device)),
            bn_dw: strided.then(|| norm(hidden)),
            se: (se_ratio > 0.0).then(|| {
                let units = make_divisible(hidden as f64 * se_ratio, 4, 0.9);
                MobileSqueezeExcite::new(hidden, units, Activation::HardSigmoid, device).middle(se_activation)
            }),
            ghost2: GhostConfig::new(hidden, channels).conv(conv).relu(false).init(device),
            shortcut: (strided || channels_in != channels).then(|| {
                let pointwise = conv.init(Conv2dConfig::new(channels_in, channels, 1), device);
                (conv.init(depthwise(channels_in), device), norm(channels_in), pointwise, norm(channels))
            }),
            drop_path: DropPath::new(drop_path),
        }
    }

    /// The first Ghost module.
    pub fn ghost1(&self) -> &GhostModule {
        &self.ghost1
    }

    /// `[batch, channels_in, h, w]` → `[batch, channels, h / stride, w / stride]`; no activation at the end.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.forward_tapped(x, &mut Taps::none())
    }

    /// As [`forward`](Self::forward), offering `ghost1`, `se`, `ghost2` and `shortcut` to `taps`.
    pub fn forward_tapped(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
        let mut y = self.ghost1.forward(x.clone());
        taps.see("ghost1", &y);
        if let (Some(conv), Some(bn)) = (&self.conv_dw, &self.bn_dw) {
            y = bn.forward(conv.forward(y));
        }
        if let Some(se) = &self.se {
            y = se.forward(y);
            taps.see("se", &y);
        }
        let y = self.ghost2.forward(y);
        taps.see("ghost2", &y);
        let shortcut = match &self.shortcut {
            Some((depthwise, bn1, pointwise, bn2)) => {
                let shortcut = bn2.forward(pointwise.forward(bn1.forward(depthwise.forward(x))));
                taps.see("shortcut", &shortcut);
                shortcut
            }
            None => x,
        };
        self.drop_path.forward(branch(y)).add(shortcut)
    }
}

/// The last convolution before pooling: 1x1, norm, ReLU.
#[derive(Module, Debug)]
struct ConvNorm {
    conv: Convolution,
    bn1: BatchNorm,
}

/// One `blocks.I`.
#[derive(Module, Debug)]
enum Stage {
    Bottlenecks(Vec<GhostBottleneck>),
    Last(Vec<ConvNorm>),
}

/// Stem, bottlenecks, head.
#[derive(Module, Debug)]
pub struct Net {
    conv_stem: Convolution,
    bn1: BatchNorm,
    blocks: Vec<Stage>,
    conv_head: Conv2d,
    dropout: Dropout,
    classifier: Linear,
    #[module(skip)]
    maps: Vec<FeatureInfo>,
    #[module(skip)]
    activation: Activation,
}

impl BackboneConfig for Config {
    type Net = Net;

    fn init(&self, device: &Device) -> Net {
        let norm = |channels| BatchNormConfig::new(channels).init(device);
        let conv = |plain| self.style.conv.init(plain, device);
        let stem = self.scaled(16);
        let mut channels_in = stem;
        let mut hidden = 0;
        let mut blocks: Vec<Stage> = self
            .blocks
            .iter()
            .enumerate()
            .map(|(index, stage)| {
                // All blocks of a stage alike.
                let drop_path =
                    self.drop_path * index as f64 / self.blocks.len().saturating_sub(1).max(1) as f64;
                let bottlenecks = stage.iter().map(|&block| {
                    hidden = self.scaled(block.hidden);
                    let block = BlockConfig { hidden, channels: self.scaled(block.channels), ..block };
                    let built = GhostBottleneck::new(channels_in, block, self.style, drop_path, device);
                    channels_in = block.channels;
                    built
                });
                Stage::Bottlenecks(bottlenecks.collect())
            })
            .collect();
        // The last convolution is as wide as the last bottleneck inside.
        blocks.push(Stage::Last(vec![ConvNorm {
            conv: conv(Conv2dConfig::new(channels_in, hidden, 1)),
            bn1: norm(hidden),
        }]));
        Net {
            conv_stem: conv(Conv2dConfig::new(self.in_channels, stem, 3).stride(2)),
            bn1: norm(stem),
            blocks,
            conv_head: Conv2dConfig::new(hidden, HEAD, 1).bias(true).init(device),
            dropout: Dropout::new(self.drop_rate),
            classifier: LinearConfig::new(HEAD, self.num_classes).init(device),
            maps: self.maps(stem),
            activation: self.style.activation,
        }
    }

    fn set_drop_path(&mut self, rate: f64) -> bool {
        self.drop_path = rate;
        true
    }
}

impl Config {
    fn maps(&self, stem: usize) -> Vec<FeatureInfo> {
        let mut maps = vec![FeatureInfo::new("act1", stem, 2)];
        let mut reduction = 2;
        for (index, stage) in self.blocks.iter().enumerate() {
            let before = reduction;
            reduction *= stage.iter().map(|block| block.stride).product::<usize>();
            let Some(last) = stage.last() else { continue };
            let map = FeatureInfo::new(format!("blocks.{index}"), self.scaled(last.channels), reduction);
            if reduction > before {
                maps.push(map);
            } else if self.detector_maps == DetectorMaps::Last
                && reduction > 2
                && let Some(kept) = maps.last_mut()
            {
                *kept = map;
            }
        }
        maps
    }
}

impl Backbone for Net {
    fn forward_features(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
        let mut x = self.bn1.forward_then(self.conv_stem.forward(x), self.activation);
        taps.see("act1", &x);
        for (index, stage) in self.blocks.iter().enumerate() {
            match stage {
                Stage::Bottlenecks(blocks) => {
                    for (inner, block) in blocks.iter().enumerate() {
                        x = block.forward(x);
                        taps.see(format_args!("blocks.{index}.{inner}"), &x);
                    }
                }
                Stage::Last(convs) => {
                    for ConvNorm { conv, bn1 } in convs {
                        x = bn1.forward_then(conv.forward(x), self.activation);
                    }
                }
            }
            taps.see(format_args!("blocks.{index}"), &x);
        }
        x
    }

    fn forward_head(&self, features: Tensor<4>, taps: &mut Taps) -> Tensor<2> {
        let x = self.conv_head.forward(global_avg_pool(features));
        taps.see("conv_head", &x);
        let x = self.activation.forward(x);
        taps.see("act2", &x);
        let x = x.flatten::<2>(1, 3);
        self.classifier.forward(self.dropout.forward(x))
    }

    fn feature_info(&self) -> Vec<FeatureInfo> {
        self.maps.clone()
    }

    fn classifier(&self) -> &'static str {
        "classifier"
    }

    fn init_scheme(&self) -> InitScheme {
        INIT
    }
}

/// He initialisation of convolutions, biases zero.
pub(super) const INIT: InitScheme =
    InitScheme { conv_bias: Draw::Zeros, linear_bias: Draw::Zeros, ..InitScheme::KAIMING };
