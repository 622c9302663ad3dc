//! Scales and shifts of channels, one set per picture.

use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use ocelli_kernels::train::modulate::ModulateShape;

use crate::kernels;

pub use ocelli_kernels::train::modulate::Rectified;

/// `x` scaled and shifted on top of itself, with a ReLU where `rectified` says:
/// `y[n, o] = x[n, o] + sum_j scale[n, o, j] · x[n, g(o) + j] + shift[n, o]`.
///
/// `x` is `[batch, channels, height, width]`, `scale` `[batch, channels, inputs]` with 1 or 2 inputs that an output channel is made of (`g(o)` is
/// the first channel of its group), `shift` `[batch, channels]`.
pub fn modulate(x: Tensor<4>, scale: Tensor<3>, shift: Tensor<2>, rectified: Rectified) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let inputs = scale.dims()[2];
    if kernels::serve(&x) && matches!(inputs, 1 | 2) {
        let shape = ModulateShape { batch, channels, inputs, area: height * width, rectified };
        return kernels::modulate(x, scale, shift, shape);
    }
    let x = if rectified == Rectified::Before { relu(x) } else { x };
    let groups = channels / inputs;
    let parts = x.clone().reshape([batch * groups, inputs, height * width]);
    let mixed = scale.reshape([batch * groups, inputs, inputs]).matmul(parts);
    let y =
        mixed.reshape([batch, channels, height, width]).add(x).add(shift.reshape([batch, channels, 1, 1]));
    if rectified == Rectified::After { relu(y) } else { y }
}
