//! Times the training kernels of transformers: `transformer [THREADS]` prints milliseconds, and of products GMAC/s, of the
//! forward and of the backward passes.

use std::time::Instant;

use ocelli_kernels::Isa;
use ocelli_kernels::train::attention::{self, AttentionShape, Heads, Joined, Operands};
use ocelli_kernels::train::gelu;
use ocelli_kernels::train::layer_norm::{self, LayerShape};
use ocelli_kernels::train::linear::{self, LinearShape};

#[global_allocator]
static ALLOCATOR: ocelli_kernels::train::Recycler = ocelli_kernels::train::Recycler::new();

/// Rows, features in and out.
const LINEAR: [(usize, usize, usize); 9] = [
    (788, 384, 1536),
    (788, 1536, 384),
    (788, 384, 768),
    (788, 384, 384),
    (12544, 24, 96),
    (12544, 96, 24),
    (12544, 24, 48),
    (12544, 24, 24),
    (4, 384, 1000),
];

/// Rows and features.
const NORMS: [(usize, usize); 3] = [(12544, 24), (788, 384), (788, 640)];

/// Batch, heads, tokens, elements of a head.
const HEADS: [(usize, usize, usize, usize); 4] =
    [(784, 4, 16, 6), (784, 4, 16, 10), (4, 6, 197, 64), (1, 12, 1024, 64)];

/// Seconds of the fastest of some runs.
fn best(run: &dyn Fn()) -> f64 {
    let once = |_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    };
    (0..15).map(once).fold(f64::INFINITY, f64::min)
}

fn main() {
    let threads = std::env::args().nth(1).and_then(|arg| arg.parse().ok()).unwrap_or(1);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().ok();
    let isa = Isa::best();
    println!("{isa}, {threads} threads\n{:<28}{:>20}{:>20}{:>20}", "", "forward", "input", "weights");
    for (rows, features_in, features_out) in LINEAR {
        let shape = LinearShape { rows, features_in, features_out };
        let x = vec![0.5; shape.input_len()];
        let w = vec![0.5; shape.weights_len()];
        let grad = vec![0.5; shape.output_len()];
        let macs = (rows * features_in * features_out) as f64;
        let time = |run: &dyn Fn()| {
            let best = best(run);
            format!("{:>10.3}{:>10.1}", best * 1e3, macs / best * 1e-9)
        };
        let forward = time(&|| drop(linear::forward(isa, shape, &x, &w, None)));
        let input = time(&|| drop(linear::backward_input(isa, shape, &grad, &w)));
        let weights = time(&|| drop(linear::backward_weights(isa, shape, &x, &grad)));
        println!("{:<28}{forward}{input}{weights}", format!("{rows} x {features_in} -> {features_out}"));
    }
    println!("{:<28}{:>10}{:>10}", "", "forward", "backward");
    let line = |name: String, forward: f64, backward: f64| {
        println!("{name:<28}{:>10.3}{:>10.3}", forward * 1e3, backward * 1e3);
    };
    for (rows, features) in NORMS {
        let shape = LayerShape { rows, features };
        let x: Vec<f32> = (0..rows * features).map(|i| (i % 7) as f32).collect();
        let gain = vec![0.5; features];
        let run = || layer_norm::forward(isa, shape, &x, &gain, &gain, 1e-5);
        let found = run();
        let statistics = (&found.mean[..], &found.inverse[..]);
        let forward = best(&|| drop(run()));
        let backward = best(&|| drop(layer_norm::backward(isa, shape, &x, &gain, statistics, &x)));
        line(format!("layer norm {rows} x {features}"), forward, backward);
    }
    let x: Vec<f32> = (0..12544 * 96).map(|i| (i % 13) as f32 - 6.0).collect();
    let backward = best(&|| drop(gelu::backward(isa, &x, &x)));
    line("GELU 12544 x 96".into(), best(&|| drop(gelu::forward(isa, &x))), backward);
    for (batch, heads, tokens, dim) in HEADS {
        let shape = AttentionShape { batch, heads, queries: tokens, keys: tokens, dim, values: dim };
        let qkv: Vec<f32> = (0..3 * shape.output_len()).map(|i| (i % 11) as f32 * 0.1 - 0.5).collect();
        let part = |i: usize| Heads::joined(&qkv, [tokens, heads, dim], [i, 3]);
        let x = Operands { q: part(0), k: part(1), v: part(2) };
        let run = || attention::forward(isa, &shape, 0.4, &x);
        let found = run();
        let kept = (&found.output[..], &found.log_sums[..]);
        let grad = part(1);
        let back = || attention::backward(isa, &shape, 0.4, &x, kept, grad, Joined::All);
        let name = format!("attention {batch} x {heads}, {tokens} x {dim}");
        line(name, best(&|| drop(run())), best(&|| drop(back())));
    }
}
