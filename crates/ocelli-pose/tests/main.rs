//! Tests of ocelli-pose.

mod bvh;
mod geometry;
mod hostile;
mod npz;
mod onnx;
#[path = "../../ocelli-graph/tests/ops/runtime.rs"]
mod onnx_runtime;
mod reference;
