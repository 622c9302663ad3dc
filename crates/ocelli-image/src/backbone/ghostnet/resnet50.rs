//! Ghost-ResNet-50: every convolution of the bottlenecks and of the projections is a Ghost module; the stem's
//! 7x7 and the classifier are plain.
//!
//! Two forms. The paper's has the Ghost module of [`ocelli_nn::ghost`], with a norm in both halves. The
//! released code computes without norms inside and with biases instead; its checkpoints carry the unused norms
//! and two more weights per module, which are ignored on loading.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_nn::ghost::concat_trimmed;
use ocelli_nn::penal::residual;
use ocelli_nn::{
    Activation, BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Dropout, GhostConfig, GhostModule,
    InitScheme, Linear, LinearConfig, MaxPool2d, Taps, global_avg_pool,
};
use serde::{Deserialize, Serialize};

use crate::backbone::{Backbone, BackboneConfig, FeatureInfo};

const RELU: Activation = Activation::Relu;

/// Which Ghost module is built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Norms in both halves; for training.
    Paper,
    /// Biases and no norms; for the released checkpoints.
    Released,
}

/// A Ghost-ResNet of bottlenecks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Which Ghost module is built in.
    pub form: Form,
    /// Output channels per intrinsic channel (s).
    pub ratio: usize,
    /// Side of the cheap operation's kernel (d).
    pub cheap_kernel: usize,
    /// Blocks per stage.
    pub layers: [usize; 4],
    /// Channels of the input.
    pub in_channels: usize,
    /// Classes.
    pub num_classes: usize,
    /// Dropout before the classifier.
    pub drop_rate: f64,
}

impl Config {
    /// Fifty layers for ImageNet, d = 3.
    pub fn new(form: Form, ratio: usize) -> Self {
        Self {
            form,
            ratio,
            cheap_kernel: 3,
            layers: [3, 4, 6, 3],
            in_channels: 3,
            num_classes: 1000,
            drop_rate: 0.0,
        }
    }

    fn ghost(
        &self,
        channels_in: usize,
        channels_out: usize,
        kernel: usize,
        stride: usize,
        device: &Device,
    ) -> Ghost {
        let config = GhostConfig::new(channels_in, channels_out)
            .kernel(kernel)
            .ratio(self.ratio)
            .cheap_kernel(self.cheap_kernel)
            .stride(stride)
            .relu(false);
        match self.form {
            Form::Paper => Ghost::Paper(config.init(device)),
            Form::Released => {
                let (intrinsic, cheap) = config.split();
                Ghost::Released(ReleasedGhost {
                    conv1: Conv2dConfig::new(channels_in, intrinsic, kernel)
                        .stride(stride)
                        .padding(kernel / 2)
                        .bias(true)
                        .init(device),
                    conv2: Conv2dConfig::new(intrinsic, cheap, self.cheap_kernel)
                        .padding(self.cheap_kernel / 2)
                        .groups(intrinsic)
                        .bias(true)
                        .init(device),
                    channels_out,
                })
            }
        }
    }
}

#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
enum Ghost {
    Paper(GhostModule),
    Released(ReleasedGhost),
}

impl Ghost {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Ghost::Paper(ghost) => ghost.forward(x),
            Ghost::Released(ghost) => {
                let intrinsic = ghost.conv1.forward(x);
                let ghosts = ghost.conv2.forward(intrinsic.clone());
                concat_trimmed(intrinsic, ghosts, ghost.channels_out)
            }
        }
    }
}

/// Convolution and depthwise convolution with biases, nothing between.
#[derive(Module, Debug)]
struct ReleasedGhost {
    conv1: Conv2d,
    conv2: Conv2d,
    channels_out: usize,
}

/// 1x1, 3x3 with the stride, 1x1 to four times the planes, all of them Ghost modules.
#[derive(Module, Debug)]
struct Bottleneck {
    conv1: Ghost,
    conv2: Ghost,
    conv3: Ghost,
    downsample: Option<Vec<Ghost>>,
}

impl Bottleneck {
    /// In the paper's form the ReLU of a module's two halves is the ReLU after their concatenation.
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = RELU.forward(self.conv1.forward(x.clone()));
        let y = RELU.forward(self.conv2.forward(y));
        let y = self.conv3.forward(y);
        let shortcut = self.downsample.iter().flatten().fold(x, |x, ghost| ghost.forward(x));
        RELU.forward(residual(y, shortcut))
    }
}

/// Stem, four stages, global pooling, linear classifier.
#[derive(Module, Debug)]
pub struct Net {
    conv1: Conv2d,
    bn1: BatchNorm,
    maxpool: MaxPool2d,
    layer1: Vec<Bottleneck>,
    layer2: Vec<Bottleneck>,
    layer3: Vec<Bottleneck>,
    layer4: Vec<Bottleneck>,
    dropout: Dropout,
    fc: Linear,
    released: bool,
}

impl BackboneConfig for Config {
    type Net = Net;

    fn init(&self, device: &Device) -> Net {
        let mut channels_in = 64;
        let mut stage = |index: usize| -> Vec<Bottleneck> {
            let planes = 64 << index;
            (0..self.layers[index])
                .map(|block| {
                    let stride = if block == 0 && index > 0 { 2 } else { 1 };
                    let ghost = |from, to, kernel, stride| self.ghost(from, to, kernel, stride, device);
                    let bottleneck = Bottleneck {
                        conv1: ghost(channels_in, planes, 1, 1),
                        conv2: ghost(planes, planes, 3, stride),
                        conv3: ghost(planes, 4 * planes, 1, 1),
                        downsample: (block == 0).then(|| vec![ghost(channels_in, 4 * planes, 1, stride)]),
                    };
                    channels_in = 4 * planes;
                    bottleneck
                })
                .collect()
        };
        Net {
            conv1: Conv2dConfig::new(self.in_channels, 64, 7).stride(2).init(device),
            bn1: BatchNormConfig::new(64).init(device),
            maxpool: MaxPool2d::new(3, 2, 1),
            layer1: stage(0),
            layer2: stage(1),
            layer3: stage(2),
            layer4: stage(3),
            dropout: Dropout::new(self.drop_rate),
            fc: LinearConfig::new(2048, self.num_classes).init(device),
            released: self.form == Form::Released,
        }
    }
}

impl Backbone for Net {
    fn forward_features(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
        let x = self.bn1.forward_then(self.conv1.forward(x), RELU);
        taps.see("act1", &x);
        let mut x = self.maxpool.forward(x);
        taps.see("maxpool", &x);
        for (index, stage) in [&self.layer1, &self.layer2, &self.layer3, &self.layer4].into_iter().enumerate()
        {
            for block in stage {
                x = block.forward(x);
            }
            taps.see(format_args!("layer{}", index + 1), &x);
        }
        x
    }

    fn forward_head(&self, features: Tensor<4>, _taps: &mut Taps) -> Tensor<2> {
        let pooled = global_avg_pool(features).flatten::<2>(1, 3);
        self.fc.forward(self.dropout.forward(pooled))
    }

    fn feature_info(&self) -> Vec<FeatureInfo> {
        let mut maps = vec![FeatureInfo::new("act1", 64, 2)];
        maps.extend((0..4).map(|i| FeatureInfo::new(format!("layer{}", i + 1), 256 << i, 4 << i)));
        maps
    }

    fn classifier(&self) -> &'static str {
        "fc"
    }

    fn init_scheme(&self) -> InitScheme {
        super::model::INIT
    }

    /// `weight1`, `weight2`, `bn1` and `bn2` of every released module: never read, never trained.
    fn ignored(&self, published: &str) -> bool {
        // layerL . J . conv2 . weight1, layerL . J . downsample . 0 . bn1 . bias
        let mut parts = published.split('.').skip(2);
        let module = match parts.next() {
            Some("downsample") => parts.next(),
            other => other,
        };
        self.released
            && published.starts_with("layer")
            && module.is_some()
            && matches!(parts.next(), Some("weight1" | "weight2" | "bn1" | "bn2"))
    }
}
