//! Products on ARM: in 16 bits, `sdot`, `usdot`. The latter two through `asm!`, their intrinsics being unstable.

use core::arch::aarch64::*;
use core::arch::asm;

use super::Dot;
use crate::int8::lanes::Lanes;
use crate::simd::neon::Neon;

/// Codes and weights at even and odd places as 16 bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mull;

// SAFETY (all blocks of the file): the trait's contract: the caller runs on the instruction set and the pointers
// are valid.
impl Dot for Mull {
    type L = Neon;
    type A = [int32x4_t; 2];
    type W = [int32x4_t; 2];
    const SPREAD: bool = true;
    const ROWS: [usize; 3] = [4, 2, 1];

    #[inline(always)]
    unsafe fn row(p: *const u8) -> [int32x4_t; 2] {
        unsafe {
            let p = p.cast::<i32>();
            [vdupq_n_s32(p.read_unaligned()), vdupq_n_s32(p.add(1).read_unaligned())]
        }
    }
    #[inline(always)]
    unsafe fn each(v: int32x4_t) -> [int32x4_t; 2] {
        unsafe {
            let v = vreinterpretq_u16_s32(v);
            [vandq_u16(v, vdupq_n_u16(255)), vshrq_n_u16::<8>(v)].map(|v| vreinterpretq_s32_u16(v))
        }
    }
    #[inline(always)]
    unsafe fn weights(v: int32x4_t) -> [int32x4_t; 2] {
        unsafe {
            let v = vreinterpretq_s16_s32(v);
            [vshrq_n_s16::<8>(vshlq_n_s16::<8>(v)), vshrq_n_s16::<8>(v)].map(|v| vreinterpretq_s32_s16(v))
        }
    }
    #[inline(always)]
    unsafe fn save(w: [int32x4_t; 2], p: *mut i32) {
        unsafe {
            vst1q_s32(p, w[0]);
            vst1q_s32(p.add(4), w[1]);
        }
    }
    #[inline(always)]
    unsafe fn ready(p: *const i32) -> [int32x4_t; 2] {
        unsafe { [vld1q_s32(p), vld1q_s32(p.add(4))] }
    }
    #[inline(always)]
    unsafe fn dot(sum: int32x4_t, a: [int32x4_t; 2], w: [int32x4_t; 2]) -> int32x4_t {
        unsafe {
            let both = vaddq_s32(Neon::madd(a[0], w[0]), Neon::madd(a[1], w[1]));
            vaddq_s32(sum, both)
        }
    }
}

/// `sdot`: codes less 128.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sdot;

impl Dot for Sdot {
    type L = Neon;
    type A = int32x4_t;
    type W = int32x4_t;
    const OFFSET: i32 = 128;
    const ROWS: [usize; 3] = [6, 3, 1];

    #[inline(always)]
    unsafe fn row(p: *const u8) -> int32x4_t {
        unsafe { vdupq_n_s32(p.cast::<i32>().read_unaligned() ^ 0x8080_8080u32 as i32) }
    }
    #[inline(always)]
    unsafe fn each(v: int32x4_t) -> int32x4_t {
        unsafe { veorq_s32(v, vdupq_n_s32(0x8080_8080u32 as i32)) }
    }
    #[inline(always)]
    unsafe fn weights(v: int32x4_t) -> int32x4_t {
        v
    }
    #[inline(always)]
    unsafe fn dot(mut sum: int32x4_t, a: int32x4_t, w: int32x4_t) -> int32x4_t {
        unsafe {
            asm!("sdot {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) sum, in(vreg) a, in(vreg) w,
                options(pure, nomem, nostack, preserves_flags));
        }
        sum
    }
}

/// `usdot`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usdot;

impl Dot for Usdot {
    type L = Neon;
    type A = int32x4_t;
    type W = int32x4_t;
    const ROWS: [usize; 3] = [6, 3, 1];

    #[inline(always)]
    unsafe fn row(p: *const u8) -> int32x4_t {
        unsafe { vdupq_n_s32(p.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn each(v: int32x4_t) -> int32x4_t {
        v
    }
    #[inline(always)]
    unsafe fn weights(v: int32x4_t) -> int32x4_t {
        v
    }
    #[inline(always)]
    unsafe fn dot(mut sum: int32x4_t, a: int32x4_t, w: int32x4_t) -> int32x4_t {
        unsafe {
            asm!("usdot {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) sum, in(vreg) a, in(vreg) w,
                options(pure, nomem, nostack, preserves_flags));
        }
        sum
    }
}
