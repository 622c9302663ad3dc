//! Products in plain Rust.

use super::Dot;
use crate::simd::portable::Portable;

/// Any processor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain;

// SAFETY (all blocks): no special instructions; the pointers are the caller's promise.
impl Dot for Plain {
    type L = Portable;
    type A = [i32; 4];
    type W = [i32; 4];
    const ROWS: [usize; 3] = [2, 1, 1];

    #[inline(always)]
    unsafe fn row(p: *const u8) -> [i32; 4] {
        [unsafe { p.cast::<i32>().read_unaligned() }; 4]
    }
    #[inline(always)]
    unsafe fn each(v: [i32; 4]) -> [i32; 4] {
        v
    }
    #[inline(always)]
    unsafe fn weights(v: [i32; 4]) -> [i32; 4] {
        v
    }
    #[inline(always)]
    unsafe fn dot(sum: [i32; 4], a: [i32; 4], w: [i32; 4]) -> [i32; 4] {
        core::array::from_fn(|i| {
            let (a, w) = (a[i].to_le_bytes(), w[i].to_le_bytes());
            (0..4).fold(sum[i], |sum, k| sum.wrapping_add(i32::from(a[k]) * i32::from(w[k] as i8)))
        })
    }
}
