//! ResNet for 32x32 pictures (section 4.2 of arXiv 1512.03385): three stages of basic blocks with
//! parameter-free shortcuts, optionally with squeeze-and-excitation.
//!
//! Keys: `conv1, bn1, layerS.J.{conv1,bn1,conv2,bn2,se.fc1,se.fc2}, fc`.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_nn::penal::residual;
use ocelli_nn::{
    Activation, BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Dropout, Linear, LinearConfig,
    SqueezeExcite, Taps, global_avg_pool, option_a,
};
use serde::{Deserialize, Serialize};

use super::config::SeConfig;
use crate::backbone::{Backbone, BackboneConfig, FeatureInfo};

const RELU: Activation = Activation::Relu;

/// A ResNet of `6 · blocks + 2` layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Blocks per stage.
    pub blocks: usize,
    /// Channels of the three stages.
    pub widths: [usize; 3],
    /// Stride of the first convolution: 1 for 32x32, 2 to train larger or faster.
    pub stem_stride: usize,
    /// Squeeze-and-excitation.
    pub se: Option<SeConfig>,
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

pub(crate) fn one() -> usize {
    1
}

// serde hands over references.
#[allow(clippy::trivially_copy_pass_by_ref)]
pub(crate) fn is_one(count: &usize) -> bool {
    *count == 1
}

impl Config {
    /// `6 · blocks + 2` layers of 16, 32, 64 channels for ten classes.
    pub fn new(blocks: usize) -> Self {
        Self {
            blocks,
            widths: [16, 32, 64],
            stem_stride: 1,
            se: None,
            norm_sets: 1,
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

/// Two 3x3 convolutions and a parameter-free shortcut.
#[derive(Module, Debug)]
struct Block {
    conv1: Conv2d,
    bn1: BatchNorm,
    conv2: Conv2d,
    bn2: BatchNorm,
    se: Option<SqueezeExcite>,
    channels_out: usize,
    stride: usize,
}

impl Block {
    fn new(
        channels_in: usize,
        channels_out: usize,
        stride: usize,
        se: Option<SeConfig>,
        norm_sets: usize,
        device: &Device,
    ) -> Self {
        let norm = || BatchNormConfig::new(channels_out).sets(norm_sets).init(device);
        Self {
            conv1: Conv2dConfig::new(channels_in, channels_out, 3).stride(stride).init(device),
            bn1: norm(),
            conv2: Conv2dConfig::new(channels_out, channels_out, 3).init(device),
            bn2: norm(),
            se: se.map(|se| {
                SqueezeExcite::with_ablation(
                    channels_out,
                    se.hidden(channels_out),
                    se.squeeze,
                    se.gate,
                    device,
                )
            }),
            channels_out,
            stride,
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.bn1.forward_then(self.conv1.forward(x.clone()), RELU);
        let y = self.bn2.forward(self.conv2.forward(y));
        let y = match &self.se {
            Some(se) => se.forward(y),
            None => y,
        };
        RELU.forward(residual(y, option_a(x, self.channels_out, self.stride)))
    }
}

impl BackboneConfig for Config {
    type Net = Net;

    fn init(&self, device: &Device) -> Net {
        let [a, b, c] = self.widths;
        let stage = |channels_in: usize, channels_out: usize, stride: usize| -> Vec<Block> {
            (0..self.blocks)
                .map(|block| {
                    let (from, stride) = if block == 0 { (channels_in, stride) } else { (channels_out, 1) };
                    Block::new(from, channels_out, stride, self.se, self.norm_sets, device)
                })
                .collect()
        };
        Net {
            conv1: Conv2dConfig::new(self.in_channels, a, 3).stride(self.stem_stride).init(device),
            bn1: BatchNormConfig::new(a).sets(self.norm_sets).init(device),
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
                let block = stage.last()?;
                Some(FeatureInfo::new(format!("layer{}", i + 1), block.channels_out, self.stem_stride << i))
            })
            .collect()
    }

    fn classifier(&self) -> &'static str {
        "fc"
    }
}
