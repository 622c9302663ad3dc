//! AVX2: 8 sums, 32 bytes; tails go through a copy.

use core::arch::x86_64::*;

use super::Lanes;
use crate::simd::avx2::Avx2;

/// Products of the even lanes. The intrinsic is taken apart by the compiler and becomes slow 64-bit products once
/// multipliers leave a loop.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn products(a: __m256i, b: __m256i) -> __m256i {
    let product;
    // SAFETY: the caller runs on the instruction set.
    unsafe {
        core::arch::asm!("vpmuldq {}, {}, {}", out(ymm_reg) product, in(ymm_reg) a, in(ymm_reg) b,
            options(pure, nomem, nostack, preserves_flags));
    }
    product
}

/// The first `n <= 16` bytes, zeros after them. A copy by a call would cost more than the kernels' arithmetic.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn some(p: *const u8, n: usize) -> __m128i {
    // SAFETY: two reads that overlap stay within the `n` bytes.
    unsafe {
        if n == 16 {
            return _mm_loadu_si128(p.cast());
        }
        if n >= 8 {
            let low = p.cast::<u64>().read_unaligned();
            let high = p.add(n - 8).cast::<u64>().read_unaligned();
            // In two steps: the whole of it goes for eight bytes.
            let high = high >> (8 * (15 - n)) >> 8;
            return _mm_set_epi64x(high as i64, low as i64);
        }
        let bytes = if n >= 4 {
            let low = u64::from(p.cast::<u32>().read_unaligned());
            let high = u64::from(p.add(n - 4).cast::<u32>().read_unaligned());
            low | high << (8 * (n - 4))
        } else {
            let mut bytes = 0;
            for i in (0..n).rev() {
                bytes = bytes << 8 | u64::from(*p.add(i));
            }
            bytes
        };
        _mm_cvtsi64_si128(bytes as i64)
    }
}

// SAFETY (all blocks): the trait's contract: the caller runs on AVX2 and the pointers are valid.
impl Lanes for Avx2 {
    type V = __m256i;
    type B = __m256i;
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(x: i32) -> __m256i {
        unsafe { _mm256_set1_epi32(x) }
    }
    #[inline(always)]
    unsafe fn load(p: *const i32) -> __m256i {
        unsafe { _mm256_loadu_si256(p.cast()) }
    }
    #[inline(always)]
    unsafe fn load_codes(p: *const u8) -> __m256i {
        unsafe { _mm256_cvtepu8_epi32(_mm_loadl_epi64(p.cast())) }
    }
    #[inline(always)]
    unsafe fn pair_codes(a: *const u8, b: *const u8) -> __m256i {
        unsafe {
            let (a, b) = (_mm_loadl_epi64(a.cast()), _mm_loadl_epi64(b.cast()));
            _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(a, b))
        }
    }
    #[inline(always)]
    unsafe fn quotients(p: *const f32, by: f32) -> __m256i {
        unsafe {
            let v = _mm256_div_ps(_mm256_loadu_ps(p), _mm256_set1_ps(by));
            let numbers = _mm256_cmp_ps::<_CMP_ORD_Q>(v, v);
            Self::round(_mm256_castps_si256(_mm256_and_ps(numbers, v)))
        }
    }
    #[inline(always)]
    unsafe fn store(p: *mut i32, v: __m256i) {
        unsafe { _mm256_storeu_si256(p.cast(), v) }
    }
    #[inline(always)]
    unsafe fn store_n(p: *mut i32, v: __m256i, n: usize) {
        unsafe {
            let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            _mm256_maskstore_epi32(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), lanes), v);
        }
    }
    #[inline(always)]
    unsafe fn add(a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_add_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_sub_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_max_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_min_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn shl(a: __m256i, n: __m256i) -> __m256i {
        unsafe { _mm256_sllv_epi32(a, n) }
    }
    #[inline(always)]
    unsafe fn sar<const N: u32>(a: __m256i) -> __m256i {
        unsafe { _mm256_sra_epi32(a, _mm_cvtsi32_si128(N as i32)) }
    }
    #[inline(always)]
    unsafe fn shr24(a: __m256i) -> __m256i {
        unsafe { _mm256_srli_epi32::<24>(a) }
    }
    #[inline(always)]
    unsafe fn madd(a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_madd_epi16(a, b) }
    }
    #[inline(always)]
    unsafe fn fixed(a: __m256i, m: __m256i, odd_m: __m256i, s: __m256i) -> __m256i {
        unsafe {
            let even = products(a, m);
            let odd = products(_mm256_shuffle_epi32::<0xf5>(a), odd_m);
            let high = _mm256_blend_epi32::<0xaa>(_mm256_shuffle_epi32::<0xf5>(even), odd);
            _mm256_srav_epi32(high, s)
        }
    }
    #[inline(always)]
    unsafe fn odd(m: __m256i) -> __m256i {
        unsafe { _mm256_shuffle_epi32::<0xf5>(m) }
    }
    #[inline(always)]
    unsafe fn scale(a: __m256i, m: __m256i) -> __m256i {
        unsafe { _mm256_castps_si256(_mm256_mul_ps(_mm256_cvtepi32_ps(a), _mm256_castsi256_ps(m))) }
    }
    #[inline(always)]
    unsafe fn round(a: __m256i) -> __m256i {
        // Too small ones become the least integer; too large ones would too.
        unsafe { _mm256_cvtps_epi32(_mm256_min_ps(_mm256_castsi256_ps(a), _mm256_set1_ps(1_073_741_824.0))) }
    }

    #[inline(always)]
    unsafe fn splat_bytes(x: u8) -> __m256i {
        unsafe { _mm256_set1_epi8(x as i8) }
    }
    #[inline(always)]
    unsafe fn load_bytes(p: *const u8) -> __m256i {
        unsafe { _mm256_loadu_si256(p.cast()) }
    }
    #[inline(always)]
    unsafe fn load_bytes_n(p: *const u8, n: usize) -> __m256i {
        unsafe {
            if n < 16 {
                return _mm256_zextsi128_si256(some(p, n));
            }
            _mm256_inserti128_si256::<1>(
                _mm256_castsi128_si256(_mm_loadu_si128(p.cast())),
                some(p.add(16), n - 16),
            )
        }
    }
    #[inline(always)]
    unsafe fn store_bytes(p: *mut u8, v: __m256i) {
        unsafe { _mm256_storeu_si256(p.cast(), v) }
    }
    #[inline(always)]
    unsafe fn store_bytes_n(mut p: *mut u8, v: __m256i, n: usize) {
        unsafe {
            let mut v16 = _mm256_castsi256_si128(v);
            if n >= 16 {
                _mm_storeu_si128(p.cast(), v16);
                if n == 32 {
                    return _mm_storeu_si128(p.add(16).cast(), _mm256_extracti128_si256::<1>(v));
                }
                (p, v16) = (p.add(16), _mm256_extracti128_si256::<1>(v));
            }
            if n & 8 != 0 {
                _mm_storel_epi64(p.cast(), v16);
                (p, v16) = (p.add(8), _mm_srli_si128::<8>(v16));
            }
            let mut rest = _mm_cvtsi128_si64(v16) as u64;
            if n & 4 != 0 {
                p.cast::<u32>().write_unaligned(rest as u32);
                (p, rest) = (p.add(4), rest >> 32);
            }
            if n & 2 != 0 {
                p.cast::<u16>().write_unaligned(rest as u16);
                (p, rest) = (p.add(2), rest >> 16);
            }
            if n & 1 != 0 {
                *p = rest as u8;
            }
        }
    }
    #[inline(always)]
    unsafe fn max_bytes(a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_max_epu8(a, b) }
    }
    #[inline(always)]
    unsafe fn min_bytes(a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_min_epu8(a, b) }
    }
    #[inline(always)]
    unsafe fn widen(b: __m256i) -> [__m256i; 4] {
        unsafe {
            let zero = _mm256_setzero_si256();
            Self::quads([b, zero, zero, zero])
        }
    }
    #[inline(always)]
    unsafe fn pairs(a: __m256i, b: __m256i) -> [__m256i; 4] {
        unsafe {
            let zero = _mm256_setzero_si256();
            let (low, high) = (_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b));
            [
                _mm256_unpacklo_epi8(low, zero),
                _mm256_unpackhi_epi8(low, zero),
                _mm256_unpacklo_epi8(high, zero),
                _mm256_unpackhi_epi8(high, zero),
            ]
        }
    }
    #[inline(always)]
    unsafe fn quads([a, b, c, d]: [__m256i; 4]) -> [__m256i; 4] {
        unsafe {
            let (ab, cd) = (_mm256_unpacklo_epi8(a, b), _mm256_unpacklo_epi8(c, d));
            let (ab_high, cd_high) = (_mm256_unpackhi_epi8(a, b), _mm256_unpackhi_epi8(c, d));
            [
                _mm256_unpacklo_epi16(ab, cd),
                _mm256_unpackhi_epi16(ab, cd),
                _mm256_unpacklo_epi16(ab_high, cd_high),
                _mm256_unpackhi_epi16(ab_high, cd_high),
            ]
        }
    }
    #[inline(always)]
    unsafe fn narrow([a, b, c, d]: [__m256i; 4], z: i16) -> __m256i {
        unsafe {
            let z = _mm256_set1_epi16(z);
            let low = _mm256_adds_epi16(_mm256_packs_epi32(a, b), z);
            let high = _mm256_adds_epi16(_mm256_packs_epi32(c, d), z);
            _mm256_packus_epi16(low, high)
        }
    }
    #[inline(always)]
    unsafe fn halve([a, b, c, d]: [__m256i; 4], offset: i16) -> __m256i {
        unsafe {
            let offset = _mm256_set1_epi16(offset);
            let low = _mm256_adds_epi16(_mm256_packs_epi32(a, b), offset);
            let high = _mm256_adds_epi16(_mm256_packs_epi32(c, d), offset);
            _mm256_packus_epi16(_mm256_srai_epi16::<1>(low), _mm256_srai_epi16::<1>(high))
        }
    }
    #[inline(always)]
    unsafe fn arrange([a, b, c, d]: [__m256i; 4]) -> [__m256i; 4] {
        unsafe {
            [
                _mm256_permute2x128_si256::<0x20>(a, c),
                _mm256_permute2x128_si256::<0x31>(a, c),
                _mm256_permute2x128_si256::<0x20>(b, d),
                _mm256_permute2x128_si256::<0x31>(b, d),
            ]
        }
    }
    #[inline(always)]
    unsafe fn order(b: __m256i) -> __m256i {
        unsafe { _mm256_permutevar8x32_epi32(b, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)) }
    }
}
