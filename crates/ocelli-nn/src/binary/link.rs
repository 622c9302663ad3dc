//! Elastic-Link (arXiv 2112.10149): what a binary convolution's signs lose of its input is added to its output.
//!
//! Of the paper only the abstract and a figure's caption were known to us; the shapes below are our reading: halved by
//! pooling, channels squeezed by the mean of contiguous blocks or expanded by repetition, one learned factor per link.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use crate::init::ones;
use crate::pool::avg_pool2d;

/// A learned multiple of a real-valued map.
#[derive(Module, Debug)]
pub struct ElasticLink {
    /// The factor gamma, `[1]`; begins at 1.
    pub weight: Param<Tensor<1>>,
}

impl ElasticLink {
    /// A link of factor 1.
    pub fn new(device: &Device) -> Self {
        Self { weight: ones([1], device) }
    }

    /// `gamma · link(x)`: `[batch, channels, height, width]` →
    /// `[batch, channels_out, ⌈height / stride⌉, ⌈width / stride⌉]`, see [`link`].
    pub fn forward(&self, x: Tensor<4>, channels_out: usize, stride: usize) -> Tensor<4> {
        self.scale(link(x, channels_out, stride))
    }

    /// `gamma · x`, for blocks whose shortcut exists already (ReActNet).
    pub fn scale(&self, x: Tensor<4>) -> Tensor<4> {
        x.mul(self.weight.val().reshape([1, 1, 1, 1]))
    }
}

/// Why channels cannot be matched, if so.
///
/// # Errors
/// If neither number divides the other.
pub(super) fn check(channels_in: usize, channels_out: usize) -> Result<(), String> {
    let (few, many) = (channels_in.min(channels_out), channels_in.max(channels_out));
    if few > 0 && many.is_multiple_of(few) {
        Ok(())
    } else {
        Err(format!("a link from {channels_in} to {channels_out} channels: neither divides the other"))
    }
}

/// The input in the shape of the output: pooled if `stride` is 2, then *squeezed* (`out[c]` is the mean of `x[c + j · out]`),
/// *expanded* (`out[c] = x[c mod in]`) or left as it is.
///
/// # Panics
/// If neither number of channels divides the other: a mistake in a network's own code.
pub fn link(x: Tensor<4>, channels_out: usize, stride: usize) -> Tensor<4> {
    let x = if stride == 2 { half_pool(x) } else { x };
    let channels = x.dims()[1];
    if let Err(problem) = check(channels, channels_out) {
        panic!("{problem}");
    }
    if channels_out > channels {
        return Tensor::cat(vec![x; channels_out / channels], 1);
    }
    let blocks = channels / channels_out;
    let sum = (1..blocks).fold(x.clone().narrow(1, 0, channels_out), |sum, block| {
        sum.add(x.clone().narrow(1, block * channels_out, channels_out))
    });
    if blocks == 1 { x } else { sum.div_scalar(blocks as f32) }
}

/// Mean of 2 × 2 windows, step 2; windows over the edge of a map of odd extent take the mean of what there is:
/// `[batch, channels, height, width]` → `[batch, channels, ⌈height / 2⌉, ⌈width / 2⌉]`
pub fn half_pool(x: Tensor<4>) -> Tensor<4> {
    // A repeated last row counts twice in its windows, which is the mean of the row alone.
    let even = [2, 3].into_iter().fold(x, |x, axis| {
        let extent = x.dims()[axis];
        if extent.is_multiple_of(2) {
            return x;
        }
        let last = x.clone().narrow(axis, extent - 1, 1);
        Tensor::cat(vec![x, last], axis)
    });
    avg_pool2d(even, 2, 2, 0)
}
