//! A network's operations as one graph, and what can be made of it.
//!
//! [`Graph`] is small and explicit: values with shapes, nodes with an [`Op`], constants.

#[cfg(feature = "capture")]
pub mod capture;
pub mod cost;
pub mod draw;
pub mod ir;
pub mod onnx;
pub mod op;
pub mod passes;

pub use ir::{Constant, Dim, ElementType, Graph, Node, Value, ValueId};
pub use op::{Binary, ConvAttrs, Op, PadMode, PoolAttrs, Reduction, ResizeMode, Unary};
