//! Kernels for training on channels-first maps (`[batch, channels, height, width]`, row-major `f32`): convolutions
//! with both backward passes, batch norm, pooling.
//!
//! They share their work out among as many threads as rayon has and sum every result in an order that depends on the shapes
//! alone, so results are the same to the bit for any number of threads. Each has a plain twin in
//! [`reference`](mod@reference).

pub mod adder;
pub mod attention;
pub mod conv;
pub mod depthwise;
pub mod fake_quant;
pub mod gelu;
pub mod graph;
pub mod join;
mod lattice;
pub mod layer_norm;
pub mod linear;
pub mod modulate;
pub mod norm;
pub mod optim;
mod pack;
mod parallel;
mod phases;
pub mod pool;
mod product;
mod recycle;
pub mod reference;
mod team;
mod transpose;
pub mod versatile;
mod weights;

pub use conv::ConvShape;
pub use parallel::{buffer, each};
pub use recycle::Recycler;
