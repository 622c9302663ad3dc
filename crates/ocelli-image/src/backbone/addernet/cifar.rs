//! Adder ResNets for small pictures: three stages of basic blocks.
//!
//! Keys: `conv1, bn1, layerS.J.{conv1.adder, bn1, conv2.adder, bn2, downsample.0.adder, downsample.1}, fc` (a 1x1 convolution without
//! bias), `bn2` of the logits.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_nn::init::Draw;
use ocelli_nn::{
    Activation, BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Dropout, InitScheme, Taps, global_avg_pool,
};
use serde::{Deserialize, Serialize};

use super::block::{Residual, stages};
use crate::backbone::{Backbone, BackboneConfig, FeatureInfo};

/// An adder ResNet of `6 · blocks + 2` layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Blocks per stage.
    pub blocks: usize,
    /// Channels of the three stages.
    pub widths: [usize; 3],
    /// Side of the pictures: the last pooling has a fixed window of a quarter of it (8 for 32), and other pictures are refused.
    pub image_size: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Classes.
    pub num_classes: usize,
    /// Dropout before the classifier.
    pub drop_rate: f64,
}

impl Config {
    /// `6 · blocks + 2` layers of 16, 32, 64 channels for ten classes.
    pub fn new(blocks: usize) -> Self {
        Self { blocks, widths: [16, 32, 64], image_size: 32, in_channels: 3, num_classes: 10, drop_rate: 0.0 }
    }
}

/// The network.
#[derive(Module, Debug)]
pub struct Net {
    conv1: Conv2d,
    bn1: BatchNorm,
    layer1: Vec<Residual>,
    layer2: Vec<Residual>,
    layer3: Vec<Residual>,
    dropout: Dropout,
    fc: Conv2d,
    bn2: BatchNorm,
    widths: [usize; 3],
    image_size: usize,
}

impl BackboneConfig for Config {
    type Net = Net;

    fn init(&self, device: &Device) -> Net {
        let [a, b, c] = self.widths;
        let stage = |from: usize, to: usize, stride: usize| -> Vec<Residual> {
            (0..self.blocks)
                .map(|block| {
                    let (from, stride) = if block == 0 { (from, stride) } else { (to, 1) };
                    Residual::basic(from, to, stride, device)
                })
                .collect()
        };
        Net {
            conv1: Conv2dConfig::new(self.in_channels, a, 3).init(device),
            bn1: BatchNormConfig::new(a).init(device),
            layer1: stage(a, a, 1),
            layer2: stage(a, b, 2),
            layer3: stage(b, c, 2),
            dropout: Dropout::new(self.drop_rate),
            fc: Conv2dConfig::new(c, self.num_classes, 1).init(device),
            bn2: BatchNormConfig::new(self.num_classes).init(device),
            widths: self.widths,
            image_size: self.image_size,
        }
    }

    fn set_image_size(&mut self, side: usize) {
        self.image_size = side;
    }
}

impl Backbone for Net {
    fn forward_features(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
        let x = self.conv1.forward(x);
        taps.see("conv1", &x);
        let x = self.bn1.forward_then(x, Activation::Relu);
        taps.see("act1", &x);
        stages(&[&self.layer1, &self.layer2, &self.layer3], x, taps)
    }

    fn forward_head(&self, features: Tensor<4>, _taps: &mut Taps) -> Tensor<2> {
        let pooled = self.dropout.forward(global_avg_pool(features));
        self.bn2.forward(self.fc.forward(pooled)).flatten::<2>(1, 3)
    }

    fn feature_info(&self) -> Vec<FeatureInfo> {
        let map = |(i, &channels)| FeatureInfo::new(format!("layer{}", i + 1), channels, 1usize << i);
        self.widths.iter().enumerate().map(map).collect()
    }

    fn classifier(&self) -> &'static str {
        "fc"
    }

    fn head(&self) -> Vec<&'static str> {
        vec!["fc", "bn2"]
    }

    fn init_scheme(&self) -> InitScheme {
        InitScheme { conv: Draw::PyTorchDefault, ..InitScheme::KAIMING }
    }

    fn check_size(&self, size: [usize; 2]) -> Result<(), String> {
        if size == [self.image_size; 2] {
            return Ok(());
        }
        let own = self.image_size;
        Err(format!("the network pools windows of {} pixels, made for {own}x{own} pictures", own / 4))
    }

    fn adopt(&self, foreign: &str) -> Option<String> {
        foreign.strip_prefix("module.").map(str::to_string)
    }
}
