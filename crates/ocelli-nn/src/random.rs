//! Random numbers that can be resumed.
//!
//! Dropout and stochastic depth draw from a generator of the current thread instead of the device's global
//! one: the trainer re-keys it before every step from `(seed, step)`, so a resumed run draws what the
//! uninterrupted run would have drawn, whatever else the process does.

use std::cell::RefCell;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

thread_local! {
    static RNG: RefCell<ChaCha8Rng> = RefCell::new(ChaCha8Rng::seed_from_u64(0));
}

/// A generator for `stream` under `seed`; different streams are independent.
pub fn keyed(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

/// Re-keys the current thread's generator.
pub fn seed_thread(seed: u64, stream: u64) {
    RNG.with(|rng| *rng.borrow_mut() = keyed(seed, stream));
}

/// `count` numbers, each 1 with probability `keep` and else 0.
pub(crate) fn bernoulli(count: usize, keep: f64) -> Vec<f32> {
    let threshold = (keep * 2f64.powi(32)) as u64;
    RNG.with(|rng| {
        let mut rng = rng.borrow_mut();
        (0..count).map(|_| f32::from(u64::from(rng.next_u32()) < threshold)).collect()
    })
}

/// `count` numbers of the current thread's generator, uniform in `[0, 1)`.
pub fn uniform(count: usize) -> Vec<f64> {
    RNG.with(|rng| {
        let mut rng = rng.borrow_mut();
        (0..count).map(|_| unit(&mut *rng)).collect()
    })
}

/// The numbers below `count` in an order drawn from the current thread's generator.
pub fn permutation(count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for (i, u) in (1..count).zip(uniform(count.saturating_sub(1))) {
        order.swap(i, (u * (i + 1) as f64) as usize);
    }
    order
}

/// Uniform in `[0, 1)` with 53 bits.
pub fn unit(rng: &mut impl Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 * 2f64.powi(-53)
}
