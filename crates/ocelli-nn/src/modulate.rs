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
    composed(x, scale, shift, rectified)
}

/// The same of burn's operations.
fn composed(x: Tensor<4>, scale: Tensor<3>, shift: Tensor<2>, rectified: Rectified) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let inputs = scale.dims()[2];
    let x = if rectified == Rectified::Before { relu(x) } else { x };
    let groups = channels / inputs;
    let parts = x.clone().reshape([batch * groups, inputs, height * width]);
    let mixed = scale.reshape([batch * groups, inputs, inputs]).matmul(parts);
    let y =
        mixed.reshape([batch, channels, height, width]).add(x).add(shift.reshape([batch, channels, 1, 1]));
    if rectified == Rectified::After { relu(y) } else { y }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::random::{keyed, unit};

    fn drawn<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
        let mut rng = keyed(11, seed);
        let values: Vec<f32> =
            (0..shape.iter().product()).map(|_| (2.0 * unit(&mut rng) - 1.0) as f32).collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex().autodiff()).require_grad()
    }

    /// Output and all gradients of the kernel are those of burn's operations.
    #[test]
    fn the_kernel_is_the_composition() {
        let mut seed = 0;
        for (batch, channels, height, width) in [(1, 2, 1, 1), (3, 4, 5, 7), (2, 6, 16, 16), (5, 8, 9, 31)] {
            for inputs in [1, 2] {
                for rectified in [Rectified::Never, Rectified::Before, Rectified::After] {
                    seed += 5;
                    let x = drawn([batch, channels, height, width], seed);
                    let scale = drawn([batch, channels, inputs], seed + 1);
                    let shift = drawn([batch, channels], seed + 2);
                    let weights = drawn([batch, channels, height, width], seed + 3);
                    let run = |f: &dyn Fn(Tensor<4>, Tensor<3>, Tensor<2>, Rectified) -> Tensor<4>| {
                        let y = f(x.clone(), scale.clone(), shift.clone(), rectified);
                        let grads = y.clone().mul(weights.clone()).sum().backward();
                        let data = |tensor: Option<TensorData>| -> Vec<f32> {
                            tensor.map(|data| data.iter::<f32>().collect()).unwrap_or_default()
                        };
                        [
                            data(Some(y.into_data())),
                            data(x.grad(&grads).map(Tensor::into_data)),
                            data(scale.grad(&grads).map(Tensor::into_data)),
                            data(shift.grad(&grads).map(Tensor::into_data)),
                        ]
                    };
                    let (found, wanted) = (run(&modulate), run(&composed));
                    for (part, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
                        assert_eq!(found.len(), wanted.len());
                        assert!(!found.is_empty(), "part {part} has no gradient");
                        let reach = wanted.iter().fold(1e-3f32, |most, value| most.max(value.abs()));
                        for (a, b) in found.iter().zip(wanted) {
                            let of = (channels, height, width, inputs, rectified);
                            assert!((a - b).abs() <= 2e-6 * reach, "part {part} of {of:?}: {a}, not {b}");
                        }
                    }
                }
            }
        }
    }
}
