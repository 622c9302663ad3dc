//! Times versatile filters: all maps ring by ring against one convolution per nested kernel and channel window, with what
//! the latter needs beside (slices of weights and input, joining the maps). `versatile [THREADS [PART OF A NAME]]` prints
//! milliseconds.

use std::time::Instant;

use ocelli_kernels::Isa;
use ocelli_kernels::train::versatile::{self, VersatileShape};
use ocelli_kernels::train::{ConvShape, conv};

#[global_allocator]
static ALLOCATOR: ocelli_kernels::train::Recycler = ocelli_kernels::train::Recycler::new();

/// Batch, channels in, maps, side, kernel, stride, padding, channels left out.
const SHAPES: [[usize; 8]; 14] = [
    [1, 3, 64, 224, 7, 2, 3, 0],
    [1, 64, 64, 224, 3, 1, 1, 0],
    [1, 128, 128, 112, 3, 1, 1, 0],
    [1, 256, 256, 56, 3, 1, 1, 0],
    [1, 512, 512, 14, 3, 1, 1, 0],
    [1, 512, 512, 7, 3, 1, 1, 0],
    [1, 64, 64, 56, 3, 1, 1, 0],
    [1, 128, 128, 56, 3, 2, 1, 0],
    [1, 64, 64, 56, 3, 1, 1, 4],
    [1, 64, 256, 56, 1, 1, 0, 4],
    [1, 96, 256, 27, 5, 1, 2, 0],
    [16, 32, 64, 16, 3, 1, 1, 0],
    [1, 512, 4096, 7, 7, 1, 0, 0],
    [8, 512, 4096, 7, 7, 1, 0, 0],
];

/// One convolution per block of maps.
fn apart(isa: Isa, shape: &VersatileShape, x: &[f32], w: &[f32]) -> Vec<f32> {
    let whole = &shape.conv;
    let (k, depth) = (whole.kernel[0], whole.channels_in - shape.delta);
    let plane = whole.size[0] * whole.size[1];
    let [height, width] = whole.output();
    let block = whole.channels_out * height * width;
    let mut out = vec![0.0; whole.batch * shape.maps() * height * width];
    let mut number = 0;
    for nest in 0..shape.nests {
        for window in 0..shape.windows() {
            let cut = [0, 1].map(|axis| nest.saturating_sub(whole.padding[axis]));
            let size = [whole.size[0] - 2 * cut[0], whole.size[1] - 2 * cut[1]];
            let conv = ConvShape {
                channels_in: depth,
                size,
                kernel: [k - 2 * nest; 2],
                padding: whole.padding.map(|padding| padding.saturating_sub(nest)),
                ..whole.clone()
            };
            let mut sliced = Vec::new();
            if cut != [0, 0] || shape.delta > 0 {
                for channel in (0..whole.batch)
                    .flat_map(|n| (0..depth).map(move |c| n * whole.channels_in + window * shape.step + c))
                {
                    for y in cut[0]..whole.size[0] - cut[0] {
                        let row = channel * plane + y * whole.size[1];
                        sliced.extend_from_slice(&x[row + cut[1]..row + whole.size[1] - cut[1]]);
                    }
                }
            }
            let mut core = Vec::new();
            if nest > 0 || shape.delta > 0 {
                for filter in w.chunks_exact(whole.channels_in * k * k) {
                    for channel in filter.chunks_exact(k * k).take(depth) {
                        for row in channel.chunks_exact(k).skip(nest).take(k - 2 * nest) {
                            core.extend_from_slice(&row[nest..k - nest]);
                        }
                    }
                }
            }
            let x = if sliced.is_empty() { x } else { &sliced };
            let w = if core.is_empty() { w } else { &core };
            let maps = conv::forward(isa, &conv, x, w, None);
            for (n, maps) in maps.chunks_exact(block).enumerate() {
                out[(n * shape.nests * shape.windows() + number) * block..][..block].copy_from_slice(maps);
            }
            number += 1;
        }
    }
    out
}

fn main() {
    let threads = std::env::args().nth(1).and_then(|arg| arg.parse().ok()).unwrap_or(1);
    let wanted = std::env::args().nth(2).unwrap_or_default();
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().ok();
    let isa = Isa::best();
    println!("{isa}, {threads} threads\n{:<40}{:>12}{:>12}{:>12}", "", "rings", "apart", "plain");
    for [batch, channels_in, maps, side, kernel, stride, padding, delta] in SHAPES {
        let (nests, windows) = (kernel.div_ceil(2), 1 + usize::from(delta > 0));
        let conv = ConvShape {
            batch,
            channels_in,
            channels_out: maps / (nests * windows),
            size: [side; 2],
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 2],
            dilation: [1; 2],
            groups: 1,
        };
        let plain = ConvShape { channels_out: maps, ..conv.clone() };
        let shape = VersatileShape { conv, nests, delta, step: delta.max(1), mask: false };
        let name =
            format!("{batch} {channels_in}->{maps} {side}² {kernel}×{kernel}/{stride} p{padding} -{delta}");
        if !name.contains(&wanted) {
            continue;
        }
        let x = vec![0.5; shape.conv.input_len()];
        let w = vec![0.5; shape.conv.weights_len()];
        let dense = vec![0.5; plain.weights_len()];
        let time = |run: &dyn Fn() -> Vec<f32>| {
            let best = (0..15)
                .map(|_| {
                    let start = Instant::now();
                    drop(run());
                    start.elapsed().as_secs_f64()
                })
                .fold(f64::INFINITY, f64::min);
            format!("{:>12.3}", best * 1e3)
        };
        let rings = time(&|| versatile::forward(isa, &shape, &x, &w, None));
        let apart = time(&|| apart(isa, &shape, &x, &w));
        let plain = time(&|| conv::forward(isa, &plain, &x, &dense, None));
        println!("{name:<40}{rings}{apart}{plain}");
    }
}
