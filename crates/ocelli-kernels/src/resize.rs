//! Resizing channels-last maps: the weights of a row and a column are worked out once.

use core::ops::Range;

use crate::conv::MapIn;
use crate::simd::Simd;

/// One output coordinate: up to four input coordinates and their weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Taps {
    /// Input coordinates.
    pub at: [usize; 4],
    /// Weights, which sum to one.
    pub weight: [f32; 4],
    /// How many count.
    pub count: usize,
}

/// A resize.
#[derive(Clone, Copy, Debug)]
pub struct Resize<'a> {
    /// The input.
    pub input: MapIn,
    /// Per output row.
    pub rows: &'a [Taps],
    /// Per output column.
    pub columns: &'a [Taps],
    /// Channels.
    pub channels: usize,
    /// The output; pixels are `output_stride` apart throughout the batch.
    pub output: *mut f32,
    /// Elements from one output pixel to the next.
    pub output_stride: usize,
}

#[inline(always)]
unsafe fn rows_of<S: Simd>(x: &Resize<'_>, rows: Range<usize>) {
    for row in rows {
        let (picture, oy) = (row / x.rows.len(), row % x.rows.len());
        let base = x.input.data.wrapping_add(picture * x.input.picture);
        let down = &x.rows[oy];
        for (ox, across) in x.columns.iter().enumerate() {
            let mut c = 0;
            while c < x.channels {
                let n = (x.channels - c).min(S::LANES);
                // SAFETY: the taps lie inside of the map.
                unsafe {
                    let mut sum = S::splat(0.0);
                    for i in 0..down.count {
                        for j in 0..across.count {
                            let at = down.at[i] * x.input.row + across.at[j] * x.input.pixel + c;
                            let p = base.wrapping_add(at);
                            let v = if n == S::LANES { S::load(p) } else { S::load_n(p, n) };
                            sum = S::fma(S::splat(down.weight[i] * across.weight[j]), v, sum);
                        }
                    }
                    let p = x.output.add((row * x.columns.len() + ox) * x.output_stride + c);
                    if n == S::LANES { S::store(p, sum) } else { S::store_n(p, sum, n) }
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
    pub fn resize(x: &Resize<'_>, rows: Range<usize>) = rows_of;
}
