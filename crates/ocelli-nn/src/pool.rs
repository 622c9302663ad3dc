//! Pooling.

use burn::module::Module;
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use burn::tensor::{Tensor, module, module::max_pool2d};
use ocelli_kernels::train::pool::PoolShape;

use crate::kernels;

/// Max pooling over a square window.
#[derive(Module, Debug)]
pub struct MaxPool2d {
    /// Window side, in pixels.
    pub kernel: usize,
    /// Step, in pixels.
    pub stride: usize,
    /// Border that never wins, in pixels.
    pub padding: usize,
    /// Round the output size up (Caffe) rather than down (PyTorch's default).
    pub ceil: bool,
}

impl MaxPool2d {
    /// Floor rounding with padding, as PyTorch networks use it.
    pub fn new(kernel: usize, stride: usize, padding: usize) -> Self {
        Self { kernel, stride, padding, ceil: false }
    }

    /// No padding and ceil rounding, Caffe's rule: windows may run over the end.
    pub fn caffe(kernel: usize, stride: usize) -> Self {
        Self { kernel, stride, padding: 0, ceil: true }
    }

    /// `[batch, channels, height, width]` → `[batch, channels, height', width']`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = x.dims();
        // The kernel counts taps in a byte; a map smaller than the window is burn's to refuse.
        let fits = self.kernel <= 15 && height.min(width) + 2 * self.padding >= self.kernel;
        if kernels::serve(&x) && !self.ceil && fits {
            let along = |size: usize| (size + 2 * self.padding - self.kernel) / self.stride + 1;
            let shape = PoolShape {
                planes: batch * channels,
                size: [height, width],
                kernel: [self.kernel; 2],
                stride: [self.stride; 2],
                padding: [self.padding; 2],
                output: [along(height), along(width)],
            };
            return kernels::max_pool(x, shape);
        }
        max_pool2d(
            x,
            MaxPoolOptions::new([self.kernel; 2])
                .with_stride([self.stride; 2])
                .with_padding([self.padding; 2])
                .with_ceil_mode(self.ceil),
        )
    }
}

/// Average over `kernel × kernel` windows, floor rounding; the zeros of the border count as members, so that
/// every window divides by `kernel²`.
pub fn avg_pool2d(x: Tensor<4>, kernel: usize, stride: usize, padding: usize) -> Tensor<4> {
    let options = AvgPoolOptions::new([kernel; 2])
        .with_stride([stride; 2])
        .with_padding([padding; 2])
        .with_count_include_pad(true);
    module::avg_pool2d(x, options)
}

/// Mean over space: `[batch, channels, height, width]` → `[batch, channels, 1, 1]`.
pub fn global_avg_pool(x: Tensor<4>) -> Tensor<4> {
    if kernels::serve(&x) {
        return kernels::mean_pool(x);
    }
    let [batch, channels, height, width] = x.dims();
    x.reshape([batch, channels, height * width]).mean_dim(2).reshape([batch, channels, 1, 1])
}
