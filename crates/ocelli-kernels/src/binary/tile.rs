//! Counting differing bits of a few pixels and many filters at once: the inner loop, per instruction set.

use super::pack::LANES;
use crate::Isa;

/// Pixels of a tile.
pub(super) const PIXELS: usize = 4;
/// Panels of a tile.
pub(super) const PANELS: usize = 4;

/// The operands of a tile.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    /// `taps × PIXELS` pointers, tap by tap, each to `words` words. Tiles of fewer pixels repeat one.
    pub a: *const *const u64,
    pub taps: usize,
    pub words: usize,
    /// The first panel.
    pub b: *const u64,
    /// Words from one panel to the next.
    pub panel_stride: usize,
    /// Panels, at most [`PANELS`].
    pub panels: usize,
}

/// Differing bits `[PIXELS][PANELS][LANES]`; those of panels a tile does not have are left alone.
pub(super) type Counts = [[[i32; LANES]; PANELS]; PIXELS];

/// Which version a processor runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

fn version(isa: Isa) -> Version {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => Version::Avx2,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 if is_x86_feature_detected!("avx512vpopcntdq") => Version::Avx512,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => Version::Avx2,
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => Version::Neon,
        _ => Version::Portable,
    }
}

/// # Safety
/// `isa` must be available and the tile's pointers valid.
#[inline]
pub(super) unsafe fn count(isa: Isa, tile: &Tile, counts: &mut Counts) {
    // SAFETY: the caller's promise; a version exists only where the processor has it.
    unsafe {
        match version(isa) {
            Version::Portable => portable(tile, counts),
            #[cfg(target_arch = "x86_64")]
            Version::Avx2 => x86::avx2(tile, counts),
            #[cfg(target_arch = "x86_64")]
            Version::Avx512 => x86::avx512(tile, counts),
            #[cfg(target_arch = "aarch64")]
            Version::Neon => arm::neon(tile, counts),
        }
    }
}

/// # Safety
/// The tile's pointers must be valid.
unsafe fn portable(tile: &Tile, counts: &mut Counts) {
    // SAFETY: the caller's promise.
    unsafe {
        for panel in 0..tile.panels {
            let mut sums = [[0u32; LANES]; PIXELS];
            let mut b = tile.b.add(panel * tile.panel_stride);
            for tap in 0..tile.taps {
                for word in 0..tile.words {
                    for pixel in 0..PIXELS {
                        let a = *(*tile.a.add(tap * PIXELS + pixel)).add(word);
                        for lane in 0..LANES {
                            sums[pixel][lane] += (a ^ *b.add(lane)).count_ones();
                        }
                    }
                    b = b.add(LANES);
                }
            }
            for pixel in 0..PIXELS {
                counts[pixel][panel] = sums[pixel].map(|sum| sum as i32);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;

    use super::{Counts, LANES, PANELS, PIXELS, Tile};

    /// # Safety
    /// The tile's pointers must be valid.
    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx512vpopcntdq")]
    pub unsafe fn avx512(tile: &Tile, counts: &mut Counts) {
        // SAFETY: the features are enabled here; the rest is the caller's promise.
        unsafe {
            match tile.panels {
                1 => avx512_of::<1>(tile, counts),
                2 => avx512_of::<2>(tile, counts),
                3 => avx512_of::<3>(tile, counts),
                _ => avx512_of::<PANELS>(tile, counts),
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx512vpopcntdq")]
    unsafe fn avx512_of<const G: usize>(tile: &Tile, counts: &mut Counts) {
        // SAFETY: as above.
        unsafe {
            let mut sums = [[_mm512_setzero_si512(); G]; PIXELS];
            let mut b = tile.b;
            for tap in 0..tile.taps {
                let a: [*const u64; PIXELS] = core::array::from_fn(|pixel| *tile.a.add(tap * PIXELS + pixel));
                for word in 0..tile.words {
                    let weights: [__m512i; G] = core::array::from_fn(|panel| {
                        _mm512_loadu_si512(b.add(panel * tile.panel_stride).cast())
                    });
                    for pixel in 0..PIXELS {
                        let own = _mm512_set1_epi64(*a[pixel].add(word) as i64);
                        for panel in 0..G {
                            let differ = _mm512_popcnt_epi64(_mm512_xor_si512(own, weights[panel]));
                            sums[pixel][panel] = _mm512_add_epi64(sums[pixel][panel], differ);
                        }
                    }
                    b = b.add(LANES);
                }
            }
            for pixel in 0..PIXELS {
                for panel in 0..G {
                    let narrow = _mm512_cvtepi64_epi32(sums[pixel][panel]);
                    _mm256_storeu_si256(counts[pixel][panel].as_mut_ptr().cast(), narrow);
                }
            }
        }
    }

    /// Words whose bits a byte of a sum can hold: 8 per word.
    const BATCH: usize = 31;

    /// One panel at a time: half of the registers hold it and what counts.
    ///
    /// # Safety
    /// The tile's pointers must be valid.
    #[target_feature(enable = "avx2")]
    pub unsafe fn avx2(tile: &Tile, counts: &mut Counts) {
        // SAFETY: the features are enabled here; the rest is the caller's promise.
        unsafe {
            let table =
                _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
            let low = _mm256_set1_epi8(0x0f);
            let zero = _mm256_setzero_si256();
            for panel in 0..tile.panels {
                let mut b = tile.b.add(panel * tile.panel_stride);
                let mut sums = [[zero; 2]; PIXELS];
                let mut bytes = [[zero; 2]; PIXELS];
                let mut held = 0;
                for tap in 0..tile.taps {
                    let a: [*const u64; PIXELS] =
                        core::array::from_fn(|pixel| *tile.a.add(tap * PIXELS + pixel));
                    for word in 0..tile.words {
                        let weights: [__m256i; 2] =
                            core::array::from_fn(|half| _mm256_loadu_si256(b.add(4 * half).cast()));
                        for pixel in 0..PIXELS {
                            let own = _mm256_set1_epi64x(*a[pixel].add(word) as i64);
                            for half in 0..2 {
                                let differ = _mm256_xor_si256(own, weights[half]);
                                let high = _mm256_and_si256(_mm256_srli_epi16::<4>(differ), low);
                                let count = _mm256_add_epi8(
                                    _mm256_shuffle_epi8(table, _mm256_and_si256(differ, low)),
                                    _mm256_shuffle_epi8(table, high),
                                );
                                bytes[pixel][half] = _mm256_add_epi8(bytes[pixel][half], count);
                            }
                        }
                        b = b.add(LANES);
                        held += 1;
                        if held == BATCH {
                            held = 0;
                            for pixel in 0..PIXELS {
                                for half in 0..2 {
                                    let wide = _mm256_sad_epu8(bytes[pixel][half], zero);
                                    sums[pixel][half] = _mm256_add_epi64(sums[pixel][half], wide);
                                    bytes[pixel][half] = zero;
                                }
                            }
                        }
                    }
                }
                for pixel in 0..PIXELS {
                    for half in 0..2 {
                        let wide = _mm256_sad_epu8(bytes[pixel][half], zero);
                        let mut lanes = [0i64; 4];
                        let sum = _mm256_add_epi64(sums[pixel][half], wide);
                        _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sum);
                        for lane in 0..4 {
                            counts[pixel][panel][4 * half + lane] = lanes[lane] as i32;
                        }
                    }
                }
            }
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use core::arch::aarch64::*;

    use super::{Counts, LANES, PIXELS, Tile};

    /// Words whose bits a byte of a sum can hold: 8 per word.
    const BATCH: usize = 31;

    /// # Safety
    /// The tile's pointers must be valid.
    pub unsafe fn neon(tile: &Tile, counts: &mut Counts) {
        // SAFETY: NEON is part of the base instruction set; the rest is the caller's promise.
        unsafe {
            for panel in 0..tile.panels {
                let mut b = tile.b.add(panel * tile.panel_stride);
                let mut sums = [[vdupq_n_u64(0); 4]; PIXELS];
                let mut bytes = [[vdupq_n_u8(0); 4]; PIXELS];
                let mut held = 0;
                let flush = |sums: &mut [[uint64x2_t; 4]; PIXELS], bytes: &mut [[uint8x16_t; 4]; PIXELS]| {
                    for pixel in 0..PIXELS {
                        for part in 0..4 {
                            let wide = vpaddlq_u32(vpaddlq_u16(vpaddlq_u8(bytes[pixel][part])));
                            sums[pixel][part] = vaddq_u64(sums[pixel][part], wide);
                            bytes[pixel][part] = vdupq_n_u8(0);
                        }
                    }
                };
                for tap in 0..tile.taps {
                    for word in 0..tile.words {
                        let weights: [uint64x2_t; 4] =
                            core::array::from_fn(|part| vld1q_u64(b.add(2 * part)));
                        for pixel in 0..PIXELS {
                            let own = vdupq_n_u64(*(*tile.a.add(tap * PIXELS + pixel)).add(word));
                            for part in 0..4 {
                                let differ = vreinterpretq_u8_u64(veorq_u64(own, weights[part]));
                                bytes[pixel][part] = vaddq_u8(bytes[pixel][part], vcntq_u8(differ));
                            }
                        }
                        b = b.add(LANES);
                        held += 1;
                        if held == BATCH {
                            held = 0;
                            flush(&mut sums, &mut bytes);
                        }
                    }
                }
                flush(&mut sums, &mut bytes);
                for pixel in 0..PIXELS {
                    for part in 0..4 {
                        let pair =
                            [vgetq_lane_u64::<0>(sums[pixel][part]), vgetq_lane_u64::<1>(sums[pixel][part])];
                        for lane in 0..2 {
                            counts[pixel][panel][2 * part + lane] = pair[lane] as i32;
                        }
                    }
                }
            }
        }
    }
}
