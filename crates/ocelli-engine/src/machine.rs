//! The machine at hand.

use std::hint::black_box;
use std::time::Instant;

use ocelli_kernels::{Isa, peak};

use crate::pool::Pool;

/// Name of the vector instructions in use.
pub fn isa() -> String {
    Isa::best().to_string()
}

/// Multiply-accumulates per second of `threads` threads that do nothing else, the best of several tries: what no
/// network can exceed.
pub fn peak_macs(threads: usize) -> f64 {
    const ROUNDS: usize = 1_000_000;
    let isa = Isa::best();
    let mut pool = Pool::new(threads, false);
    let mut best = f64::MAX;
    for _ in 0..8 {
        let start = Instant::now();
        pool.run(threads, &|_| {
            // SAFETY: the best instruction set is available.
            black_box(unsafe { peak::multiply(isa, ROUNDS, black_box(0.999)) });
        });
        best = best.min(start.elapsed().as_secs_f64());
    }
    (threads * ROUNDS * peak::macs_per_round(isa)) as f64 / best
}
