//! Sums of absolute differences of eight filters and eight taps at a time.

/// Eight filters' sums over bytes, eight taps a step.
///
/// # Safety
/// All functions need the instruction set they are named after, and pointers to as many bytes as they say.
#[allow(clippy::missing_safety_doc)]
pub(super) trait Sad {
    /// Sums of eight filters.
    type Sums: Copy;
    /// Eight taps of eight filters, filter by filter.
    type Weights: Copy;
    /// Eight taps of a pixel, for every filter.
    type Taps: Copy;

    /// Nothing.
    unsafe fn zero() -> Self::Sums;
    /// 64 bytes of weights.
    unsafe fn weights(p: *const u8) -> Self::Weights;
    /// 8 bytes of a pixel.
    unsafe fn taps(p: *const u8) -> Self::Taps;
    /// Adds a step.
    unsafe fn add(sums: Self::Sums, taps: Self::Taps, weights: Self::Weights) -> Self::Sums;
    /// Must be called after 128 steps at most.
    unsafe fn settle(sums: Self::Sums) -> Self::Sums {
        sums
    }
    /// Writes eight sums, settled.
    unsafe fn store(sums: Self::Sums, out: *mut i32);
}

/// Plain Rust.
pub(super) struct Portable;

// SAFETY (all blocks of this file): the trait's contract.
impl Sad for Portable {
    type Sums = [i32; 8];
    type Weights = [[u8; 8]; 8];
    type Taps = [u8; 8];

    #[inline(always)]
    unsafe fn zero() -> [i32; 8] {
        [0; 8]
    }
    #[inline(always)]
    unsafe fn weights(p: *const u8) -> [[u8; 8]; 8] {
        unsafe { p.cast::<[[u8; 8]; 8]>().read() }
    }
    #[inline(always)]
    unsafe fn taps(p: *const u8) -> [u8; 8] {
        unsafe { p.cast::<[u8; 8]>().read() }
    }
    #[inline(always)]
    unsafe fn add(mut sums: [i32; 8], taps: [u8; 8], weights: [[u8; 8]; 8]) -> [i32; 8] {
        for (sum, weights) in sums.iter_mut().zip(&weights) {
            *sum += (0..8).map(|i| i32::from(taps[i].abs_diff(weights[i]))).sum::<i32>();
        }
        sums
    }
    #[inline(always)]
    unsafe fn store(sums: [i32; 8], out: *mut i32) {
        unsafe { out.cast::<[i32; 8]>().write_unaligned(sums) }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) mod x86 {
    use core::arch::x86_64::*;

    use super::Sad;

    /// `vpsadbw` on 512 bits: a quarter of the registers' bytes per filter and step.
    pub(in super::super) struct Avx512;

    impl Sad for Avx512 {
        type Sums = __m512i;
        type Weights = __m512i;
        type Taps = __m512i;

        #[inline(always)]
        unsafe fn zero() -> __m512i {
            unsafe { _mm512_setzero_si512() }
        }
        #[inline(always)]
        unsafe fn weights(p: *const u8) -> __m512i {
            unsafe { _mm512_loadu_si512(p.cast()) }
        }
        #[inline(always)]
        unsafe fn taps(p: *const u8) -> __m512i {
            unsafe { _mm512_set1_epi64(p.cast::<i64>().read_unaligned()) }
        }
        #[inline(always)]
        unsafe fn add(sums: __m512i, taps: __m512i, weights: __m512i) -> __m512i {
            unsafe { _mm512_add_epi64(sums, _mm512_sad_epu8(taps, weights)) }
        }
        #[inline(always)]
        unsafe fn store(sums: __m512i, out: *mut i32) {
            unsafe { _mm256_storeu_si256(out.cast(), _mm512_cvtepi64_epi32(sums)) }
        }
    }

    /// `vpsadbw` on twice 256 bits.
    pub(in super::super) struct Avx2;

    impl Sad for Avx2 {
        type Sums = [__m256i; 2];
        type Weights = [__m256i; 2];
        type Taps = __m256i;

        #[inline(always)]
        unsafe fn zero() -> [__m256i; 2] {
            unsafe { [_mm256_setzero_si256(); 2] }
        }
        #[inline(always)]
        unsafe fn weights(p: *const u8) -> [__m256i; 2] {
            unsafe { [_mm256_loadu_si256(p.cast()), _mm256_loadu_si256(p.add(32).cast())] }
        }
        #[inline(always)]
        unsafe fn taps(p: *const u8) -> __m256i {
            unsafe { _mm256_set1_epi64x(p.cast::<i64>().read_unaligned()) }
        }
        #[inline(always)]
        unsafe fn add(sums: [__m256i; 2], taps: __m256i, weights: [__m256i; 2]) -> [__m256i; 2] {
            unsafe {
                [
                    _mm256_add_epi64(sums[0], _mm256_sad_epu8(taps, weights[0])),
                    _mm256_add_epi64(sums[1], _mm256_sad_epu8(taps, weights[1])),
                ]
            }
        }
        #[inline(always)]
        unsafe fn store(sums: [__m256i; 2], out: *mut i32) {
            unsafe {
                // The lower halves of the eight numbers, in order.
                let [a, b] = sums.map(|v| _mm256_castsi256_ps(v));
                let mixed = _mm256_shuffle_ps::<0b10_00_10_00>(a, b);
                let ordered = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_castps_si256(mixed));
                _mm256_storeu_si256(out.cast(), ordered);
            }
        }
    }
}

#[cfg(target_arch = "aarch64")]
pub(super) mod arm {
    use core::arch::aarch64::*;

    use super::Sad;

    /// `uabd`, then sums of pairs in 16 bits (128 steps of 2 · 255 fit), then in 32.
    pub(in super::super) struct Neon;

    impl Sad for Neon {
        type Sums = ([uint16x8_t; 4], [uint32x4_t; 4]);
        type Weights = [uint8x16_t; 4];
        type Taps = uint8x16_t;

        #[inline(always)]
        unsafe fn zero() -> Self::Sums {
            unsafe { ([vdupq_n_u16(0); 4], [vdupq_n_u32(0); 4]) }
        }
        #[inline(always)]
        unsafe fn weights(p: *const u8) -> [uint8x16_t; 4] {
            unsafe { [vld1q_u8(p), vld1q_u8(p.add(16)), vld1q_u8(p.add(32)), vld1q_u8(p.add(48))] }
        }
        #[inline(always)]
        unsafe fn taps(p: *const u8) -> uint8x16_t {
            unsafe { vreinterpretq_u8_u64(vdupq_n_u64(p.cast::<u64>().read_unaligned())) }
        }
        #[inline(always)]
        unsafe fn add(mut sums: Self::Sums, taps: uint8x16_t, weights: [uint8x16_t; 4]) -> Self::Sums {
            for i in 0..4 {
                sums.0[i] = unsafe { vpadalq_u8(sums.0[i], vabdq_u8(taps, weights[i])) };
            }
            sums
        }
        #[inline(always)]
        unsafe fn settle(sums: Self::Sums) -> Self::Sums {
            let mut next = sums;
            for i in 0..4 {
                unsafe {
                    next.1[i] = vpadalq_u16(sums.1[i], sums.0[i]);
                    next.0[i] = vdupq_n_u16(0);
                }
            }
            next
        }
        #[inline(always)]
        unsafe fn store(sums: Self::Sums, out: *mut i32) {
            let [a, b, c, d] = sums.1;
            unsafe {
                vst1q_s32(out, vreinterpretq_s32_u32(vpaddq_u32(a, b)));
                vst1q_s32(out.add(4), vreinterpretq_s32_u32(vpaddq_u32(c, d)));
            }
        }
    }
}
