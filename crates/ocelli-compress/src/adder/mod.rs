//! Quantisation of adder networks: "Redistribution of Weights and Activations for AdderNet Quantization" (Nie et al., NeurIPS
//! 2022, arXiv 2212.10200).
//!
//! A distance of codes needs one scale for both operands, but filters reach very differently far. Filters are therefore grouped by
//! how far they reach ([`cluster`]), a scale per group; activations give up their outliers ([`range`](mod@range)); and where filters reach
//! further than activations, what is beyond is a constant that goes into a bias ([`layer`]).
//!
//! | module | what |
//! | --- | --- |
//! | [`cluster`] | exact one-dimensional k-means |
//! | [`range`](mod@range) | how far activations reach |
//! | [`layer`] | scales, clamped weights, codes of one layer |
//! | [`network`] | a whole network: calibrate, plan, re-estimate norms |
//! | [`assemble`] | the graph of codes, which the engine computes in integers |
//! | [`integer`] | the integer-only deployment between layers |
//! | [`energy`] | what operations cost |

pub mod assemble;
pub mod cluster;
pub mod energy;
pub mod integer;
pub mod layer;
pub mod network;
pub mod range;

pub use layer::{Plan, Scales, Settings, plan, plan_with};
