//! The operations on the CPU backend: tensors give their slices out and take buffers in without a copy.

use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{Shape, TensorData};
use ocelli_kernels::Isa;
use ocelli_kernels::train::join::{self, Parts};
use ocelli_kernels::train::norm::{self, Clamp, NormShape, Normalised};
use ocelli_kernels::train::pool::{self, PoolShape};
use ocelli_kernels::train::versatile::{self, VersatileShape};
use ocelli_kernels::train::{ConvShape, conv, depthwise};

use super::ops::KernelOps;

/// A tensor of `shape` around `data`.
pub(super) fn tensor(data: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(data, shape))
}

/// `tensor` with its elements in order; most have them already.
pub(super) fn in_order(tensor: FlexTensor) -> FlexTensor {
    if tensor.as_slice::<f32>().is_some() { tensor } else { tensor.to_contiguous() }
}

/// The elements of a tensor that is [`in_order`].
pub(super) fn slice(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("a tensor in order")
}

/// Convolution forward.
pub(super) fn convolve(
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: Option<&FlexTensor>,
    shape: &ConvShape,
) -> FlexTensor {
    let (x, weight) = (in_order(x.clone()), in_order(weight.clone()));
    let bias = bias.cloned().map(in_order);
    let bias = bias.as_ref().map(slice);
    let isa = Isa::best();
    let output = if shape.is_depthwise() {
        depthwise::forward(isa, shape, slice(&x), slice(&weight), bias)
    } else {
        conv::forward(isa, shape, slice(&x), slice(&weight), bias)
    };
    let [height, width] = shape.output();
    tensor(output, [shape.batch, shape.channels_out, height, width])
}

/// Convolution with versatile filters.
pub(super) fn versatile(
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: Option<&FlexTensor>,
    shape: &VersatileShape,
) -> FlexTensor {
    let (x, weight) = (in_order(x.clone()), in_order(weight.clone()));
    let bias = bias.cloned().map(in_order);
    let output = versatile::forward(Isa::best(), shape, slice(&x), slice(&weight), bias.as_ref().map(slice));
    let [height, width] = shape.conv.output();
    tensor(output, [shape.conv.batch, shape.maps(), height, width])
}

/// The extents batch norm sees in `x`.
pub(super) fn norm_shape(x: &FlexTensor) -> NormShape {
    let shape = x.shape();
    NormShape { batch: shape[0], channels: shape[1], area: shape[2..].iter().product() }
}

/// Batch norm forward.
pub(super) fn normalise(
    x: &FlexTensor,
    gain: &FlexTensor,
    shift: &FlexTensor,
    residual: Option<&FlexTensor>,
    epsilon: f64,
    clamp: Clamp,
) -> (FlexTensor, FlexTensor, FlexTensor) {
    let extent = norm_shape(x);
    let shape = x.shape();
    let [x, gain, shift] = [x, gain, shift].map(|tensor| in_order(tensor.clone()));
    let residual = residual.cloned().map(in_order);
    let Normalised { output, mean, variance } = norm::forward(
        Isa::best(),
        extent,
        slice(&x),
        slice(&gain),
        slice(&shift),
        epsilon,
        residual.as_ref().map(slice),
        clamp,
    );
    let statistic = |data| tensor(data, [extent.channels]);
    (tensor(output, shape), statistic(mean), statistic(variance))
}

/// Max pooling forward: the output, and the taps the maxima were found under.
pub(super) fn max_pooled(x: &FlexTensor, shape: &PoolShape) -> (FlexTensor, Vec<u8>) {
    let dims = x.shape();
    let (output, taps) = pool::max_forward(Isa::best(), shape, slice(&in_order(x.clone())));
    (tensor(output, [dims[0], dims[1], shape.output[0], shape.output[1]]), taps)
}

/// Mean over space.
pub(super) fn mean_pooled(x: &FlexTensor) -> FlexTensor {
    let dims = x.shape();
    let means = pool::mean_forward(slice(&in_order(x.clone())), dims[2] * dims[3]);
    tensor(means, [dims[0], dims[1], 1, 1])
}

/// Channels times factors.
pub(super) fn scaled(x: &FlexTensor, factors: &FlexTensor) -> FlexTensor {
    let output = pool::scale_forward(slice(&in_order(x.clone())), slice(&in_order(factors.clone())));
    tensor(output, x.shape())
}

/// Lengths of the parts of two maps behind each other.
pub(super) fn parts(first: &FlexTensor, second: &FlexTensor, kept: usize) -> Parts {
    let (first, second) = (first.shape(), second.shape());
    let area = first[2] * first[3];
    Parts { first: first[1] * area, second: second[1] * area, kept: kept * area }
}

/// Two maps behind each other.
pub(super) fn joined(first: &FlexTensor, second: &FlexTensor, kept: usize) -> FlexTensor {
    let mut dims = first.shape();
    let parts = parts(first, second, kept);
    let (first, second) = (in_order(first.clone()), in_order(second.clone()));
    let output = join::forward(dims[0], parts, slice(&first), slice(&second));
    dims[1] += kept;
    tensor(output, dims)
}

impl KernelOps for Flex {
    fn conv(x: FlexTensor, weight: FlexTensor, shape: ConvShape) -> FlexTensor {
        convolve(&x, &weight, None, &shape)
    }

    fn conv_with_bias(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, shape: ConvShape) -> FlexTensor {
        convolve(&x, &weight, Some(&bias), &shape)
    }

    fn norm(
        x: FlexTensor,
        gain: FlexTensor,
        shift: FlexTensor,
        epsilon: f64,
        clamp: Clamp,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        normalise(&x, &gain, &shift, None, epsilon, clamp)
    }

    fn norm_add(
        x: FlexTensor,
        gain: FlexTensor,
        shift: FlexTensor,
        residual: FlexTensor,
        epsilon: f64,
        clamp: Clamp,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        normalise(&x, &gain, &shift, Some(&residual), epsilon, clamp)
    }

    fn max_pool(x: FlexTensor, shape: PoolShape) -> FlexTensor {
        max_pooled(&x, &shape).0
    }

    fn mean_pool(x: FlexTensor) -> FlexTensor {
        mean_pooled(&x)
    }

    fn scale(x: FlexTensor, factors: FlexTensor) -> FlexTensor {
        scaled(&x, &factors)
    }

    fn join(first: FlexTensor, second: FlexTensor, kept: usize) -> FlexTensor {
        joined(&first, &second, kept)
    }

    fn penal(x: FlexTensor, _tau: f32) -> FlexTensor {
        x
    }
}
