//! Transposing: sixteen rows of a panel into sixteen columns, and whole matrices.

use crate::Isa;
use crate::gemm::PANEL;
use crate::train::parallel::{Shared, each};

/// Transposes a 16×16 block: rows `from_stride` apart into rows `out_stride` apart, of which `rows <= 16` are
/// written.
///
/// # Safety
/// `from` must hold 16 rows of 16, `out` `rows` rows of 16; `isa` must be available.
pub unsafe fn block(
    isa: Isa,
    from: *const f32,
    from_stride: usize,
    out: *mut f32,
    out_stride: usize,
    rows: usize,
) {
    #[cfg(target_arch = "x86_64")]
    if isa == Isa::Avx512 {
        // SAFETY: the instruction set is available, the rest is the caller's promise.
        unsafe { block_avx512(from, from_stride, out, out_stride, rows) };
        return;
    }
    let _ = isa;
    for i in 0..rows {
        for j in 0..PANEL {
            // SAFETY: inside both blocks.
            unsafe { *out.add(i * out_stride + j) = *from.add(j * from_stride + i) };
        }
    }
}

/// Transposes a block of `rows × columns`, each at most 16, rows `from_stride` apart, into `columns` rows of 16,
/// `out_stride` apart; zeros follow the first `rows` elements of each.
///
/// # Safety
/// `from` must hold the block, `out` `columns` rows of 16; `isa` must be available.
pub unsafe fn padded(
    isa: Isa,
    from: *const f32,
    from_stride: usize,
    rows: usize,
    columns: usize,
    out: *mut f32,
    out_stride: usize,
) {
    #[cfg(target_arch = "x86_64")]
    if isa == Isa::Avx512 {
        // SAFETY: as above.
        unsafe { padded_avx512(from, from_stride, rows, columns, out, out_stride) };
        return;
    }
    let _ = isa;
    for i in 0..columns {
        for j in 0..PANEL {
            // SAFETY: inside both blocks.
            unsafe {
                *out.add(i * out_stride + j) = if j < rows { *from.add(j * from_stride + i) } else { 0.0 }
            };
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw")]
unsafe fn block_avx512(from: *const f32, from_stride: usize, out: *mut f32, out_stride: usize, rows: usize) {
    use core::arch::x86_64::*;
    // SAFETY: loads and stores stay in the blocks the caller promises.
    unsafe {
        let mut a = [_mm512_setzero_ps(); PANEL];
        for (j, row) in a.iter_mut().enumerate() {
            *row = _mm512_loadu_ps(from.add(j * from_stride));
        }
        store_avx512(turned_avx512(a), out, out_stride, rows);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw")]
unsafe fn padded_avx512(
    from: *const f32,
    from_stride: usize,
    rows: usize,
    columns: usize,
    out: *mut f32,
    out_stride: usize,
) {
    use core::arch::x86_64::*;
    // SAFETY: masked loads read nothing beyond the block.
    unsafe {
        let mask = ((1u32 << columns) - 1) as __mmask16;
        let mut a = [_mm512_setzero_ps(); PANEL];
        for (j, row) in a.iter_mut().enumerate() {
            if j < rows {
                *row = _mm512_maskz_loadu_ps(mask, from.add(j * from_stride));
                // The block below comes soon; any address will do.
                _mm_prefetch::<_MM_HINT_T1>(from.wrapping_add((j + PANEL) * from_stride).cast());
            }
        }
        store_avx512(turned_avx512(a), out, out_stride, columns);
    }
}

/// Writes the first `rows` rows.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw")]
unsafe fn store_avx512(
    a: [core::arch::x86_64::__m512; PANEL],
    out: *mut f32,
    out_stride: usize,
    rows: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if rows == PANEL {
            for (i, &row) in a.iter().enumerate() {
                core::arch::x86_64::_mm512_storeu_ps(out.add(i * out_stride), row);
            }
        } else {
            for (i, &row) in a.iter().enumerate().take(rows) {
                core::arch::x86_64::_mm512_storeu_ps(out.add(i * out_stride), row);
            }
        }
    }
}

/// Pairs of elements, then of pairs, then of quarters: four rounds of exchanging halves.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw")]
fn turned_avx512(mut a: [core::arch::x86_64::__m512; PANEL]) -> [core::arch::x86_64::__m512; PANEL] {
    use core::arch::x86_64::*;
    let mut b = a;
    for j in (0..PANEL).step_by(2) {
        b[j] = _mm512_unpacklo_ps(a[j], a[j + 1]);
        b[j + 1] = _mm512_unpackhi_ps(a[j], a[j + 1]);
    }
    for j in (0..PANEL).step_by(4) {
        for i in 0..2 {
            let (lo, hi) = (_mm512_castps_pd(b[j + i]), _mm512_castps_pd(b[j + i + 2]));
            a[j + 2 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(lo, hi));
            a[j + 2 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(lo, hi));
        }
    }
    for j in (0..PANEL).step_by(8) {
        for i in 0..4 {
            b[j + i] = _mm512_shuffle_f32x4::<0x88>(a[j + i], a[j + i + 4]);
            b[j + i + 4] = _mm512_shuffle_f32x4::<0xdd>(a[j + i], a[j + i + 4]);
        }
    }
    for i in 0..8 {
        a[i] = _mm512_shuffle_f32x4::<0x88>(b[i], b[i + 8]);
        a[i + 8] = _mm512_shuffle_f32x4::<0xdd>(b[i], b[i + 8]);
    }
    a
}

/// `out[c][r] = from[r][c]` for a matrix of `rows × columns`, rows of `from` and `out` apart by the strides.
///
/// # Panics
/// If a matrix does not fit its slice.
pub fn matrix(
    isa: Isa,
    from: &[f32],
    from_stride: usize,
    rows: usize,
    columns: usize,
    out: &mut [f32],
    out_stride: usize,
) {
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(
        from.len() >= (rows - 1) * from_stride + columns && out.len() >= (columns - 1) * out_stride + rows
    );
    let strips = columns.div_ceil(PANEL);
    let out = Shared::new(out);
    each(strips, rows * columns, |strip| {
        let column = strip * PANEL;
        let width = (columns - column).min(PANEL);
        for row in (0..rows).step_by(PANEL) {
            let height = (rows - row).min(PANEL);
            // SAFETY: the block lies in both matrices; every strip writes rows of its own.
            unsafe {
                let from = from.as_ptr().add(row * from_stride + column);
                let out = out.at(column * out_stride + row);
                if width == PANEL && height == PANEL {
                    block(isa, from, from_stride, out, out_stride, PANEL);
                } else {
                    for i in 0..height {
                        for j in 0..width {
                            *out.add(j * out_stride + i) = *from.add(i * from_stride + j);
                        }
                    }
                }
            }
        }
    });
}
