//! The kernels of `ocelli-kernels` as operations on burn tensors, with their own backward passes.
//!
//! They serve `f32` tensors on the CPU backend. Every layer that calls one asks [`serve`] first and otherwise takes
//! burn's operations: other devices compute with their own kernels, and the capture device records the network as
//! what it is.

mod adder;
#[cfg(test)]
mod adder_tests;
mod attention;
mod autodiff;
mod binary;
mod fake_quant;
mod flex;
mod gelu;
mod graph;
mod layer_norm;
mod linear;
mod modulate;
mod ops;
mod record;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod transformer_tests;

use burn::tensor::{DType, Device, Int, Tensor};
use ocelli_kernels::train::ConvShape;
use ocelli_kernels::train::modulate::ModulateShape;
use ocelli_kernels::train::norm::Clamp;
use ocelli_kernels::train::pool::PoolShape;
use ocelli_kernels::train::versatile::VersatileShape;

use crate::binary::Estimator;
use adder::AdderOps;
use attention::AttentionOps;
use binary::BinaryOps;
use burn::backend::{Dispatch, Flex};
use fake_quant::FakeQuantOps;
use gelu::GeluOps;
use graph::GraphOps;
use layer_norm::LayerNormOps;
use linear::LinearOps;
use modulate::ModulateOps;
use ops::KernelOps;
use record::RecordOps;

/// Whether the kernels handle `x`.
pub(crate) fn serve<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && x.device() == Device::flex()
}

/// Convolution of `[batch, channels_in, height, width]`; `shape` describes it, `weight` and `bias` are as in
/// [`Conv2d`](crate::Conv2d).
pub(crate) fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    shape: ConvShape,
) -> Tensor<4> {
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(match bias {
        Some(bias) => Dispatch::conv_with_bias(x, weight, bias.into_dispatch(), shape),
        None => Dispatch::conv(x, weight, shape),
    })
}

/// Adder convolution of `[batch, channels_in, height, width]`; `eta` is the learning rate of the layer's weights (0: their gradient
/// is not scaled).
pub(crate) fn adder_conv(x: Tensor<4>, weight: Tensor<4>, shape: ConvShape, eta: f64) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::adder_conv(x.into_dispatch(), weight.into_dispatch(), shape, eta))
}

/// `weight`, whose gradient is scaled to the length `eta · sqrt(elements)`.
pub(crate) fn adapted(weight: Tensor<4>, eta: f64) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::adapted(weight.into_dispatch(), eta))
}

/// Records an adder convolution; `geometry` is stride, padding and dilation (each of height and width).
pub(crate) fn recorded_adder_conv(x: Tensor<4>, weight: Tensor<4>, geometry: [usize; 6]) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::recorded_adder_conv(x.into_dispatch(), weight.into_dispatch(), geometry))
}

/// Convolution with versatile filters of tensors that record no gradients; `bias` is one number per map. Nothing, where a
/// tensor lives elsewhere.
pub(crate) fn versatile(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    shape: &VersatileShape,
) -> Option<Tensor<4>> {
    let x = x.try_into_primitive::<Flex>().ok()?;
    let weight = weight.try_into_primitive::<Flex>().ok()?;
    let bias = match bias {
        Some(bias) => Some(bias.try_into_primitive::<Flex>().ok()?),
        None => None,
    };
    Some(Tensor::from_primitive::<Flex>(flex::versatile(&x, &weight, bias.as_ref(), shape)))
}

/// What [`batch_norm`] gives: the output, the batch's mean and its biased variance.
pub(crate) struct Normalised<const D: usize> {
    pub output: Tensor<D>,
    pub mean: Tensor<1>,
    pub variance: Tensor<1>,
}

/// Batch norm with batch statistics, plus `residual`, within the bounds of an activation.
pub(crate) fn batch_norm<const D: usize>(
    x: Tensor<D>,
    gain: Tensor<1>,
    shift: Tensor<1>,
    residual: Option<Tensor<D>>,
    epsilon: f64,
    clamp: Clamp,
) -> Normalised<D> {
    let (x, gain, shift) = (x.into_dispatch(), gain.into_dispatch(), shift.into_dispatch());
    let (output, mean, variance) = match residual {
        Some(residual) => Dispatch::norm_add(x, gain, shift, residual.into_dispatch(), epsilon, clamp),
        None => Dispatch::norm(x, gain, shift, epsilon, clamp),
    };
    Normalised {
        output: Tensor::from_dispatch(output),
        mean: Tensor::from_dispatch(mean),
        variance: Tensor::from_dispatch(variance),
    }
}

/// Max pooling of `[batch, channels, height, width]`.
pub(crate) fn max_pool(x: Tensor<4>, shape: PoolShape) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::max_pool(x.into_dispatch(), shape))
}

/// Mean over space: `[batch, channels, height, width]` → `[batch, channels, 1, 1]`.
pub(crate) fn mean_pool(x: Tensor<4>) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::mean_pool(x.into_dispatch()))
}

/// `[batch, channels, height, width]` times `[batch, channels, 1, 1]`.
pub(crate) fn scale(x: Tensor<4>, factors: Tensor<4>) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::scale(x.into_dispatch(), factors.into_dispatch()))
}

/// The channels of every picture scaled and shifted on top of themselves.
pub(crate) fn modulate(x: Tensor<4>, scale: Tensor<3>, shift: Tensor<2>, shape: ModulateShape) -> Tensor<4> {
    let (scale, shift) = (scale.into_dispatch(), shift.into_dispatch());
    Tensor::from_dispatch(Dispatch::modulated(x.into_dispatch(), scale, shift, shape))
}

/// The channels of two maps behind each other, of the second only the first `kept`.
pub(crate) fn join(first: Tensor<4>, second: Tensor<4>, kept: usize) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::join(first.into_dispatch(), second.into_dispatch(), kept))
}

/// `x`, whose gradient gets `tau · x` added.
pub(crate) fn penal<const D: usize>(x: Tensor<D>, tau: f32) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::penal(x.into_dispatch(), tau))
}

/// -1 below zero, else +1.
pub(crate) fn sign<const D: usize>(x: Tensor<D>, estimator: Estimator) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::sign(x.into_dispatch(), estimator))
}

/// The sign of every weight, times the mean absolute weight of its filter where `scaled`.
pub(crate) fn binarize<const D: usize>(weight: Tensor<D>, scaled: bool) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::binarize(weight.into_dispatch(), scaled))
}

/// Whether `x` is recorded instead of computed.
pub(crate) fn is_recorded<const D: usize>(x: &Tensor<D>) -> bool {
    x.clone().try_into_primitive::<burn_capture::CaptureBackend>().is_ok()
}

/// The neighbours `[batch, nodes, k]` of the nodes of `x` `[batch, channels, h, w]` among those of `y`.
pub(crate) fn neighbours(
    x: Tensor<4>,
    y: Tensor<4>,
    positions: Option<Tensor<3>>,
    k: usize,
    dilation: usize,
) -> Tensor<3, Int> {
    let recorded = is_recorded(&x);
    let (x, y) = (x.into_dispatch(), y.into_dispatch());
    let positions = positions.map(|positions| positions.into_dispatch());
    Tensor::from_dispatch(match (positions, recorded) {
        (Some(positions), false) => Dispatch::neighbours_near(x, y, positions, k, dilation),
        (Some(positions), true) => Dispatch::recorded_neighbours_near(x, y, positions, k, dilation),
        (None, false) => Dispatch::neighbours(x, y, k, dilation),
        (None, true) => Dispatch::recorded_neighbours(x, y, k, dilation),
    })
}

/// Every channel of `x` followed by the most that a neighbour in `y` has more of it.
pub(crate) fn max_relative(x: Tensor<4>, y: Tensor<4>, neighbours: Tensor<3, Int>) -> Tensor<4> {
    let recorded = is_recorded(&x);
    let (x, y, neighbours) = (x.into_dispatch(), y.into_dispatch(), neighbours.into_dispatch());
    Tensor::from_dispatch(if recorded {
        Dispatch::recorded_max_relative(x, y, neighbours)
    } else {
        Dispatch::max_relative(x, y, neighbours)
    })
}

/// Records a convolution of every picture of `x` with the sum of the rows of `experts`, weighed by its row of `shares`.
pub(crate) fn recorded_dynamic_conv(
    x: Tensor<4>,
    experts: Tensor<2>,
    shares: Tensor<2>,
    geometry: [usize; 10],
) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::recorded_dynamic_conv(
        x.into_dispatch(),
        experts.into_dispatch(),
        shares.into_dispatch(),
        geometry,
    ))
}

/// Records a convolution of the signs of `x` with the signs of `weight`.
pub(crate) fn recorded_binary_conv<const D: usize>(
    x: Tensor<4>,
    weight: Tensor<D>,
    geometry: [usize; 11],
) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::recorded_binary_conv(x.into_dispatch(), weight.into_dispatch(), geometry))
}

/// `x · weightᵀ (+ bias)`: `[..., features_in]` → `[..., features_out]`, the weights `[features_out, features_in]`.
pub(crate) fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(match bias {
        Some(bias) => Dispatch::linear_with_bias(x, weight, bias.into_dispatch()),
        None => Dispatch::linear(x, weight),
    })
}

/// Layer norm over the last dimension of `[..., features]`.
pub(crate) fn layer_norm<const D: usize>(
    x: Tensor<D>,
    gain: Tensor<1>,
    shift: Tensor<1>,
    epsilon: f64,
) -> Tensor<D> {
    let (gain, shift) = (gain.into_dispatch(), shift.into_dispatch());
    Tensor::from_dispatch(Dispatch::layer_norm(x.into_dispatch(), gain, shift, epsilon))
}

/// `x / 2 · (1 + erf(x / √2))`
pub(crate) fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::exact_gelu(x.into_dispatch()))
}

/// `x` `[rows, ...]` rounded to what its codes in `range` stand for, with `steps` `[rows]`, whose gradient is multiplied by `factor`.
pub(crate) fn fake_quant<const D: usize>(
    x: Tensor<D>,
    steps: Tensor<1>,
    [low, high]: [f32; 2],
    factor: f32,
) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::fake_quant(x.into_dispatch(), steps.into_dispatch(), low, high, factor))
}

/// Attention of `[batch, heads, tokens, dim]` each.
pub(crate) fn attend(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
    let scale = scale_of(q.dims()[3]);
    let (q, k, v) = (q.into_dispatch(), k.into_dispatch(), v.into_dispatch());
    Tensor::from_dispatch(Dispatch::attend(q, k, v, scale))
}

/// Attention of queries and keys `[batch, tokens, 2 · heads · dim]`, with values `[batch, tokens, heads · width]`.
pub(crate) fn attend_pair(qk: Tensor<3>, v: Tensor<3>, heads: usize) -> Tensor<3> {
    let scale = scale_of(qk.dims()[2] / (2 * heads));
    Tensor::from_dispatch(Dispatch::attend_pair(qk.into_dispatch(), v.into_dispatch(), heads, scale))
}

/// Attention of queries, keys and values `[batch, tokens, 3 · heads · dim]`.
pub(crate) fn attend_joined(qkv: Tensor<3>, heads: usize) -> Tensor<3> {
    let scale = scale_of(qkv.dims()[2] / (3 * heads));
    Tensor::from_dispatch(Dispatch::attend_joined(qkv.into_dispatch(), heads, scale))
}

/// What products of vectors of `dim` elements are multiplied by.
fn scale_of(dim: usize) -> f32 {
    (1.0 / (dim as f64).sqrt()) as f32
}

/// Records `x · weight (+ bias)`.
pub(crate) fn recorded_linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(match bias {
        Some(bias) => Dispatch::recorded_linear_with_bias(x, weight, bias.into_dispatch()),
        None => Dispatch::recorded_linear(x, weight),
    })
}
