//! Depthwise convolution over channels-last maps: vectors run along the channels, the window is summed tap by tap.

use core::ops::Range;

use crate::conv::{MapIn, Window};
use crate::simd::Simd;

/// A depthwise convolution.
#[derive(Clone, Copy, Debug)]
pub struct Depthwise {
    /// The input.
    pub input: MapIn,
    /// The window.
    pub window: Window,
    /// Channels.
    pub channels: usize,
    /// `[taps][channels]`
    pub weights: *const f32,
    /// `[channels]`, or null.
    pub bias: *const f32,
    /// The output; pixels are `output_stride` apart throughout the batch.
    pub output: *mut f32,
    /// Elements from one output pixel to the next.
    pub output_stride: usize,
    /// Output extent `[height, width]`.
    pub output_size: [usize; 2],
    /// Lower bound of the result.
    pub low: f32,
    /// Upper bound of the result.
    pub high: f32,
}

/// Output pixels that are summed side by side, so that a tap's weights are read once for all of them.
const SIDE: usize = 4;

/// Elements of the input that one pass over the channels may touch: more would leave the second-level cache
/// before the next vector of channels comes by.
const PASS: usize = 64 << 10;

#[inline(always)]
unsafe fn rows_of<S: Simd>(x: &Depthwise, rows: Range<usize>, channels: Range<usize>) {
    let per_row = x.input.width * x.channels * x.window.stride[0];
    let at_once = (PASS / per_row.max(1)).max(1);
    let mut start = rows.start;
    while start < rows.end {
        let some = start..(start + at_once).min(rows.end);
        let mut c = channels.start;
        while c < channels.end {
            let n = (channels.end - c).min(S::LANES);
            let full = n == S::LANES;
            // SAFETY: the caller of `depthwise` promises maps as described.
            unsafe {
                match (x.window.kernel, x.window.stride[1], x.window.dilation[1], full) {
                    ([3, 3], 1, 1, true) => lane::<S, 3, 1, true>(x, &some, c, n),
                    ([3, 3], 2, 1, true) => lane::<S, 3, 2, true>(x, &some, c, n),
                    ([5, 5], 1, 1, true) => lane::<S, 5, 1, true>(x, &some, c, n),
                    ([5, 5], 2, 1, true) => lane::<S, 5, 2, true>(x, &some, c, n),
                    ([7, 7], 1, 1, true) => lane::<S, 7, 1, true>(x, &some, c, n),
                    ([3, 3], 1, 1, false) => lane::<S, 3, 1, false>(x, &some, c, n),
                    ([3, 3], 2, 1, false) => lane::<S, 3, 2, false>(x, &some, c, n),
                    ([5, 5], 1, 1, false) => lane::<S, 5, 1, false>(x, &some, c, n),
                    ([5, 5], 2, 1, false) => lane::<S, 5, 2, false>(x, &some, c, n),
                    (_, _, _, true) => lane::<S, 0, 0, true>(x, &some, c, n),
                    (_, _, _, false) => lane::<S, 0, 0, false>(x, &some, c, n),
                }
            }
            c += n;
        }
        start = some.end;
    }
}

#[inline(always)]
unsafe fn read<S: Simd, const FULL: bool>(p: *const f32, n: usize) -> S::V {
    // SAFETY: the caller's promise.
    unsafe { if FULL { S::load(p) } else { S::load_n(p, n) } }
}

/// Most columns of the input that [`SIDE`] neighbouring windows of the specialised kinds cover.
const SPAN: usize = (SIDE - 1) * 2 + 7;

/// One vector of channels through all rows. `SIZE` is the window's side and `STRIDE` its step where they are known
/// (undilated), so that all loops over them unroll; else both are 0.
#[inline(always)]
unsafe fn lane<S: Simd, const SIZE: usize, const STRIDE: usize, const FULL: bool>(
    x: &Depthwise,
    rows: &Range<usize>,
    c: usize,
    n: usize,
) {
    let [output_height, output_width] = x.output_size;
    let known = SIZE > 0;
    let kernel_height = if known { SIZE } else { x.window.kernel[0] };
    let kernel_width = if known { SIZE } else { x.window.kernel[1] };
    let stride = if known { STRIDE } else { x.window.stride[1] };
    let dilation = if known { 1 } else { x.window.dilation[1] };
    let (pad, pixel, width) = (x.window.pad[1], x.input.pixel, x.input.width);
    // Output columns whose window lies wholly inside the row.
    let begin = pad.div_ceil(stride).min(output_width);
    let reach = (kernel_width - 1) * dilation;
    let end = if width + pad > reach {
        ((width + pad - reach - 1) / stride + 1).clamp(begin, output_width)
    } else {
        begin
    };
    // SAFETY: taps are read only where the window meets the map; writes stay in the output.
    unsafe {
        let bias = if x.bias.is_null() { S::splat(0.0) } else { read::<S, FULL>(x.bias.add(c), n) };
        let (low, high) = (S::splat(x.low), S::splat(x.high));
        let put = |pixel: usize, v: S::V| {
            let p = x.output.add(pixel * x.output_stride + c);
            let v = S::min(high, S::max(low, v));
            if FULL { S::store(p, v) } else { S::store_n(p, v, n) }
        };
        let weights = x.weights.add(c);
        let weight =
            |ky: usize, kx: usize| read::<S, FULL>(weights.add((ky * kernel_width + kx) * x.channels), n);
        for row in rows.clone() {
            let (picture, oy) = (row / output_height, row % output_height);
            let base = x.input.data.wrapping_add(picture * x.input.picture + c);
            // Rows of the window that meet the map.
            let top = x.window.source(0, oy, 0);
            let step = x.window.dilation[0] as isize;
            let first = if top < 0 { ((-top + step - 1) / step) as usize } else { 0 }.min(kernel_height);
            let left = x.input.height as isize - top;
            let last = if left <= 0 { 0 } else { (((left - 1) / step) as usize + 1).min(kernel_height) };
            let line = |ky: usize| base.wrapping_offset((top + ky as isize * step) * x.input.row as isize);
            // Windows that reach beyond the row, or too few for a group.
            let single = |ox: usize| {
                let mut sum = bias;
                let from = (ox * stride) as isize - pad as isize;
                let inside = |kx: usize| {
                    let at = from + (kx * dilation) as isize;
                    at >= 0 && at < width as isize
                };
                for ky in first..last {
                    let start = line(ky).wrapping_offset(from * pixel as isize);
                    for kx in 0..kernel_width {
                        if inside(kx) {
                            let v = read::<S, FULL>(start.wrapping_add(kx * dilation * pixel), n);
                            sum = S::fma(weight(ky, kx), v, sum);
                        }
                    }
                }
                put(row * output_width + ox, sum);
            };
            if !known {
                for ox in 0..output_width {
                    single(ox);
                }
                continue;
            }
            // Every column of the input is read once for all windows of a group that cover it.
            let span = (SIDE - 1) * STRIDE + SIZE;
            let mut ox = 0;
            while ox < output_width {
                let inside = ox >= begin && ox + SIDE <= end;
                let from = (ox * STRIDE) as isize - pad as isize;
                let mut sums = [bias; SIDE];
                for ky in first..last {
                    let start = line(ky).wrapping_offset(from * pixel as isize);
                    let mut columns = [S::splat(0.0); SPAN];
                    if inside {
                        for (j, column) in columns.iter_mut().enumerate().take(span) {
                            *column = read::<S, FULL>(start.wrapping_add(j * pixel), n);
                        }
                    } else {
                        for (j, column) in columns.iter_mut().enumerate().take(span) {
                            let at = from + j as isize;
                            if at >= 0 && at < width as isize {
                                *column = read::<S, FULL>(start.wrapping_add(j * pixel), n);
                            }
                        }
                    }
                    for kx in 0..SIZE {
                        let weight = weight(ky, kx);
                        for i in 0..SIDE {
                            sums[i] = S::fma(weight, columns[i * STRIDE + kx], sums[i]);
                        }
                    }
                }
                if ox + SIDE <= output_width {
                    for (i, sum) in sums.into_iter().enumerate() {
                        put(row * output_width + ox + i, sum);
                    }
                } else {
                    for (i, sum) in sums.into_iter().enumerate() {
                        if ox + i < output_width {
                            put(row * output_width + ox + i, sum);
                        }
                    }
                }
                ox += SIDE;
            }
        }
    }
}

crate::dispatch! {
    /// Computes output rows `rows` (counted through the batch) of the given channels.
    ///
    /// # Safety
    /// `isa` must be available and the maps as described; several threads may compute different ranges.
    pub fn depthwise(x: &Depthwise, rows: Range<usize>, channels: Range<usize>) = rows_of;
}

/// Packs weights `[channels, 1, kernel_height, kernel_width]` for [`depthwise`].
pub fn pack_weights(weights: &[f32], channels: usize) -> Vec<f32> {
    let taps = weights.len() / channels.max(1);
    let mut packed = vec![0.0; weights.len()];
    for c in 0..channels {
        for t in 0..taps {
            packed[t * channels + c] = weights[c * taps + t];
        }
    }
    packed
}
