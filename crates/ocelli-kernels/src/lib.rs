//! CPU kernels over plain memory: AVX-512, AVX2 + FMA, NEON and portable Rust, chosen at run time.
//!
//! Kernels know no tensors and no threads: they work on ranges, so that a caller can share a map out among
//! its threads; only those for training ([`train`]) bring a team of threads of their own. Every kernel is written once over [`simd::Simd`] and compared with a plain twin in
//! [`reference`] by property tests.

pub mod adder;
pub mod binary;
pub mod conv;
pub mod depthwise;
pub mod elementwise;
pub mod gemm;
pub mod int8;
pub mod isa;
pub mod knn;
pub mod layout;
pub mod math;
pub mod peak;
pub mod pool;
pub mod reference;
pub mod resize;
pub mod rows;
pub mod simd;
pub mod train;
pub mod winograd;

pub use isa::Isa;
