//! Layer normalisation with PyTorch's names.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, module};

use crate::init::{ones, zeros};
use crate::kernels;

/// Normalises the last dimension of `[..., features]`; epsilon 1e-5.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// Gain `[features]`.
    pub weight: Param<Tensor<1>>,
    /// Shift `[features]`.
    pub bias: Param<Tensor<1>>,
    /// Added to the variance before the square root.
    pub epsilon: f64,
}

impl LayerNorm {
    /// Gain 1, shift 0.
    pub fn new(features: usize, device: &Device) -> Self {
        Self { weight: ones([features], device), bias: zeros([features], device), epsilon: 1e-5 }
    }

    /// `[..., features]` → the same shape.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        if kernels::serve(&x) {
            return kernels::layer_norm(x, self.weight.val(), self.bias.val(), self.epsilon);
        }
        module::layer_norm(x, self.weight.val(), Some(self.bias.val()), self.epsilon)
    }
}
