//! Fully connected layer with PyTorch's parameter names and layout.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, module};

use crate::fake_quant;
use crate::init::zeros;
use crate::kernels;

/// How to build a [`Linear`].
#[derive(Clone, Debug)]
pub struct LinearConfig {
    features_in: usize,
    features_out: usize,
    bias: bool,
}

impl LinearConfig {
    /// `features_in → features_out`, with bias.
    pub fn new(features_in: usize, features_out: usize) -> Self {
        Self { features_in, features_out, bias: true }
    }

    /// Whether a bias is added.
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// Builds the layer, its parameters zeros until initialised or loaded.
    pub fn init(&self, device: &Device) -> Linear {
        Linear {
            weight: zeros([self.features_out, self.features_in], device),
            bias: self.bias.then(|| zeros([self.features_out], device)),
        }
    }
}

/// `y = x Wᵀ + b`
#[derive(Module, Debug)]
pub struct Linear {
    /// `[features_out, features_in]`
    pub weight: Param<Tensor<2>>,
    /// `[features_out]`
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// `[..., features_in]` → `[..., features_out]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let (x, weight) = fake_quant::operands(x, &self.weight);
        let bias = self.bias.as_ref().map(|bias| bias.val());
        if kernels::serve(&x) {
            return kernels::linear(x, weight, bias);
        }
        let weight = weight.transpose();
        if kernels::is_recorded(&x) {
            return kernels::recorded_linear(x, weight, bias);
        }
        module::linear(x, weight, bias)
    }
}
