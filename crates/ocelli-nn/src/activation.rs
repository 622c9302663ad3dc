//! Element-wise non-linearities, chosen by configuration.

use burn::tensor::{Tensor, activation};
use ocelli_kernels::train::norm::Clamp;
use serde::{Deserialize, Serialize};

use crate::kernels;

/// An element-wise non-linearity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x`
    #[default]
    Identity,
    /// `max(x, 0)`
    Relu,
    /// `min(max(x, 0), 6)` (MobileNetV2)
    Relu6,
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `relu6(x + 3) / 6` (MobileNetV3, GhostNet)
    HardSigmoid,
    /// `tanh(x)`
    Tanh,
    /// `x / 2 · (1 + erf(x / √2))`, the exact form
    Gelu,
    /// `x · relu6(x + 3) / 6` (MobileNetV3, ParameterNet)
    #[serde(alias = "hardswish", alias = "hswish")]
    HardSwish,
    /// `x` where positive, else `x / 5`
    #[serde(alias = "leakyrelu")]
    LeakyRelu,
}

impl Activation {
    /// Applies the non-linearity; the shape is kept.
    pub fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Activation::Identity => x,
            Activation::Relu => activation::relu(x),
            Activation::Relu6 => x.clamp(0.0, 6.0),
            Activation::Sigmoid => activation::sigmoid(x),
            Activation::HardSigmoid => x.add_scalar(3.0).clamp(0.0, 6.0).div_scalar(6.0),
            Activation::Tanh => activation::tanh(x),
            Activation::Gelu if kernels::serve(&x) => kernels::gelu(x),
            Activation::Gelu => activation::gelu(x),
            Activation::HardSwish => x.clone().mul(Activation::HardSigmoid.forward(x)),
            Activation::LeakyRelu => activation::leaky_relu(x, 0.2),
        }
    }

    /// The bounds of a non-linearity that only cuts values off.
    pub(crate) fn bounds(self) -> Option<Clamp> {
        match self {
            Activation::Identity => Some(Clamp::NONE),
            Activation::Relu => Some(Clamp::RELU),
            Activation::Relu6 => Some(Clamp::RELU6),
            _ => None,
        }
    }
}
