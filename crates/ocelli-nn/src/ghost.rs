//! The Ghost module (arXiv 1911.11907): a thin convolution makes the intrinsic maps, cheap depthwise
//! convolutions make the rest from them. A drop-in for any convolution followed by a batch norm.

use burn::module::Module;
use burn::tensor::{Device, Tensor, s};

use crate::{Activation, BatchNorm, BatchNormConfig, Conv2dConfig, ConvKind, Convolution, Taps, kernels};

/// How to build a [`GhostModule`].
#[derive(Clone, Debug)]
pub struct GhostConfig {
    channels_in: usize,
    channels_out: usize,
    kernel: usize,
    ratio: usize,
    cheap_kernel: usize,
    stride: usize,
    activation: Activation,
    conv: ConvKind,
}

impl GhostConfig {
    /// The paper's defaults: 1x1 primary convolution, half of the channels intrinsic, 3x3 cheap operation,
    /// ReLU after both halves.
    pub fn new(channels_in: usize, channels_out: usize) -> Self {
        Self {
            channels_in,
            channels_out,
            kernel: 1,
            ratio: 2,
            cheap_kernel: 3,
            stride: 1,
            activation: Activation::Relu,
            conv: ConvKind::Plain,
        }
    }

    /// Side of the primary convolution's kernel.
    pub fn kernel(mut self, kernel: usize) -> Self {
        self.kernel = kernel;
        self
    }

    /// Output channels per intrinsic channel (the paper's s), at least 2.
    pub fn ratio(mut self, ratio: usize) -> Self {
        self.ratio = ratio;
        self
    }

    /// Side of the cheap operation's kernel (the paper's d).
    pub fn cheap_kernel(mut self, kernel: usize) -> Self {
        self.cheap_kernel = kernel;
        self
    }

    /// Step of the primary convolution, in pixels.
    pub fn stride(mut self, stride: usize) -> Self {
        self.stride = stride;
        self
    }

    /// Whether a ReLU follows both halves.
    pub fn relu(mut self, relu: bool) -> Self {
        self.activation = if relu { Activation::Relu } else { Activation::Identity };
        self
    }

    /// What follows both halves.
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Kind of both convolutions.
    pub fn conv(mut self, kind: ConvKind) -> Self {
        self.conv = kind;
        self
    }

    /// Channels of the intrinsic half and of the cheap half; together at least the output's channels.
    pub fn split(&self) -> (usize, usize) {
        let intrinsic = self.channels_out.div_ceil(self.ratio);
        (intrinsic, intrinsic * (self.ratio - 1))
    }

    /// Builds the module, its parameters zeros until initialised or loaded.
    ///
    /// # Panics
    /// If the ratio is below 2: there would be nothing cheap, use a plain convolution.
    pub fn init(&self, device: &Device) -> GhostModule {
        assert!(self.ratio >= 2, "a Ghost module needs a ratio of at least 2, not {}", self.ratio);
        let (intrinsic, cheap) = self.split();
        let primary = Conv2dConfig::new(self.channels_in, intrinsic, self.kernel)
            .stride(self.stride)
            .padding(self.kernel / 2);
        let depthwise = Conv2dConfig::new(intrinsic, cheap, self.cheap_kernel)
            .padding(self.cheap_kernel / 2)
            .groups(intrinsic);
        GhostModule {
            primary_conv: (self.conv.init(primary, device), BatchNormConfig::new(intrinsic).init(device)),
            cheap_operation: (self.conv.init(depthwise, device), BatchNormConfig::new(cheap).init(device)),
            channels_out: self.channels_out,
            activation: self.activation,
        }
    }
}

/// Intrinsic maps by a convolution, ghost maps by a depthwise convolution of them.
#[derive(Module, Debug)]
pub struct GhostModule {
    /// The convolution that makes the intrinsic maps, and its norm.
    pub primary_conv: (Convolution, BatchNorm),
    /// The depthwise convolution that makes the ghost maps, and its norm.
    pub cheap_operation: (Convolution, BatchNorm),
    /// Channels of the output.
    pub channels_out: usize,
    /// After both halves.
    #[module(skip)]
    pub activation: Activation,
}

impl GhostModule {
    /// `[batch, channels_in, h, w]` → `[batch, channels_out, h / stride, w / stride]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.forward_tapped(x, &mut Taps::none())
    }

    /// As [`forward`](Self::forward), offering both halves to `taps` as `primary_conv` and `cheap_operation`.
    pub fn forward_tapped(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
        let (conv, norm) = &self.primary_conv;
        let intrinsic = norm.forward_then(conv.forward(x), self.activation);
        taps.see("primary_conv", &intrinsic);
        let (conv, norm) = &self.cheap_operation;
        let ghosts = norm.forward_then(conv.forward(intrinsic.clone()), self.activation);
        taps.see("cheap_operation", &ghosts);
        concat_trimmed(intrinsic, ghosts, self.channels_out)
    }
}

/// `first` and `second` behind each other, surplus channels cut from the end.
pub fn concat_trimmed(first: Tensor<4>, second: Tensor<4>, channels: usize) -> Tensor<4> {
    let missing = channels - first.dims()[1].min(channels);
    if kernels::serve(&first) && missing <= second.dims()[1] {
        return kernels::join(first, second, missing);
    }
    let second = if missing < second.dims()[1] { second.slice(s![.., 0..missing]) } else { second };
    Tensor::cat(vec![first, second], 1)
}
