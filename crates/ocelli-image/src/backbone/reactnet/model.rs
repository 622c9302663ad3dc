//! ReActNet-A.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_nn::binary::{BinaryConv2dConfig, ChannelBias, ElasticLink, FlatBinaryConv2d, PRelu, half_pool};
use ocelli_nn::penal::residual;
use ocelli_nn::{
    BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Dropout, Linear, LinearConfig, Taps, global_avg_pool,
};
use serde::{Deserialize, Serialize};

use crate::backbone::{Backbone, BackboneConfig, FeatureInfo};

/// A ReActNet after MobileNetV1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels of the stem.
    pub stem: usize,
    /// Output channels and stride of every block: the channels stay or double, the stride is 1 or 2.
    pub stages: Vec<[usize; 2]>,
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
    /// ReActNet-A.
    pub fn a() -> Self {
        let mut stages = vec![[64, 1], [128, 2], [128, 1], [256, 2], [256, 1], [512, 2]];
        stages.extend([[512, 1]; 5]);
        stages.extend([[1024, 2], [1024, 1]]);
        Self { stem: 32, stages, elastic_link: false, in_channels: 3, num_classes: 1000, drop_rate: 0.0 }
    }
}

/// The network.
#[derive(Module, Debug)]
pub struct Net {
    feature: Vec<Feature>,
    dropout: Dropout,
    fc: Linear,
    #[module(skip)]
    maps: Vec<FeatureInfo>,
}

#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
enum Feature {
    Stem(Stem),
    Block(Block),
}

/// A real-valued convolution without activation.
#[derive(Module, Debug)]
struct Stem {
    conv1: Conv2d,
    bn1: BatchNorm,
}

/// A binary 3x3 and a binary 1x1 convolution, each with a shortcut; where the channels double, two 1x1 whose results lie behind
/// each other.
#[derive(Module, Debug)]
pub struct Block {
    move11: ChannelBias,
    binary_3x3: FlatBinaryConv2d,
    bn1: BatchNorm,
    move12: ChannelBias,
    prelu1: PRelu,
    move13: ChannelBias,
    move21: ChannelBias,
    binary_pw: Option<FlatBinaryConv2d>,
    bn2: Option<BatchNorm>,
    binary_pw_down1: Option<FlatBinaryConv2d>,
    binary_pw_down2: Option<FlatBinaryConv2d>,
    bn2_1: Option<BatchNorm>,
    bn2_2: Option<BatchNorm>,
    move22: ChannelBias,
    prelu2: PRelu,
    move23: ChannelBias,
    el1: Option<ElasticLink>,
    el2: Option<ElasticLink>,
    el2_2: Option<ElasticLink>,
    stride: usize,
}

impl Block {
    /// A block of `channels_in → channels_out`.
    ///
    /// # Panics
    /// If the channels neither stay nor double, or the stride is neither 1 nor 2: a mistake in a network's own code.
    pub fn new(
        channels_in: usize,
        channels_out: usize,
        stride: usize,
        elastic_link: bool,
        device: &Device,
    ) -> Self {
        let doubles = channels_out == 2 * channels_in;
        assert!(doubles || channels_out == channels_in, "{channels_in} -> {channels_out} channels");
        assert!(matches!(stride, 1 | 2), "stride {stride}");
        let conv = |kernel, stride| {
            let plain = Conv2dConfig::new(channels_in, channels_in, kernel).stride(stride);
            // The authors' range: all signs begin equal.
            BinaryConv2dConfig::new(plain).range(0.0, 1e-3).init_flat(device)
        };
        let norm = || BatchNormConfig::new(channels_in).init(device);
        let shift = |channels| ChannelBias::new(channels, device);
        let el = |wanted: bool| (elastic_link && wanted).then(|| ElasticLink::new(device));
        Self {
            move11: shift(channels_in),
            binary_3x3: conv(3, stride),
            bn1: norm(),
            move12: shift(channels_in),
            prelu1: PRelu::new(channels_in, device),
            move13: shift(channels_in),
            move21: shift(channels_in),
            binary_pw: (!doubles).then(|| conv(1, 1)),
            bn2: (!doubles).then(norm),
            binary_pw_down1: doubles.then(|| conv(1, 1)),
            binary_pw_down2: doubles.then(|| conv(1, 1)),
            bn2_1: doubles.then(norm),
            bn2_2: doubles.then(norm),
            move22: shift(channels_out),
            prelu2: PRelu::new(channels_out, device),
            move23: shift(channels_out),
            el1: el(true),
            el2: el(true),
            el2_2: el(doubles),
            stride,
        }
    }

    /// `[batch, channels_in, h, w]` → `[batch, channels_out, ⌈h / stride⌉, ⌈w / stride⌉]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.bn1.forward(self.binary_3x3.forward(self.move11.forward(x.clone())));
        let x = if self.stride == 2 { half_pool(x) } else { x };
        let y = residual(y, weighed(&self.el1, x));
        let y = self.move13.forward(self.prelu1.forward(self.move12.forward(y)));
        let bits = self.move21.forward(y.clone());
        let part = |conv: &Option<FlatBinaryConv2d>, norm: &Option<BatchNorm>, el: &Option<ElasticLink>| {
            let (conv, norm) = (conv.as_ref()?, norm.as_ref()?);
            Some(residual(norm.forward(conv.forward(bits.clone())), weighed(el, y.clone())))
        };
        let parts: Vec<Tensor<4>> = [
            part(&self.binary_pw, &self.bn2, &self.el2),
            part(&self.binary_pw_down1, &self.bn2_1, &self.el2),
            part(&self.binary_pw_down2, &self.bn2_2, &self.el2_2),
        ]
        .into_iter()
        .flatten()
        .collect();
        self.move23.forward(self.prelu2.forward(self.move22.forward(Tensor::cat(parts, 1))))
    }
}

/// A shortcut times its factor, if it has one.
pub(super) fn weighed(el: &Option<ElasticLink>, x: Tensor<4>) -> Tensor<4> {
    match el {
        Some(el) => el.scale(x),
        None => x,
    }
}

impl BackboneConfig for Config {
    type Net = Net;

    fn init(&self, device: &Device) -> Net {
        let stem = Stem {
            conv1: Conv2dConfig::new(self.in_channels, self.stem, 3).stride(2).init(device),
            bn1: BatchNormConfig::new(self.stem).init(device),
        };
        let mut feature = vec![Feature::Stem(stem)];
        let (mut channels, mut reduction) = (self.stem, 2);
        let mut maps: Vec<FeatureInfo> = Vec::new();
        for &[channels_out, stride] in &self.stages {
            let block = Block::new(channels, channels_out, stride, self.elastic_link, device);
            reduction *= stride;
            channels = channels_out;
            // Of every size the last.
            if maps.last().is_some_and(|last| last.reduction == reduction) {
                maps.pop();
            }
            maps.push(FeatureInfo::new(format!("feature.{}", feature.len()), channels, reduction));
            feature.push(Feature::Block(block));
        }
        Net {
            feature,
            dropout: Dropout::new(self.drop_rate),
            fc: LinearConfig::new(channels, self.num_classes).init(device),
            maps,
        }
    }
}

impl Backbone for Net {
    fn forward_features(&self, mut x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
        for (index, feature) in self.feature.iter().enumerate() {
            x = match feature {
                Feature::Stem(stem) => stem.bn1.forward(stem.conv1.forward(x)),
                Feature::Block(block) => block.forward(x),
            };
            taps.see(format_args!("feature.{index}"), &x);
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

    fn adopt(&self, foreign: &str) -> Option<String> {
        // The first training step's weights have four dimensions and another name.
        let (layer, leaf) = foreign.rsplit_once('.')?;
        (leaf == "weight" && layer.contains(".binary_")).then(|| format!("{layer}.weights"))
    }
}
