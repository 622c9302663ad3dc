//! The convolution: tiles of pixels and filters, the edge, and what becomes of the sums.

use core::ops::Range;

use super::Padding;
use super::pack::{LANES, words};
use super::tile::{self, Counts, PANELS, PIXELS, Tile};
use crate::Isa;
use crate::conv::{MAX_TAPS, Window};

/// Pixels that are taken through all filters before the next.
const BLOCK: usize = 64;

/// A packed channels-last map: where it starts and how far apart its parts are, in words.
#[derive(Clone, Copy, Debug)]
pub struct BitMap {
    /// The first word.
    pub data: *const u64,
    /// From one picture to the next.
    pub picture: usize,
    /// From one row to the next.
    pub row: usize,
    /// From one pixel to the next.
    pub pixel: usize,
    /// Rows.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
}

/// What becomes of the sums.
#[derive(Clone, Copy, Debug)]
pub enum Finish {
    /// They are written as they are.
    Sums {
        /// The first sum.
        output: *mut i32,
        /// From one pixel to the next.
        stride: usize,
    },
    /// `clamp(prelu(sum · scale + offset + residual) + after)`.
    Floats {
        /// The first number.
        output: *mut f32,
        /// From one pixel to the next.
        stride: usize,
        /// A factor per output channel.
        scale: *const f32,
        /// Added, per output channel; or null.
        offset: *const f32,
        /// Added, laid out like the output but `residual_stride` apart; or null.
        residual: *const f32,
        /// Distance of the residual's pixels.
        residual_stride: usize,
        /// A slope per output channel for what is below zero; or null.
        slope: *const f32,
        /// Added after the slope, per output channel; or null.
        after: *const f32,
        /// Lower bound; `-inf` for none.
        low: f32,
        /// Upper bound; `inf` for none.
        high: f32,
    },
    /// Bits for the next convolution: 1 where `sum · sign <= bound`, per output channel
    /// ([`Threshold::as_comparison`](super::Threshold::as_comparison)).
    Bits {
        /// The first word's first byte; a word is written byte by byte, the lowest first.
        output: *mut u8,
        /// Bytes from one pixel to the next.
        stride: usize,
        /// 1, or -1 where the comparison is turned round.
        sign: *const f32,
        /// What sums are compared with: whole numbers.
        bound: *const f32,
    },
}

/// A convolution of signs.
#[derive(Clone, Copy, Debug)]
pub struct BinaryConv {
    /// The input.
    pub input: BitMap,
    /// The window.
    pub window: Window,
    /// Input channels.
    pub channels: usize,
    /// What lies beyond the edge.
    pub padding: Padding,
    /// The words of a pixel beyond the edge ([`border`](super::border)).
    pub border: *const u64,
    /// [`Filters::panels`](super::Filters::panels).
    pub weights: *const u64,
    /// [`Filters::tap_ones`](super::Filters::tap_ones); read for [`Padding::Zero`] only.
    pub tap_ones: *const i32,
    /// Output channels.
    pub columns: usize,
    /// Output `[height, width]`.
    pub output_size: [usize; 2],
    /// What becomes of the sums.
    pub finish: Finish,
}

/// Computes output pixels `pixels` (counted through the batch) of the output channels in panels `panels` of eight.
///
/// # Safety
/// `isa` must be available. The maps must be as described and the finish's pointers cover the output ([`Finish::Bits`]: whole
/// bytes); several threads may compute different ranges. The window has at most [`MAX_TAPS`] taps.
pub unsafe fn convolve(isa: Isa, x: &BinaryConv, pixels: Range<usize>, panels: Range<usize>) {
    let taps = x.window.kernel[0] * x.window.kernel[1];
    assert!(taps <= MAX_TAPS, "a window of {taps} taps");
    let words = words(x.channels);
    let panel_stride = taps * words * LANES;
    let mut table = Vec::new();
    let mut missing = Vec::new();
    let mut first = pixels.start;
    while first < pixels.end {
        let count = (pixels.end - first).min(BLOCK);
        // SAFETY: the pixels lie in the output.
        unsafe { pointers(x, first, count, &mut table, &mut missing) };
        let mut panel = panels.start;
        while panel < panels.end {
            let here = (panels.end - panel).min(PANELS);
            let mut counts: Counts = [[[0; LANES]; PANELS]; PIXELS];
            for (tile_index, start) in (0..count).step_by(PIXELS).enumerate() {
                let tile = Tile {
                    a: table[tile_index * PIXELS * taps..].as_ptr(),
                    taps,
                    words,
                    b: x.weights.wrapping_add(panel * panel_stride),
                    panel_stride,
                    panels: here,
                };
                let columns = panel * LANES..x.columns.min((panel + here) * LANES);
                let rows = (count - start).min(PIXELS);
                let gone = &missing[start * taps..][..rows * taps];
                // SAFETY: the table was made for these pixels; the rest is the caller's promise.
                unsafe {
                    tile::count(isa, &tile, &mut counts);
                    let products = correct(x, gone, &mut counts, columns.clone());
                    write(isa, &x.finish, first + start, rows, &counts, products, columns);
                }
            }
            panel += here;
        }
        first += count;
    }
}

/// Where the pixels under each tap lie, `[tile][tap][PIXELS]`, and which taps are beyond the edge, `[pixel][tap]`.
///
/// # Safety
/// The pixels must lie in the output, the map must be as described.
unsafe fn pointers(
    x: &BinaryConv,
    first: usize,
    count: usize,
    table: &mut Vec<*const u64>,
    missing: &mut Vec<bool>,
) {
    let [kh, kw] = x.window.kernel;
    let [oh, ow] = x.output_size;
    let taps = kh * kw;
    table.clear();
    table.resize(count.next_multiple_of(PIXELS) * taps, x.border);
    missing.clear();
    missing.resize(count * taps, false);
    for at in 0..count {
        let pixel = first + at;
        let (picture, row, column) = (pixel / (oh * ow), pixel / ow % oh, pixel % ow);
        let tile = at / PIXELS * PIXELS * taps + at % PIXELS;
        for ky in 0..kh {
            let y = x.window.source(0, row, ky);
            for kx in 0..kw {
                let (xx, tap) = (x.window.source(1, column, kx), ky * kw + kx);
                let inside = y >= 0 && xx >= 0 && y < x.input.height as isize && xx < x.input.width as isize;
                if inside {
                    let place =
                        picture * x.input.picture + y as usize * x.input.row + xx as usize * x.input.pixel;
                    table[tile + tap * PIXELS] = x.input.data.wrapping_add(place);
                } else {
                    missing[at * taps + tap] = true;
                }
            }
        }
    }
}

/// How many products each pixel of a tile sums. With zeros beyond the edge, what taps there counted is taken off; `missing` says
/// which these are, pixel by pixel.
///
/// # Safety
/// As of [`convolve`].
unsafe fn correct(
    x: &BinaryConv,
    missing: &[bool],
    counts: &mut Counts,
    columns: Range<usize>,
) -> [i32; PIXELS] {
    let taps = x.window.kernel[0] * x.window.kernel[1];
    let mut products = [(x.channels * taps) as i32; PIXELS];
    if x.padding != Padding::Zero {
        return products;
    }
    let row = x.columns.next_multiple_of(LANES);
    for ((missing, counts), products) in missing.chunks_exact(taps).zip(counts).zip(&mut products) {
        for (tap, _) in missing.iter().enumerate().filter(|(_, gone)| **gone) {
            *products -= x.channels as i32;
            // SAFETY: one number per tap and column, by the caller's promise.
            let ones = unsafe {
                core::slice::from_raw_parts(x.tap_ones.add(tap * row + columns.start), columns.len())
            };
            // Such a tap saw +1: it differed from every -1 of the filter.
            for (count, ones) in counts.as_flattened_mut().iter_mut().zip(ones) {
                *count -= ones;
            }
        }
    }
    products
}

/// Writes the first `rows` pixels of a tile.
///
/// # Safety
/// As of [`convolve`].
#[inline]
unsafe fn write(
    isa: Isa,
    finish: &Finish,
    pixel: usize,
    rows: usize,
    counts: &Counts,
    products: [i32; PIXELS],
    columns: Range<usize>,
) {
    let (n, first) = (columns.len(), columns.start);
    // SAFETY: the caller's promise.
    unsafe {
        match *finish {
            Finish::Floats {
                output,
                stride,
                scale,
                offset,
                residual,
                residual_stride,
                slope,
                after,
                low,
                high,
            } => {
                let at = |p: *const f32, by: usize| if p.is_null() { p } else { p.add(by) };
                let own = Rows {
                    rows,
                    n,
                    products,
                    scale: scale.add(first),
                    offset: at(offset, first),
                    residual: at(residual, pixel * residual_stride + first),
                    residual_stride,
                    slope: at(slope, first),
                    after: at(after, first),
                    low,
                    high,
                    stride,
                };
                floats(isa, counts, own, output.add(pixel * stride + first));
            }
            Finish::Sums { output, stride } => {
                for row in 0..rows {
                    let output = output.add((pixel + row) * stride + first);
                    let output = core::slice::from_raw_parts_mut(output, n);
                    for (sum, count) in output.iter_mut().zip(counts[row].as_flattened()) {
                        *sum = products[row] - 2 * count;
                    }
                }
            }
            Finish::Bits { output, stride, sign, bound } => {
                let own =
                    BitRows { rows, n, products, sign: sign.add(first), bound: bound.add(first), stride };
                bits(isa, counts, own, output.add(pixel * stride + first / LANES));
            }
        }
    }
}

/// What [`Finish::Bits`] does to a few channels of a tile's pixels.
#[derive(Clone, Copy)]
struct BitRows {
    rows: usize,
    n: usize,
    products: [i32; PIXELS],
    sign: *const f32,
    bound: *const f32,
    stride: usize,
}

#[inline(always)]
unsafe fn bits_of<S: crate::simd::Simd>(counts: &Counts, own: BitRows, y: *mut u8) {
    const { assert!(PANELS * LANES == 32) };
    // SAFETY: the caller's promise.
    unsafe {
        for row in 0..own.rows {
            let mut sums = [0.0f32; PANELS * LANES];
            for (sum, count) in sums.iter_mut().zip(counts[row].as_flattened()) {
                // Sums stay below 2^24: exact.
                *sum = (own.products[row] - 2 * count) as f32;
            }
            let mut word = 0u64;
            let mut i = 0;
            while i < own.n {
                let left = (own.n - i).min(S::LANES);
                let turned = S::mul(S::load(sums.as_ptr().add(i)), S::load_n(own.sign.add(i), left));
                word |= u64::from(S::not_above(turned, S::load_n(own.bound.add(i), left))) << i;
                i += S::LANES;
            }
            // Lanes beyond the last compare zeros.
            word &= (1 << own.n) - 1;
            let count = own.n.div_ceil(LANES);
            core::ptr::copy_nonoverlapping(word.to_le_bytes().as_ptr(), y.add(row * own.stride), count);
        }
    }
}

crate::dispatch! {
    /// # Safety
    /// `isa` must be available; the pointers and `y` are valid for the channels and pixels they describe.
    fn bits(counts: &Counts, own: BitRows, y: *mut u8) = bits_of;
}

/// What [`Finish::Floats`] does to a few channels of a tile's pixels.
#[derive(Clone, Copy)]
struct Rows {
    rows: usize,
    n: usize,
    products: [i32; PIXELS],
    scale: *const f32,
    offset: *const f32,
    residual: *const f32,
    residual_stride: usize,
    slope: *const f32,
    after: *const f32,
    low: f32,
    high: f32,
    stride: usize,
}

#[inline(always)]
unsafe fn floats_of<S: crate::simd::Simd>(counts: &Counts, own: Rows, y: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe {
        let zero = S::splat(0.0);
        let (low, high) = (S::splat(own.low), S::splat(own.high));
        for row in 0..own.rows {
            let mut sums = [0.0f32; PANELS * LANES];
            for (sum, count) in sums.iter_mut().zip(counts[row].as_flattened()) {
                // Sums stay below 2^24: exact.
                *sum = (own.products[row] - 2 * count) as f32;
            }
            let y = y.add(row * own.stride);
            let residual = own.residual.wrapping_add(row * own.residual_stride);
            let mut i = 0;
            while i < own.n {
                let left = (own.n - i).min(S::LANES);
                let load = |p: *const f32| S::load_n(p.add(i), left);
                let mut v = S::mul(S::load(sums.as_ptr().add(i)), load(own.scale));
                if !own.offset.is_null() {
                    v = S::add(v, load(own.offset));
                }
                if !own.residual.is_null() {
                    v = S::add(v, load(residual));
                }
                if !own.slope.is_null() {
                    v = S::add(S::max(v, zero), S::mul(S::min(v, zero), load(own.slope)));
                }
                if !own.after.is_null() {
                    v = S::add(v, load(own.after));
                }
                v = S::min(high, S::max(low, v));
                S::store_n(y.add(i), v, left);
                i += S::LANES;
            }
        }
    }
}

crate::dispatch! {
    /// # Safety
    /// `isa` must be available; the pointers and `y` are valid for the channels and pixels they describe.
    fn floats(counts: &Counts, own: Rows, y: *mut f32) = floats_of;
}
