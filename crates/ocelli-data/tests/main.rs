//! All tests of the crate, in one binary.

mod augment;
mod common;
mod datasets;
mod decoding;
mod loading;
mod mixing;
mod opening;
mod parity;
mod randomness;
mod video;
