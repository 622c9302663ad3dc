//! CPU kernels over plain memory: AVX-512, AVX2 + FMA, NEON and portable Rust, chosen at run time.
//!
//! Kernels know no tensors and no threads: they work on ranges, so that a caller can share a map out among
//! its threads. Every kernel is written once over [`simd::Simd`] and compared with a plain twin in
//! [`reference`] by property tests.

pub mod gemm;
pub mod isa;
pub mod reference;
pub mod simd;
pub mod train;

pub use isa::Isa;
