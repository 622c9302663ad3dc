//! MobileNet (arXiv 1704.04861), plain or with squeeze-and-excitation behind every pointwise convolution, as
//! the SENet paper's table has it.
//!
//! Keys: `conv1, bn1, blocks.I.{dw,bn1,pw,bn2,se.fc1,se.fc2}, fc`. (timm's `mobilenetv1_100` has other names
//! and ReLU6; this is the original with ReLU.)

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_nn::{
    Activation, BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Dropout, Linear, LinearConfig,
    SqueezeExcite, Taps, global_avg_pool,
};
use serde::{Deserialize, Serialize};

use crate::backbone::{Backbone, BackboneConfig, FeatureInfo};

const RELU: Activation = Activation::Relu;

/// Channels and stride of the thirteen blocks at width 1.
const BLOCKS: [(usize, usize); 13] = [
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
];

/// A MobileNet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Multiplier of all channel counts.
    pub width: f64,
    /// Channels per hidden unit of the gates; none for the plain network.
    pub reduction: Option<usize>,
    /// Channels of the input.
    pub in_channels: usize,
    /// Classes.
    pub num_classes: usize,
    /// Dropout before the classifier.
    pub drop_rate: f64,
}

impl Config {
    /// For ImageNet, at `width`.
    pub fn new(width: f64, reduction: Option<usize>) -> Self {
        Self { width, reduction, in_channels: 3, num_classes: 1000, drop_rate: 0.0 }
    }

    /// The channel count that is `channels` at width 1: truncated, at least 8.
    fn scaled(&self, channels: usize) -> usize {
        ((channels as f64 * self.width) as usize).max(8)
    }
}

/// The network.
#[derive(Module, Debug)]
pub struct Net {
    conv1: Conv2d,
    bn1: BatchNorm,
    blocks: Vec<Block>,
    dropout: Dropout,
    fc: Linear,
}

/// Depthwise 3x3, pointwise, gate.
#[derive(Module, Debug)]
struct Block {
    dw: Conv2d,
    bn1: BatchNorm,
    pw: Conv2d,
    bn2: BatchNorm,
    se: Option<SqueezeExcite>,
    channels_out: usize,
    stride: usize,
}

impl Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.bn1.forward_then(self.dw.forward(x), RELU);
        let x = self.bn2.forward_then(self.pw.forward(x), RELU);
        match &self.se {
            Some(se) => se.forward(x),
            None => x,
        }
    }
}

impl BackboneConfig for Config {
    type Net = Net;

    fn init(&self, device: &Device) -> Net {
        let norm = |channels| BatchNormConfig::new(channels).init(device);
        let stem = self.scaled(32);
        let mut channels_in = stem;
        let blocks = BLOCKS
            .iter()
            .map(|&(channels, stride)| {
                let channels_out = self.scaled(channels);
                let block = Block {
                    dw: Conv2dConfig::new(channels_in, channels_in, 3)
                        .stride(stride)
                        .groups(channels_in)
                        .init(device),
                    bn1: norm(channels_in),
                    pw: Conv2dConfig::new(channels_in, channels_out, 1).init(device),
                    bn2: norm(channels_out),
                    se: self.reduction.map(|reduction| {
                        SqueezeExcite::new(channels_out, (channels_out / reduction).max(1), device)
                    }),
                    channels_out,
                    stride,
                };
                channels_in = channels_out;
                block
            })
            .collect();
        Net {
            conv1: Conv2dConfig::new(self.in_channels, stem, 3).stride(2).init(device),
            bn1: norm(stem),
            blocks,
            dropout: Dropout::new(self.drop_rate),
            fc: LinearConfig::new(channels_in, self.num_classes).init(device),
        }
    }
}

impl Backbone for Net {
    fn forward_features(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
        let mut x = self.bn1.forward_then(self.conv1.forward(x), RELU);
        taps.see("act1", &x);
        for (index, block) in self.blocks.iter().enumerate() {
            x = block.forward(x);
            if block.se.is_some() {
                taps.see(format_args!("blocks.{index}.se"), &x);
            }
            taps.see(format_args!("blocks.{index}"), &x);
        }
        x
    }

    fn forward_head(&self, features: Tensor<4>, _taps: &mut Taps) -> Tensor<2> {
        let pooled = global_avg_pool(features).flatten::<2>(1, 3);
        self.fc.forward(self.dropout.forward(pooled))
    }

    fn feature_info(&self) -> Vec<FeatureInfo> {
        // The last map of every resolution.
        let mut reduction = 2;
        let mut maps = Vec::new();
        for (index, block) in self.blocks.iter().enumerate() {
            reduction *= block.stride;
            if self.blocks.get(index + 1).is_none_or(|next| next.stride > 1) {
                maps.push(FeatureInfo::new(format!("blocks.{index}"), block.channels_out, reduction));
            }
        }
        maps
    }

    fn classifier(&self) -> &'static str {
        "fc"
    }
}
