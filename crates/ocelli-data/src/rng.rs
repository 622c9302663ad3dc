//! Randomness that depends on nothing but its key.
//!
//! Each sample of each epoch has its own generator: ChaCha8 keyed with `(seed, epoch, index, purpose)`.
//! No state is carried from sample to sample, so an augmentation does not depend on the number of
//! threads, on the order in which they finish or on the point at which a run resumed. ChaCha is defined
//! bit for bit, the distributions below are written out here, and their logarithms and exponentials
//! come from the `libm` crate rather than from the system: the same key gives the same numbers on every
//! platform.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// What a generator is for; part of its key, so that no two purposes share numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The augmentation of one sample; the index is the sample's number in the dataset.
    Sample = 1,
    /// The order of the samples in an epoch.
    Shuffle = 2,
    /// Mixup and cutmix; the index is the number of the batch in the epoch.
    Batch = 3,
    /// Cutting a dataset into train and val; the index is the class.
    Split = 4,
}

/// A small, keyed generator of random numbers.
#[derive(Clone, Debug)]
pub struct Rng {
    inner: ChaCha8Rng,
}

impl Rng {
    /// The generator of one `(seed, epoch, index, purpose)`.
    pub fn keyed(seed: u64, epoch: u64, index: u64, purpose: Purpose) -> Self {
        let mut key = [0u8; 32];
        for (slot, word) in key.chunks_exact_mut(8).zip([seed, epoch, index, purpose as u64]) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        Self { inner: ChaCha8Rng::from_seed(key) }
    }

    /// The generator for the augmentation of sample `index` in `epoch`.
    pub fn for_sample(seed: u64, epoch: u64, index: u64) -> Self {
        Self::keyed(seed, epoch, index, Purpose::Sample)
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.inner.next_u64()
    }

    /// Uniform in `[0, 1)`, 53 bits.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in `[low, high)`; `low` when both are equal.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// Uniform in `0..n`, without bias; 0 when `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        let n = n as u64;
        if n < 2 {
            return 0;
        }
        // Reject the low, incomplete stretch so that every remainder is equally likely.
        let incomplete = n.wrapping_neg() % n;
        loop {
            let wide = u128::from(self.next_u64()) * u128::from(n);
            if wide as u64 >= incomplete {
                return (wide >> 64) as usize;
            }
        }
    }

    /// Standard normal (Marsaglia's polar method).
    pub fn normal(&mut self) -> f64 {
        loop {
            let (u, v) = (self.uniform(-1.0, 1.0), self.uniform(-1.0, 1.0));
            let s = u * u + v * v;
            if s > 0.0 && s < 1.0 {
                return u * libm::sqrt(-2.0 * libm::log(s) / s);
            }
        }
    }

    /// Gamma with this shape and scale 1 (Marsaglia and Tsang 2000). The shape is above 0.
    fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let boost = libm::pow(1.0 - self.unit(), 1.0 / shape);
            return self.gamma(shape + 1.0) * boost;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / libm::sqrt(9.0 * d);
        loop {
            let x = self.normal();
            let v = 1.0 + c * x;
            if v <= 0.0 {
                continue;
            }
            let v = v * v * v;
            if libm::log(1.0 - self.unit()) < 0.5 * x * x + d - d * v + d * libm::log(v) {
                return d * v;
            }
        }
    }

    /// Beta(a, b), both above 0.
    pub fn beta(&mut self, a: f64, b: f64) -> f64 {
        let x = self.gamma(a);
        let y = self.gamma(b);
        // Tiny shapes can underflow both; the distribution is then two points.
        if x + y > 0.0 { x / (x + y) } else { f64::from(u8::from(self.chance(a / (a + b)))) }
    }

    /// Shuffles in place (Fisher-Yates, from the end).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}
