//! ONNX files, written without a library.
//!
//! [`export`] writes operator set 20, which ONNX Runtime reads from 1.17 on. The batch size stays open (`N`).
//! Constants keep their names as initializers, nodes keep theirs; where one operation takes several nodes, the
//! others are called after it (`conv1/Relu`). [`Summary::read`] tells what a file holds.

mod adder;
mod binary;
mod builder;
mod error;
mod layers;
mod lower;
mod maps;
mod model;
mod movement;
mod nodes;
mod summary;
mod wire;

pub use error::OnnxError;
pub use summary::{Port, Summary};

use crate::ir::Graph;

/// Version of the operator set that files are written for.
pub const OPSET: i64 = 20;

/// The graph as an ONNX file.
///
/// # Errors
///
/// [`OnnxError::Unsupported`] for operations ONNX has no counterpart for, [`OnnxError::Malformed`] for a graph
/// that contradicts itself, [`OnnxError::TooLarge`] beyond the 2 GiB a file without external data may have.
pub fn export(graph: &Graph) -> Result<Vec<u8>, OnnxError> {
    let mut builder = builder::Builder::new(graph)?;
    for node in &graph.nodes {
        lower::lower(builder.scope(node))?;
    }
    builder.finish()?.encode(OPSET)
}
