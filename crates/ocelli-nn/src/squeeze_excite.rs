//! Squeeze-and-excitation (arXiv 1709.01507): re-weights channels from global information.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::{Activation, Conv2d, Conv2dConfig, global_avg_pool, kernels};

/// How a map is summarised per channel (the paper's ablation; `Avg` everywhere else).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Squeeze {
    /// Mean over space.
    #[default]
    Avg,
    /// Maximum over space.
    Max,
    /// No summary: the gate keeps the map's size ("NoSqueeze").
    None,
}

/// `x ⊙ gate(expand(relu(reduce(squeeze(x)))))` for `x` of `[batch, channels, height, width]`.
///
/// `reduce` and `expand` are 1x1 convolutions with bias. Their field names differ between the published
/// checkpoints (`fc1`, `conv_reduce`, ...), therefore this is a function of the layers.
pub fn squeeze_excite(
    x: Tensor<4>,
    squeeze: Squeeze,
    reduce: &Conv2d,
    expand: &Conv2d,
    gate: Activation,
) -> Tensor<4> {
    squeeze_excite_with(x, squeeze, reduce, Activation::Relu, expand, gate)
}

/// As [`squeeze_excite`], with another non-linearity in the middle.
pub fn squeeze_excite_with(
    x: Tensor<4>,
    squeeze: Squeeze,
    reduce: &Conv2d,
    middle: Activation,
    expand: &Conv2d,
    gate: Activation,
) -> Tensor<4> {
    let squeezed = match squeeze {
        Squeeze::Avg => global_avg_pool(x.clone()),
        Squeeze::Max => x.clone().max_dim(3).max_dim(2),
        Squeeze::None => x.clone(),
    };
    let hidden = middle.forward(reduce.forward(squeezed));
    let gates = gate.forward(expand.forward(hidden));
    if squeeze == Squeeze::None { x.mul(gates) } else { scale_channels(x, gates) }
}

/// `[batch, channels, height, width]` times one factor per channel, `[batch, channels, 1, 1]`.
pub fn scale_channels(x: Tensor<4>, factors: Tensor<4>) -> Tensor<4> {
    if kernels::serve(&x) { kernels::scale(x, factors) } else { x.mul(factors) }
}

/// `scale[n, c] · x[n, c, ·] + y[n, c, ·]`: re-weighting and residual sum in one step (Caffe's `Axpy`).
///
/// `scale` is `[batch, channels]`, `x` and `y` are `[batch, channels, height, width]`.
pub fn axpy(scale: Tensor<2>, x: Tensor<4>, y: Tensor<4>) -> Tensor<4> {
    let [batch, channels] = scale.dims();
    scale_channels(x, scale.reshape([batch, channels, 1, 1])).add(y)
}

/// The block SE(C, r) with the field names of timm (`fc1`, `fc2`).
#[derive(Module, Debug)]
pub struct SqueezeExcite {
    /// `channels → hidden`
    pub fc1: Conv2d,
    /// `hidden → channels`
    pub fc2: Conv2d,
    /// How space is summarised.
    #[module(skip)]
    pub squeeze: Squeeze,
    /// The gate's non-linearity.
    #[module(skip)]
    pub gate: Activation,
}

impl SqueezeExcite {
    /// A block over `channels` with `hidden` units, average squeeze and sigmoid gate.
    pub fn new(channels: usize, hidden: usize, device: &Device) -> Self {
        Self::with_ablation(channels, hidden, Squeeze::Avg, Activation::Sigmoid, device)
    }

    /// As [`new`](Self::new) with another squeeze and gate.
    pub fn with_ablation(
        channels: usize,
        hidden: usize,
        squeeze: Squeeze,
        gate: Activation,
        device: &Device,
    ) -> Self {
        Self {
            fc1: Conv2dConfig::new(channels, hidden, 1).bias(true).init(device),
            fc2: Conv2dConfig::new(hidden, channels, 1).bias(true).init(device),
            squeeze,
            gate,
        }
    }

    /// `[batch, channels, height, width]` → the same shape.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        squeeze_excite(x, self.squeeze, &self.fc1, &self.fc2, self.gate)
    }
}

/// Squeeze-and-excitation with the field names of mobile networks' checkpoints (GhostNet, MobileNetV3).
#[derive(Module, Debug)]
pub struct MobileSqueezeExcite {
    /// `channels → hidden`
    pub conv_reduce: Conv2d,
    /// `hidden → channels`
    pub conv_expand: Conv2d,
    /// The non-linearity in the middle.
    #[module(skip)]
    pub middle: Activation,
    /// The gate's non-linearity.
    #[module(skip)]
    pub gate: Activation,
}

impl MobileSqueezeExcite {
    /// A block over `channels` with `hidden` units.
    pub fn new(channels: usize, hidden: usize, gate: Activation, device: &Device) -> Self {
        Self {
            conv_reduce: Conv2dConfig::new(channels, hidden, 1).bias(true).init(device),
            conv_expand: Conv2dConfig::new(hidden, channels, 1).bias(true).init(device),
            middle: Activation::Relu,
            gate,
        }
    }

    /// With another non-linearity in the middle.
    pub fn middle(mut self, middle: Activation) -> Self {
        self.middle = middle;
        self
    }

    /// `[batch, channels, height, width]` → the same shape.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        squeeze_excite_with(x, Squeeze::Avg, &self.conv_reduce, self.middle, &self.conv_expand, self.gate)
    }
}
