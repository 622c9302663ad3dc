//! Pooling over channels-last maps.

use core::ops::Range;

use crate::conv::{MapIn, Window};
use crate::simd::Simd;

/// How a window is summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The largest element; padding does not count.
    Max,
    /// The mean; padding counts as zeros or not at all.
    Mean {
        /// Whether it counts.
        count_padding: bool,
    },
}

/// A pooling.
#[derive(Clone, Copy, Debug)]
pub struct Pooling {
    /// The input.
    pub input: MapIn,
    /// The window.
    pub window: Window,
    /// Zeros below and to the right, which count where padding counts.
    pub pad_end: [usize; 2],
    /// How.
    pub kind: Kind,
    /// Channels.
    pub channels: usize,
    /// The output; pixels are `output_stride` apart throughout the batch.
    pub output: *mut f32,
    /// Elements from one output pixel to the next.
    pub output_stride: usize,
    /// Output extent `[height, width]`.
    pub output_size: [usize; 2],
}

/// Taps `begin..end` of a window at `at` that meet `extent`, and how many meet the padded extent.
pub(crate) fn taps(
    w: &Window,
    pad_end: usize,
    axis: usize,
    at: usize,
    extent: usize,
) -> (usize, usize, usize) {
    let inside = |tap: usize| {
        let p = w.source(axis, at, tap);
        p >= 0 && (p as usize) < extent
    };
    let count = w.kernel[axis];
    let begin = (0..count).find(|&t| inside(t)).unwrap_or(count);
    let end = (begin..count).find(|&t| !inside(t)).unwrap_or(count);
    let padded = (0..count).filter(|&t| w.source(axis, at, t) < (extent + pad_end) as isize).count();
    (begin, end, padded)
}

#[inline(always)]
unsafe fn rows_of<S: Simd>(x: &Pooling, rows: Range<usize>) {
    let [output_height, output_width] = x.output_size;
    let w = &x.window;
    for row in rows {
        let (picture, oy) = (row / output_height, row % output_height);
        let (y0, y1, yn) = taps(w, x.pad_end[0], 0, oy, x.input.height);
        let base = x.input.data.wrapping_add(picture * x.input.picture);
        for ox in 0..output_width {
            let (x0, x1, xn) = taps(w, x.pad_end[1], 1, ox, x.input.width);
            let count = match x.kind {
                Kind::Mean { count_padding: true } => yn * xn,
                _ => (y1 - y0) * (x1 - x0),
            };
            let start = match x.kind {
                Kind::Max => f32::NEG_INFINITY,
                Kind::Mean { .. } => 0.0,
            };
            let mut c = 0;
            while c < x.channels {
                let n = (x.channels - c).min(S::LANES);
                // SAFETY: only taps inside of the map are read, only pixels of the output written.
                unsafe {
                    let mut v = S::splat(start);
                    for ky in y0..y1 {
                        let line =
                            base.wrapping_offset(w.source(0, oy, ky) * x.input.row as isize + c as isize);
                        for kx in x0..x1 {
                            let p = line.wrapping_offset(w.source(1, ox, kx) * x.input.pixel as isize);
                            let e = if n == S::LANES { S::load(p) } else { S::load_n(p, n) };
                            v = if x.kind == Kind::Max { S::max(v, e) } else { S::add(v, e) };
                        }
                    }
                    if x.kind != Kind::Max {
                        v = S::div(v, S::splat(count as f32));
                    }
                    let p = x.output.add((row * output_width + ox) * x.output_stride + c);
                    if n == S::LANES { S::store(p, v) } else { S::store_n(p, v, n) }
                }
                c += n;
            }
        }
    }
}

crate::dispatch! {
    /// Computes output rows `rows`, counted through the batch.
    ///
    /// # Safety
    /// `isa` must be available and the maps as described; several threads may compute different rows.
    pub fn pool(x: &Pooling, rows: Range<usize>) = rows_of;
}
