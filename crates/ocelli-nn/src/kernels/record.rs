//! Operations of ours that the capture device records as such: graphs have a node for each.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata, backend_extension};
use burn::tensor::{DType, Shape};
use burn_capture::CaptureBackend;
use burn_ir::{CustomOpIr, LinearOpIr, ModuleOperationIr, OperationIr, ScalarIr, TensorIr};
use burn_router::RouterClient;

/// Operations to be recorded.
#[backend_extension(Capture)]
pub trait RecordOps: Backend {
    /// `x · weight`, `[..., in]` and `[in, out]`. burn itself records another sequence of operations for large batches than
    /// for small ones.
    fn recorded_linear(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;

    /// `x · weight + bias`
    fn recorded_linear_with_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// As [`GraphOps::neighbours`](super::graph::GraphOps::neighbours).
    fn recorded_neighbours(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        k: usize,
        dilation: usize,
    ) -> IntTensor<Self>;

    /// As [`GraphOps::neighbours_near`](super::graph::GraphOps::neighbours_near).
    fn recorded_neighbours_near(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        positions: FloatTensor<Self>,
        k: usize,
        dilation: usize,
    ) -> IntTensor<Self>;

    /// Convolution of every picture of `x` with the sum of the rows of `experts`, weighed by its row of `shares`; `geometry`
    /// is output channels, kernel, stride, padding, dilation (each of height and width) and groups.
    fn recorded_dynamic_conv(
        x: FloatTensor<Self>,
        experts: FloatTensor<Self>,
        shares: FloatTensor<Self>,
        geometry: [usize; 10],
    ) -> FloatTensor<Self>;

    /// Convolution of the signs of `x` with the signs of `weight`, whose elements are `[channels_out][channels_in / groups]
    /// [kernel]` in any shape; `geometry` is as of the dynamic convolution, then whether filters are scaled by their mean
    /// absolute weight.
    fn recorded_binary_conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        geometry: [usize; 11],
    ) -> FloatTensor<Self>;
    /// Negative distances of windows and filters; `geometry` is stride, padding and dilation (each of height and width).
    fn recorded_adder_conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        geometry: [usize; 6],
    ) -> FloatTensor<Self>;

    /// As [`GraphOps::max_relative`](super::graph::GraphOps::max_relative).
    fn recorded_max_relative(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        neighbours: IntTensor<Self>,
    ) -> FloatTensor<Self>;
}

/// A tensor of the capture device.
type Recorded = FloatTensor<CaptureBackend>;

/// Records the operation `name`.
fn record(
    name: &'static str,
    inputs: Vec<Recorded>,
    scalars: &[usize],
    shape: impl Into<Shape>,
    dtype: DType,
) -> Recorded {
    let client = inputs[0].client.clone();
    let out = TensorIr::uninit(client.create_empty_handle(), shape.into(), dtype);
    let inputs: Vec<TensorIr> = inputs.into_iter().map(|input| input.into_ir()).collect();
    let scalars = scalars.iter().map(|&scalar| ScalarIr::UInt(scalar as u64)).collect();
    let own = CustomOpIr::with_scalars(name, &inputs, &[out], scalars);
    client.register(OperationIr::Custom(own)).remove(0)
}

fn linear(x: Recorded, weight: Recorded, bias: Option<Recorded>) -> Recorded {
    let client = x.client.clone();
    let mut shape: Vec<usize> = x.shape().iter().copied().collect();
    if let Some(last) = shape.last_mut() {
        *last = weight.shape()[1];
    }
    let out = TensorIr::uninit(client.create_empty_handle(), Shape::from(shape), DType::F32);
    let own = LinearOpIr { x: x.into_ir(), weight: weight.into_ir(), bias: bias.map(|b| b.into_ir()), out };
    client.register(OperationIr::Module(ModuleOperationIr::Linear(own))).remove(0)
}

fn lists(x: &Recorded, k: usize) -> [usize; 3] {
    let shape = x.shape();
    [shape[0], shape[2] * shape[3], k]
}

fn convolved(x: &Recorded, geometry: [usize; 10]) -> [usize; 4] {
    let shape = x.shape();
    let [channels, kh, kw, sh, sw, ph, pw, dh, dw, _] = geometry;
    // A map smaller than the kernel vanishes, which whoever records notices.
    let along = |size: usize, kernel: usize, stride: usize, padding: usize, dilation: usize| {
        (size + 2 * padding).checked_sub(dilation * (kernel - 1) + 1).map_or(0, |room| room / stride + 1)
    };
    [shape[0], channels, along(shape[2], kh, sh, ph, dh), along(shape[3], kw, sw, pw, dw)]
}

impl RecordOps for CaptureBackend {
    fn recorded_linear(x: Recorded, weight: Recorded) -> Recorded {
        linear(x, weight, None)
    }

    fn recorded_linear_with_bias(x: Recorded, weight: Recorded, bias: Recorded) -> Recorded {
        linear(x, weight, Some(bias))
    }

    fn recorded_neighbours(x: Recorded, y: Recorded, k: usize, dilation: usize) -> Recorded {
        let shape = lists(&x, k);
        record("neighbours", vec![x, y], &[k, dilation], shape, DType::I64)
    }

    fn recorded_neighbours_near(
        x: Recorded,
        y: Recorded,
        positions: Recorded,
        k: usize,
        dilation: usize,
    ) -> Recorded {
        let shape = lists(&x, k);
        record("neighbours", vec![x, y, positions], &[k, dilation], shape, DType::I64)
    }

    fn recorded_dynamic_conv(
        x: Recorded,
        experts: Recorded,
        shares: Recorded,
        geometry: [usize; 10],
    ) -> Recorded {
        let shape = convolved(&x, geometry);
        record("dynamic_conv", vec![x, experts, shares], &geometry, shape, DType::F32)
    }

    fn recorded_binary_conv(x: Recorded, weight: Recorded, geometry: [usize; 11]) -> Recorded {
        let [own @ .., _scaled] = geometry;
        let shape = convolved(&x, own);
        record("binary_conv", vec![x, weight], &geometry, shape, DType::F32)
    }
    fn recorded_adder_conv(x: Recorded, weight: Recorded, geometry: [usize; 6]) -> Recorded {
        let [sh, sw, ph, pw, dh, dw] = geometry;
        let kernel = weight.shape();
        let shape = convolved(&x, [kernel[0], kernel[2], kernel[3], sh, sw, ph, pw, dh, dw, 1]);
        record("adder_conv", vec![x, weight], &geometry, shape, DType::F32)
    }

    fn recorded_max_relative(x: Recorded, y: Recorded, neighbours: Recorded) -> Recorded {
        let shape = x.shape();
        let shape = [shape[0], 2 * shape[1], shape[2], shape[3]];
        record("max_relative", vec![x, y, neighbours], &[], shape, DType::F32)
    }
}
