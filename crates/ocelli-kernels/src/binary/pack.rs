//! Signs as bits.

use crate::Isa;
use crate::simd::Simd;

/// Filters side by side in a kernel's layout.
pub const LANES: usize = 8;

/// Words of 64 bits for `channels` signs.
pub const fn words(channels: usize) -> usize {
    channels.div_ceil(64)
}

/// The words of `channels` times -1.
pub fn ones(channels: usize) -> Vec<u64> {
    (0..words(channels)).map(|word| u64::MAX >> (64 - (channels - 64 * word).min(64))).collect()
}

/// Signs of filters `[outputs][channels][ky][kx]` as words `[outputs][ky][kx][words]`.
///
/// # Panics
/// If `weights` has another length.
pub fn pack_filters(weights: &[f32], outputs: usize, channels: usize, kernel: [usize; 2]) -> Vec<u64> {
    let taps = kernel[0] * kernel[1];
    assert_eq!(weights.len(), outputs * channels * taps, "filters of {outputs} x {channels} x {taps}");
    let count = words(channels);
    let mut packed = vec![0u64; outputs * taps * count];
    for (at, &weight) in weights.iter().enumerate() {
        let (out, channel, tap) = (at / (channels * taps), at / taps % channels, at % taps);
        packed[(out * taps + tap) * count + channel / 64] |= u64::from(weight < 0.0) << (channel % 64);
    }
    packed
}

#[inline(always)]
unsafe fn pack_signs_of<S: Simd>(
    pixels: usize,
    channels: usize,
    x: *const f32,
    x_stride: usize,
    shift: *const f32,
    bits: *mut u64,
    bits_stride: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        // What is not above this is below zero.
        let below = S::splat(-f32::from_bits(1));
        for pixel in 0..pixels {
            let (x, bits) = (x.add(pixel * x_stride), bits.add(pixel * bits_stride));
            let mut c = 0;
            while c < channels {
                let mut word = 0u64;
                let end = (c + 64).min(channels);
                let mut at = c;
                while at < end {
                    let n = (end - at).min(S::LANES);
                    // Lanes beyond the last are zero, which is not negative.
                    let mut v = S::load_n(x.add(at), n);
                    if !shift.is_null() {
                        v = S::add(v, S::load_n(shift.add(at), n));
                    }
                    word |= u64::from(S::not_above(v, below)) << (at - c);
                    at += S::LANES;
                }
                *bits.add(c / 64) = word;
                c += 64;
            }
        }
    }
}

crate::dispatch! {
    /// Packs the signs of `pixels` pixels of `channels` channels, `x_stride` numbers apart, each plus its channel's number in
    /// `shift` where that is not null; the words of two pixels are `bits_stride` apart. What is no number counts as +1.
    ///
    /// # Safety
    /// `isa` must be available; `x` and `bits` must be valid for all pixels, `shift` for `channels` numbers.
    pub fn pack_signs(
        pixels: usize,
        channels: usize,
        x: *const f32,
        x_stride: usize,
        shift: *const f32,
        bits: *mut u64,
        bits_stride: usize,
    ) = pack_signs_of;
}

/// The words of dense rows of `channels` signs each.
///
/// # Panics
/// If `x` does not consist of whole rows, or `channels` is 0.
pub fn pack_rows(isa: Isa, x: &[f32], channels: usize) -> Vec<u64> {
    let pixels = x.len() / channels;
    assert_eq!(x.len(), pixels * channels, "rows of {channels}");
    let mut bits = vec![0; pixels * words(channels)];
    // SAFETY: rows and words of these extents.
    unsafe {
        let (from, to) = (x.as_ptr(), bits.as_mut_ptr());
        pack_signs(isa, pixels, channels, from, channels, core::ptr::null(), to, words(channels));
    }
    bits
}

// The instruction set is all that the loops need of `S`: they become vectors by themselves.
#[allow(clippy::extra_unused_type_parameters)]
#[inline(always)]
unsafe fn signs_of<S: Simd>(
    pixels: usize,
    channels: usize,
    x: *const f32,
    x_stride: usize,
    shift: *const f32,
    y: *mut f32,
    y_stride: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        for pixel in 0..pixels {
            let x = core::slice::from_raw_parts(x.add(pixel * x_stride), channels);
            let y = core::slice::from_raw_parts_mut(y.add(pixel * y_stride), channels);
            if shift.is_null() {
                for (y, x) in y.iter_mut().zip(x) {
                    *y = if *x < 0.0 { -1.0 } else { 1.0 };
                }
            } else {
                let shift = core::slice::from_raw_parts(shift, channels);
                for ((y, x), shift) in y.iter_mut().zip(x).zip(shift) {
                    *y = if x + shift < 0.0 { -1.0 } else { 1.0 };
                }
            }
        }
    }
}

crate::dispatch! {
    /// As [`pack_signs`], but -1 and 1 as numbers: for convolutions whose channels are too few to be packed (depthwise ones).
    ///
    /// # Safety
    /// `isa` must be available; `x` and `y` must be valid for all pixels and apart, `shift` for `channels` numbers.
    pub fn signs(
        pixels: usize,
        channels: usize,
        x: *const f32,
        x_stride: usize,
        shift: *const f32,
        y: *mut f32,
        y_stride: usize,
    ) = signs_of;
}
