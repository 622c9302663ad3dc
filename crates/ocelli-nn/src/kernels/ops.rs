//! The operations, for burn's dispatch.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};
use ocelli_kernels::train::ConvShape;
use ocelli_kernels::train::norm::Clamp;
use ocelli_kernels::train::pool::PoolShape;

/// Operations that the CPU backend has kernels for, with and without gradients.
#[backend_extension(Flex, Autodiff)]
pub trait KernelOps: Backend {
    /// Convolution.
    fn conv(x: FloatTensor<Self>, weight: FloatTensor<Self>, shape: ConvShape) -> FloatTensor<Self>;

    /// Convolution plus a bias per channel.
    fn conv_with_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        shape: ConvShape,
    ) -> FloatTensor<Self>;

    /// Batch norm and activation: output, mean, biased variance.
    fn norm(
        x: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        epsilon: f64,
        clamp: Clamp,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// Batch norm, sum with a residual, activation: output, mean, biased variance.
    fn norm_add(
        x: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        epsilon: f64,
        clamp: Clamp,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// Max pooling of `[batch, channels, height, width]`.
    fn max_pool(x: FloatTensor<Self>, shape: PoolShape) -> FloatTensor<Self>;

    /// Mean over space: `[batch, channels, height, width]` → `[batch, channels, 1, 1]`.
    fn mean_pool(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// `[batch, channels, height, width]` times `[batch, channels, 1, 1]`.
    fn scale(x: FloatTensor<Self>, factors: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The channels of two maps behind each other, of the second only the first `kept`.
    fn join(first: FloatTensor<Self>, second: FloatTensor<Self>, kept: usize) -> FloatTensor<Self>;

    /// `x`, whose gradient gets `tau · x` added.
    fn penal(x: FloatTensor<Self>, tau: f32) -> FloatTensor<Self>;
}
