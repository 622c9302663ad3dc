//! Moving matrices: copies and transpositions between strided places.

/// Side of the squares that are transposed at once: both sides stay in the first-level cache.
const SQUARE: usize = 16;

/// `y[i · y_row + j] = x[i + j · x_column]` for `rows × columns`: a transposition, as between channels-first and
/// channels-last maps.
///
/// # Safety
/// Both sides must be valid for these extents and apart.
pub unsafe fn transpose(
    x: *const f32,
    x_column: usize,
    y: *mut f32,
    y_row: usize,
    rows: usize,
    columns: usize,
) {
    // Colour channels: a few columns at once, row after row.
    if columns <= 4 {
        for i in 0..rows {
            for j in 0..columns {
                // SAFETY: inside of the extents.
                unsafe { *y.add(i * y_row + j) = *x.add(i + j * x_column) };
            }
        }
        return;
    }
    for i0 in (0..rows).step_by(SQUARE) {
        let i1 = (i0 + SQUARE).min(rows);
        for j0 in (0..columns).step_by(SQUARE) {
            let j1 = (j0 + SQUARE).min(columns);
            for i in i0..i1 {
                for j in j0..j1 {
                    // SAFETY: inside of the extents.
                    unsafe { *y.add(i * y_row + j) = *x.add(i + j * x_column) };
                }
            }
        }
    }
}

/// Packs a strided matrix (`element (k, j)` at `k · row + j · column`) into panels, as [`crate::gemm::pack`] does.
///
/// # Safety
/// `x` must be valid for the extents and `y` for [`crate::gemm::packed_len`] elements, apart from `x`.
pub unsafe fn pack_strided(
    x: *const f32,
    row: usize,
    column: usize,
    depth: usize,
    columns: usize,
    y: *mut f32,
) {
    const PANEL: usize = crate::gemm::PANEL;
    for panel in 0..columns.div_ceil(PANEL) {
        let n = (columns - panel * PANEL).min(PANEL);
        // SAFETY: inside of the extents.
        unsafe {
            let x = x.add(panel * PANEL * column);
            let y = y.add(panel * PANEL * depth);
            for k in 0..depth {
                if column == 1 {
                    core::ptr::copy_nonoverlapping(x.add(k * row), y.add(k * PANEL), n);
                } else {
                    for j in 0..n {
                        *y.add(k * PANEL + j) = *x.add(k * row + j * column);
                    }
                }
                for j in n..PANEL {
                    *y.add(k * PANEL + j) = 0.0;
                }
            }
        }
    }
}
