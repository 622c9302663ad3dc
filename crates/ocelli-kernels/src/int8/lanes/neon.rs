//! NEON: 4 sums, 16 bytes; both orders are the same.

use core::arch::aarch64::*;

use super::Lanes;
use crate::simd::neon::Neon;

// SAFETY (all blocks): the trait's contract: NEON is part of the base instruction set and the pointers are valid.
impl Lanes for Neon {
    type V = int32x4_t;
    type B = uint8x16_t;
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn splat(x: i32) -> int32x4_t {
        unsafe { vdupq_n_s32(x) }
    }
    #[inline(always)]
    unsafe fn load(p: *const i32) -> int32x4_t {
        unsafe { vld1q_s32(p) }
    }
    #[inline(always)]
    unsafe fn load_codes(p: *const u8) -> int32x4_t {
        unsafe {
            let four = vreinterpret_u8_u32(vdup_n_u32(p.cast::<u32>().read_unaligned()));
            vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(four))))
        }
    }
    #[inline(always)]
    unsafe fn quotients(p: *const f32, by: f32) -> int32x4_t {
        unsafe { vcvtnq_s32_f32(vdivq_f32(vld1q_f32(p), vdupq_n_f32(by))) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut i32, v: int32x4_t) {
        unsafe { vst1q_s32(p, v) }
    }
    #[inline(always)]
    unsafe fn store_n(p: *mut i32, v: int32x4_t, n: usize) {
        unsafe {
            let mut copy = [0i32; 4];
            vst1q_s32(copy.as_mut_ptr(), v);
            core::ptr::copy_nonoverlapping(copy.as_ptr(), p, n);
        }
    }
    #[inline(always)]
    unsafe fn add(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        unsafe { vaddq_s32(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        unsafe { vsubq_s32(a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        unsafe { vmaxq_s32(a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        unsafe { vminq_s32(a, b) }
    }
    #[inline(always)]
    unsafe fn shl(a: int32x4_t, n: int32x4_t) -> int32x4_t {
        unsafe { vshlq_s32(a, n) }
    }
    #[inline(always)]
    unsafe fn sar<const N: u32>(a: int32x4_t) -> int32x4_t {
        unsafe { vshlq_s32(a, vdupq_n_s32(-(N as i32))) }
    }
    #[inline(always)]
    unsafe fn shr24(a: int32x4_t) -> int32x4_t {
        unsafe { vreinterpretq_s32_u32(vshrq_n_u32::<24>(vreinterpretq_u32_s32(a))) }
    }
    #[inline(always)]
    unsafe fn madd(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        unsafe {
            let (a, b) = (vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b));
            vpaddq_s32(vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b))
        }
    }
    #[inline(always)]
    unsafe fn fixed(a: int32x4_t, m: int32x4_t, _: int32x4_t, s: int32x4_t) -> int32x4_t {
        unsafe {
            let low = vmull_s32(vget_low_s32(a), vget_low_s32(m));
            let high = vmull_high_s32(a, m);
            // The upper half of every product, then a shift to the right.
            let upper = vuzp2q_s32(vreinterpretq_s32_s64(low), vreinterpretq_s32_s64(high));
            vshlq_s32(upper, vnegq_s32(s))
        }
    }
    #[inline(always)]
    unsafe fn odd(m: int32x4_t) -> int32x4_t {
        m
    }
    #[inline(always)]
    unsafe fn scale(a: int32x4_t, m: int32x4_t) -> int32x4_t {
        unsafe { vreinterpretq_s32_f32(vmulq_f32(vcvtq_f32_s32(a), vreinterpretq_f32_s32(m))) }
    }
    #[inline(always)]
    unsafe fn round(a: int32x4_t) -> int32x4_t {
        unsafe { vcvtnq_s32_f32(vreinterpretq_f32_s32(a)) }
    }

    #[inline(always)]
    unsafe fn splat_bytes(x: u8) -> uint8x16_t {
        unsafe { vdupq_n_u8(x) }
    }
    #[inline(always)]
    unsafe fn load_bytes(p: *const u8) -> uint8x16_t {
        unsafe { vld1q_u8(p) }
    }
    #[inline(always)]
    unsafe fn load_bytes_n(p: *const u8, n: usize) -> uint8x16_t {
        unsafe {
            let mut copy = [0u8; 16];
            core::ptr::copy_nonoverlapping(p, copy.as_mut_ptr(), n);
            vld1q_u8(copy.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store_bytes(p: *mut u8, v: uint8x16_t) {
        unsafe { vst1q_u8(p, v) }
    }
    #[inline(always)]
    unsafe fn store_bytes_n(p: *mut u8, v: uint8x16_t, n: usize) {
        unsafe {
            let mut copy = [0u8; 16];
            vst1q_u8(copy.as_mut_ptr(), v);
            core::ptr::copy_nonoverlapping(copy.as_ptr(), p, n);
        }
    }
    #[inline(always)]
    unsafe fn max_bytes(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        unsafe { vmaxq_u8(a, b) }
    }
    #[inline(always)]
    unsafe fn min_bytes(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        unsafe { vminq_u8(a, b) }
    }
    #[inline(always)]
    unsafe fn widen(b: uint8x16_t) -> [int32x4_t; 4] {
        unsafe { Self::pairs(b, vdupq_n_u8(0)) }
    }
    #[inline(always)]
    unsafe fn pairs(a: uint8x16_t, b: uint8x16_t) -> [int32x4_t; 4] {
        unsafe {
            let zero = vdupq_n_u8(0);
            let (low, high) = (vzip1q_u8(a, b), vzip2q_u8(a, b));
            [vzip1q_u8(low, zero), vzip2q_u8(low, zero), vzip1q_u8(high, zero), vzip2q_u8(high, zero)]
                .map(|v| vreinterpretq_s32_u8(v))
        }
    }
    #[inline(always)]
    unsafe fn quads([a, b, c, d]: [uint8x16_t; 4]) -> [int32x4_t; 4] {
        unsafe {
            let ab = [vzip1q_u8(a, b), vzip2q_u8(a, b)].map(|v| vreinterpretq_u16_u8(v));
            let cd = [vzip1q_u8(c, d), vzip2q_u8(c, d)].map(|v| vreinterpretq_u16_u8(v));
            [
                vzip1q_u16(ab[0], cd[0]),
                vzip2q_u16(ab[0], cd[0]),
                vzip1q_u16(ab[1], cd[1]),
                vzip2q_u16(ab[1], cd[1]),
            ]
            .map(|v| vreinterpretq_s32_u16(v))
        }
    }
    #[inline(always)]
    unsafe fn narrow([a, b, c, d]: [int32x4_t; 4], z: i16) -> uint8x16_t {
        unsafe {
            let z = vdupq_n_s16(z);
            let low = vqaddq_s16(vcombine_s16(vqmovn_s32(a), vqmovn_s32(b)), z);
            let high = vqaddq_s16(vcombine_s16(vqmovn_s32(c), vqmovn_s32(d)), z);
            vcombine_u8(vqmovun_s16(low), vqmovun_s16(high))
        }
    }
    #[inline(always)]
    unsafe fn halve([a, b, c, d]: [int32x4_t; 4], offset: i16) -> uint8x16_t {
        unsafe {
            let offset = vdupq_n_s16(offset);
            let low = vqaddq_s16(vcombine_s16(vqmovn_s32(a), vqmovn_s32(b)), offset);
            let high = vqaddq_s16(vcombine_s16(vqmovn_s32(c), vqmovn_s32(d)), offset);
            vcombine_u8(vqmovun_s16(vshrq_n_s16::<1>(low)), vqmovun_s16(vshrq_n_s16::<1>(high)))
        }
    }
    #[inline(always)]
    unsafe fn arrange(v: [int32x4_t; 4]) -> [int32x4_t; 4] {
        v
    }
    #[inline(always)]
    unsafe fn order(b: uint8x16_t) -> uint8x16_t {
        b
    }
}
