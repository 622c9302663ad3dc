//! Times binary convolutions of networks against those of float32 numbers in turns, on one thread: `binary [ROUNDS [PART OF A NAME]]`.
//!
//! Prints the best milliseconds of the direct float32 kernel, of Winograd's where there is one, of the binary kernel alone (bits to
//! float32 numbers with a scale), of that with the packing of its input's signs, and how many times faster than the better float32
//! kernel the last is.

use std::time::Instant;

use ocelli_kernels::Isa;
use ocelli_kernels::binary::{
    BinaryConv, BitMap, Filters, Finish, Padding, border, convolve, pack_signs, words,
};
use ocelli_kernels::conv::{self, Conv, MapIn, Window};
use ocelli_kernels::gemm::{self, Epilogue};
use ocelli_kernels::winograd::{self, POINTS, Winograd};

/// Channels in and out, side, kernel, stride.
const SHAPES: [(usize, usize, usize, usize, usize); 9] = [
    (64, 64, 56, 3, 1),
    (128, 128, 28, 3, 1),
    (256, 256, 28, 3, 1),
    (256, 256, 14, 3, 1),
    (512, 512, 7, 3, 1),
    (256, 256, 28, 3, 2),
    (256, 256, 28, 1, 1),
    (512, 512, 14, 1, 1),
    (1024, 1024, 7, 1, 1),
];

fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect()
}

fn main() {
    let rounds = std::env::args().nth(1).and_then(|arg| arg.parse().ok()).unwrap_or(40);
    let wanted = std::env::args().nth(2).unwrap_or_default();
    let isa = Isa::best();
    println!("{isa}, best of {rounds} rounds, ms\n{:<26}direct  winograd    binary  + packing   times", "");
    for (channels, out, side, kernel, stride) in SHAPES {
        let name = format!("{channels}->{out} {side}² {kernel}×{kernel}/{stride}");
        if name.contains(&wanted) {
            run(isa, rounds, &name, channels, out, side, kernel, stride);
        }
    }
}

fn run(
    isa: Isa,
    rounds: usize,
    name: &str,
    channels: usize,
    out: usize,
    side: usize,
    kernel: usize,
    stride: usize,
) {
    let window = Window { kernel: [kernel; 2], stride: [stride; 2], pad: [kernel / 2; 2], dilation: [1; 2] };
    let to = (side + 2 * (kernel / 2) - kernel) / stride + 1;
    let (x, w) = (numbers(side * side * channels), numbers(out * channels * kernel * kernel));
    let (zeros, mut y) = (vec![0.0; channels], vec![0.0; to * to * out]);
    let map = MapIn {
        data: x.as_ptr(),
        picture: side * side * channels,
        row: side * channels,
        pixel: channels,
        height: side,
        width: side,
    };
    let packed = conv::pack_weights(&w, out, channels, [kernel; 2]);
    let direct = Conv {
        input: map,
        window,
        depth: channels,
        zeros: zeros.as_ptr(),
        weights: packed.as_ptr(),
        columns: out,
        output: y.as_mut_ptr(),
        output_stride: out,
        output_size: [to; 2],
        epilogue: Epilogue::NONE,
    };
    let panels = gemm::panels(out);
    let has_winograd = kernel == 3 && stride == 1;
    let transformed = if has_winograd { winograd::pack_weights(&w, out, channels) } else { Vec::new() };
    let tiles = side.div_ceil(4).pow(2);
    let (mut v, mut m) = (vec![0.0; POINTS * tiles * channels], vec![0.0; POINTS * tiles * out]);
    let fast = Winograd {
        input: map,
        pad: [1, 1],
        depth: channels,
        weights: transformed.as_ptr(),
        columns: out,
        output: y.as_mut_ptr(),
        output_stride: out,
        output_size: [to; 2],
        epilogue: Epilogue::NONE,
        transformed: v.as_mut_ptr(),
        products: m.as_mut_ptr(),
        block: tiles,
    };
    let filters = Filters::of_weights(&w, out, channels, [kernel; 2]);
    let count = words(channels);
    let (mut bits, scale) = (vec![0u64; side * side * count], numbers(out));
    let edge = border(channels, Padding::Zero);
    let binary = BinaryConv {
        input: BitMap {
            data: bits.as_ptr(),
            picture: side * side * count,
            row: side * count,
            pixel: count,
            height: side,
            width: side,
        },
        window,
        channels,
        padding: Padding::Zero,
        border: edge.as_ptr(),
        weights: filters.panels.as_ptr(),
        tap_ones: filters.tap_ones.as_ptr(),
        columns: out,
        output_size: [to; 2],
        finish: Finish::Floats {
            output: y.as_mut_ptr(),
            stride: out,
            scale: scale.as_ptr(),
            offset: std::ptr::null(),
            residual: std::ptr::null(),
            residual_stride: 0,
            slope: std::ptr::null(),
            after: std::ptr::null(),
            low: f32::NEG_INFINITY,
            high: f32::INFINITY,
        },
    };
    let words_of = bits.as_mut_ptr();
    // SAFETY (all): the operands were made for these extents.
    let pack = || unsafe {
        pack_signs(isa, side * side, channels, x.as_ptr(), channels, std::ptr::null(), words_of, count);
    };
    pack();
    let best = |best: &mut f64, work: &dyn Fn()| {
        let start = Instant::now();
        work();
        *best = best.min(start.elapsed().as_secs_f64() * 1e3);
    };
    let mut times = [f64::INFINITY; 4];
    for _ in 0..rounds {
        best(&mut times[0], &|| unsafe { conv::conv(isa, &direct, 0..to * to, 0..panels) });
        if has_winograd {
            best(&mut times[1], &|| unsafe {
                winograd::transform_input(isa, &fast, 0, 0..tiles);
                for point in 0..POINTS {
                    winograd::multiply(isa, &fast, tiles, point, 0..panels);
                }
                winograd::transform_output(isa, &fast, 0, 0..tiles);
            });
        }
        let all = 0..filters.panel_count();
        best(&mut times[2], &|| unsafe { convolve(isa, &binary, 0..to * to, all.clone()) });
        best(&mut times[3], &|| {
            pack();
            unsafe { convolve(isa, &binary, 0..to * to, all.clone()) };
        });
    }
    let [direct, winograd, alone, whole] = times;
    let float = direct.min(winograd);
    println!("{name:<24}{direct:>8.3}{winograd:>10.3}{alone:>10.4}{whole:>11.4}{:>8.1}", float / whole);
}
