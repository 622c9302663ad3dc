//! The feed-forward half of a transformer block.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::{Activation, Dropout, Linear, LinearConfig};

/// `fc2(gelu(fc1(x)))` on the last dimension of `[..., features]`.
#[derive(Module, Debug)]
pub struct Mlp {
    /// `features → hidden`
    pub fc1: Linear,
    /// `hidden → features`
    pub fc2: Linear,
    /// After both layers.
    pub dropout: Dropout,
}

impl Mlp {
    /// `features → hidden → features`, dropping activations with probability `drop_rate` in training.
    pub fn new(features: usize, hidden: usize, drop_rate: f64, device: &Device) -> Self {
        Self {
            fc1: LinearConfig::new(features, hidden).init(device),
            fc2: LinearConfig::new(hidden, features).init(device),
            dropout: Dropout::new(drop_rate),
        }
    }

    /// `[..., features]` → the same shape.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let hidden = self.dropout.forward(Activation::Gelu.forward(self.fc1.forward(x)));
        self.dropout.forward(self.fc2.forward(hidden))
    }
}
