//! Residual blocks of adder convolutions.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_nn::{Activation, AdderConv2d, AdderConv2dConfig, BatchNorm, BatchNormConfig, Taps};

const RELU: Activation = Activation::Relu;

/// Projection of the shortcut.
type Downsample = (AdderConv2d, BatchNorm);

/// A residual block of either kind.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
pub(super) enum Residual {
    Basic(Basic),
    Bottleneck(Bottleneck),
}

/// Two 3x3 adder convolutions.
#[derive(Module, Debug)]
pub(super) struct Basic {
    conv1: AdderConv2d,
    bn1: BatchNorm,
    conv2: AdderConv2d,
    bn2: BatchNorm,
    downsample: Option<Downsample>,
}

/// 1x1, 3x3 (stride), 1x1 with four times the channels.
#[derive(Module, Debug)]
pub(super) struct Bottleneck {
    conv1: AdderConv2d,
    bn1: BatchNorm,
    conv2: AdderConv2d,
    bn2: BatchNorm,
    conv3: AdderConv2d,
    bn3: BatchNorm,
    downsample: Option<Downsample>,
}

fn project(from: usize, to: usize, stride: usize, device: &Device) -> Option<Downsample> {
    (stride != 1 || from != to).then(|| {
        let conv = AdderConv2dConfig::new(from, to, 1).stride(stride).init(device);
        (conv, BatchNormConfig::new(to).init(device))
    })
}

fn seen(conv: &AdderConv2d, x: Tensor<4>, name: &str, taps: &mut Taps) -> Tensor<4> {
    let y = conv.forward(x);
    taps.see(name, &y);
    y
}

fn shortcut(downsample: &Option<Downsample>, x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
    match downsample {
        Some((conv, norm)) => norm.forward(seen(conv, x, "downsample.0", taps)),
        None => x,
    }
}

impl Residual {
    /// Two 3x3 convolutions of `from → to` channels, the stride in the first.
    pub(super) fn basic(from: usize, to: usize, stride: usize, device: &Device) -> Self {
        let norm = || BatchNormConfig::new(to).init(device);
        Self::Basic(Basic {
            conv1: AdderConv2dConfig::new(from, to, 3).stride(stride).init(device),
            bn1: norm(),
            conv2: AdderConv2dConfig::new(to, to, 3).init(device),
            bn2: norm(),
            downsample: project(from, to, stride, device),
        })
    }

    /// `from → planes → planes → 4 · planes` channels.
    pub(super) fn bottleneck(from: usize, planes: usize, stride: usize, device: &Device) -> Self {
        let norm = |channels| BatchNormConfig::new(channels).init(device);
        Self::Bottleneck(Bottleneck {
            conv1: AdderConv2dConfig::new(from, planes, 1).init(device),
            bn1: norm(planes),
            conv2: AdderConv2dConfig::new(planes, planes, 3).stride(stride).init(device),
            bn2: norm(planes),
            conv3: AdderConv2dConfig::new(planes, 4 * planes, 1).init(device),
            bn3: norm(4 * planes),
            downsample: project(from, 4 * planes, stride, device),
        })
    }

    /// `[batch, from, h, w]` → `[batch, to, h / stride, w / stride]`
    pub(super) fn forward(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
        match self {
            Self::Basic(own) => {
                let y = own.bn1.forward_then(seen(&own.conv1, x.clone(), "conv1", taps), RELU);
                let y = seen(&own.conv2, y, "conv2", taps);
                own.bn2.forward_add(y, shortcut(&own.downsample, x, taps), RELU)
            }
            Self::Bottleneck(own) => {
                let y = own.bn1.forward_then(seen(&own.conv1, x.clone(), "conv1", taps), RELU);
                let y = own.bn2.forward_then(seen(&own.conv2, y, "conv2", taps), RELU);
                let y = seen(&own.conv3, y, "conv3", taps);
                own.bn3.forward_add(y, shortcut(&own.downsample, x, taps), RELU)
            }
        }
    }
}

/// Runs the stages called `layer1`, `layer2`, ...
pub(super) fn stages(stages: &[&Vec<Residual>], mut x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
    for (stage, blocks) in stages.iter().enumerate() {
        for (at, block) in blocks.iter().enumerate() {
            let name = format!("layer{}.{at}", stage + 1);
            x = taps.within(&name, |taps| block.forward(x, taps));
            taps.see(&name, &x);
        }
        taps.see(format_args!("layer{}", stage + 1), &x);
    }
    x
}
