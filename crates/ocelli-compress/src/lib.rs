//! Makes networks small.
//!
//! A trained network is captured as a graph; what is quantised is said in that graph by pairs of `Quantize` and `Dequantize`, as
//! in ONNX: the same graph can be interpreted, exported, and compiled for the engine, which computes in integers wherever such
//! pairs surround an operation.
//!
//! | module | what |
//! | --- | --- |
//! | [`quantiser`] | scales and codes |
//! | [`range`], [`kl`] | how far activations reach |
//! | [`equalise`] | ranges shared out between layers |
//! | [`round`] | learned rounding of weights |
//! | [`mixed`] | bits of every layer by how much the network minds |
//! | [`prune`] | magnitude pruning |
//! | [`adder`] | adder networks: groups of filters with a scale each |
//!
//! Source: "Bag of Tricks with Quantized Convolutional Neural Networks for image classification" (arXiv 2303.07080) and the
//! techniques its guideline collects.

pub mod adder;
pub mod assemble;
pub mod equalise;
pub mod error;
pub mod kl;
pub mod mixed;
pub mod network;
mod probe;
pub mod ptq;
pub mod quantiser;
pub mod range;
pub mod round;
mod windows;

pub use error::CompressError;
pub use ocelli_nn::prune;
pub use probe::Batch;
