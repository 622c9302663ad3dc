//! Operations of ours that the capture device records as such: graphs have a node for each.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata, backend_extension};
use burn::tensor::{DType, Shape};
use burn_capture::CaptureBackend;
use burn_ir::{CustomOpIr, OperationIr, ScalarIr, TensorIr};
use burn_router::RouterClient;

/// Operations to be recorded.
#[backend_extension(Capture)]
pub trait RecordOps: Backend {
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

fn lists(x: &Recorded, k: usize) -> [usize; 3] {
    let shape = x.shape();
    [shape[0], shape[2] * shape[3], k]
}

impl RecordOps for CaptureBackend {
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

    fn recorded_max_relative(x: Recorded, y: Recorded, neighbours: Recorded) -> Recorded {
        let shape = x.shape();
        let shape = [shape[0], 2 * shape[1], shape[2], shape[3]];
        record("max_relative", vec![x, y, neighbours], &[], shape, DType::F32)
    }
}
