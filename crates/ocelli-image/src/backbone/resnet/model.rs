//! The network, in timm's layout.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_nn::penal::residual as residual_sum;
use ocelli_nn::{
    Activation, BatchNorm, BatchNormConfig, Conv2dConfig, ConvKind, Convolution, Dropout, Linear,
    LinearConfig, MaxPool2d, Slot, SqueezeExcite, Taps, global_avg_pool,
};

use super::config::{Block, Config, Norms, SeConfig, SePlacement, Stem};
use crate::backbone::{Backbone, BackboneConfig, FeatureInfo};

const RELU: Activation = Activation::Relu;

/// A residual network: stem, four stages, global pooling, linear classifier.
#[derive(Module, Debug)]
pub struct Net {
    conv1: StemConv,
    bn1: BatchNorm,
    maxpool: MaxPool2d,
    layer1: Vec<Residual>,
    layer2: Vec<Residual>,
    layer3: Vec<Residual>,
    layer4: Vec<Residual>,
    dropout: Dropout,
    fc: Linear,
}

/// One convolution, or three whose last batch norm is the network's `bn1`.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
enum StemConv {
    Single(Convolution),
    Deep(DeepStem),
}

/// `conv1.0, .1, (ReLU .2), .3, .4, (ReLU .5), .6` in timm's sequential.
type DeepStem = (Convolution, BatchNorm, Slot, Convolution, BatchNorm, Slot, Convolution);

/// A residual block of either kind.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
enum Residual {
    Basic(BasicBlock),
    Bottleneck(Bottleneck),
}

/// Projection of the shortcut.
type Downsample = (Convolution, BatchNorm);

/// Two 3x3 convolutions.
#[derive(Module, Debug)]
pub struct BasicBlock {
    conv1: Convolution,
    bn1: BatchNorm,
    conv2: Convolution,
    bn2: BatchNorm,
    se: Option<SqueezeExcite>,
    downsample: Option<Downsample>,
    #[module(skip)]
    placement: SePlacement,
}

/// 1x1, 3x3 (stride, groups), 1x1.
#[derive(Module, Debug)]
pub struct Bottleneck {
    conv1: Convolution,
    bn1: BatchNorm,
    conv2: Convolution,
    bn2: BatchNorm,
    conv3: Convolution,
    bn3: BatchNorm,
    se: Option<SqueezeExcite>,
    downsample: Option<Downsample>,
    #[module(skip)]
    placement: SePlacement,
}

/// Shape of a bottleneck.
#[derive(Clone, Copy, Debug)]
pub struct BottleneckShape {
    /// Channels of the input.
    pub channels_in: usize,
    /// Channels after the first 1x1.
    pub reduced: usize,
    /// Channels of the 3x3.
    pub width: usize,
    /// Channels of the output.
    pub channels_out: usize,
    /// Stride of the 3x3.
    pub stride: usize,
    /// Groups of the 3x3.
    pub groups: usize,
    /// Kernel of the projection.
    pub down_kernel: usize,
    /// Kind of all convolutions.
    pub conv: ConvKind,
}

fn norm(channels: usize, norms: Norms, device: &Device) -> BatchNorm {
    BatchNormConfig::new(channels).sets(norms.sets).init(device)
}

fn project(
    channels_in: usize,
    channels_out: usize,
    stride: usize,
    kernel: usize,
    conv: ConvKind,
    norms: Norms,
    device: &Device,
) -> Option<Downsample> {
    (stride != 1 || channels_in != channels_out).then(|| {
        let kernel = if stride == 1 { 1 } else { kernel };
        let conv = conv.init(Conv2dConfig::new(channels_in, channels_out, kernel).stride(stride), device);
        let norm = BatchNormConfig::new(channels_out).sets(norms.sets).pinned(norms.pin_projections);
        (conv, norm.init(device))
    })
}

fn excite(se: &Option<SeConfig>, channels: usize, device: &Device) -> Option<SqueezeExcite> {
    se.map(|se| SqueezeExcite::with_ablation(channels, se.hidden(channels), se.squeeze, se.gate, device))
}

impl BasicBlock {
    /// A block of `channels_in → channels_out`, stride in the first convolution.
    pub fn new(
        channels_in: usize,
        channels_out: usize,
        stride: usize,
        se: Option<SeConfig>,
        conv: ConvKind,
        norms: Norms,
        device: &Device,
    ) -> Self {
        let norm = |channels| norm(channels, norms, device);
        let placement = se.map_or(SePlacement::Standard, |se| se.placement);
        let se_channels = if placement == SePlacement::Pre { channels_in } else { channels_out };
        Self {
            conv1: conv.init(Conv2dConfig::new(channels_in, channels_out, 3).stride(stride), device),
            bn1: norm(channels_out),
            conv2: conv.init(Conv2dConfig::new(channels_out, channels_out, 3), device),
            bn2: norm(channels_out),
            se: excite(&se, se_channels, device),
            downsample: project(channels_in, channels_out, stride, 1, conv, norms, device),
            placement,
        }
    }

    /// Channels of the output.
    pub fn channels_out(&self) -> usize {
        self.bn2.weight.lazy_shape().dims::<1>()[0]
    }

    /// `[batch, channels_in, h, w]` → `[batch, channels_out, h / stride, w / stride]`
    pub fn forward(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
        residual(x, self.placement, &self.se, &self.downsample, taps, |y, taps, inner| {
            let y = inner(self.bn1.forward_then(seen(&self.conv1, y, "conv1", taps), RELU), taps);
            (seen(&self.conv2, y, "conv2", taps), &self.bn2)
        })
    }
}

impl Bottleneck {
    /// A block of the given shape.
    pub fn new(shape: BottleneckShape, se: Option<SeConfig>, norms: Norms, device: &Device) -> Self {
        let norm = |channels| norm(channels, norms, device);
        let BottleneckShape { channels_in, reduced, width, channels_out, stride, groups, down_kernel, conv } =
            shape;
        let placement = se.map_or(SePlacement::Standard, |se| se.placement);
        let se_channels = match placement {
            SePlacement::Pre => channels_in,
            SePlacement::Inner => width,
            _ => channels_out,
        };
        Self {
            conv1: conv.init(Conv2dConfig::new(channels_in, reduced, 1), device),
            bn1: norm(reduced),
            conv2: conv.init(Conv2dConfig::new(reduced, width, 3).stride(stride).groups(groups), device),
            bn2: norm(width),
            conv3: conv.init(Conv2dConfig::new(width, channels_out, 1), device),
            bn3: norm(channels_out),
            se: excite(&se, se_channels, device),
            downsample: project(channels_in, channels_out, stride, down_kernel, conv, norms, device),
            placement,
        }
    }

    /// `[batch, channels_in, h, w]` → `[batch, channels_out, h / stride, w / stride]`
    ///
    /// Offers its convolutions' maps to `taps`, and the re-weighted map as `se`.
    pub fn forward(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
        residual(x, self.placement, &self.se, &self.downsample, taps, |y, taps, inner| {
            let y = self.bn1.forward_then(seen(&self.conv1, y, "conv1", taps), RELU);
            let y = inner(self.bn2.forward_then(seen(&self.conv2, y, "conv2", taps), RELU), taps);
            (seen(&self.conv3, y, "conv3", taps), &self.bn3)
        })
    }
}

/// What a branch does to its inner map (the place of SE_3×3).
type Inner<'a> = &'a dyn Fn(Tensor<4>, &mut Taps) -> Tensor<4>;

/// A residual unit around `branch`, with squeeze-and-excitation where `placement` puts it. `branch` gives its last
/// convolution's output and the norm that follows.
fn residual<'a>(
    x: Tensor<4>,
    placement: SePlacement,
    se: &Option<SqueezeExcite>,
    downsample: &Option<Downsample>,
    taps: &mut Taps,
    branch: impl FnOnce(Tensor<4>, &mut Taps, Inner) -> (Tensor<4>, &'a BatchNorm),
) -> Tensor<4> {
    let excite = |at: SePlacement, y: Tensor<4>, taps: &mut Taps| match se {
        Some(se) if at == placement => {
            let y = se.forward(y);
            taps.see("se", &y);
            y
        }
        _ => y,
    };
    let input = excite(SePlacement::Pre, x.clone(), taps);
    let (y, norm) = branch(input, taps, &|inner, taps| excite(SePlacement::Inner, inner, taps));
    let excited = se.is_some() && placement == SePlacement::Standard;
    let (y, norm) = if excited { (excite(placement, norm.forward(y), taps), None) } else { (y, Some(norm)) };
    let shortcut = match downsample {
        Some((conv, bn)) => {
            let projected = bn.forward(seen(conv, x, "downsample.0", taps));
            taps.see("downsample", &projected);
            projected
        }
        None => x,
    };
    let shortcut = excite(SePlacement::Identity, shortcut, taps);
    let sum = match norm {
        Some(norm) => norm.forward_add(y, shortcut, RELU),
        None => RELU.forward(residual_sum(y, shortcut)),
    };
    excite(SePlacement::Post, sum, taps)
}

/// `conv` of `x`, offered to `taps`.
fn seen(conv: &Convolution, x: Tensor<4>, name: &str, taps: &mut Taps) -> Tensor<4> {
    let y = conv.forward(x);
    taps.see(name, &y);
    y
}

impl BackboneConfig for Config {
    type Net = Net;

    fn init(&self, device: &Device) -> Net {
        let kind = ConvKind::from(self.versatile);
        let conv = |plain| kind.init(plain, device);
        let norm = |channels| norm(channels, self.norms, device);
        let (conv1, stem) = match self.stem {
            Stem::Conv7x7 => {
                (StemConv::Single(conv(Conv2dConfig::new(self.in_channels, 64, 7).stride(2))), 64)
            }
            Stem::Deep { width } => (
                StemConv::Deep((
                    conv(Conv2dConfig::new(self.in_channels, width, 3).stride(2)),
                    norm(width),
                    Slot {},
                    conv(Conv2dConfig::new(width, width, 3)),
                    norm(width),
                    Slot {},
                    conv(Conv2dConfig::new(width, 2 * width, 3)),
                )),
                2 * width,
            ),
        };
        let mut channels_in = stem;
        let mut stage = |index: usize| -> Vec<Residual> {
            let planes = 64 << index;
            let channels_out = planes * self.block.expansion();
            (0..self.layers[index])
                .map(|block| {
                    let stride = if block == 0 && index > 0 { 2 } else { 1 };
                    let residual = match self.block {
                        Block::Basic => Residual::Basic(BasicBlock::new(
                            channels_in,
                            channels_out,
                            stride,
                            self.se,
                            kind,
                            self.norms,
                            device,
                        )),
                        Block::Bottleneck => {
                            let width = planes * self.base_width / 64 * self.groups;
                            let shape = BottleneckShape {
                                channels_in,
                                reduced: if self.reduce_first { width / 2 } else { width },
                                width,
                                channels_out,
                                stride,
                                groups: self.groups,
                                down_kernel: if self.down_3x3 { 3 } else { 1 },
                                conv: kind,
                            };
                            Residual::Bottleneck(Bottleneck::new(shape, self.se, self.norms, device))
                        }
                    };
                    channels_in = channels_out;
                    residual
                })
                .collect()
        };
        Net {
            conv1,
            bn1: norm(stem),
            maxpool: MaxPool2d::new(3, 2, 1),
            layer1: stage(0),
            layer2: stage(1),
            layer3: stage(2),
            layer4: stage(3),
            dropout: Dropout::new(self.drop_rate),
            fc: LinearConfig::new(512 * self.block.expansion(), self.num_classes).init(device),
        }
    }
}

impl Backbone for Net {
    fn forward_features(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
        let x = match &self.conv1 {
            StemConv::Single(conv) => seen(conv, x, "conv1", taps),
            StemConv::Deep((a, bn_a, _, b, bn_b, _, c)) => {
                let x = bn_a.forward_then(a.forward(x), RELU);
                c.forward(bn_b.forward_then(b.forward(x), RELU))
            }
        };
        if taps.wants("bn1") {
            taps.see("bn1", &self.bn1.forward(x.clone()));
        }
        let x = self.bn1.forward_then(x, RELU);
        taps.see("act1", &x);
        let mut x = self.maxpool.forward(x);
        taps.see("maxpool", &x);
        for (index, stage) in [&self.layer1, &self.layer2, &self.layer3, &self.layer4].into_iter().enumerate()
        {
            let stage_name = index + 1;
            for (block, residual) in stage.iter().enumerate() {
                x = taps.within(format_args!("layer{stage_name}.{block}"), |taps| match residual {
                    Residual::Basic(block) => block.forward(x, taps),
                    Residual::Bottleneck(block) => block.forward(x, taps),
                });
                taps.see(format_args!("layer{stage_name}.{block}"), &x);
            }
            taps.see(format_args!("layer{stage_name}"), &x);
        }
        x
    }

    fn forward_head(&self, features: Tensor<4>, _taps: &mut Taps) -> Tensor<2> {
        let pooled = global_avg_pool(features).flatten::<2>(1, 3);
        self.fc.forward(self.dropout.forward(pooled))
    }

    fn feature_info(&self) -> Vec<FeatureInfo> {
        let [_, last] = self.fc.weight.lazy_shape().dims();
        let mut maps = vec![FeatureInfo::new("act1", self.bn1.weight.lazy_shape().dims::<1>()[0], 2)];
        maps.extend((0..4).map(|i| FeatureInfo::new(format!("layer{}", i + 1), last >> (3 - i), 4 << i)));
        maps
    }

    fn classifier(&self) -> &'static str {
        "fc"
    }
}
