//! Tiles of `rows × 16·panels` sums held in registers, from rows of codes and packed weights.

use super::Isa;
use super::dot::{Dot, Kernel, V};
use super::excess::Excess;
use super::lanes::Lanes;
use crate::gemm::PANEL;

/// Most rows of a tile.
pub(crate) const MAX_ROWS: usize = 14;

/// The operands of a tile.
#[derive(Clone, Copy)]
pub(crate) struct Tile<'a> {
    /// `runs × rows` pointers, run by run, each to `groups` groups of codes (spread, where the kernel asks for it).
    pub a: *const *const u8,
    pub rows: usize,
    pub runs: usize,
    /// Groups of a run.
    pub groups: usize,
    /// The first panel (spread, where the kernel asks for it).
    pub b: *const i8,
    /// Sums of its columns.
    pub column_sums: *const i32,
    /// 1, 2 or 4.
    pub panels: usize,
    /// `rows × stride`
    pub sums: *mut i32,
    pub stride: usize,
    /// What the panels leave to additional steps, and the first panel's number.
    pub excess: Option<(&'a Excess, usize)>,
}

/// Vectors of a panel on the narrowest instruction set.
const VECTORS: usize = 4;

#[inline(always)]
unsafe fn tile_of<D: Dot, const ROWS: usize, const PANELS: usize>(t: &Tile) {
    let lanes = D::L::LANES;
    let vectors = PANEL / lanes;
    // Spread rows and weights take twice the bytes.
    let wide = if D::SPREAD { 2 } else { 1 };
    let panel_stride = t.runs * t.groups * 64 * wide;
    // SAFETY: the caller of `tile` promises valid operands; all offsets follow the documented layout.
    unsafe {
        let mut acc = [[[D::L::splat(0); VECTORS]; PANELS]; ROWS];
        let mut b = t.b;
        for run in 0..t.runs {
            let mut a = [core::ptr::null::<u8>(); ROWS];
            for m in 0..ROWS {
                a[m] = *t.a.add(run * ROWS + m);
            }
            for g in 0..t.groups {
                // A row's codes are used up before the next row's: more of them than sums would not fit.
                let mut w = [[D::ready(b.cast()); VECTORS]; PANELS];
                for p in 0..PANELS {
                    for v in 0..vectors {
                        w[p][v] = D::ready(b.add(p * panel_stride + v * lanes * 4 * wide).cast());
                    }
                }
                for m in 0..ROWS {
                    let row = D::row(a[m].add(g * 4 * wide));
                    for p in 0..PANELS {
                        for v in 0..vectors {
                            acc[m][p][v] = D::dot(acc[m][p][v], row, w[p][v]);
                        }
                    }
                }
                b = b.add(64 * wide);
            }
        }
        if let (true, Some((e, first))) = (D::EXCESS, t.excess) {
            // Written out, so that the sums stay in registers.
            more::<D, ROWS, PANELS, 0, 0>(t, e, first, &mut acc);
            more::<D, ROWS, PANELS, 0, 1>(t, e, first, &mut acc);
            more::<D, ROWS, PANELS, 1, 0>(t, e, first, &mut acc);
            more::<D, ROWS, PANELS, 1, 1>(t, e, first, &mut acc);
            more::<D, ROWS, PANELS, 2, 0>(t, e, first, &mut acc);
            more::<D, ROWS, PANELS, 2, 1>(t, e, first, &mut acc);
            more::<D, ROWS, PANELS, 3, 0>(t, e, first, &mut acc);
            more::<D, ROWS, PANELS, 3, 1>(t, e, first, &mut acc);
        }
        for p in 0..PANELS {
            for v in 0..vectors {
                let column = p * PANEL + v * lanes;
                let back: V<D> =
                    if D::OFFSET == 0 { D::L::splat(0) } else { offset::<D>(t.column_sums.add(column)) };
                for m in 0..ROWS {
                    let sum = if D::OFFSET == 0 { acc[m][p][v] } else { D::L::add(acc[m][p][v], back) };
                    D::L::store(t.sums.add(m * t.stride + column), sum);
                }
            }
        }
    }
}

/// The additional steps of vector `W` of panel `P` of the tile (see [`Excess`]).
#[inline(always)]
unsafe fn more<D: Dot, const ROWS: usize, const PANELS: usize, const P: usize, const W: usize>(
    t: &Tile,
    e: &Excess,
    first: usize,
    acc: &mut [[[V<D>; VECTORS]; PANELS]; ROWS],
) {
    if P >= PANELS || W >= PANEL / D::L::LANES {
        return;
    }
    let (places, mut weights) = e.steps(first + P, W);
    for place in places {
        let (run, group) = (place.run as usize, place.group as usize);
        // Rows that were copied together are one run.
        let (table, group) = if t.runs == 1 { (0, run * e.run_groups + group) } else { (run * ROWS, group) };
        // SAFETY: places lie in the rows, and every one has its weights.
        unsafe {
            let w = D::weights(D::L::load(weights.cast()));
            for m in 0..ROWS {
                let row = D::row((*t.a.add(table + m)).add(group * 4));
                acc[m][P][W] = D::dot(acc[m][P][W], row, w);
            }
        }
        weights = weights.wrapping_add(D::L::LANES * 4);
    }
}

/// What a kernel with an offset has left out: `OFFSET · sum of the weights`.
#[inline(always)]
unsafe fn offset<D: Dot>(column_sums: *const i32) -> V<D> {
    // SAFETY: column sums cover whole panels.
    unsafe { D::L::shl(D::L::load(column_sums), D::L::splat(D::OFFSET.trailing_zeros() as i32)) }
}

/// A tile that fits into the registers; others are kept out of the program.
#[inline(always)]
unsafe fn fit<D: Dot, const ROWS: usize, const PANELS: usize>(t: &Tile) {
    if const { ROWS <= D::ROWS[if PANELS == 4 { 2 } else { PANELS - 1 }] } {
        // SAFETY: the caller's promise.
        unsafe { tile_of::<D, ROWS, PANELS>(t) }
    } else {
        unreachable!("a tile of {ROWS} rows and {PANELS} panels does not fit");
    }
}

type TileFn = unsafe fn(&Tile);
type Table = [[TileFn; MAX_ROWS]; 3];

/// One function per extent: `[1, 2 or 4 panels][rows - 1]`.
macro_rules! table {
    ($dot:ty, $features:literal) => {
        [
            table!(@each 1, $dot, [1 2 3 4 5 6 7 8 9 10 11 12 13 14], $features),
            table!(@each 2, $dot, [1 2 3 4 5 6 7 8 9 10 11 12 13 14], $features),
            table!(@each 4, $dot, [1 2 3 4 5 6 7 8 9 10 11 12 13 14], $features),
        ]
    };
    (@each $panels:literal, $dot:ty, [$($rows:literal)*], $features:literal) => {
        [$({
            #[target_feature(enable = $features)]
            unsafe fn tile(t: &Tile) {
                // SAFETY: the features are enabled here; the rest is the caller's promise.
                unsafe { fit::<$dot, $rows, $panels>(t) }
            }
            tile as TileFn
        }),*]
    };
}

#[cfg(target_arch = "x86_64")]
mod tables {
    use super::*;
    use crate::int8::dot::x86;

    pub static PORTABLE: Table = table!(crate::int8::dot::portable::Plain, "sse2");
    pub static MADD256: Table = table!(x86::Madd256, "avx2,fma");
    pub static MADDUBS256: Table = table!(x86::Maddubs256, "avx2,fma");
    pub static VNNI256: Table = table!(x86::Vnni256, "avx2,fma,avxvnni");
    pub static MADD512: Table = table!(x86::Madd512, "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma");
    pub static MADDUBS512: Table = table!(x86::Maddubs512, "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma");
    pub static VNNI512: Table =
        table!(x86::Vnni512, "avx512f,avx512vl,avx512dq,avx512bw,avx512vnni,avx2,fma");
}

#[cfg(target_arch = "aarch64")]
mod tables {
    use super::*;
    use crate::int8::dot::neon;

    pub static PORTABLE: Table = table!(crate::int8::dot::portable::Plain, "neon");
    pub static MULL: Table = table!(neon::Mull, "neon");
    pub static SDOT: Table = table!(neon::Sdot, "neon,dotprod");
    pub static USDOT: Table = table!(neon::Usdot, "neon,i8mm");
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tables {
    use super::*;
    use crate::int8::dot::portable::Plain;

    macro_rules! plain {
        ([$($rows:literal)*]) => {
            [[$(fit::<Plain, $rows, 1> as TileFn),*], [$(fit::<Plain, $rows, 2> as TileFn),*], [$(fit::<Plain, $rows, 4> as TileFn),*]]
        };
    }
    pub static PORTABLE: Table = plain!([1 2 3 4 5 6 7 8 9 10 11 12 13 14]);
}

impl Kernel {
    fn table(self) -> &'static Table {
        match self {
            Self::Portable => &tables::PORTABLE,
            #[cfg(target_arch = "x86_64")]
            Self::Madd256 => &tables::MADD256,
            #[cfg(target_arch = "x86_64")]
            Self::Maddubs256 => &tables::MADDUBS256,
            #[cfg(target_arch = "x86_64")]
            Self::Vnni256 => &tables::VNNI256,
            #[cfg(target_arch = "x86_64")]
            Self::Madd512 => &tables::MADD512,
            #[cfg(target_arch = "x86_64")]
            Self::Maddubs512 => &tables::MADDUBS512,
            #[cfg(target_arch = "x86_64")]
            Self::Vnni512 | Self::HalfVnni => &tables::VNNI512,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => &tables::MULL,
            #[cfg(target_arch = "aarch64")]
            Self::NeonDot => &tables::SDOT,
            #[cfg(target_arch = "aarch64")]
            Self::NeonI8mm => &tables::USDOT,
        }
    }

    /// Whether rows have to be spread.
    pub(crate) fn spread(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Madd256 | Self::Madd512 => true,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => true,
            _ => false,
        }
    }

    /// Most rows of a tile of 1, 2 or 4 panels.
    pub(crate) fn tile_rows(self, panels: usize) -> usize {
        let rows = match self {
            Self::Portable => crate::int8::dot::portable::Plain::ROWS,
            #[cfg(target_arch = "x86_64")]
            Self::Madd256 => crate::int8::dot::x86::Madd256::ROWS,
            #[cfg(target_arch = "x86_64")]
            Self::Maddubs256 => crate::int8::dot::x86::Maddubs256::ROWS,
            #[cfg(target_arch = "x86_64")]
            Self::Vnni256 => crate::int8::dot::x86::Vnni256::ROWS,
            #[cfg(target_arch = "x86_64")]
            Self::Madd512 => crate::int8::dot::x86::Madd512::ROWS,
            #[cfg(target_arch = "x86_64")]
            Self::Maddubs512 => crate::int8::dot::x86::Maddubs512::ROWS,
            #[cfg(target_arch = "x86_64")]
            Self::Vnni512 | Self::HalfVnni => crate::int8::dot::x86::Vnni512::ROWS,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => crate::int8::dot::neon::Mull::ROWS,
            #[cfg(target_arch = "aarch64")]
            Self::NeonDot => crate::int8::dot::neon::Sdot::ROWS,
            #[cfg(target_arch = "aarch64")]
            Self::NeonI8mm => crate::int8::dot::neon::Usdot::ROWS,
        };
        rows[match panels {
            1 => 0,
            2 => 1,
            _ => 2,
        }]
    }

    /// Panels worth taking at once for `rows` rows: thin tiles take more, to have enough independent sums.
    pub(crate) fn tile_panels(self, rows: usize) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Madd512 | Self::Maddubs512 | Self::Vnni512 => 4,
            _ if rows == 1 => 4,
            _ if rows <= self.tile_rows(2) => 2,
            _ => 1,
        }
    }
}

/// Computes the sums of a tile.
///
/// # Safety
/// The kernel's instructions must be available, the operands valid, `rows` at most [`Kernel::tile_rows`].
#[inline(always)]
pub(crate) unsafe fn tile(kernel: Kernel, t: &Tile) {
    let panels = match t.panels {
        1 => 0,
        2 => 1,
        _ => 2,
    };
    // SAFETY: the caller's promise.
    unsafe { kernel.table()[panels][t.rows - 1](t) }
}

#[cfg(target_arch = "x86_64")]
/// Whether dense products of `isa` go through tiles of AMX.
pub(crate) fn by_tiles(isa: Isa) -> bool {
    isa == Isa::Amx
}
