//! VGG for 32x32 pictures with batch norm, of convolutions of any kind: plain, versatile, or with learned masks.
//!
//! Keys: `features.N` counts convolutions, norms, ReLUs and poolings, `.{weight,bias}` or with masks
//! `.{basis_list,mask,bias}`; `classifier`.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_nn::{ConvKind, Dropout, InitScheme, Linear, LinearConfig, Taps, global_avg_pool};
use serde::{Deserialize, Serialize};

use super::unwrapped;
use super::vgg::{Depth, INIT, Layer, features, run};
use crate::backbone::{Backbone, BackboneConfig, FeatureInfo};

/// A VGG for small pictures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels of every stage's convolutions; a pooling follows each stage.
    pub stages: Vec<Vec<usize>>,
    /// Kind of the convolutions.
    pub conv: ConvKind,
    /// Channels of the input.
    pub in_channels: usize,
    /// Classes.
    pub num_classes: usize,
    /// Dropout before the classifier.
    pub drop_rate: f64,
}

impl Config {
    /// VGG-16 for ten classes.
    pub fn new(conv: ConvKind) -> Self {
        Self { stages: Depth::Vgg16.stages(), conv, in_channels: 3, num_classes: 10, drop_rate: 0.0 }
    }
}

/// Convolutions, an average over what is left, one fully connected layer.
#[derive(Module, Debug)]
pub struct Net {
    features: Vec<Layer>,
    dropout: Dropout,
    classifier: Linear,
    #[module(skip)]
    maps: Vec<FeatureInfo>,
}

impl BackboneConfig for Config {
    type Net = Net;

    fn init(&self, device: &Device) -> Net {
        let (features, maps) = features(&self.stages, true, self.conv, self.in_channels, device);
        let channels = maps.last().map_or(self.in_channels, |map| map.channels);
        Net {
            features,
            dropout: Dropout::new(self.drop_rate),
            classifier: LinearConfig::new(channels, self.num_classes).init(device),
            maps,
        }
    }
}

impl Backbone for Net {
    fn forward_features(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
        run(&self.features, x, taps)
    }

    fn forward_head(&self, features: Tensor<4>, _taps: &mut Taps) -> Tensor<2> {
        let pooled = global_avg_pool(features).flatten::<2>(1, 3);
        self.classifier.forward(self.dropout.forward(pooled))
    }

    fn feature_info(&self) -> Vec<FeatureInfo> {
        self.maps.clone()
    }

    fn classifier(&self) -> &'static str {
        "classifier"
    }

    fn init_scheme(&self) -> InitScheme {
        INIT
    }

    fn adopt(&self, foreign: &str) -> Option<String> {
        unwrapped(foreign)
    }
}
