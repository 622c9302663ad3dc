//! Measures products of several shapes: `cargo run --release -p ocelli-kernels --example peak`.
use std::time::Instant;

use ocelli_kernels::{Isa, gemm};

fn main() {
    for isa in Isa::available() {
        for (m, n, k) in [
            (96, 32, 64),
            (96, 32, 256),
            (196, 256, 256),
            (196, 512, 2304),
            (3136, 64, 64),
            (49, 2048, 512),
            (49, 512, 4608),
            (1, 1000, 2048),
            (4, 512, 512),
            (16, 256, 256),
        ] {
            let a: Vec<f32> = (0..m * k).map(|i| (i % 7) as f32).collect();
            let b = gemm::pack(k, n, |i, j| ((i + j) % 5) as f32);
            let mut c = vec![0.0f32; m * n];
            let x = gemm::Product {
                a: a.as_ptr(),
                a_stride: k,
                b: b.as_ptr(),
                depth: k,
                columns: n,
                c: c.as_mut_ptr(),
                c_stride: n,
                accumulate: false,
                epilogue: gemm::Epilogue::NONE,
            };
            let mut best = f64::MAX;
            let repeat = (20_000_000 / (m * n * k)).max(1);
            for _ in 0..20 {
                let start = Instant::now();
                for _ in 0..repeat {
                    // SAFETY: the operands were made for these extents.
                    unsafe { gemm::product(isa, &x, 0..m, 0..gemm::panels(n)) };
                }
                best = best.min(start.elapsed().as_secs_f64() / repeat as f64);
            }
            println!("{isa} {m}x{n}x{k}: {:.1} GMAC/s", (m * n * k) as f64 / best / 1e9);
        }
    }
}
