//! G-Ghost stages and the networks made of them: RegNetX and ResNet (arXiv 2201.03297, section 4).
//!
//! In a stage only a part of the channels runs through all blocks; the rest is one cheap 1x1 convolution of the first
//! block's output, corrected by a summary of all blocks ("mix").
//!
//! Keys: `conv1, bn1, layer1.J.{conv1,bn1,...,downsample.{0,1}}, layerS.base.*, layerS.layers.J.*, layerS.end.*,
//! layerS.merge.{1,2,4,5}, layerS.cheap.{0,1}, fc`.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_nn::init::Draw;
use ocelli_nn::{
    Activation, BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, ConvKind, Dropout, InitScheme, Linear,
    LinearConfig, MaxPool2d, Slot, Taps, global_avg_pool,
};
use serde::{Deserialize, Serialize};

use crate::backbone::resnet::{Bottleneck, BottleneckShape, Norms};
use crate::backbone::{Backbone, BackboneConfig, FeatureInfo};

const RELU: Activation = Activation::Relu;

/// The blocks of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// RegNetX: bottlenecks as wide inside as outside, 3x3 in groups of so many channels; stem 3x3 to 32 channels.
    RegNetX {
        /// Channels per group.
        group_width: usize,
    },
    /// ResNet: bottlenecks a quarter as wide inside; stem 7x7 and max pooling. Our reading, no code was released.
    ResNet,
}

impl Family {
    /// A block of `from → to` channels; inside of a stage groups are three quarters as wide.
    fn block(self, from: usize, to: usize, stride: usize, inside: bool, device: &Device) -> Bottleneck {
        let (width, groups) = match self {
            Self::RegNetX { group_width } => {
                let own = if inside { inner_width(group_width) } else { group_width };
                (to, to / to.min(own))
            }
            Self::ResNet => (to / 4, 1),
        };
        let shape = BottleneckShape {
            channels_in: from,
            reduced: width,
            width,
            channels_out: to,
            stride,
            groups,
            down_kernel: 1,
            conv: ConvKind::Plain,
        };
        Bottleneck::new(shape, None, Norms::default(), device)
    }
}

/// Channels per group of a stage's inner blocks.
fn inner_width(group_width: usize) -> usize {
    (0.75 * group_width as f64) as usize
}

/// Shape of a stage.
#[derive(Clone, Copy, Debug)]
pub struct StageShape {
    /// Its blocks.
    pub family: Family,
    /// Channels of the input.
    pub channels_in: usize,
    /// Channels of the output.
    pub channels: usize,
    /// Blocks, the first and the last included: 3 at least.
    pub blocks: usize,
    /// Stride of the first block.
    pub stride: usize,
    /// Share of the channels that are made cheaply.
    pub cheap_ratio: f64,
    /// Whether the cheap channels are corrected by a summary of all blocks.
    pub mix: bool,
}

impl StageShape {
    /// Channels that run through all blocks, and those made cheaply.
    pub fn split(&self) -> (usize, usize) {
        let unit = match self.family {
            Family::RegNetX { group_width } => inner_width(group_width),
            Family::ResNet => 4,
        };
        let raw = (self.channels as f64 * (1.0 - self.cheap_ratio)) as usize / unit.max(1) * unit.max(1);
        (raw, self.channels - raw)
    }
}

/// Pooling, 1x1 convolution, norm, ReLU, 1x1 convolution, norm.
type Merge = (Slot, Conv2d, BatchNorm, Slot, Conv2d, BatchNorm);

/// A G-Ghost stage, a drop-in for a stage of residual blocks.
#[derive(Module, Debug)]
pub struct GGhostStage {
    base: Bottleneck,
    end: Bottleneck,
    merge: Option<Merge>,
    cheap: (Conv2d, BatchNorm),
    layers: Vec<Bottleneck>,
    raw: usize,
}

impl GGhostStage {
    /// A stage with zero parameters.
    ///
    /// # Panics
    /// If there are fewer than 3 blocks, or no channel is left for one of the two parts.
    pub fn new(shape: StageShape, device: &Device) -> Self {
        let StageShape { family, channels_in, channels, blocks, stride, .. } = shape;
        let (raw, cheap) = shape.split();
        assert!(blocks >= 3, "a G-Ghost stage has a first, an inner and a last block, not {blocks}");
        assert!(raw > 0 && cheap > 0, "{channels} channels split into {raw} and {cheap}");
        let pointwise = |from, to| Conv2dConfig::new(from, to, 1).init(device);
        let norm = |channels| BatchNormConfig::new(channels).init(device);
        Self {
            base: family.block(channels_in, channels, stride, false, device),
            end: family.block(channels, channels, 1, false, device),
            merge: shape.mix.then(|| {
                let all = channels + raw * (blocks - 2);
                (Slot {}, pointwise(all, cheap), norm(cheap), Slot {}, pointwise(cheap, cheap), norm(cheap))
            }),
            cheap: (pointwise(cheap, cheap), norm(cheap)),
            layers: (0..blocks - 2).map(|_| family.block(raw, raw, 1, true, device)).collect(),
            raw,
        }
    }

    /// `[batch, channels_in, h, w]` → `[batch, channels, h / stride, w / stride]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let first = self.base.forward(x, &mut Taps::none());
        let channels = first.dims()[1];
        let mut raw = first.clone().narrow(1, 0, self.raw);
        // The summary reads pooled blocks only: their maps are never joined.
        let mut pooled = vec![global_avg_pool(first.clone())];
        for layer in &self.layers {
            raw = layer.forward(raw, &mut Taps::none());
            pooled.push(global_avg_pool(raw.clone()));
        }
        let (conv, norm) = &self.cheap;
        let mut cheap = norm.forward(conv.forward(first.narrow(1, self.raw, channels - self.raw)));
        if let Some((_, reduce, norm1, _, expand, norm2)) = &self.merge {
            let summary = norm1.forward_then(reduce.forward(Tensor::cat(pooled, 1)), RELU);
            cheap = cheap.add(norm2.forward(expand.forward(summary)));
        }
        self.end.forward(Tensor::cat(vec![raw, RELU.forward(cheap)], 1), &mut Taps::none())
    }
}

/// A G-GhostNet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Its blocks.
    pub family: Family,
    /// Blocks per stage. The third is always a G-Ghost stage, the second and fourth are with 3 blocks or more, the first
    /// never is; in ResNets all with 3 or more are.
    pub layers: [usize; 4],
    /// Channels per stage.
    pub widths: [usize; 4],
    /// Share of the channels that are made cheaply; 0 for a network of ordinary stages.
    pub cheap_ratio: f64,
    /// Whether the cheap channels are corrected by a summary of all blocks (the paper's ablation).
    #[serde(default = "yes")]
    pub mix: bool,
    /// Stride of the first convolution: 2, or 1 for small pictures.
    #[serde(default = "two")]
    pub stem_stride: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Classes.
    pub num_classes: usize,
    /// Dropout before the classifier.
    pub drop_rate: f64,
}

fn yes() -> bool {
    true
}

fn two() -> usize {
    2
}

impl Config {
    /// A G-Ghost-RegNetX.
    pub fn regnet(layers: [usize; 4], widths: [usize; 4], group_width: usize) -> Self {
        Self {
            family: Family::RegNetX { group_width },
            layers,
            widths,
            cheap_ratio: 0.5,
            mix: true,
            stem_stride: 2,
            in_channels: 3,
            num_classes: 1000,
            drop_rate: 0.2,
        }
    }

    /// A G-Ghost-ResNet.
    pub fn resnet(layers: [usize; 4]) -> Self {
        Self { family: Family::ResNet, drop_rate: 0.0, ..Self::regnet(layers, [256, 512, 1024, 2048], 1) }
    }

    fn is_ghost(&self, stage: usize) -> bool {
        let long = self.layers[stage] >= 3;
        self.cheap_ratio > 0.0 && long && (self.family == Family::ResNet || stage > 0)
    }
}

/// One `layerS`.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
enum Stage {
    Plain(Vec<Bottleneck>),
    Ghost(GGhostStage),
}

/// Stem, four stages, global pooling, classifier.
#[derive(Module, Debug)]
pub struct Net {
    conv1: Conv2d,
    bn1: BatchNorm,
    maxpool: Option<MaxPool2d>,
    layer1: Stage,
    layer2: Stage,
    layer3: Stage,
    layer4: Stage,
    dropout: Dropout,
    fc: Linear,
    #[module(skip)]
    maps: Vec<FeatureInfo>,
}

impl BackboneConfig for Config {
    type Net = Net;

    fn init(&self, device: &Device) -> Net {
        let regnet = self.family != Family::ResNet;
        let (stem, kernel) = if regnet { (32, 3) } else { (64, 7) };
        let mut channels_in = stem;
        let mut maps = vec![FeatureInfo::new("relu", stem, self.stem_stride)];
        let mut reduction = if regnet { self.stem_stride } else { 2 * self.stem_stride };
        let mut stage = |index: usize| {
            let stride = if regnet || index > 0 { 2 } else { 1 };
            reduction *= stride;
            let (from, channels) = (channels_in, self.widths[index]);
            channels_in = channels;
            maps.push(FeatureInfo::new(format!("layer{}", index + 1), channels, reduction));
            if self.is_ghost(index) {
                return Stage::Ghost(GGhostStage::new(
                    StageShape {
                        family: self.family,
                        channels_in: from,
                        channels,
                        blocks: self.layers[index],
                        stride,
                        cheap_ratio: self.cheap_ratio,
                        mix: self.mix,
                    },
                    device,
                ));
            }
            let block = |block: usize| {
                let (from, stride) = if block == 0 { (from, stride) } else { (channels, 1) };
                self.family.block(from, channels, stride, false, device)
            };
            Stage::Plain((0..self.layers[index]).map(block).collect())
        };
        let [layer1, layer2, layer3, layer4] = [0, 1, 2, 3].map(&mut stage);
        Net {
            conv1: Conv2dConfig::new(self.in_channels, stem, kernel).stride(self.stem_stride).init(device),
            bn1: BatchNormConfig::new(stem).init(device),
            maxpool: (!regnet).then(|| MaxPool2d::new(3, 2, 1)),
            layer1,
            layer2,
            layer3,
            layer4,
            dropout: Dropout::new(self.drop_rate),
            fc: LinearConfig::new(channels_in, self.num_classes).init(device),
            maps,
        }
    }
}

impl Backbone for Net {
    fn forward_features(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
        let mut x = self.bn1.forward_then(self.conv1.forward(x), RELU);
        taps.see("relu", &x);
        if let Some(pool) = &self.maxpool {
            x = pool.forward(x);
        }
        for (index, stage) in [&self.layer1, &self.layer2, &self.layer3, &self.layer4].into_iter().enumerate()
        {
            x = match stage {
                Stage::Plain(blocks) => blocks.iter().fold(x, |x, block| block.forward(x, &mut Taps::none())),
                Stage::Ghost(stage) => stage.forward(x),
            };
            taps.see(format_args!("layer{}", index + 1), &x);
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

    fn init_scheme(&self) -> InitScheme {
        InitScheme { conv: Draw::KaimingNormalFanOut, ..InitScheme::KAIMING }
    }
}
