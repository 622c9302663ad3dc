//! ReActNet with ResNet's stages: one binary convolution per block, a shortcut around each (Bi-Real Net).
//!
//! Keys: `conv1, bn1, layerS.J.{move0,binary_conv,bn1,move1,prelu,move2,downsample.{1,2}}, fc`.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_nn::binary::{BinaryConv2d, BinaryConv2dConfig, ChannelBias, ElasticLink, PRelu, half_pool};
use ocelli_nn::penal::residual;
use ocelli_nn::{
    BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Dropout, Linear, LinearConfig, MaxPool2d, Slot, Taps,
    global_avg_pool,
};
use serde::{Deserialize, Serialize};

use super::model::weighed;
use crate::backbone::{Backbone, BackboneConfig, FeatureInfo};

/// A ReActNet after ResNet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Blocks per stage.
    pub layers: [usize; 4],
    /// Channels of the stages; the stem has those of the first.
    pub widths: [usize; 4],
    /// Whether a learned factor weighs every shortcut.
    pub elastic_link: bool,
    /// Channels of the input.
    pub in_channels: usize,
    /// Classes.
    pub num_classes: usize,
    /// Dropout before the classifier.
    pub drop_rate: f64,
}

impl Config {
    /// Stages of 64 to 512 channels.
    pub fn new(layers: [usize; 4]) -> Self {
        Self {
            layers,
            widths: [64, 128, 256, 512],
            elastic_link: false,
            in_channels: 3,
            num_classes: 1000,
            drop_rate: 0.0,
        }
    }
}

/// The network.
#[derive(Module, Debug)]
pub struct Net {
    conv1: Conv2d,
    bn1: BatchNorm,
    maxpool: MaxPool2d,
    layer1: Vec<Block>,
    layer2: Vec<Block>,
    layer3: Vec<Block>,
    layer4: Vec<Block>,
    dropout: Dropout,
    fc: Linear,
    widths: [usize; 4],
}

/// One binary convolution and its shortcut.
#[derive(Module, Debug)]
pub struct Block {
    move0: ChannelBias,
    binary_conv: BinaryConv2d,
    bn1: BatchNorm,
    move1: ChannelBias,
    prelu: PRelu,
    move2: ChannelBias,
    downsample: Option<(Slot, Conv2d, BatchNorm)>,
    el: Option<ElasticLink>,
    stride: usize,
}

impl Block {
    /// A block of `channels_in → channels_out`, stride 1 or 2. Where either changes the shape, a real-valued 1x1 convolution of
    /// the (pooled) input is the shortcut.
    pub fn new(
        channels_in: usize,
        channels_out: usize,
        stride: usize,
        elastic_link: bool,
        device: &Device,
    ) -> Self {
        let conv = Conv2dConfig::new(channels_in, channels_out, 3).stride(stride);
        let norm = || BatchNormConfig::new(channels_out).init(device);
        let projects = stride != 1 || channels_in != channels_out;
        Self {
            move0: ChannelBias::new(channels_in, device),
            binary_conv: BinaryConv2dConfig::new(conv).range(0.0, 1e-3).init(device),
            bn1: norm(),
            move1: ChannelBias::new(channels_out, device),
            prelu: PRelu::new(channels_out, device),
            move2: ChannelBias::new(channels_out, device),
            downsample: projects.then(|| {
                (Slot {}, Conv2dConfig::new(channels_in, channels_out, 1).init(device), norm())
            }),
            el: elastic_link.then(|| ElasticLink::new(device)),
            stride,
        }
    }

    /// `[batch, channels_in, h, w]` → `[batch, channels_out, ⌈h / stride⌉, ⌈w / stride⌉]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.bn1.forward(self.binary_conv.forward(self.move0.forward(x.clone())));
        let shortcut = match &self.downsample {
            Some((_, conv, norm)) => {
                let x = if self.stride == 2 { half_pool(x) } else { x };
                norm.forward(conv.forward(x))
            }
            None => x,
        };
        let y = residual(y, weighed(&self.el, shortcut));
        self.move2.forward(self.prelu.forward(self.move1.forward(y)))
    }
}

impl BackboneConfig for Config {
    type Net = Net;

    fn init(&self, device: &Device) -> Net {
        let stem = self.widths[0];
        let stage = |index: usize| -> Vec<Block> {
            let channels_out = self.widths[index];
            (0..self.layers[index])
                .map(|block| {
                    let first = block == 0;
                    let channels_in =
                        if first { self.widths[index.saturating_sub(1)] } else { channels_out };
                    let stride = if first && index > 0 { 2 } else { 1 };
                    Block::new(channels_in, channels_out, stride, self.elastic_link, device)
                })
                .collect()
        };
        Net {
            conv1: Conv2dConfig::new(self.in_channels, stem, 7).stride(2).init(device),
            bn1: BatchNormConfig::new(stem).init(device),
            maxpool: MaxPool2d::new(3, 2, 1),
            layer1: stage(0),
            layer2: stage(1),
            layer3: stage(2),
            layer4: stage(3),
            dropout: Dropout::new(self.drop_rate),
            fc: LinearConfig::new(self.widths[3], self.num_classes).init(device),
            widths: self.widths,
        }
    }
}

impl Backbone for Net {
    fn forward_features(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
        let x = self.bn1.forward(self.conv1.forward(x));
        taps.see("bn1", &x);
        let mut x = self.maxpool.forward(x);
        taps.see("maxpool", &x);
        let stages = [&self.layer1, &self.layer2, &self.layer3, &self.layer4];
        for (index, stage) in (1..).zip(stages) {
            for (place, block) in stage.iter().enumerate() {
                x = block.forward(x);
                taps.see(format_args!("layer{index}.{place}"), &x);
            }
            taps.see(format_args!("layer{index}"), &x);
        }
        x
    }

    fn forward_head(&self, features: Tensor<4>, _taps: &mut Taps) -> Tensor<2> {
        let pooled = global_avg_pool(features).flatten::<2>(1, 3);
        self.fc.forward(self.dropout.forward(pooled))
    }

    fn feature_info(&self) -> Vec<FeatureInfo> {
        let mut maps = vec![FeatureInfo::new("bn1", self.widths[0], 2)];
        maps.extend((0..4).map(|i| FeatureInfo::new(format!("layer{}", i + 1), self.widths[i], 4 << i)));
        maps
    }

    fn classifier(&self) -> &'static str {
        "fc"
    }
}
