//! Dynamic convolution ("ParameterNet: Parameters Are All You Need", arXiv 2306.14525; conditionally parameterised
//! convolution): several expert kernels, mixed into one per picture before it is convolved. A drop-in for a convolution.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, activation::softmax};
use serde::{Deserialize, Serialize};

use crate::conv::{Conv2dConfig, Window, convolve};
use crate::init::drawn;
use crate::{Activation, Linear, LinearConfig, global_avg_pool, kernels};

/// How the experts' shares come from the routing scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// Each between 0 and 1 on its own; they need not sum to 1 (the released code).
    #[default]
    Sigmoid,
    /// Together 1.
    Softmax,
}

/// Experts of a [`DynamicConv2d`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dynamic {
    /// Number of kernels.
    pub experts: usize,
    /// From scores to shares.
    #[serde(default)]
    pub gate: Gate,
    /// Whether a hidden layer with ReLU stands before the routing scores (the paper's gate; the released code has none).
    #[serde(default)]
    pub hidden: bool,
}

impl Dynamic {
    /// `experts` kernels behind the released code's gate.
    pub fn new(experts: usize) -> Self {
        Self { experts, gate: Gate::Sigmoid, hidden: false }
    }

    /// The layer that takes the place of `plain`.
    pub fn layer(&self, plain: &Conv2dConfig, device: &Device) -> DynamicConv2d {
        let Conv2dConfig { channels_in, channels_out, kernel: [kh, kw], groups, .. } = *plain;
        assert!(
            channels_in.is_multiple_of(groups) && channels_out.is_multiple_of(groups),
            "{groups} groups do not divide {channels_in} -> {channels_out} channels"
        );
        let fan_in = channels_in / groups * kh * kw;
        let bound = 1.0 / (fan_in as f64).sqrt();
        DynamicConv2d {
            hidden: self.hidden.then(|| LinearConfig::new(channels_in, channels_in).init(device)),
            routing: LinearConfig::new(channels_in, self.experts).init(device),
            cond_conv: Experts {
                weight: drawn([self.experts, channels_out * fan_in], bound, device),
                bias: plain.bias.then(|| drawn([self.experts, channels_out], bound, device)),
            },
            gate: self.gate,
            channels_out,
            kernel: plain.kernel,
            stride: plain.stride,
            padding: plain.padding,
            dilation: plain.dilation,
            groups,
        }
    }
}

/// The expert kernels, one per row.
#[derive(Module, Debug)]
pub struct Experts {
    /// `[experts, channels_out · channels_in / groups · kernel_height · kernel_width]`
    pub weight: Param<Tensor<2>>,
    /// `[experts, channels_out]`
    pub bias: Option<Param<Tensor<2>>>,
}

/// Convolution by `Σ_i a_i(x) W_i`, where the shares `a` come from the picture's mean.
#[derive(Module, Debug)]
pub struct DynamicConv2d {
    hidden: Option<Linear>,
    routing: Linear,
    cond_conv: Experts,
    #[module(skip)]
    gate: Gate,
    channels_out: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
    groups: usize,
}

impl DynamicConv2d {
    /// The experts' shares for every picture of `x`, `[batch, experts]`.
    pub fn shares(&self, x: Tensor<4>) -> Tensor<2> {
        let mut mean = global_avg_pool(x).flatten::<2>(1, 3);
        if let Some(hidden) = &self.hidden {
            mean = Activation::Relu.forward(hidden.forward(mean));
        }
        let scores = self.routing.forward(mean);
        match self.gate {
            Gate::Sigmoid => Activation::Sigmoid.forward(scores),
            Gate::Softmax => softmax(scores, 1),
        }
    }

    /// `[batch, channels_in, height, width]` → `[batch, channels_out, height', width']`
    ///
    /// A picture's result does not depend on the others of its batch.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let shares = self.shares(x.clone());
        let bias = self.cond_conv.bias.as_ref().map(|bias| shares.clone().matmul(bias.val()));
        let [batch, channels_in, height, width] = x.dims();
        let [kh, kw] = self.kernel;
        let depth = channels_in / self.groups;
        if kernels::is_recorded(&x) {
            let geometry = [
                self.channels_out,
                kh,
                kw,
                self.stride[0],
                self.stride[1],
                self.padding[0],
                self.padding[1],
                self.dilation[0],
                self.dilation[1],
                self.groups,
            ];
            let y = kernels::recorded_dynamic_conv(x, self.cond_conv.weight.val(), shares, geometry);
            return match bias {
                Some(bias) => y.add(bias.reshape([batch, self.channels_out, 1, 1])),
                None => y,
            };
        }
        let weight = shares.matmul(self.cond_conv.weight.val());
        // All pictures at once: each a group of channels of its own.
        let window = Window {
            stride: self.stride,
            padding: self.padding,
            dilation: self.dilation,
            groups: batch * self.groups,
        };
        let y = convolve(
            x.reshape([1, batch * channels_in, height, width]),
            weight.reshape([batch * self.channels_out, depth, kh, kw]),
            bias.map(|bias| bias.reshape([batch * self.channels_out])),
            window,
        );
        let [_, _, height, width] = y.dims();
        y.reshape([batch, self.channels_out, height, width])
    }
}
