//! The mapping network of "Training Binary Neural Networks through Learning with Noisy Supervision" (arXiv 2010.04871): it
//! looks at all filters of a layer and says which signs they should have together.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use ocelli_kernels::train::norm::Clamp;

use crate::conv::{Window, convolve};
use crate::init::{drawn, ones, zeros};
use crate::{Activation, Slot, kernels};

const EPSILON: f64 = 1e-5;

/// Three 3x3 convolutions over the filters of a layer, `[filters, channels, kernel_height, kernel_width]`, taken as a batch of
/// pictures, with norms and ReLU between them. Used in training; deployed are the signs it makes.
#[derive(Module, Debug)]
pub struct MappingNetwork {
    net: (MapConv, FilterNorm, Slot, MapConv, FilterNorm, Slot, MapConv),
    skip: bool,
}

impl MappingNetwork {
    /// For filters of `channels` channels. With `skip` the weights themselves, divided by their mean absolute value, are
    /// added, and the last convolution begins at zero: the signs begin as those of the weights.
    pub fn new(channels: usize, skip: bool, device: &Device) -> Self {
        let wide = 2 * channels;
        let conv = |from: usize, to: usize| MapConv::new(from, to, 1.0 / (9.0 * from as f64).sqrt(), device);
        let last = if skip { MapConv::new(wide, channels, 0.0, device) } else { conv(wide, channels) };
        let norm = || FilterNorm::new(wide, device);
        Self { net: (conv(channels, wide), norm(), Slot {}, conv(wide, wide), norm(), Slot {}, last), skip }
    }

    /// Latent weights → real numbers of the same shape, whose signs are the binary weights.
    ///
    /// All filters of a layer must be given at once: the norms take their statistics, in training and evaluation alike.
    pub fn forward(&self, weight: Tensor<4>) -> Tensor<4> {
        let (first, norm, _, second, other, _, last) = &self.net;
        let x = norm.forward(first.forward(weight.clone()));
        let x = last.forward(other.forward(second.forward(x)));
        if self.skip {
            let scale = weight.clone().abs().mean().reshape([1, 1, 1, 1]);
            x.add(weight.div(scale))
        } else {
            x
        }
    }
}

/// A 3x3 convolution that keeps the size, without bias.
#[derive(Module, Debug)]
pub struct MapConv {
    /// `[channels_out, channels_in, 3, 3]`
    pub weight: Param<Tensor<4>>,
}

impl MapConv {
    /// Weights begin within `±bound`.
    fn new(from: usize, to: usize, bound: f64, device: &Device) -> Self {
        Self { weight: drawn([to, from, 3, 3], bound, device) }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let window = Window { stride: [1; 2], padding: [1; 2], dilation: [1; 2], groups: 1 };
        convolve(x, self.weight.val(), None, window)
    }
}

/// Normalises channels by the statistics of all filters, then ReLU. It has no running statistics: the batch is always the
/// same complete set.
#[derive(Module, Debug)]
struct FilterNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
}

impl FilterNorm {
    fn new(channels: usize, device: &Device) -> Self {
        Self { weight: ones([channels], device), bias: zeros([channels], device) }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let (gain, shift) = (self.weight.val(), self.bias.val());
        if kernels::serve(&x) {
            return kernels::batch_norm(x, gain, shift, None, EPSILON, Clamp::RELU).output;
        }
        let [_, channels, ..] = x.dims();
        let mean = |x: Tensor<4>| x.mean_dim(0).mean_dim(2).mean_dim(3);
        let centred = x.clone().sub(mean(x));
        let variance = mean(centred.clone().mul(centred.clone()));
        let per_channel = |x: Tensor<1>| x.reshape([1, channels, 1, 1]);
        let y = centred.div(variance.add_scalar(EPSILON).sqrt()).mul(per_channel(gain));
        Activation::Relu.forward(y.add(per_channel(shift)))
    }
}
