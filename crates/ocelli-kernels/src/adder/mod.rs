//! Adder convolution for inference on channels-last maps: distances in the place of products.
//!
//! Source: Chen et al., "AdderNet: Do We Really Need Multiplications in Deep Learning?" (2020, arXiv 1912.13200). On numbers
//! ([`conv`]) it has the form of a convolution, three instructions per vector instead of one; on 8-bit codes ([`sad`]) the
//! processors' sums of absolute differences do eight taps per lane at once. Pixels beyond the edge are zeros, which have a
//! distance like any number.

mod lanes;
pub mod reference;
pub mod sad;

use core::ops::Range;

use crate::Isa;
use crate::conv::{Conv, conv_by};
use crate::gemm::adder_tile;
use crate::simd::Simd;

/// Writes `Σ |x - w|` (positive) for output pixels `pixels` of the channels in panels `panels`; the epilogue of `x` applies to
/// that sum.
///
/// # Safety
/// As for [`conv`](crate::conv::conv()).
pub unsafe fn conv(isa: Isa, x: &Conv, pixels: Range<usize>, panels: Range<usize>) {
    // SAFETY: the caller's promise.
    unsafe { conv_by(isa, x, pixels, panels, adder_tile) }
}

/// What becomes of sums: `clamp(sum · scale + offset + residual, low, high)`, a scale and an offset per channel.
#[derive(Clone, Copy, Debug)]
pub struct Finish {
    /// The map that is written: pixels are `stride` apart.
    pub output: *mut f32,
    /// Distance of its pixels.
    pub stride: usize,
    /// `[channels]`
    pub scale: *const f32,
    /// `[channels]`
    pub offset: *const f32,
    /// Added, laid out like the output, or null.
    pub residual: *const f32,
    /// Distance of the residual's pixels.
    pub residual_stride: usize,
    /// Lower bound; `-inf` for none.
    pub low: f32,
    /// Upper bound; `inf` for none.
    pub high: f32,
}

#[inline(always)]
unsafe fn finish_of<S: Simd>(f: &Finish, first: usize, pixels: usize, begin: usize, end: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let (low, high) = (S::splat(f.low), S::splat(f.high));
        for pixel in first..first + pixels {
            let y = f.output.add(pixel * f.stride);
            let residual = f.residual.wrapping_add(pixel * f.residual_stride);
            let mut at = begin;
            while at < end {
                let n = (end - at).min(S::LANES);
                let [sum, scale, offset] =
                    [y.cast_const().add(at), f.scale.add(at), f.offset.add(at)].map(|p| S::load_n(p, n));
                let mut v = S::fma(sum, scale, offset);
                if !f.residual.is_null() {
                    v = S::add(v, S::load_n(residual.add(at), n));
                }
                S::store_n(y.add(at), S::min(high, S::max(low, v)), n);
                at += n;
            }
        }
    }
}

crate::dispatch! {
    /// Applies `f` to the sums that channels `begin..end` of its output hold, for `pixels` pixels from `first` on.
    ///
    /// # Safety
    /// `isa` must be available and the pointers valid for these pixels and channels.
    pub fn finish(f: &Finish, first: usize, pixels: usize, begin: usize, end: usize) = finish_of;
}
