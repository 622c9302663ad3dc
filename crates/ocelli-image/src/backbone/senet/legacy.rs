//! SE-ResNet, SE-ResNeXt and SENet-154 in the layout of the authors' Caffe release, under the names of its
//! PyTorch conversion (timm's `legacy_*`).
//!
//! Differs from the modern layout in the pooling of the stem (no padding, ceil), in SE-ResNet's stride (first
//! 1x1) and in the gate's hidden width (`channels / reduction`, truncated).

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_nn::penal::residual;
use ocelli_nn::{
    Activation, BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Dropout, Linear, LinearConfig, MaxPool2d,
    SqueezeExcite, Taps, global_avg_pool,
};
use serde::{Deserialize, Serialize};

use super::weights::{Layout, convert};
use crate::backbone::{Backbone, BackboneConfig, FeatureInfo};

const RELU: Activation = Activation::Relu;

/// Kind of residual block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Block {
    /// Two 3x3 convolutions, a ReLU after both norms.
    Basic,
    /// 1x1 with the stride, 3x3, 1x1 to four times the planes.
    #[serde(rename = "resnet")]
    ResNet,
    /// 1x1, grouped 3x3 with the stride, 1x1.
    #[serde(rename = "resnext")]
    ResNeXt,
    /// 1x1 to two, grouped 3x3 with the stride to four times the planes, 1x1.
    #[serde(rename = "senet154")]
    SeNet154,
}

impl Block {
    /// Output channels per plane.
    pub fn expansion(self) -> usize {
        if self == Block::Basic { 1 } else { 4 }
    }
}

/// An SENet of the released layout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Kind of block.
    pub block: Block,
    /// Blocks per stage.
    pub layers: [usize; 4],
    /// Groups of the bottlenecks' 3x3.
    pub groups: usize,
    /// Width per group at 64 planes; only ResNeXt's blocks look at it.
    pub base_width: usize,
    /// Channels per hidden unit of the gate.
    pub reduction: usize,
    /// Three 3x3 (64, 64, 128 channels) in the stem instead of one 7x7 (64).
    pub deep_stem: bool,
    /// 3x3 instead of 1x1 in the projections of stages 2 to 4.
    pub down_3x3: bool,
    /// Channels of the input.
    pub in_channels: usize,
    /// Classes.
    pub num_classes: usize,
    /// Dropout before the classifier.
    pub drop_rate: f64,
}

impl Config {
    /// The released network of these blocks.
    pub fn new(block: Block, layers: [usize; 4]) -> Self {
        let challenge = block == Block::SeNet154;
        Self {
            block,
            layers,
            groups: match block {
                Block::Basic | Block::ResNet => 1,
                Block::ResNeXt => 32,
                Block::SeNet154 => 64,
            },
            base_width: 4,
            reduction: 16,
            deep_stem: challenge,
            down_3x3: challenge,
            in_channels: 3,
            num_classes: 1000,
            drop_rate: if challenge { 0.2 } else { 0.0 },
        }
    }
}

/// Stem, four stages, global pooling, linear classifier.
#[derive(Module, Debug)]
pub struct Net {
    layer0: Stem,
    pool0: MaxPool2d,
    layer1: Vec<Residual>,
    layer2: Vec<Residual>,
    layer3: Vec<Residual>,
    layer4: Vec<Residual>,
    dropout: Dropout,
    last_linear: Linear,
}

/// One or three convolutions, each with norm and ReLU.
#[derive(Module, Debug)]
struct Stem {
    conv1: Conv2d,
    bn1: BatchNorm,
    conv2: Option<Conv2d>,
    bn2: Option<BatchNorm>,
    conv3: Option<Conv2d>,
    bn3: Option<BatchNorm>,
}

impl Stem {
    fn new(in_channels: usize, deep: bool, device: &Device) -> Self {
        let norm = |channels| BatchNormConfig::new(channels).init(device);
        let kernel = if deep { 3 } else { 7 };
        Self {
            conv1: Conv2dConfig::new(in_channels, 64, kernel).stride(2).init(device),
            bn1: norm(64),
            conv2: deep.then(|| Conv2dConfig::new(64, 64, 3).init(device)),
            bn2: deep.then(|| norm(64)),
            conv3: deep.then(|| Conv2dConfig::new(64, 128, 3).init(device)),
            bn3: deep.then(|| norm(128)),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut x = self.bn1.forward_then(self.conv1.forward(x), RELU);
        for (conv, bn) in [(&self.conv2, &self.bn2), (&self.conv3, &self.bn3)] {
            if let (Some(conv), Some(bn)) = (conv, bn) {
                x = bn.forward_then(conv.forward(x), RELU);
            }
        }
        x
    }

    fn channels(&self) -> usize {
        let last = self.bn3.as_ref().unwrap_or(&self.bn1);
        last.weight.lazy_shape().dims::<1>()[0]
    }
}

/// Shape of a residual block.
#[derive(Clone, Copy, Debug)]
pub struct BlockShape {
    /// Kind of block.
    pub block: Block,
    /// Channels of the input.
    pub channels_in: usize,
    /// Planes; the output has [`Block::expansion`] times as many channels.
    pub planes: usize,
    /// Stride of the block.
    pub stride: usize,
    /// Groups of the 3x3.
    pub groups: usize,
    /// Width per group at 64 planes, for ResNeXt.
    pub base_width: usize,
    /// Channels per hidden unit of the gate.
    pub reduction: usize,
    /// Kernel of the projection.
    pub down_kernel: usize,
}

/// A residual block: two convolutions, or three for a bottleneck, then the gate, the sum and a ReLU.
#[derive(Module, Debug)]
pub struct Residual {
    conv1: Conv2d,
    bn1: BatchNorm,
    conv2: Conv2d,
    bn2: BatchNorm,
    conv3: Option<Conv2d>,
    bn3: Option<BatchNorm>,
    se_module: SqueezeExcite,
    downsample: Option<(Conv2d, BatchNorm)>,
}

impl Residual {
    /// Builds the block, its parameters zeros until initialised or loaded.
    pub fn new(shape: BlockShape, device: &Device) -> Self {
        let BlockShape { block, channels_in, planes, stride, groups, .. } = shape;
        let norm = |channels| BatchNormConfig::new(channels).init(device);
        let channels_out = planes * block.expansion();
        // Widths of the first two convolutions, the first one's kernel, and who of them has the stride.
        let (first, second, kernel, strides) = match block {
            Block::Basic => (planes, planes, 3, [stride, 1]),
            Block::ResNet => (planes, planes, 1, [stride, 1]),
            Block::ResNeXt => {
                let width = planes * shape.base_width / 64 * groups;
                (width, width, 1, [1, stride])
            }
            Block::SeNet154 => (2 * planes, 4 * planes, 1, [1, stride]),
        };
        let bottleneck = block != Block::Basic;
        Self {
            conv1: Conv2dConfig::new(channels_in, first, kernel).stride(strides[0]).init(device),
            bn1: norm(first),
            conv2: Conv2dConfig::new(first, second, 3).stride(strides[1]).groups(groups).init(device),
            bn2: norm(second),
            conv3: bottleneck.then(|| Conv2dConfig::new(second, channels_out, 1).init(device)),
            bn3: bottleneck.then(|| norm(channels_out)),
            se_module: SqueezeExcite::new(channels_out, (channels_out / shape.reduction).max(1), device),
            downsample: (stride != 1 || channels_in != channels_out).then(|| {
                let conv = Conv2dConfig::new(channels_in, channels_out, shape.down_kernel);
                (conv.stride(stride).init(device), norm(channels_out))
            }),
        }
    }

    /// `[batch, channels_in, h, w]` → `[batch, planes · expansion, h / stride, w / stride]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.bn1.forward_then(self.conv1.forward(x.clone()), RELU);
        // The basic block's second norm has a ReLU too, which its gate then sees.
        let mut y = self.bn2.forward_then(self.conv2.forward(y), RELU);
        if let (Some(conv), Some(bn)) = (&self.conv3, &self.bn3) {
            y = bn.forward(conv.forward(y));
        }
        let shortcut = match &self.downsample {
            Some((conv, bn)) => bn.forward(conv.forward(x)),
            None => x,
        };
        RELU.forward(residual(self.se_module.forward(y), shortcut))
    }
}

impl BackboneConfig for Config {
    type Net = Net;

    fn init(&self, device: &Device) -> Net {
        let layer0 = Stem::new(self.in_channels, self.deep_stem, device);
        let mut channels_in = layer0.channels();
        let mut stage = |index: usize| -> Vec<Residual> {
            (0..self.layers[index])
                .map(|block| {
                    let shape = BlockShape {
                        block: self.block,
                        channels_in,
                        planes: 64 << index,
                        stride: if block == 0 && index > 0 { 2 } else { 1 },
                        groups: self.groups,
                        base_width: self.base_width,
                        reduction: self.reduction,
                        down_kernel: if index > 0 && self.down_3x3 { 3 } else { 1 },
                    };
                    channels_in = shape.planes * self.block.expansion();
                    Residual::new(shape, device)
                })
                .collect()
        };
        Net {
            layer0,
            pool0: MaxPool2d::caffe(3, 2),
            layer1: stage(0),
            layer2: stage(1),
            layer3: stage(2),
            layer4: stage(3),
            dropout: Dropout::new(self.drop_rate),
            last_linear: LinearConfig::new(512 * self.block.expansion(), self.num_classes).init(device),
        }
    }
}

impl Backbone for Net {
    fn forward_features(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
        let x = self.layer0.forward(x);
        taps.see("layer0", &x);
        let mut x = self.pool0.forward(x);
        taps.see("pool0", &x);
        for (index, stage) in [&self.layer1, &self.layer2, &self.layer3, &self.layer4].into_iter().enumerate()
        {
            for (block, residual) in stage.iter().enumerate() {
                x = residual.forward(x);
                taps.see(format_args!("layer{}.{block}", index + 1), &x);
            }
            taps.see(format_args!("layer{}", index + 1), &x);
        }
        x
    }

    fn forward_head(&self, features: Tensor<4>, _taps: &mut Taps) -> Tensor<2> {
        let pooled = global_avg_pool(features).flatten::<2>(1, 3);
        self.last_linear.forward(self.dropout.forward(pooled))
    }

    fn feature_info(&self) -> Vec<FeatureInfo> {
        let [_, last] = self.last_linear.weight.lazy_shape().dims();
        let mut maps = vec![FeatureInfo::new("layer0", self.layer0.channels(), 2)];
        maps.extend((0..4).map(|i| FeatureInfo::new(format!("layer{}", i + 1), last >> (3 - i), 4 << i)));
        maps
    }

    fn classifier(&self) -> &'static str {
        "last_linear"
    }

    /// The authors' `.caffemodel` files, by their layers' names.
    fn adopt(&self, foreign: &str) -> Option<String> {
        convert(foreign, Layout::Caffe, Layout::Legacy, self.layer0.conv2.is_some())
    }
}
