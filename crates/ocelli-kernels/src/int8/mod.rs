//! Inference on 8-bit codes: `u8` maps, `i8` weights, `i32` sums.
//!
//! The arithmetic is that of [`arithmetic`], to the bit, on every instruction set ([`Isa`]) and however the work is
//! shared out. Maps are channels-last, as those of the float kernels; a code `q` stands for `(q - zero) · scale`.
//! Rows of a product read up to 3 bytes beyond the channels of a pixel, where the packed weights are zero.

#[cfg(target_arch = "x86_64")]
mod amx;
pub mod arithmetic;
pub mod conv;
pub mod depthwise;
pub(crate) mod dot;
pub mod elementwise;
pub mod epilogue;
pub mod excess;
mod gather;
pub(crate) mod gemm;
mod isa;
pub(crate) mod lanes;
mod narrow;
#[cfg(target_arch = "x86_64")]
mod paired;
pub mod pool;
pub mod reference;
pub(crate) mod requantiser;
mod scratch;
pub mod weights;
pub mod winograd;

pub use conv::{Conv, MapIn, conv};
pub use depthwise::{Depthwise, depthwise};
pub use epilogue::{Epilogue, Output, Residual};
pub use excess::Excess;
pub use isa::Isa;
pub use pool::{Pooling, pool};
pub use requantiser::Requantiser;
pub use weights::{Packed, Weights};
pub use winograd::{Winograd, winograd};
