//! Plain Rust in groups of four sums and sixteen bytes; both orders are the same.

use super::Lanes;
use crate::simd::portable::Portable;

#[inline(always)]
fn each(f: impl Fn(usize) -> i32) -> [i32; 4] {
    [f(0), f(1), f(2), f(3)]
}

#[inline(always)]
fn groups(f: impl Fn(usize) -> i32) -> [[i32; 4]; 4] {
    [each(&f), each(|i| f(4 + i)), each(|i| f(8 + i)), each(|i| f(12 + i))]
}

#[inline(always)]
fn bytes(f: impl Fn(usize) -> i32) -> [u8; 16] {
    core::array::from_fn(|i| f(i).clamp(0, 255) as u8)
}

// SAFETY (all blocks): no special instructions; the pointers are the caller's promise.
impl Lanes for Portable {
    type V = [i32; 4];
    type B = [u8; 16];
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn splat(x: i32) -> [i32; 4] {
        [x; 4]
    }
    #[inline(always)]
    unsafe fn load(p: *const i32) -> [i32; 4] {
        unsafe { p.cast::<[i32; 4]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn load_codes(p: *const u8) -> [i32; 4] {
        each(|i| i32::from(unsafe { *p.add(i) }))
    }
    #[inline(always)]
    unsafe fn quotients(p: *const f32, by: f32) -> [i32; 4] {
        each(|i| (unsafe { p.add(i).read_unaligned() } / by).round_ties_even() as i32)
    }
    #[inline(always)]
    unsafe fn store(p: *mut i32, v: [i32; 4]) {
        unsafe { p.cast::<[i32; 4]>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn store_n(p: *mut i32, v: [i32; 4], n: usize) {
        unsafe { core::ptr::copy_nonoverlapping(v.as_ptr(), p, n) }
    }
    #[inline(always)]
    unsafe fn add(a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        each(|i| a[i].wrapping_add(b[i]))
    }
    #[inline(always)]
    unsafe fn sub(a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        each(|i| a[i].wrapping_sub(b[i]))
    }
    #[inline(always)]
    unsafe fn max(a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        each(|i| a[i].max(b[i]))
    }
    #[inline(always)]
    unsafe fn min(a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        each(|i| a[i].min(b[i]))
    }
    #[inline(always)]
    unsafe fn shl(a: [i32; 4], n: [i32; 4]) -> [i32; 4] {
        each(|i| a[i] << n[i])
    }
    #[inline(always)]
    unsafe fn sar<const N: u32>(a: [i32; 4]) -> [i32; 4] {
        each(|i| a[i] >> N)
    }
    #[inline(always)]
    unsafe fn shr24(a: [i32; 4]) -> [i32; 4] {
        each(|i| (a[i] as u32 >> 24) as i32)
    }
    #[inline(always)]
    unsafe fn madd(a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        each(|i| i32::from(a[i] as i16) * i32::from(b[i] as i16) + (a[i] >> 16) * (b[i] >> 16))
    }
    #[inline(always)]
    unsafe fn fixed(a: [i32; 4], m: [i32; 4], _: [i32; 4], s: [i32; 4]) -> [i32; 4] {
        each(|i| ((i64::from(a[i]) * i64::from(m[i])) >> 32) as i32 >> s[i])
    }
    #[inline(always)]
    unsafe fn odd(m: [i32; 4]) -> [i32; 4] {
        m
    }
    #[inline(always)]
    unsafe fn scale(a: [i32; 4], m: [i32; 4]) -> [i32; 4] {
        each(|i| (a[i] as f32 * f32::from_bits(m[i] as u32)).to_bits() as i32)
    }
    #[inline(always)]
    unsafe fn round(a: [i32; 4]) -> [i32; 4] {
        each(|i| f32::from_bits(a[i] as u32).round_ties_even() as i32)
    }

    #[inline(always)]
    unsafe fn splat_bytes(x: u8) -> [u8; 16] {
        [x; 16]
    }
    #[inline(always)]
    unsafe fn load_bytes(p: *const u8) -> [u8; 16] {
        unsafe { p.cast::<[u8; 16]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn load_bytes_n(p: *const u8, n: usize) -> [u8; 16] {
        let mut v = [0; 16];
        unsafe { core::ptr::copy_nonoverlapping(p, v.as_mut_ptr(), n) };
        v
    }
    #[inline(always)]
    unsafe fn store_bytes(p: *mut u8, v: [u8; 16]) {
        unsafe { p.cast::<[u8; 16]>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn store_bytes_n(p: *mut u8, v: [u8; 16], n: usize) {
        unsafe { core::ptr::copy_nonoverlapping(v.as_ptr(), p, n) }
    }
    #[inline(always)]
    unsafe fn max_bytes(a: [u8; 16], b: [u8; 16]) -> [u8; 16] {
        core::array::from_fn(|i| a[i].max(b[i]))
    }
    #[inline(always)]
    unsafe fn min_bytes(a: [u8; 16], b: [u8; 16]) -> [u8; 16] {
        core::array::from_fn(|i| a[i].min(b[i]))
    }
    #[inline(always)]
    unsafe fn widen(b: [u8; 16]) -> [[i32; 4]; 4] {
        groups(|i| i32::from(b[i]))
    }
    #[inline(always)]
    unsafe fn pairs(a: [u8; 16], b: [u8; 16]) -> [[i32; 4]; 4] {
        groups(|i| i32::from(a[i]) | i32::from(b[i]) << 16)
    }
    #[inline(always)]
    unsafe fn quads([a, b, c, d]: [[u8; 16]; 4]) -> [[i32; 4]; 4] {
        groups(|i| i32::from_le_bytes([a[i], b[i], c[i], d[i]]))
    }
    #[inline(always)]
    unsafe fn narrow(v: [[i32; 4]; 4], z: i16) -> [u8; 16] {
        bytes(|i| v[i / 4][i % 4].saturating_add(i32::from(z)))
    }
    #[inline(always)]
    unsafe fn halve(v: [[i32; 4]; 4], offset: i16) -> [u8; 16] {
        bytes(|i| v[i / 4][i % 4].saturating_add(i32::from(offset)) >> 1)
    }
    #[inline(always)]
    unsafe fn arrange(v: [[i32; 4]; 4]) -> [[i32; 4]; 4] {
        v
    }
    #[inline(always)]
    unsafe fn order(b: [u8; 16]) -> [u8; 16] {
        b
    }
}
