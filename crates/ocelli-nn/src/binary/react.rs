//! ReActNet's learned shifts and slopes (arXiv 2003.03488, section 4.2).

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, activation};

use crate::init::{computed, zeros};

/// Adds a number per channel. Before a [`sign`](super::sign) it makes `RSign`, before and after a [`PRelu`] `RPReLU`.
#[derive(Module, Debug)]
pub struct ChannelBias {
    /// `[1, channels, 1, 1]`, begins at 0; added, not subtracted.
    pub bias: Param<Tensor<4>>,
}

impl ChannelBias {
    /// For maps of `channels` channels.
    pub fn new(channels: usize, device: &Device) -> Self {
        Self { bias: zeros([1, channels, 1, 1], device) }
    }

    /// `[batch, channels, height, width]` → the same shape.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        x.add(self.bias.val())
    }
}

/// `x` where not negative, else `slope · x`, a slope per channel.
#[derive(Module, Debug)]
pub struct PRelu {
    /// Slopes `[channels]`, begin at 0.25.
    pub weight: Param<Tensor<1>>,
}

impl PRelu {
    /// For maps of `channels` channels.
    pub fn new(channels: usize, device: &Device) -> Self {
        Self { weight: computed([channels], device, move || vec![0.25; channels]) }
    }

    /// `[batch, channels, height, width]` → the same shape.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        activation::prelu(x, self.weight.val())
    }
}
