//! Ghost-ResNet for 32x32 pictures: both 3x3 convolutions of every basic block are Ghost modules; the stem is
//! plain, the shortcut has no parameters.
//!
//! Keys: `conv1, bn1, layerS.J.{ghost1,ghost2}, fc`.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_nn::penal::residual;
use ocelli_nn::{
    Activation, BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Dropout, GhostConfig, GhostModule,
    InitScheme, Linear, LinearConfig, Taps, global_avg_pool, option_a,
};
use serde::{Deserialize, Serialize};

use crate::backbone::{Backbone, BackboneConfig, FeatureInfo};

const RELU: Activation = Activation::Relu;

/// A Ghost-ResNet of `6 · blocks + 2` layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Output channels per intrinsic channel (s).
    pub ratio: usize,
    /// Side of the cheap operation's kernel (d).
    pub cheap_kernel: usize,
    /// Blocks per stage.
    pub blocks: usize,
    /// Channels of the three stages.
    pub widths: [usize; 3],
    /// Stride of the first convolution: 1 for 32x32, 2 to train larger or faster.
    pub stem_stride: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Classes.
    pub num_classes: usize,
    /// Dropout before the classifier.
    pub drop_rate: f64,
}

impl Config {
    /// `6 · blocks + 2` layers of 16, 32, 64 channels for ten classes, s = 2, d = 3.
    pub fn new(blocks: usize) -> Self {
        Self {
            ratio: 2,
            cheap_kernel: 3,
            blocks,
            widths: [16, 32, 64],
            stem_stride: 1,
            in_channels: 3,
            num_classes: 10,
            drop_rate: 0.0,
        }
    }
}

/// The network.
#[derive(Module, Debug)]
pub struct Net {
    conv1: Conv2d,
    bn1: BatchNorm,
    layer1: Vec<Block>,
    layer2: Vec<Block>,
    layer3: Vec<Block>,
    dropout: Dropout,
    fc: Linear,
    stem_stride: usize,
}

/// Two Ghost modules and a parameter-free shortcut.
#[derive(Module, Debug)]
struct Block {
    ghost1: GhostModule,
    ghost2: GhostModule,
    stride: usize,
}

impl Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.ghost2.forward(self.ghost1.forward(x.clone()));
        RELU.forward(residual(y, option_a(x, self.ghost2.channels_out, self.stride)))
    }
}

impl BackboneConfig for Config {
    type Net = Net;

    fn init(&self, device: &Device) -> Net {
        let [a, b, c] = self.widths;
        let ghost = |channels_in, channels_out| {
            GhostConfig::new(channels_in, channels_out)
                .kernel(3)
                .ratio(self.ratio)
                .cheap_kernel(self.cheap_kernel)
        };
        let stage = |channels_in: usize, channels_out: usize, stride: usize| -> Vec<Block> {
            (0..self.blocks)
                .map(|block| {
                    let (from, stride) = if block == 0 { (channels_in, stride) } else { (channels_out, 1) };
                    Block {
                        ghost1: ghost(from, channels_out).stride(stride).init(device),
                        ghost2: ghost(channels_out, channels_out).relu(false).init(device),
                        stride,
                    }
                })
                .collect()
        };
        Net {
            conv1: Conv2dConfig::new(self.in_channels, a, 3).stride(self.stem_stride).init(device),
            bn1: BatchNormConfig::new(a).init(device),
            layer1: stage(a, a, 1),
            layer2: stage(a, b, 2),
            layer3: stage(b, c, 2),
            dropout: Dropout::new(self.drop_rate),
            fc: LinearConfig::new(c, self.num_classes).init(device),
            stem_stride: self.stem_stride,
        }
    }
}

impl Backbone for Net {
    fn forward_features(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
        let mut x = self.bn1.forward_then(self.conv1.forward(x), RELU);
        taps.see("act1", &x);
        for (index, stage) in [&self.layer1, &self.layer2, &self.layer3].into_iter().enumerate() {
            for block in stage {
                x = block.forward(x);
            }
            taps.see(format_args!("layer{}", index + 1), &x);
        }
        x
    }

    fn forward_head(&self, features: Tensor<4>, _taps: &mut Taps) -> Tensor<2> {
        let pooled = global_avg_pool(features).flatten::<2>(1, 3);
        self.fc.forward(self.dropout.forward(pooled))
    }

    fn feature_info(&self) -> Vec<FeatureInfo> {
        [&self.layer1, &self.layer2, &self.layer3]
            .into_iter()
            .enumerate()
            .filter_map(|(i, stage)| {
                let channels = stage.last()?.ghost2.channels_out;
                Some(FeatureInfo::new(format!("layer{}", i + 1), channels, self.stem_stride << i))
            })
            .collect()
    }

    fn classifier(&self) -> &'static str {
        "fc"
    }

    fn init_scheme(&self) -> InitScheme {
        super::model::INIT
    }
}
