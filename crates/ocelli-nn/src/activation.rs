//! Element-wise non-linearities, chosen by configuration.

use burn::tensor::{Tensor, activation};
use ocelli_kernels::train::norm::Clamp;
use serde::{Deserialize, Serialize};

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
