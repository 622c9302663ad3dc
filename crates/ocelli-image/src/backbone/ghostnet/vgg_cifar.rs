//! VGG-16 for 32x32 pictures with batch norm: plain, or with a Ghost module for every 3x3 convolution.
//!
//! Keys: `features.I` counts convolutions and poolings: `.primary_conv` and `.cheap_operation` of a Ghost
//! module, `.0` and `.1` (convolution, norm) of a plain one; `classifier.{0,2}`.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_nn::{
    Activation, BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Dropout, GhostConfig, GhostModule,
    InitScheme, Linear, LinearConfig, MaxPool2d, Slot, Taps, global_avg_pool,
};
use serde::{Deserialize, Serialize};

use crate::backbone::{Backbone, BackboneConfig, FeatureInfo};

const RELU: Activation = Activation::Relu;

/// Channels of VGG-16's stages, a pooling after each.
const STAGES: [&[usize]; 5] = [&[64, 64], &[128, 128], &[256, 256, 256], &[512, 512, 512], &[512, 512, 512]];

/// Size of the Ghost modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ghost {
    /// Output channels per intrinsic channel (s).
    pub ratio: usize,
    /// Side of the cheap operation's kernel (d).
    pub cheap_kernel: usize,
}

/// A VGG-16 for small pictures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The Ghost modules; none for the plain network.
    pub ghost: Option<Ghost>,
    /// Widths of the classifier's hidden layers.
    pub hidden: Vec<usize>,
    /// Channels of the input.
    pub in_channels: usize,
    /// Classes.
    pub num_classes: usize,
    /// Dropout before the classifier's last layer.
    pub drop_rate: f64,
}

impl Config {
    /// Ten classes, one hidden layer of 512.
    pub fn new(ghost: Option<Ghost>) -> Self {
        Self { ghost, hidden: vec![512], in_channels: 3, num_classes: 10, drop_rate: 0.0 }
    }
}

/// Convolutions, then fully connected layers with a ReLU between.
#[derive(Module, Debug)]
pub struct Net {
    features: Vec<Layer>,
    classifier: Vec<Dense>,
    dropout: Dropout,
    #[module(skip)]
    maps: Vec<FeatureInfo>,
    #[module(skip)]
    last: &'static str,
}

#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
enum Layer {
    Ghost(GhostModule),
    Plain((Conv2d, BatchNorm)),
    Pool(MaxPool2d),
}

#[derive(Module, Debug)]
enum Dense {
    Linear(Linear),
    Relu(Slot),
}

impl BackboneConfig for Config {
    type Net = Net;

    fn init(&self, device: &Device) -> Net {
        let mut channels_in = self.in_channels;
        let mut features = Vec::new();
        let mut maps = Vec::new();
        for (stage, channels) in STAGES.iter().enumerate() {
            for &channels in *channels {
                features.push(match self.ghost {
                    Some(Ghost { ratio, cheap_kernel }) => Layer::Ghost(
                        GhostConfig::new(channels_in, channels)
                            .kernel(3)
                            .ratio(ratio)
                            .cheap_kernel(cheap_kernel)
                            .init(device),
                    ),
                    None => Layer::Plain((
                        Conv2dConfig::new(channels_in, channels, 3).init(device),
                        BatchNormConfig::new(channels).init(device),
                    )),
                });
                channels_in = channels;
            }
            maps.push(FeatureInfo::new(format!("features.{}", features.len() - 1), channels_in, 1 << stage));
            features.push(Layer::Pool(MaxPool2d::new(2, 2, 0)));
        }
        let mut classifier = Vec::new();
        for &units in &self.hidden {
            classifier.push(Dense::Linear(LinearConfig::new(channels_in, units).init(device)));
            classifier.push(Dense::Relu(Slot {}));
            channels_in = units;
        }
        classifier.push(Dense::Linear(LinearConfig::new(channels_in, self.num_classes).init(device)));
        // The trait's name is static; nobody stacks more hidden layers than this.
        let last = ["classifier.0", "classifier.2", "classifier.4", "classifier.6"];
        Net {
            features,
            classifier,
            dropout: Dropout::new(self.drop_rate),
            maps,
            last: last[self.hidden.len().min(3)],
        }
    }
}

impl Backbone for Net {
    fn forward_features(&self, mut x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
        for (index, layer) in self.features.iter().enumerate() {
            x = match layer {
                Layer::Ghost(ghost) => ghost.forward(x),
                Layer::Plain((conv, bn)) => bn.forward_then(conv.forward(x), RELU),
                Layer::Pool(pool) => pool.forward(x),
            };
            taps.see(format_args!("features.{index}"), &x);
        }
        x
    }

    fn forward_head(&self, features: Tensor<4>, _taps: &mut Taps) -> Tensor<2> {
        // One pixel is left of 32x32; larger pictures are averaged.
        let mut x = global_avg_pool(features).flatten::<2>(1, 3);
        for (index, layer) in self.classifier.iter().enumerate() {
            x = match layer {
                Dense::Linear(linear) if index + 1 == self.classifier.len() => {
                    linear.forward(self.dropout.forward(x))
                }
                Dense::Linear(linear) => linear.forward(x),
                Dense::Relu(_) => RELU.forward(x),
            };
        }
        x
    }

    fn feature_info(&self) -> Vec<FeatureInfo> {
        self.maps.clone()
    }

    fn classifier(&self) -> &'static str {
        self.last
    }

    fn init_scheme(&self) -> InitScheme {
        super::model::INIT
    }
}
