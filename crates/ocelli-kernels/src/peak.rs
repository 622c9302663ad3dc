//! What the processor can do at best: multiply-accumulates without memory.

use crate::simd::Simd;

/// Independent sums: enough to hide the latency of two units, few enough for 16 registers.
const SUMS: usize = 12;

#[inline(always)]
unsafe fn multiply_of<S: Simd>(rounds: usize, factor: f32) -> f32 {
    // SAFETY: arithmetic on vectors of the caller's instruction set.
    unsafe {
        let (factor, addend) = (S::splat(factor), S::splat(1e-3));
        let mut sums = [S::splat(0.0); SUMS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = S::fma(*sum, factor, addend);
            }
        }
        let mut total = sums[0];
        for &sum in &sums[1..] {
            total = S::add(total, sum);
        }
        S::sum(total)
    }
}

crate::dispatch! {
    /// Does `rounds` times [`macs_per_round`] multiply-accumulates in registers; the result only keeps the work from
    /// being left out.
    ///
    /// # Safety
    /// `isa` must be available.
    pub fn multiply(rounds: usize, factor: f32) -> f32 = multiply_of;
}

/// Multiply-accumulates of one round of [`multiply`].
pub fn macs_per_round(isa: crate::Isa) -> usize {
    SUMS * match isa {
        crate::Isa::Avx512 => 16,
        crate::Isa::Avx2 => 8,
        _ => 4,
    }
}
