//! ResNet of bottlenecks whose convolutions are all binary but for stem, projections and classifier.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_nn::binary::{PRelu, half_pool};
use ocelli_nn::{
    BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Dropout, Linear, LinearConfig, MaxPool2d, Taps,
    global_avg_pool,
};
use serde::{Deserialize, Serialize};

use super::Unit;
use crate::backbone::{Backbone, BackboneConfig, FeatureInfo};

/// Outputs per inner channel of a bottleneck.
const EXPANSION: usize = 4;

/// A binary ResNet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A 3x3 convolution of stride 1 instead of the 7x7 and the pooling: for pictures of 32 pixels.
    #[serde(default)]
    pub small_stem: bool,
    /// Bottlenecks per stage; the last stages may have none.
    pub layers: [usize; 4],
    /// Inner channels of the stages' bottlenecks; the stem has those of the first.
    pub widths: [usize; 4],
    /// Whether binary convolutions have links.
    pub elastic_link: bool,
    /// Channels of the input.
    pub in_channels: usize,
    /// Classes.
    pub num_classes: usize,
    /// Dropout before the classifier.
    pub drop_rate: f64,
}

impl Config {
    /// ResNet-26, with links.
    pub fn resnet26() -> Self {
        Self {
            small_stem: false,
            layers: [2; 4],
            widths: [64, 128, 256, 512],
            elastic_link: true,
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
    maxpool: Option<MaxPool2d>,
    layer1: Vec<Bottleneck>,
    layer2: Vec<Bottleneck>,
    layer3: Vec<Bottleneck>,
    layer4: Vec<Bottleneck>,
    dropout: Dropout,
    fc: Linear,
    #[module(skip)]
    maps: Vec<FeatureInfo>,
}

/// Binary 1x1 (squeeze), 3x3 (match), 1x1 (expand), and a real-valued shortcut.
#[derive(Module, Debug)]
pub struct Bottleneck {
    u1: Unit,
    u2: Unit,
    u3: Unit,
    downsample: Option<Downsample>,
    act: PRelu,
    stride: usize,
}

#[derive(Module, Debug)]
struct Downsample {
    conv: Conv2d,
    bn: BatchNorm,
}

impl Bottleneck {
    /// `channels_in → inner → inner → 4 · inner` channels; the 3x3 has the stride, 1 or 2.
    pub fn new(channels_in: usize, inner: usize, stride: usize, elastic_link: bool, device: &Device) -> Self {
        let channels_out = EXPANSION * inner;
        let unit = |from, to, kernel, stride, act| {
            Unit::new(Conv2dConfig::new(from, to, kernel).stride(stride), to, elastic_link, act, device)
        };
        let projects = stride != 1 || channels_in != channels_out;
        Self {
            u1: unit(channels_in, inner, 1, 1, true),
            u2: unit(inner, inner, 3, stride, true),
            u3: unit(inner, channels_out, 1, 1, false),
            downsample: projects.then(|| Downsample {
                conv: Conv2dConfig::new(channels_in, channels_out, 1).init(device),
                bn: BatchNormConfig::new(channels_out).init(device),
            }),
            act: PRelu::new(channels_out, device),
            stride,
        }
    }

    /// `[batch, channels_in, h, w]` → `[batch, 4 · inner, ⌈h / stride⌉, ⌈w / stride⌉]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.u2.forward(self.u1.forward(x.clone()));
        let shortcut = match &self.downsample {
            Some(Downsample { conv, bn }) => {
                let x = if self.stride == 2 { half_pool(x) } else { x };
                bn.forward(conv.forward(x))
            }
            None => x,
        };
        self.act.forward(self.u3.forward_add(y, shortcut))
    }
}

impl BackboneConfig for Config {
    type Net = Net;

    fn init(&self, device: &Device) -> Net {
        let stem = self.widths[0];
        let mut channels = stem;
        let mut stage = |index: usize| -> Vec<Bottleneck> {
            let inner = self.widths[index];
            (0..self.layers[index])
                .map(|block| {
                    let stride = if block == 0 && index > 0 { 2 } else { 1 };
                    let own = Bottleneck::new(channels, inner, stride, self.elastic_link, device);
                    channels = EXPANSION * inner;
                    own
                })
                .collect()
        };
        let [layer1, layer2, layer3, layer4] = [0, 1, 2, 3].map(&mut stage);
        let (kernel, stride, reduction) = if self.small_stem { (3, 1, 1) } else { (7, 2, 4) };
        let mut maps = Vec::new();
        if !self.small_stem {
            maps.push(FeatureInfo::new("bn1", stem, 2));
        }
        maps.extend((0..4).filter(|&i| self.layers[i] > 0).map(|i| {
            FeatureInfo::new(format!("layer{}", i + 1), EXPANSION * self.widths[i], reduction << i)
        }));
        Net {
            conv1: Conv2dConfig::new(self.in_channels, stem, kernel).stride(stride).init(device),
            bn1: BatchNormConfig::new(stem).init(device),
            maxpool: (!self.small_stem).then(|| MaxPool2d::new(3, 2, 1)),
            layer1,
            layer2,
            layer3,
            layer4,
            dropout: Dropout::new(self.drop_rate),
            fc: LinearConfig::new(channels, self.num_classes).init(device),
            maps,
        }
    }
}

impl Backbone for Net {
    fn forward_features(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
        let mut x = self.bn1.forward(self.conv1.forward(x));
        taps.see("bn1", &x);
        if let Some(pool) = &self.maxpool {
            x = pool.forward(x);
            taps.see("maxpool", &x);
        }
        let stages = [&self.layer1, &self.layer2, &self.layer3, &self.layer4];
        for (index, stage) in (1..).zip(stages) {
            for (place, block) in stage.iter().enumerate() {
                x = block.forward(x);
                taps.see(format_args!("layer{index}.{place}"), &x);
            }
            if !stage.is_empty() {
                taps.see(format_args!("layer{index}"), &x);
            }
        }
        x
    }

    fn forward_head(&self, features: Tensor<4>, _taps: &mut Taps) -> Tensor<2> {
        let pooled = global_avg_pool(features).flatten::<2>(1, 3);
        self.fc.forward(self.dropout.forward(pooled))
    }

    fn feature_info(&self) -> Vec<FeatureInfo> {
        self.maps.clone()
    }

    fn classifier(&self) -> &'static str {
        "fc"
    }
}
