//! Tiles of every extent on every instruction set.

use super::{MAX_ROWS, Tile, tile_of};
use crate::Isa;
use crate::simd::Simd;

/// A tile that fits into the registers of `S`; others are kept out of the program.
#[inline(always)]
unsafe fn fit<S: Simd, const DISTANCE: bool, const ROWS: usize, const PANELS: usize>(t: &Tile) {
    if const { ROWS <= S::ROWS[if PANELS == 4 { 2 } else { PANELS - 1 }] } {
        // SAFETY: the caller's promise.
        unsafe { tile_of::<S, DISTANCE, ROWS, PANELS>(t) }
    } else {
        unreachable!("a tile of {ROWS} rows and {PANELS} panels does not fit");
    }
}

type TileFn = unsafe fn(&Tile);

/// One function per extent, so that each has the registers to itself: `[1, 2 or 4 panels][rows - 1]`.
macro_rules! table {
    ($distance:literal, $simd:ty $(, $features:literal)?) => {
        [
            table!(@rows 1, $distance, $simd $(, $features)?),
            table!(@rows 2, $distance, $simd $(, $features)?),
            table!(@rows 4, $distance, $simd $(, $features)?),
        ]
    };
    (@rows $panels:literal, $distance:literal, $simd:ty $(, $features:literal)?) => {
        table!(@each $panels, $distance, $simd, [1 2 3 4 5 6 7 8 9 10 11 12 13 14] $(, $features)?)
    };
    (@each $panels:literal, $distance:literal, $simd:ty, [$($rows:literal)*], $features:literal) => {
        [$({
            #[target_feature(enable = $features)]
            unsafe fn tile(t: &Tile) {
                // SAFETY: the features are enabled here; the rest is the caller's promise.
                unsafe { fit::<$simd, $distance, $rows, $panels>(t) }
            }
            tile as TileFn
        }),*]
    };
    (@each $panels:literal, $distance:literal, $simd:ty, [$($rows:literal)*]) => {
        [$(fit::<$simd, $distance, $rows, $panels> as TileFn),*]
    };
}

type Table = [[TileFn; MAX_ROWS]; 3];

/// The tables of products and of distances.
struct Tables([Table; 2]);

#[cfg(target_arch = "x86_64")]
static AVX512: Tables = Tables([
    table!(false, crate::simd::avx512::Avx512, "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma"),
    table!(true, crate::simd::avx512::Avx512, "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma"),
]);
#[cfg(target_arch = "x86_64")]
static AVX2: Tables = Tables([
    table!(false, crate::simd::avx2::Avx2, "avx2,fma"),
    table!(true, crate::simd::avx2::Avx2, "avx2,fma"),
]);
#[cfg(target_arch = "aarch64")]
static NEON: Tables = Tables([table!(false, crate::simd::neon::Neon), table!(true, crate::simd::neon::Neon)]);
static PORTABLE: Tables =
    Tables([table!(false, crate::simd::portable::Portable), table!(true, crate::simd::portable::Portable)]);

/// Computes a tile of products or distances.
///
/// # Safety
/// As for [`tile`](super::tile).
#[inline(always)]
pub(super) unsafe fn run<const DISTANCE: bool>(isa: Isa, t: &Tile) {
    let tables = match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => &AVX512,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => &AVX2,
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => &NEON,
        _ => &PORTABLE,
    };
    let panels = match t.columns {
        0..=16 => 0,
        17..=32 => 1,
        _ => 2,
    };
    // SAFETY: the caller's promise.
    unsafe { tables.0[usize::from(DISTANCE)][panels][t.rows - 1](t) }
}
