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
            // SAFETY: the caller of `depthwise` promises maps as described.
            unsafe {
                match (x.window.kernel, x.window.stride[1], n == S::LANES) {
                    ([3, 3], 1, true) => lane::<S, 9, true>(x, &some, c, n, 1),
                    ([3, 3], 2, true) => lane::<S, 9, true>(x, &some, c, n, 2),
                    ([3, 3], s, false) => lane::<S, 9, false>(x, &some, c, n, s),
                    ([5, 5], s, true) => lane::<S, 25, true>(x, &some, c, n, s),
                    (_, s, true) => lane::<S, 0, true>(x, &some, c, n, s),
                    (_, s, false) => lane::<S, 0, false>(x, &some, c, n, s),
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

/// One vector of channels through all rows. `TAPS` is the window's extent where it is 9 or 25 (3×3, 5×5, whose
/// loops then unroll), else 0.
#[inline(always)]
unsafe fn lane<S: Simd, const TAPS: usize, const FULL: bool>(
    x: &Depthwise,
    rows: &Range<usize>,
    c: usize,
    n: usize,
    stride: usize,
) {
    let [output_height, output_width] = x.output_size;
    let [kernel_height, kernel_width] = match TAPS {
        9 => [3, 3],
        25 => [5, 5],
        _ => x.window.kernel,
    };
    let dilation = x.window.dilation[1];
    // Output columns whose window lies wholly inside the row.
    let begin = x.window.pad[1].div_ceil(stride).min(output_width);
    let reach = (kernel_width - 1) * dilation;
    let end = if x.input.width + x.window.pad[1] > reach {
        ((x.input.width + x.window.pad[1] - reach - 1) / stride + 1).clamp(begin, output_width)
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
            let edge = |ox: usize| {
                let mut sum = bias;
                for ky in first..last {
                    for kx in 0..kernel_width {
                        let at = x.window.source(1, ox, kx);
                        if at >= 0 && at < x.input.width as isize {
                            let weight =
                                read::<S, FULL>(x.weights.add((ky * kernel_width + kx) * x.channels + c), n);
                            let v = read::<S, FULL>(line(ky).wrapping_add(at as usize * x.input.pixel), n);
                            sum = S::fma(weight, v, sum);
                        }
                    }
                }
                put(row * output_width + ox, sum);
            };
            for ox in 0..begin {
                edge(ox);
            }
            let mut ox = begin;
            while ox + SIDE <= end {
                let mut sums = [bias; SIDE];
                for ky in first..last {
                    let start = line(ky).wrapping_add((ox * stride - x.window.pad[1]) * x.input.pixel);
                    for kx in 0..kernel_width {
                        let weight =
                            read::<S, FULL>(x.weights.add((ky * kernel_width + kx) * x.channels + c), n);
                        for (i, sum) in sums.iter_mut().enumerate() {
                            let p = start.wrapping_add((i * stride + kx * dilation) * x.input.pixel);
                            *sum = S::fma(weight, read::<S, FULL>(p, n), *sum);
                        }
                    }
                }
                for (i, sum) in sums.into_iter().enumerate() {
                    put(row * output_width + ox + i, sum);
                }
                ox += SIDE;
            }
            for ox in ox..output_width {
                edge(ox);
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
