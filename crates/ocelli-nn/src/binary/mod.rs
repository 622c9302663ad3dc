//! Layers whose weights and activations are -1 and +1.
//!
//! | part | source |
//! | --- | --- |
//! | [`sign`], [`BinaryConv2d`] | XNOR-Net (arXiv 1603.05279), Bi-Real Net (1808.00278) |
//! | [`ChannelBias`], [`PRelu`] | ReActNet (2003.03488): `RSign`, `RPReLU` |
//! | [`ElasticLink`] | "Elastic-Link for Binarized Neural Network" (2112.10149) |
//! | [`MappingNetwork`], [`NoiseRates`] | "Training Binary Neural Networks through Learning with Noisy Supervision" (2010.04871) |
//!
//! In training a binary convolution is a convolution of numbers that happen to be ±1, so it runs on the training kernels;
//! deployed, its bits are packed (`ocelli_kernels::binary`).

mod conv;
mod link;
mod mapping;
mod noise;
mod react;
mod sign;

pub use conv::{BinaryConv2d, BinaryConv2dConfig, FlatBinaryConv2d, weight_scale};
pub use link::{ElasticLink, half_pool, link};
pub use mapping::{MapConv, MappingNetwork};
pub use noise::{NoiseRates, RatesError, Reduction, noisy_loss};
pub use react::{ChannelBias, PRelu};
pub use sign::{Estimator, binarize, sign};

#[cfg(test)]
mod tests;
