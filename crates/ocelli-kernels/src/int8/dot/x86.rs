//! Products on x86: `vpmaddwd`, `vpmaddubsw` for weights of seven bits, `vpdpbusd`.

use core::arch::x86_64::*;

use super::Dot;
use crate::simd::avx2::Avx2;
use crate::simd::avx512::Avx512;

/// AVX2: codes and weights at even and odd places as 16 bits, two `vpmaddwd`: exact for all eight bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Madd256;

// SAFETY (all blocks of the file): the trait's contract: the caller runs on the instruction set and the pointers
// are valid.
impl Dot for Madd256 {
    type L = Avx2;
    type A = [__m256i; 2];
    type W = [__m256i; 2];
    const SPREAD: bool = true;
    const ROWS: [usize; 3] = [5, 2, 1];

    #[inline(always)]
    unsafe fn row(p: *const u8) -> [__m256i; 2] {
        unsafe {
            let p = p.cast::<i32>();
            [_mm256_set1_epi32(p.read_unaligned()), _mm256_set1_epi32(p.add(1).read_unaligned())]
        }
    }
    #[inline(always)]
    unsafe fn each(v: __m256i) -> [__m256i; 2] {
        unsafe { [_mm256_and_si256(v, _mm256_set1_epi16(255)), _mm256_srli_epi16::<8>(v)] }
    }
    #[inline(always)]
    unsafe fn weights(v: __m256i) -> [__m256i; 2] {
        unsafe { [_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(v)), _mm256_srai_epi16::<8>(v)] }
    }
    #[inline(always)]
    unsafe fn save(w: [__m256i; 2], p: *mut i32) {
        unsafe {
            _mm256_storeu_si256(p.cast(), w[0]);
            _mm256_storeu_si256(p.add(8).cast(), w[1]);
        }
    }
    #[inline(always)]
    unsafe fn ready(p: *const i32) -> [__m256i; 2] {
        unsafe { [_mm256_loadu_si256(p.cast()), _mm256_loadu_si256(p.add(8).cast())] }
    }
    #[inline(always)]
    unsafe fn dot(sum: __m256i, a: [__m256i; 2], w: [__m256i; 2]) -> __m256i {
        unsafe {
            let sum = _mm256_add_epi32(sum, _mm256_madd_epi16(a[0], w[0]));
            _mm256_add_epi32(sum, _mm256_madd_epi16(a[1], w[1]))
        }
    }
}

/// AVX2 for weights that `vpmaddubsw` does not saturate of: in `-63..=63`, or taken apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Maddubs256;

impl Dot for Maddubs256 {
    type L = Avx2;
    type A = __m256i;
    type W = __m256i;
    const EXCESS: bool = true;
    const ROWS: [usize; 3] = [6, 3, 1];

    #[inline(always)]
    unsafe fn row(p: *const u8) -> __m256i {
        unsafe { _mm256_set1_epi32(p.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn each(v: __m256i) -> __m256i {
        v
    }
    #[inline(always)]
    unsafe fn weights(v: __m256i) -> __m256i {
        v
    }
    #[inline(always)]
    unsafe fn dot(sum: __m256i, a: __m256i, w: __m256i) -> __m256i {
        unsafe {
            let pairs = _mm256_maddubs_epi16(a, w);
            _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }
}

/// AVX-VNNI.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vnni256;

impl Dot for Vnni256 {
    type L = Avx2;
    type A = __m256i;
    type W = __m256i;
    const ROWS: [usize; 3] = [6, 3, 1];

    #[inline(always)]
    unsafe fn row(p: *const u8) -> __m256i {
        unsafe { _mm256_set1_epi32(p.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn each(v: __m256i) -> __m256i {
        v
    }
    #[inline(always)]
    unsafe fn weights(v: __m256i) -> __m256i {
        v
    }
    #[inline(always)]
    unsafe fn dot(sum: __m256i, a: __m256i, w: __m256i) -> __m256i {
        unsafe { _mm256_dpbusd_avx_epi32(sum, a, w) }
    }
}

/// AVX-512 without VNNI, as [`Madd256`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Madd512;

impl Dot for Madd512 {
    type L = Avx512;
    type A = [__m512i; 2];
    type W = [__m512i; 2];
    const SPREAD: bool = true;
    const ROWS: [usize; 3] = [12, 10, 5];

    #[inline(always)]
    unsafe fn row(p: *const u8) -> [__m512i; 2] {
        unsafe {
            let p = p.cast::<i32>();
            [_mm512_set1_epi32(p.read_unaligned()), _mm512_set1_epi32(p.add(1).read_unaligned())]
        }
    }
    #[inline(always)]
    unsafe fn each(v: __m512i) -> [__m512i; 2] {
        unsafe { [_mm512_and_si512(v, _mm512_set1_epi16(255)), _mm512_srli_epi16::<8>(v)] }
    }
    #[inline(always)]
    unsafe fn weights(v: __m512i) -> [__m512i; 2] {
        unsafe { [_mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(v)), _mm512_srai_epi16::<8>(v)] }
    }
    #[inline(always)]
    unsafe fn save(w: [__m512i; 2], p: *mut i32) {
        unsafe {
            _mm512_storeu_si512(p.cast(), w[0]);
            _mm512_storeu_si512(p.add(16).cast(), w[1]);
        }
    }
    #[inline(always)]
    unsafe fn ready(p: *const i32) -> [__m512i; 2] {
        unsafe { [_mm512_loadu_si512(p.cast()), _mm512_loadu_si512(p.add(16).cast())] }
    }
    #[inline(always)]
    unsafe fn dot(sum: __m512i, a: [__m512i; 2], w: [__m512i; 2]) -> __m512i {
        unsafe {
            let sum = _mm512_add_epi32(sum, _mm512_madd_epi16(a[0], w[0]));
            _mm512_add_epi32(sum, _mm512_madd_epi16(a[1], w[1]))
        }
    }
}

/// AVX-512 without VNNI, as [`Maddubs256`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Maddubs512;

impl Dot for Maddubs512 {
    type L = Avx512;
    type A = __m512i;
    type W = __m512i;
    const EXCESS: bool = true;
    const ROWS: [usize; 3] = [14, 12, 6];

    #[inline(always)]
    unsafe fn row(p: *const u8) -> __m512i {
        unsafe { _mm512_set1_epi32(p.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn each(v: __m512i) -> __m512i {
        v
    }
    #[inline(always)]
    unsafe fn weights(v: __m512i) -> __m512i {
        v
    }
    #[inline(always)]
    unsafe fn dot(sum: __m512i, a: __m512i, w: __m512i) -> __m512i {
        unsafe {
            let pairs = _mm512_maddubs_epi16(a, w);
            _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))
        }
    }
}

/// AVX-512 VNNI.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vnni512;

impl Dot for Vnni512 {
    type L = Avx512;
    type A = __m512i;
    type W = __m512i;
    const ROWS: [usize; 3] = [14, 12, 6];

    #[inline(always)]
    unsafe fn row(p: *const u8) -> __m512i {
        unsafe { _mm512_set1_epi32(p.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn each(v: __m512i) -> __m512i {
        v
    }
    #[inline(always)]
    unsafe fn weights(v: __m512i) -> __m512i {
        v
    }
    #[inline(always)]
    unsafe fn dot(sum: __m512i, a: __m512i, w: __m512i) -> __m512i {
        unsafe { _mm512_dpbusd_epi32(sum, a, w) }
    }
}

/// [`Vnni512`] on half vectors, for few channels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HalfVnni;

impl Dot for HalfVnni {
    type L = Avx2;
    type A = __m256i;
    type W = __m256i;
    const ROWS: [usize; 3] = [6, 3, 1];

    #[inline(always)]
    unsafe fn row(p: *const u8) -> __m256i {
        unsafe { Vnni256::row(p) }
    }
    #[inline(always)]
    unsafe fn each(v: __m256i) -> __m256i {
        v
    }
    #[inline(always)]
    unsafe fn weights(v: __m256i) -> __m256i {
        v
    }
    #[inline(always)]
    unsafe fn dot(sum: __m256i, a: __m256i, w: __m256i) -> __m256i {
        unsafe { _mm256_dpbusd_epi32(sum, a, w) }
    }
}
