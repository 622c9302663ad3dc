//! A network's operations as one graph, and what can be made of it.
//!
//! [`Graph`] is small and explicit: values with shapes, nodes with an [`Op`], constants. [`capture`] records one from a
//! burn module, [`passes`] rewrite it, [`interpret`] computes it plainly, [`cost`] counts, [`onnx`] and [`draw`] write it
//! for others.

pub mod adder_conv;
pub mod binary_conv;
#[cfg(feature = "capture")]
pub mod capture;
pub mod codes;
pub mod cost;
pub mod draw;
pub mod interpret;
pub mod ir;
pub mod onnx;
pub mod op;
pub mod passes;

pub use binary_conv::BinaryConv;
pub use codes::Codes;
pub use ir::{Constant, Dim, ElementType, Graph, Node, Value, ValueId};
pub use op::{Binary, ConvAttrs, Op, PadMode, PoolAttrs, Reduction, ResizeMode, Unary};
