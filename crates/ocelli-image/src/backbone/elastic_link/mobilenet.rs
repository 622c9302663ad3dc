//! MobileNetV1 whose depthwise and pointwise convolutions are binary.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_nn::{
    BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Dropout, Linear, LinearConfig, Taps, global_avg_pool,
};
use serde::{Deserialize, Serialize};

use super::Unit;
use crate::backbone::{Backbone, BackboneConfig, FeatureInfo};

/// A binary MobileNetV1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels of the stem.
    pub stem: usize,
    /// Output channels and stride (1 or 2) of every pair.
    pub stages: Vec<[usize; 2]>,
    /// Whether binary convolutions have links; channels must then stay, or divide one another.
    pub elastic_link: bool,
    /// Whether the depthwise convolutions are binary as well.
    pub binary_depthwise: bool,
    /// Channels of the input.
    pub in_channels: usize,
    /// Classes.
    pub num_classes: usize,
    /// Dropout before the classifier.
    pub drop_rate: f64,
}

impl Config {
    /// MobileNetV1, with links.
    pub fn v1() -> Self {
        let mut stages = vec![[64, 1], [128, 2], [128, 1], [256, 2], [256, 1], [512, 2]];
        stages.extend([[512, 1]; 5]);
        stages.extend([[1024, 2], [1024, 1]]);
        Self {
            stem: 32,
            stages,
            elastic_link: true,
            binary_depthwise: true,
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
    blocks: Vec<Pair>,
    dropout: Dropout,
    fc: Linear,
    #[module(skip)]
    maps: Vec<FeatureInfo>,
}

#[derive(Module, Debug)]
struct Pair {
    dw: Unit,
    pw: Unit,
}

impl BackboneConfig for Config {
    type Net = Net;

    fn init(&self, device: &Device) -> Net {
        let (mut channels, mut reduction) = (self.stem, 2);
        let (mut blocks, mut maps) = (Vec::new(), Vec::<FeatureInfo>::new());
        for &[channels_out, stride] in &self.stages {
            let depthwise = Conv2dConfig::new(channels, channels, 3).stride(stride).groups(channels);
            let pointwise = Conv2dConfig::new(channels, channels_out, 1);
            let el = self.elastic_link;
            blocks.push(Pair {
                dw: match self.binary_depthwise {
                    true => Unit::new(depthwise, channels, el, true, device),
                    false => Unit::real(depthwise, channels, device),
                },
                pw: Unit::new(pointwise, channels_out, el, true, device),
            });
            reduction *= stride;
            channels = channels_out;
            // Of every size the last.
            if maps.last().is_some_and(|last| last.reduction == reduction) {
                maps.pop();
            }
            maps.push(FeatureInfo::new(format!("blocks.{}.pw", blocks.len() - 1), channels, reduction));
        }
        Net {
            conv1: Conv2dConfig::new(self.in_channels, self.stem, 3).stride(2).init(device),
            bn1: BatchNormConfig::new(self.stem).init(device),
            blocks,
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
        for (index, block) in self.blocks.iter().enumerate() {
            x = block.dw.forward(x);
            taps.see(format_args!("blocks.{index}.dw"), &x);
            x = block.pw.forward(x);
            taps.see(format_args!("blocks.{index}.pw"), &x);
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
