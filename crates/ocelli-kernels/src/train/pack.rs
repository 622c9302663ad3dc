//! Packing of dense matrices into the panels that [`gemm`](crate::gemm) multiplies by.

use crate::Isa;
use crate::gemm::PANEL;
use crate::simd::Simd;
use crate::train::transpose;

/// Panels that are packed side by side.
pub const SIDE: usize = 8;

/// Rows that are asked for ahead: what is packed has often left the cache since it was computed.
const AHEAD: usize = 12;

/// A dense matrix as the right operand of a product.
#[derive(Clone, Copy, Debug)]
pub enum Right {
    /// `[depth][columns]`, rows apart by the stride.
    Straight(*const f32, usize),
    /// `[columns][depth]`, rows apart by the stride.
    Turned(*const f32, usize),
}

impl Right {
    /// The same matrix from a column on.
    ///
    /// # Safety
    /// The column must exist.
    pub unsafe fn starting_at(self, column: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Self::Straight(start, stride) => Self::Straight(start.add(column), stride),
                Self::Turned(start, stride) => Self::Turned(start.add(column * stride), stride),
            }
        }
    }

    /// Packs `depth` rows and `columns` columns, panel by panel, the last one filled up with zeros.
    ///
    /// # Safety
    /// `isa` must be available, the matrix must have the rows and columns, and `out` room for whole panels.
    pub unsafe fn pack(self, isa: Isa, depth: usize, columns: usize, out: *mut f32) {
        // SAFETY: the columns exist by the caller's promise.
        unsafe {
            match self {
                Self::Straight(start, stride) => {
                    for first in (0..columns).step_by(SIDE * PANEL) {
                        let width = (columns - first).min(SIDE * PANEL);
                        straight(isa, start.add(first), stride, depth, width, out.add(first * depth));
                    }
                }
                Self::Turned(start, stride) => {
                    for first in (0..columns).step_by(PANEL) {
                        let width = (columns - first).min(PANEL);
                        for k in (0..depth).step_by(PANEL) {
                            let rows = (depth - k).min(PANEL);
                            let (from, out) =
                                (start.add(first * stride + k), out.add(first * depth + k * PANEL));
                            transpose::padded(isa, from, stride, width, rows, out, PANEL);
                        }
                    }
                }
            }
        }
    }
}

/// `rows × columns` of a matrix whose rows are `stride` apart, as `columns` rows `out_stride` apart; up to 15 zeros may
/// follow each.
///
/// # Safety
/// `isa` must be available, the matrix must have the extent, `out` room for rows of whole panels.
pub unsafe fn turn(
    isa: Isa,
    from: *const f32,
    stride: usize,
    rows: usize,
    columns: usize,
    out: *mut f32,
    out_stride: usize,
) {
    for row in (0..rows).step_by(PANEL) {
        let height = (rows - row).min(PANEL);
        for column in (0..columns).step_by(PANEL) {
            let width = (columns - column).min(PANEL);
            // SAFETY: the block lies in the matrix; what is written lies in whole panels of `out`'s rows.
            unsafe {
                let (from, out) = (from.add(row * stride + column), out.add(column * out_stride + row));
                transpose::padded(isa, from, stride, height, width, out, out_stride);
            }
        }
    }
}

/// Packs up to `SIDE` panels row by row: reading a panel's width of every row would touch as many pages as there are rows.
#[inline(always)]
unsafe fn straight_of<S: Simd>(from: *const f32, stride: usize, depth: usize, width: usize, out: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe {
        let full = width / PANEL;
        for k in 0..depth {
            let (from, out) = (from.add(k * stride), out.add(k * PANEL));
            let later = from.wrapping_add(AHEAD * stride);
            for panel in 0..full {
                S::prefetch(later.wrapping_add(panel * PANEL));
                for v in (0..PANEL).step_by(S::LANES) {
                    let x = S::load(from.add(panel * PANEL + v));
                    S::store(out.add(panel * depth * PANEL + v), x);
                }
            }
            if full * PANEL < width {
                for v in (0..PANEL).step_by(S::LANES) {
                    let n = width.saturating_sub(full * PANEL + v).min(S::LANES);
                    let x = S::load_n(from.wrapping_add(full * PANEL + v), n);
                    S::store(out.add(full * depth * PANEL + v), x);
                }
            }
        }
    }
}

crate::dispatch! {
    fn straight(from: *const f32, stride: usize, depth: usize, width: usize, out: *mut f32) = straight_of;
}
