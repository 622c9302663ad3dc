//! AVX-512: 16 sums, 64 bytes, masked tails.

use core::arch::x86_64::*;

use super::Lanes;
use crate::simd::avx512::Avx512;

#[inline(always)]
fn mask(n: usize) -> __mmask64 {
    if n >= 64 { !0 } else { (1u64 << n) - 1 }
}

/// Products of the even lanes. The intrinsic is taken apart by the compiler and becomes slow 64-bit products once
/// multipliers leave a loop.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn products(a: __m512i, b: __m512i) -> __m512i {
    let product;
    // SAFETY: the caller runs on the instruction set.
    unsafe {
        core::arch::asm!("vpmuldq {}, {}, {}", out(zmm_reg) product, in(zmm_reg) a, in(zmm_reg) b,
            options(pure, nomem, nostack, preserves_flags));
    }
    product
}

// SAFETY (all blocks): the trait's contract: the caller runs on AVX-512 and the pointers are valid.
impl Lanes for Avx512 {
    type V = __m512i;
    type B = __m512i;
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn splat(x: i32) -> __m512i {
        unsafe { _mm512_set1_epi32(x) }
    }
    #[inline(always)]
    unsafe fn load(p: *const i32) -> __m512i {
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    unsafe fn load_codes(p: *const u8) -> __m512i {
        unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(p.cast())) }
    }
    #[inline(always)]
    unsafe fn quotients(p: *const f32, by: f32) -> __m512i {
        unsafe {
            let v = _mm512_div_ps(_mm512_loadu_ps(p), _mm512_set1_ps(by));
            let numbers = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(v, v);
            Self::round(_mm512_castps_si512(_mm512_maskz_mov_ps(numbers, v)))
        }
    }
    #[inline(always)]
    unsafe fn store(p: *mut i32, v: __m512i) {
        unsafe { _mm512_storeu_si512(p.cast(), v) }
    }
    #[inline(always)]
    unsafe fn store_n(p: *mut i32, v: __m512i, n: usize) {
        unsafe { _mm512_mask_storeu_epi32(p, mask(n) as __mmask16, v) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_add_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_sub_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_max_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_min_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn shl(a: __m512i, n: __m512i) -> __m512i {
        unsafe { _mm512_sllv_epi32(a, n) }
    }
    #[inline(always)]
    unsafe fn sar<const N: u32>(a: __m512i) -> __m512i {
        unsafe { _mm512_srai_epi32::<N>(a) }
    }
    #[inline(always)]
    unsafe fn shr24(a: __m512i) -> __m512i {
        unsafe { _mm512_srli_epi32::<24>(a) }
    }
    #[inline(always)]
    unsafe fn madd(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_madd_epi16(a, b) }
    }
    #[inline(always)]
    unsafe fn fixed(a: __m512i, m: __m512i, odd_m: __m512i, s: __m512i) -> __m512i {
        unsafe {
            let even = products(a, m);
            // Shuffles rather than shifts, which share a port with the products.
            let odd = products(_mm512_shuffle_epi32::<0xf5>(a), odd_m);
            // The upper halves: those of the odd products are in their places.
            let high = _mm512_mask_shuffle_epi32::<0xf5>(odd, 0x5555, even);
            _mm512_srav_epi32(high, s)
        }
    }
    #[inline(always)]
    unsafe fn odd(m: __m512i) -> __m512i {
        unsafe { _mm512_shuffle_epi32::<0xf5>(m) }
    }
    #[inline(always)]
    unsafe fn scale(a: __m512i, m: __m512i) -> __m512i {
        unsafe { _mm512_castps_si512(_mm512_mul_ps(_mm512_cvtepi32_ps(a), _mm512_castsi512_ps(m))) }
    }
    #[inline(always)]
    unsafe fn round(a: __m512i) -> __m512i {
        // Too small ones become the least integer; too large ones would too.
        unsafe { _mm512_cvtps_epi32(_mm512_min_ps(_mm512_castsi512_ps(a), _mm512_set1_ps(1_073_741_824.0))) }
    }

    #[inline(always)]
    unsafe fn splat_bytes(x: u8) -> __m512i {
        unsafe { _mm512_set1_epi8(x as i8) }
    }
    #[inline(always)]
    unsafe fn load_bytes(p: *const u8) -> __m512i {
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    unsafe fn load_bytes_n(p: *const u8, n: usize) -> __m512i {
        unsafe { _mm512_maskz_loadu_epi8(mask(n), p.cast()) }
    }
    #[inline(always)]
    unsafe fn store_bytes(p: *mut u8, v: __m512i) {
        unsafe { _mm512_storeu_si512(p.cast(), v) }
    }
    #[inline(always)]
    unsafe fn store_bytes_n(p: *mut u8, v: __m512i, n: usize) {
        unsafe { _mm512_mask_storeu_epi8(p.cast(), mask(n), v) }
    }
    #[inline(always)]
    unsafe fn max_bytes(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_max_epu8(a, b) }
    }
    #[inline(always)]
    unsafe fn min_bytes(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_min_epu8(a, b) }
    }
    #[inline(always)]
    unsafe fn widen(b: __m512i) -> [__m512i; 4] {
        unsafe {
            let zero = _mm512_setzero_si512();
            Self::quads([b, zero, zero, zero])
        }
    }
    #[inline(always)]
    unsafe fn pairs(a: __m512i, b: __m512i) -> [__m512i; 4] {
        unsafe {
            let zero = _mm512_setzero_si512();
            let (low, high) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
            [
                _mm512_unpacklo_epi8(low, zero),
                _mm512_unpackhi_epi8(low, zero),
                _mm512_unpacklo_epi8(high, zero),
                _mm512_unpackhi_epi8(high, zero),
            ]
        }
    }
    #[inline(always)]
    unsafe fn quads([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
        unsafe {
            let (ab, cd) = (_mm512_unpacklo_epi8(a, b), _mm512_unpacklo_epi8(c, d));
            let (ab_high, cd_high) = (_mm512_unpackhi_epi8(a, b), _mm512_unpackhi_epi8(c, d));
            [
                _mm512_unpacklo_epi16(ab, cd),
                _mm512_unpackhi_epi16(ab, cd),
                _mm512_unpacklo_epi16(ab_high, cd_high),
                _mm512_unpackhi_epi16(ab_high, cd_high),
            ]
        }
    }
    #[inline(always)]
    unsafe fn narrow([a, b, c, d]: [__m512i; 4], z: i16) -> __m512i {
        unsafe {
            let z = _mm512_set1_epi16(z);
            let low = _mm512_adds_epi16(_mm512_packs_epi32(a, b), z);
            let high = _mm512_adds_epi16(_mm512_packs_epi32(c, d), z);
            _mm512_packus_epi16(low, high)
        }
    }
    #[inline(always)]
    unsafe fn halve([a, b, c, d]: [__m512i; 4], offset: i16) -> __m512i {
        unsafe {
            let offset = _mm512_set1_epi16(offset);
            let low = _mm512_adds_epi16(_mm512_packs_epi32(a, b), offset);
            let high = _mm512_adds_epi16(_mm512_packs_epi32(c, d), offset);
            _mm512_packus_epi16(_mm512_srai_epi16::<1>(low), _mm512_srai_epi16::<1>(high))
        }
    }
    #[inline(always)]
    unsafe fn arrange([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
        unsafe {
            let (ab, ab_high) = (_mm512_shuffle_i32x4::<0x44>(a, b), _mm512_shuffle_i32x4::<0xee>(a, b));
            let (cd, cd_high) = (_mm512_shuffle_i32x4::<0x44>(c, d), _mm512_shuffle_i32x4::<0xee>(c, d));
            [
                _mm512_shuffle_i32x4::<0x88>(ab, cd),
                _mm512_shuffle_i32x4::<0xdd>(ab, cd),
                _mm512_shuffle_i32x4::<0x88>(ab_high, cd_high),
                _mm512_shuffle_i32x4::<0xdd>(ab_high, cd_high),
            ]
        }
    }
    #[inline(always)]
    unsafe fn order(b: __m512i) -> __m512i {
        unsafe {
            let index = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            _mm512_permutexvar_epi32(index, b)
        }
    }
}
