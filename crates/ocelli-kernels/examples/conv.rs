//! Times convolutions of networks: `conv [THREADS [PART OF A NAME]]` prints milliseconds and GMAC/s of the forward pass and of
//! both backward passes.

use std::time::Instant;

use ocelli_kernels::Isa;
use ocelli_kernels::train::{ConvShape, conv, depthwise};

#[global_allocator]
static ALLOCATOR: ocelli_kernels::train::Recycler = ocelli_kernels::train::Recycler::new();

/// Batch, channels in and out, side, kernel, stride, groups.
const SHAPES: [(usize, usize, usize, usize, usize, usize, usize); 17] = [
    (4, 3, 64, 224, 7, 2, 1),
    (4, 64, 64, 56, 3, 1, 1),
    (4, 64, 128, 56, 3, 2, 1),
    (4, 128, 128, 28, 3, 1, 1),
    (4, 256, 256, 14, 3, 1, 1),
    (4, 512, 512, 7, 3, 1, 1),
    (16, 64, 64, 16, 3, 1, 1),
    (16, 512, 512, 2, 3, 1, 1),
    (4, 16, 96, 112, 1, 1, 1),
    (4, 96, 24, 56, 1, 1, 1),
    (4, 144, 32, 28, 1, 1, 1),
    (4, 384, 64, 14, 1, 1, 1),
    (4, 960, 160, 7, 1, 1, 1),
    (4, 320, 1280, 7, 1, 1, 1),
    (4, 96, 96, 112, 3, 2, 96),
    (4, 144, 144, 56, 3, 1, 144),
    (4, 576, 576, 14, 3, 1, 576),
];

fn main() {
    let threads = std::env::args().nth(1).and_then(|arg| arg.parse().ok()).unwrap_or(1);
    let wanted = std::env::args().nth(2).unwrap_or_default();
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().ok();
    let isa = Isa::best();
    println!("{isa}, {threads} threads\n{:<36}{:>20}{:>20}{:>20}", "", "forward", "data", "weights");
    for (batch, channels_in, channels_out, side, kernel, stride, groups) in SHAPES {
        let shape = ConvShape {
            batch,
            channels_in,
            channels_out,
            size: [side; 2],
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [kernel / 2; 2],
            dilation: [1; 2],
            groups,
        };
        let name =
            format!("{batch} {channels_in}->{channels_out} {side}² {kernel}×{kernel}/{stride} g{groups}");
        if !name.contains(&wanted) {
            continue;
        }
        let x = vec![0.5; shape.input_len()];
        let w = vec![0.5; shape.weights_len()];
        let grad = vec![0.5; shape.output_len()];
        let macs = shape.output_len() as f64 * (shape.weights_len() / channels_out) as f64;
        let time = |run: &dyn Fn()| {
            let best = (0..15)
                .map(|_| {
                    let start = Instant::now();
                    run();
                    start.elapsed().as_secs_f64()
                })
                .fold(f64::INFINITY, f64::min);
            format!("{:>10.3}{:>10.1}", best * 1e3, macs / best * 1e-9)
        };
        if shape.is_depthwise() {
            let forward = time(&|| drop(depthwise::forward(isa, &shape, &x, &w, None)));
            let both = time(&|| drop(depthwise::backward(isa, &shape, &x, &w, &grad, true)));
            println!("{name:<36}{forward}{both} (both)");
        } else {
            let forward = time(&|| drop(conv::forward(isa, &shape, &x, &w, None)));
            let data = time(&|| drop(conv::backward_data(isa, &shape, &grad, &w)));
            let weights = time(&|| drop(conv::backward_weights(isa, &shape, &x, &grad)));
            println!("{name:<36}{forward}{data}{weights}");
        }
    }
}
