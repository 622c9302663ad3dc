//! Pooling of channels-last maps of codes.

use core::ops::Range;

use super::Isa;
use super::arithmetic::{Fixed, Target};
use super::conv::MapIn;
use super::lanes::Lanes;
use super::requantiser::{Bounds, FIXED, Parameters};
use crate::conv::Window;

/// How a window is summed up.
#[derive(Clone, Copy, Debug)]
pub enum Kind<'a> {
    /// The largest code; padding does not count. The codes keep their scale.
    Max,
    /// The mean.
    Mean {
        /// Whether padding counts (as zeros).
        count_padding: bool,
        /// Multipliers for windows that count 1, 2, … pixels (see
        /// [`mean_multiplier`](super::arithmetic::mean_multiplier)); a single one where all count the same number.
        by: &'a [Fixed],
        /// The codes of the output.
        target: Target,
    },
}

/// A pooling. A global mean has the map's extent as its window.
#[derive(Clone, Copy, Debug)]
pub struct Pooling<'a> {
    /// The input.
    pub input: MapIn,
    /// The window.
    pub window: Window,
    /// Zeros below and to the right, which count where padding counts.
    pub pad_end: [usize; 2],
    /// How.
    pub kind: Kind<'a>,
    /// Channels.
    pub channels: usize,
    /// The input's zero point.
    pub zero: u8,
    /// The output; pixels are `output_stride` apart throughout the batch.
    pub output: *mut u8,
    /// Codes from one output pixel to the next.
    pub output_stride: usize,
    /// Output extent `[height, width]`.
    pub output_size: [usize; 2],
}

#[inline(always)]
unsafe fn read<L: Lanes>(p: *const u8, n: usize) -> L::B {
    // SAFETY: the caller's promise.
    unsafe { if n == L::BYTES { L::load_bytes(p) } else { L::load_bytes_n(p, n) } }
}

#[inline(always)]
unsafe fn rows_of<L: Lanes>(x: &Pooling, rows: Range<usize>) {
    let [output_height, output_width] = x.output_size;
    let w = &x.window;
    for row in rows {
        let (picture, oy) = (row / output_height, row % output_height);
        let (y0, y1, yn) = crate::pool::taps(w, x.pad_end[0], 0, oy, x.input.height);
        let base = x.input.data.wrapping_add(picture * x.input.picture);
        for ox in 0..output_width {
            let (x0, x1, xn) = crate::pool::taps(w, x.pad_end[1], 1, ox, x.input.width);
            let inside = (y1 - y0) * (x1 - x0);
            let mut c = 0;
            while c < x.channels {
                let n = (x.channels - c).min(L::BYTES);
                // SAFETY: only taps inside of the map are read, only pixels of the output written.
                unsafe {
                    let mut largest = L::splat_bytes(0);
                    let mut sums = [L::splat(-((inside * usize::from(x.zero)) as i32)); 4];
                    for ky in y0..y1 {
                        let line =
                            base.wrapping_offset(w.source(0, oy, ky) * x.input.row as isize + c as isize);
                        for kx in x0..x1 {
                            let p = line.wrapping_offset(w.source(1, ox, kx) * x.input.pixel as isize);
                            let b = read::<L>(p, n);
                            if let Kind::Max = x.kind {
                                largest = L::max_bytes(largest, b);
                            } else {
                                let v = L::widen(b);
                                for q in 0..4 {
                                    sums[q] = L::add(sums[q], v[q]);
                                }
                            }
                        }
                    }
                    if let Kind::Mean { count_padding, by, target } = x.kind {
                        let count = if count_padding { yn * xn } else { inside };
                        let by = by[(count.max(1) - 1).min(by.len() - 1)];
                        let bounds = Bounds::<L>::new(target);
                        let parameters = Parameters::<L, FIXED>::uniform(by);
                        largest = bounds.apply(parameters.codes(sums, bounds.zero));
                    }
                    let p = x.output.add((row * output_width + ox) * x.output_stride + c);
                    if n == L::BYTES { L::store_bytes(p, largest) } else { L::store_bytes_n(p, largest, n) }
                }
                c += n;
            }
        }
    }
}

crate::dispatch! {
    fn rows_on(x: &Pooling, rows: Range<usize>) = rows_of;
}

/// Computes output rows `rows`, counted through the batch.
///
/// # Safety
/// `isa` must be available and the maps as described; several threads may compute different rows.
pub unsafe fn pool(isa: Isa, x: &Pooling, rows: Range<usize>) {
    // SAFETY: the caller's promise.
    unsafe { rows_on(isa.lanes(), x, rows) }
}
