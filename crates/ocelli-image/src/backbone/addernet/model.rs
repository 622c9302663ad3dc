//! Adder ResNets for ImageNet.
//!
//! Keys: `conv1, bn1, layerS.J.{convI.adder, bnI, downsample.0.adder, downsample.1}, fc` (a 1x1 convolution with bias), `bn2` of the
//! logits.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_nn::{
    Activation, BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Dropout, MaxPool2d, Taps, global_avg_pool,
};
use serde::{Deserialize, Serialize};

use super::block::{Residual, stages};
use crate::backbone::{Backbone, BackboneConfig, FeatureInfo};

/// Kind of residual block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Block {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3, 1x1 with four times the channels at the end.
    Bottleneck,
}

/// An adder ResNet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Kind of block.
    pub block: Block,
    /// Blocks per stage.
    pub layers: [usize; 4],
    /// Channels of the first stage; doubled in every further one.
    pub width: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Classes.
    pub num_classes: usize,
    /// Dropout before the classifier.
    pub drop_rate: f64,
}

impl Config {
    /// 64 to 512 planes for 1000 classes.
    pub fn new(block: Block, layers: [usize; 4]) -> Self {
        Self { block, layers, width: 64, in_channels: 3, num_classes: 1000, drop_rate: 0.0 }
    }
}

/// The network.
#[derive(Module, Debug)]
pub struct Net {
    conv1: Conv2d,
    bn1: BatchNorm,
    maxpool: MaxPool2d,
    layer1: Vec<Residual>,
    layer2: Vec<Residual>,
    layer3: Vec<Residual>,
    layer4: Vec<Residual>,
    dropout: Dropout,
    fc: Conv2d,
    bn2: BatchNorm,
}

impl BackboneConfig for Config {
    type Net = Net;

    fn init(&self, device: &Device) -> Net {
        let mut from = self.width;
        let mut stage = |index: usize| -> Vec<Residual> {
            let planes = self.width << index;
            (0..self.layers[index])
                .map(|block| {
                    let stride = if block == 0 && index > 0 { 2 } else { 1 };
                    let (residual, to) = match self.block {
                        Block::Basic => (Residual::basic(from, planes, stride, device), planes),
                        Block::Bottleneck => (Residual::bottleneck(from, planes, stride, device), 4 * planes),
                    };
                    from = to;
                    residual
                })
                .collect()
        };
        let (layer1, layer2, layer3, layer4) = (stage(0), stage(1), stage(2), stage(3));
        Net {
            conv1: Conv2dConfig::new(self.in_channels, self.width, 7).stride(2).init(device),
            bn1: BatchNormConfig::new(self.width).init(device),
            maxpool: MaxPool2d::new(3, 2, 1),
            layer1,
            layer2,
            layer3,
            layer4,
            dropout: Dropout::new(self.drop_rate),
            fc: Conv2dConfig::new(from, self.num_classes, 1).bias(true).init(device),
            bn2: BatchNormConfig::new(self.num_classes).init(device),
        }
    }
}

impl Backbone for Net {
    fn forward_features(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
        let x = self.conv1.forward(x);
        taps.see("conv1", &x);
        let x = self.bn1.forward_then(x, Activation::Relu);
        taps.see("act1", &x);
        let x = self.maxpool.forward(x);
        taps.see("maxpool", &x);
        stages(&[&self.layer1, &self.layer2, &self.layer3, &self.layer4], x, taps)
    }

    fn forward_head(&self, features: Tensor<4>, _taps: &mut Taps) -> Tensor<2> {
        let pooled = self.dropout.forward(global_avg_pool(features));
        self.bn2.forward(self.fc.forward(pooled)).flatten::<2>(1, 3)
    }

    fn feature_info(&self) -> Vec<FeatureInfo> {
        let [_, last, ..] = self.fc.weight.lazy_shape().dims::<4>();
        let [stem] = self.bn1.weight.lazy_shape().dims();
        let mut maps = vec![FeatureInfo::new("act1", stem, 2)];
        maps.extend((0..4).map(|i| FeatureInfo::new(format!("layer{}", i + 1), last >> (3 - i), 4 << i)));
        maps
    }

    fn classifier(&self) -> &'static str {
        "fc"
    }

    fn head(&self) -> Vec<&'static str> {
        vec!["fc", "bn2"]
    }

    fn adopt(&self, foreign: &str) -> Option<String> {
        foreign.strip_prefix("module.").map(str::to_string)
    }
}
