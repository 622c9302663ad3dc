//! VGG of versatile filters: nested kernels in all convolutions, and in the place of the first fully connected layer a
//! 7x7 convolution of nested kernels over the whole map.
//!
//! Keys: `features.N` counts convolutions, norms, ReLUs and poolings as torchvision does; `fc6`; `classifier.{2,5}`.

use burn::module::Module;
use burn::tensor::{Device, Tensor, module::adaptive_avg_pool2d};
use ocelli_nn::init::Draw;
use ocelli_nn::{
    Activation, BatchNorm, BatchNormConfig, Conv2dConfig, ConvKind, Convolution, Dropout, InitScheme, Linear,
    LinearConfig, MaxPool2d, Slot, Taps, Versatile,
};
use serde::{Deserialize, Serialize};

use super::unwrapped;
use crate::backbone::{Backbone, BackboneConfig, FeatureInfo};

const RELU: Activation = Activation::Relu;

/// Width of the two hidden layers.
const HIDDEN: usize = 4096;
/// Side of the map `fc6` sees: 224 pixels, halved five times.
const SIDE: usize = 7;

/// The published depths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Configuration A.
    Vgg11,
    /// Configuration B.
    Vgg13,
    /// Configuration D.
    Vgg16,
    /// Configuration E.
    Vgg19,
}

impl Depth {
    /// Channels of every stage's convolutions.
    pub fn stages(self) -> Vec<Vec<usize>> {
        let counts = match self {
            Self::Vgg11 => [1, 1, 2, 2, 2],
            Self::Vgg13 => [2, 2, 2, 2, 2],
            Self::Vgg16 => [2, 2, 3, 3, 3],
            Self::Vgg19 => [2, 2, 4, 4, 4],
        };
        [64, 128, 256, 512, 512].into_iter().zip(counts).map(|(width, count)| vec![width; count]).collect()
    }
}

/// A versatile VGG.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels of every stage's convolutions; a pooling follows each stage.
    pub stages: Vec<Vec<usize>>,
    /// Whether a norm follows every convolution.
    pub batch_norm: bool,
    /// Kind of the convolutions and of `fc6`.
    pub versatile: Versatile,
    /// Channels of the input.
    pub in_channels: usize,
    /// Classes.
    pub num_classes: usize,
    /// Dropout in the classifier.
    pub drop_rate: f64,
}

impl Config {
    /// The authors' network for ImageNet.
    pub fn new(depth: Depth, batch_norm: bool) -> Self {
        Self {
            stages: depth.stages(),
            batch_norm,
            versatile: Versatile::V1,
            in_channels: 3,
            num_classes: 1000,
            drop_rate: 0.5,
        }
    }
}

/// Convolutions, a convolution over the whole map, two fully connected layers.
#[derive(Module, Debug)]
pub struct Net {
    features: Vec<Layer>,
    fc6: Convolution,
    classifier: (Slot, Dropout, Linear, Slot, Dropout, Linear),
    #[module(skip)]
    maps: Vec<FeatureInfo>,
}

/// A place of `features`.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
pub(super) enum Layer {
    Conv(Convolution),
    Norm(BatchNorm),
    Relu(Slot),
    Pool(MaxPool2d),
}

/// The layers of all stages, a pooling after each, and the maps before these.
pub(super) fn features(
    stages: &[Vec<usize>],
    batch_norm: bool,
    kind: ConvKind,
    in_channels: usize,
    device: &Device,
) -> (Vec<Layer>, Vec<FeatureInfo>) {
    let (mut features, mut maps, mut channels_in) = (Vec::new(), Vec::new(), in_channels);
    for (stage, convolutions) in stages.iter().enumerate() {
        for &channels in convolutions {
            features
                .push(Layer::Conv(kind.init(Conv2dConfig::new(channels_in, channels, 3).bias(true), device)));
            if batch_norm {
                features.push(Layer::Norm(BatchNormConfig::new(channels).init(device)));
            }
            features.push(Layer::Relu(Slot {}));
            channels_in = channels;
        }
        maps.push(FeatureInfo::new(
            format!("features.{}", features.len().saturating_sub(1)),
            channels_in,
            1 << stage,
        ));
        features.push(Layer::Pool(MaxPool2d::new(2, 2, 0)));
    }
    (features, maps)
}

/// Runs `features`, each place offered to `taps`.
pub(super) fn run(features: &[Layer], mut x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
    let mut done = false;
    for (index, layer) in features.iter().enumerate() {
        x = match layer {
            Layer::Conv(conv) => conv.forward(x),
            // One pass does both, unless the map between is asked for.
            Layer::Norm(norm) if !taps.wants(format_args!("features.{index}")) => {
                done = true;
                norm.forward_then(x, RELU)
            }
            Layer::Norm(norm) => norm.forward(x),
            Layer::Relu(_) if std::mem::take(&mut done) => x,
            Layer::Relu(_) => RELU.forward(x),
            Layer::Pool(pool) => pool.forward(x),
        };
        taps.see(format_args!("features.{index}"), &x);
    }
    x
}

impl BackboneConfig for Config {
    type Net = Net;

    fn init(&self, device: &Device) -> Net {
        let kind = ConvKind::Versatile(self.versatile);
        let (features, maps) = features(&self.stages, self.batch_norm, kind, self.in_channels, device);
        let channels = maps.last().map_or(self.in_channels, |map| map.channels);
        let linear = |from, to| LinearConfig::new(from, to).init(device);
        let dropout = || Dropout::new(self.drop_rate);
        Net {
            features,
            fc6: kind.init(Conv2dConfig::new(channels, HIDDEN, SIDE).padding(0).bias(true), device),
            classifier: (
                Slot {},
                dropout(),
                linear(HIDDEN, HIDDEN),
                Slot {},
                dropout(),
                linear(HIDDEN, self.num_classes),
            ),
            maps,
        }
    }
}

impl Backbone for Net {
    fn forward_features(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
        run(&self.features, x, taps)
    }

    fn forward_head(&self, features: Tensor<4>, taps: &mut Taps) -> Tensor<2> {
        let [_, _, height, width] = features.dims();
        // The released network takes 224 pixels only; maps of another size are averaged to what it would see.
        let x = match [height, width] {
            [SIDE, SIDE] => features,
            _ => adaptive_avg_pool2d(features, [SIDE; 2]),
        };
        let (_, drop1, second, _, drop2, last) = &self.classifier;
        let x = self.fc6.forward(x);
        taps.see("fc6", &x);
        let x = second.forward(drop1.forward(RELU.forward(x.flatten::<2>(1, 3))));
        taps.see_vector("classifier.2", &x);
        last.forward(drop2.forward(RELU.forward(x)))
    }

    fn feature_info(&self) -> Vec<FeatureInfo> {
        self.maps.clone()
    }

    fn classifier(&self) -> &'static str {
        "classifier.5"
    }

    fn init_scheme(&self) -> InitScheme {
        INIT
    }

    fn adopt(&self, foreign: &str) -> Option<String> {
        unwrapped(foreign)
    }
}

/// The authors' start.
pub(super) const INIT: InitScheme = InitScheme {
    conv: Draw::KaimingNormalFanOut,
    conv_bias: Draw::Zeros,
    linear: Draw::Normal(0.01),
    linear_bias: Draw::Zeros,
    positions: Draw::Zeros,
};
