//! The network.
//!
//! Keys: `features.N` numbers convolutions, norms, ReLUs and poolings; `classifier.{0,3,6}`. The gates, which
//! torchvision does not have, are `se.K.{fc1,fc2}` for the K-th convolution, so that the plain network's
//! weights keep their names.

use burn::module::Module;
use burn::tensor::{Device, Tensor, module::adaptive_avg_pool2d};
use ocelli_nn::{
    Activation, BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Dropout, Linear, LinearConfig, MaxPool2d,
    Slot, SqueezeExcite, Taps,
};
use serde::{Deserialize, Serialize};

use crate::backbone::{Backbone, BackboneConfig, FeatureInfo};

const RELU: Activation = Activation::Relu;

/// Width of the two hidden layers.
const HIDDEN: usize = 4096;
/// Side of the map the classifier sees.
const SIDE: usize = 7;

/// A VGG with batch norm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels of every stage's convolutions; a pooling follows each stage.
    pub stages: Vec<Vec<usize>>,
    /// Channels per hidden unit of the gates; none for the plain network.
    pub reduction: Option<usize>,
    /// Channels of the input.
    pub in_channels: usize,
    /// Classes.
    pub num_classes: usize,
    /// Dropout in the classifier.
    pub drop_rate: f64,
}

impl Config {
    /// VGG-16 for ImageNet.
    pub fn new(reduction: Option<usize>) -> Self {
        Self {
            stages: vec![vec![64; 2], vec![128; 2], vec![256; 3], vec![512; 3], vec![512; 3]],
            reduction,
            in_channels: 3,
            num_classes: 1000,
            drop_rate: 0.5,
        }
    }
}

/// Convolutions, a fixed-size average, three fully connected layers.
#[derive(Module, Debug)]
pub struct Net {
    features: Vec<Layer>,
    se: Vec<SqueezeExcite>,
    classifier: (Linear, Slot, Dropout, Linear, Slot, Dropout, Linear),
    #[module(skip)]
    maps: Vec<FeatureInfo>,
}

#[derive(Module, Debug)]
enum Layer {
    Conv(Conv2d),
    Norm(BatchNorm),
    Relu(Slot),
    Pool(MaxPool2d),
}

impl BackboneConfig for Config {
    type Net = Net;

    fn init(&self, device: &Device) -> Net {
        let mut features = Vec::new();
        let mut se = Vec::new();
        let mut maps = Vec::new();
        let mut channels_in = self.in_channels;
        for (stage, convolutions) in self.stages.iter().enumerate() {
            for &channels in convolutions {
                features
                    .push(Layer::Conv(Conv2dConfig::new(channels_in, channels, 3).bias(true).init(device)));
                features.push(Layer::Norm(BatchNormConfig::new(channels).init(device)));
                features.push(Layer::Relu(Slot {}));
                if let Some(reduction) = self.reduction {
                    se.push(SqueezeExcite::new(channels, (channels / reduction).max(1), device));
                }
                channels_in = channels;
            }
            maps.push(FeatureInfo::new(format!("features.{}", features.len() - 1), channels_in, 1 << stage));
            features.push(Layer::Pool(MaxPool2d::new(2, 2, 0)));
        }
        let linear = |from, to| LinearConfig::new(from, to).init(device);
        let dropout = || Dropout::new(self.drop_rate);
        Net {
            features,
            se,
            classifier: (
                linear(channels_in * SIDE * SIDE, HIDDEN),
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
    fn forward_features(&self, mut x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
        let mut gates = self.se.iter();
        for (index, layer) in self.features.iter().enumerate() {
            x = match layer {
                Layer::Conv(conv) => conv.forward(x),
                Layer::Norm(norm) => norm.forward(x),
                Layer::Pool(pool) => pool.forward(x),
                Layer::Relu(_) => {
                    let x = RELU.forward(x);
                    match gates.next() {
                        Some(se) => se.forward(x),
                        None => x,
                    }
                }
            };
            taps.see(format_args!("features.{index}"), &x);
        }
        x
    }

    fn forward_head(&self, features: Tensor<4>, _taps: &mut Taps) -> Tensor<2> {
        let (first, _, drop1, second, _, drop2, last) = &self.classifier;
        let x = adaptive_avg_pool2d(features, [SIDE; 2]).flatten::<2>(1, 3);
        let x = drop1.forward(RELU.forward(first.forward(x)));
        let x = drop2.forward(RELU.forward(second.forward(x)));
        last.forward(x)
    }

    fn feature_info(&self) -> Vec<FeatureInfo> {
        self.maps.clone()
    }

    fn classifier(&self) -> &'static str {
        "classifier.6"
    }

    /// timm's names, whose first two fully connected layers are convolutions.
    fn adopt(&self, foreign: &str) -> Option<String> {
        let (layer, leaf) = foreign.rsplit_once('.')?;
        let ours = match layer {
            "pre_logits.fc1" => "classifier.0",
            "pre_logits.fc2" => "classifier.3",
            "head.fc" => "classifier.6",
            _ => return None,
        };
        Some(format!("{ours}.{leaf}"))
    }
}
