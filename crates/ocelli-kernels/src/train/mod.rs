//! Kernels for training on channels-first maps (`[batch, channels, height, width]`, row-major `f32`): convolutions
//! with both backward passes, batch norm, pooling.
//!
//! They share their work out among rayon's threads and sum every result in an order that depends on the shapes
//! alone, so results are the same to the bit for any number of threads. Each has a plain twin in
//! [`reference`](mod@reference).

pub mod conv;
pub mod depthwise;
mod lattice;
pub mod norm;
mod parallel;
mod phases;
pub mod pool;
mod recycle;
pub mod reference;
mod transpose;
mod weights;

pub use conv::ConvShape;
pub use parallel::buffer;
pub use recycle::Recycler;
