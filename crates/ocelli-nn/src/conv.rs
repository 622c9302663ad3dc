//! 2D convolution with PyTorch's parameter names and layout.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, module::conv2d, ops::ConvOptions};

use ocelli_kernels::train::ConvShape;

use crate::fake_quant;
use crate::init::zeros;
use crate::kernels;

/// How to build a [`Conv2d`].
#[derive(Clone, Debug)]
pub struct Conv2dConfig {
    pub(crate) channels_in: usize,
    pub(crate) channels_out: usize,
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) padding: [usize; 2],
    pub(crate) dilation: [usize; 2],
    pub(crate) groups: usize,
    pub(crate) bias: bool,
}

impl Conv2dConfig {
    /// A `kernel × kernel` convolution, stride 1, padded by `(kernel - 1) / 2` so that odd kernels keep the
    /// size, without bias (a batch norm follows almost everywhere).
    pub fn new(channels_in: usize, channels_out: usize, kernel: usize) -> Self {
        Self {
            channels_in,
            channels_out,
            kernel: [kernel; 2],
            stride: [1; 2],
            padding: [(kernel - 1) / 2; 2],
            dilation: [1; 2],
            groups: 1,
            bias: false,
        }
    }

    /// Step of the window, in pixels.
    pub fn stride(mut self, stride: usize) -> Self {
        self.stride = [stride; 2];
        self
    }

    /// Zeros added on every side, in pixels.
    pub fn padding(mut self, padding: usize) -> Self {
        self.padding = [padding; 2];
        self
    }

    /// Distance between the kernel's taps, in pixels.
    pub fn dilation(mut self, dilation: usize) -> Self {
        self.dilation = [dilation; 2];
        self
    }

    /// Number of groups the channels are split into; must divide both channel counts.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Adds a bias per output channel.
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// Builds the layer. The parameters are zeros until [`initialize`](crate::initialize) or a weight file
    /// fills them.
    ///
    /// # Panics
    /// If `groups` does not divide both channel counts: a mistake in a network's own code.
    pub fn init(&self, device: &Device) -> Conv2d {
        assert!(
            self.channels_in.is_multiple_of(self.groups) && self.channels_out.is_multiple_of(self.groups),
            "{} groups do not divide {} -> {} channels",
            self.groups,
            self.channels_in,
            self.channels_out
        );
        let [kh, kw] = self.kernel;
        Conv2d {
            weight: zeros([self.channels_out, self.channels_in / self.groups, kh, kw], device),
            bias: self.bias.then(|| zeros([self.channels_out], device)),
            stride: self.stride,
            padding: self.padding,
            dilation: self.dilation,
            groups: self.groups,
        }
    }
}

/// 2D convolution (cross-correlation) of `[batch, channels, height, width]`, zero padding.
#[derive(Module, Debug)]
pub struct Conv2d {
    /// `[channels_out, channels_in / groups, kernel_height, kernel_width]`
    pub weight: Param<Tensor<4>>,
    /// `[channels_out]`
    pub bias: Option<Param<Tensor<1>>>,
    /// Step of the window `[height, width]`.
    pub stride: [usize; 2],
    /// Zeros on every side `[height, width]`.
    pub padding: [usize; 2],
    /// Distance of the taps `[height, width]`.
    pub dilation: [usize; 2],
    /// Number of channel groups.
    pub groups: usize,
}

impl Conv2d {
    /// `[batch, channels_in, height, width]` → `[batch, channels_out, height', width']`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let window = Window {
            stride: self.stride,
            padding: self.padding,
            dilation: self.dilation,
            groups: self.groups,
        };
        let (x, weight) = fake_quant::operands(x, &self.weight);
        convolve(x, weight, self.bias.as_ref().map(|bias| bias.val()), window)
    }
}

/// How a kernel moves over a map.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub stride: [usize; 2],
    pub padding: [usize; 2],
    pub dilation: [usize; 2],
    pub groups: usize,
}

/// `x` convolved with `weight`, plus `bias`, by this device's kernels.
pub(crate) fn convolve(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    window: Window,
) -> Tensor<4> {
    let Window { stride, padding, dilation, groups } = window;
    if !kernels::serve(&x) {
        return conv2d(x, weight, bias, ConvOptions::new(stride, padding, dilation, groups));
    }
    let [batch, channels_in, height, width] = x.dims();
    let [channels_out, _, kernel_height, kernel_width] = weight.dims();
    let shape = ConvShape {
        batch,
        channels_in,
        channels_out,
        size: [height, width],
        kernel: [kernel_height, kernel_width],
        stride,
        padding,
        dilation,
        groups,
    };
    kernels::conv2d(x, weight, bias, shape)
}
