//! Shortcuts without parameters.

use burn::tensor::{Tensor, s};

/// Shortcut "A" of ResNets for small pictures: every `stride`-th pixel, and zero channels, half of them in
/// front and half behind.
///
/// `[batch, channels, height, width]` → `[batch, channels_out, ⌈height / stride⌉, ⌈width / stride⌉]`
pub fn option_a(x: Tensor<4>, channels_out: usize, stride: usize) -> Tensor<4> {
    let [_, channels, ..] = x.dims();
    let step = stride as isize;
    let x = if stride > 1 { x.slice(s![.., .., ..;step, ..;step]) } else { x };
    if channels_out == channels {
        return x;
    }
    let [batch, _, height, width] = x.dims();
    let front = (channels_out - channels) / 2;
    let zeros = |count| Tensor::zeros([batch, count, height, width], &x.device());
    Tensor::cat(vec![zeros(front), x.clone(), zeros(channels_out - channels - front)], 1)
}
