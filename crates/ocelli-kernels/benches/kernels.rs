//! Every inference kernel on shapes of real networks: `cargo bench -p ocelli-kernels`, or with a name to run some.
//! `OCELLI_ISA=avx2` (or `portable`, `neon`) times a lesser instruction set.

use std::hint::black_box;
use std::ptr::null;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ocelli_kernels::conv::{self, Conv, MapIn, Window};
use ocelli_kernels::depthwise::{self, Depthwise};
use ocelli_kernels::elementwise::{Function, Operation, Pair, binary, unary};
use ocelli_kernels::gemm::{self, Epilogue, Product};
use ocelli_kernels::pool::{Kind, Pooling, pool};
use ocelli_kernels::winograd::{self, POINTS, Winograd};
use ocelli_kernels::{Isa, rows};

fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect()
}

fn map(data: &[f32], side: usize, channels: usize) -> MapIn {
    MapIn {
        data: data.as_ptr(),
        picture: side * side * channels,
        row: side * channels,
        pixel: channels,
        height: side,
        width: side,
    }
}

fn products(c: &mut Criterion) {
    let mut group = c.benchmark_group("product");
    for [m, n, k] in [[3136, 64, 64], [196, 256, 1024], [49, 2048, 512], [1, 1000, 2048], [197, 64, 197]] {
        let (a, b, mut y) =
            (numbers(m * k), gemm::pack(k, n, |i, j| (i + j) as f32 / 99.0), vec![0.0; m * n]);
        let x = Product {
            a: a.as_ptr(),
            a_stride: k,
            b: b.as_ptr(),
            depth: k,
            columns: n,
            c: y.as_mut_ptr(),
            c_stride: n,
            accumulate: false,
            epilogue: Epilogue::NONE,
        };
        group.throughput(Throughput::Elements((m * n * k) as u64));
        // SAFETY (here and below): the operands were made for these extents.
        group.bench_function(format!("{m}x{n}x{k}"), |b| {
            b.iter(|| unsafe { gemm::product(Isa::best(), black_box(&x), 0..m, 0..gemm::panels(n)) });
        });
    }
}

fn convolutions(c: &mut Criterion) {
    let mut group = c.benchmark_group("conv 3x3");
    let window = Window { kernel: [3, 3], stride: [1, 1], pad: [1, 1], dilation: [1, 1] };
    for (side, channels) in [(56, 64), (28, 128), (14, 256), (7, 512)] {
        let (x, w) = (numbers(side * side * channels), numbers(channels * channels * 9));
        let (zeros, mut y) = (vec![0.0; channels], vec![0.0; side * side * channels]);
        group.throughput(Throughput::Elements((side * side * channels * channels * 9) as u64));
        let packed = conv::pack_weights(&w, channels, channels, [3, 3]);
        let direct = Conv {
            input: map(&x, side, channels),
            window,
            depth: channels,
            zeros: zeros.as_ptr(),
            weights: packed.as_ptr(),
            columns: channels,
            output: y.as_mut_ptr(),
            output_stride: channels,
            output_size: [side; 2],
            epilogue: Epilogue::NONE,
        };
        let panels = gemm::panels(channels);
        group.bench_function(format!("direct {side}x{side}x{channels}"), |b| {
            b.iter(|| unsafe { conv::conv(Isa::best(), black_box(&direct), 0..side * side, 0..panels) });
        });
        let packed = winograd::pack_weights(&w, channels, channels);
        let tiles = side.div_ceil(4).pow(2);
        let (mut v, mut m) = (vec![0.0; POINTS * tiles * channels], vec![0.0; POINTS * tiles * channels]);
        let fast = Winograd {
            input: map(&x, side, channels),
            pad: [1, 1],
            depth: channels,
            weights: packed.as_ptr(),
            columns: channels,
            output: y.as_mut_ptr(),
            output_stride: channels,
            output_size: [side; 2],
            epilogue: Epilogue::NONE,
            transformed: v.as_mut_ptr(),
            products: m.as_mut_ptr(),
            block: tiles,
        };
        group.bench_function(format!("winograd {side}x{side}x{channels}"), |b| {
            b.iter(|| unsafe {
                winograd::transform_input(Isa::best(), black_box(&fast), 0, 0..tiles);
                for point in 0..POINTS {
                    winograd::multiply(Isa::best(), &fast, tiles, point, 0..panels);
                }
                winograd::transform_output(Isa::best(), &fast, 0, 0..tiles);
            });
        });
    }
}

fn depthwise_and_pooling(c: &mut Criterion) {
    let mut group = c.benchmark_group("maps");
    for (side, channels, kernel, stride) in
        [(112, 32, 3, 1), (56, 144, 3, 1), (28, 120, 5, 1), (14, 480, 3, 1), (7, 960, 5, 1)]
    {
        let (x, w) = (numbers(side * side * channels), numbers(channels * kernel * kernel));
        let (bias, mut y) = (numbers(channels), vec![0.0; side * side * channels]);
        let packed = depthwise::pack_weights(&w, channels);
        let window =
            Window { kernel: [kernel; 2], stride: [stride; 2], pad: [kernel / 2; 2], dilation: [1, 1] };
        let d = Depthwise {
            input: map(&x, side, channels),
            window,
            channels,
            weights: packed.as_ptr(),
            bias: bias.as_ptr(),
            output: y.as_mut_ptr(),
            output_stride: channels,
            output_size: [side; 2],
            low: 0.0,
            high: 6.0,
        };
        group.throughput(Throughput::Elements((side * side * channels * kernel * kernel) as u64));
        group.bench_function(format!("depthwise {kernel}x{kernel} {side}x{side}x{channels}"), |b| {
            b.iter(|| unsafe { depthwise::depthwise(Isa::best(), black_box(&d), 0..side, 0..channels) });
        });
    }
    let (x, mut y) = (numbers(112 * 112 * 64), vec![0.0; 56 * 56 * 64]);
    let p = Pooling {
        input: map(&x, 112, 64),
        window: Window { kernel: [3, 3], stride: [2, 2], pad: [1, 1], dilation: [1, 1] },
        pad_end: [1, 1],
        kind: Kind::Max,
        channels: 64,
        output: y.as_mut_ptr(),
        output_stride: 64,
        output_size: [56, 56],
    };
    group.throughput(Throughput::Elements(56 * 56 * 64));
    group.bench_function("max pool 3x3 112x112x64", |b| {
        b.iter(|| unsafe { pool(Isa::best(), black_box(&p), 0..56) });
    });
}

fn elements(c: &mut Criterion) {
    const N: usize = 64 << 10;
    let mut group = c.benchmark_group("elements");
    group.throughput(Throughput::Elements(N as u64));
    let (x, z, mut y) = (numbers(N), numbers(N), vec![0.0; N]);
    for function in [Function::Gelu, Function::Sigmoid, Function::HardSwish] {
        group.bench_function(format!("{function:?}"), |b| {
            b.iter(|| unsafe {
                unary(Isa::best(), function, 1, N, black_box(x.as_ptr()), N, y.as_mut_ptr(), N)
            });
        });
    }
    let pair = Pair { a: x.as_ptr(), a_step: 1, b: z.as_ptr(), b_step: 1, low: 0.0, high: f32::INFINITY };
    group.bench_function("add and clamp", |b| {
        b.iter(|| unsafe {
            binary(Isa::best(), Operation::Add, 1, N, black_box(pair), N, N, y.as_mut_ptr(), N)
        });
    });
    group.bench_function("softmax of 256", |b| {
        b.iter(|| {
            for row in 0..N / 256 {
                unsafe {
                    rows::softmax(
                        Isa::best(),
                        x.as_ptr().add(row * 256),
                        y.as_mut_ptr().add(row * 256),
                        256,
                        1.0,
                    )
                };
            }
        });
    });
    group.bench_function("layer norm of 256", |b| {
        b.iter(|| {
            for row in 0..N / 256 {
                let (x, y) = (x.as_ptr().wrapping_add(row * 256), y.as_mut_ptr().wrapping_add(row * 256));
                unsafe { rows::layer_norm(Isa::best(), x, y, 256, null(), null(), 1e-5) };
            }
        });
    });
    group.bench_function("mean over 1024 pixels of 64 channels", |b| {
        b.iter(|| unsafe {
            rows::sum_pixels(Isa::best(), black_box(x.as_ptr()), 64, 1024, 64, 1.0 / 1024.0, y.as_mut_ptr())
        });
    });
}

fn binary_convolutions(c: &mut Criterion) {
    use ocelli_kernels::binary::{Extent, Filters, Padding, pack_rows, sums};
    let mut group = c.benchmark_group("binary 3x3");
    let window = Window { kernel: [3, 3], stride: [1, 1], pad: [1, 1], dilation: [1, 1] };
    for (side, channels) in [(56, 64), (28, 128), (14, 256), (7, 512)] {
        let (x, w) = (numbers(side * side * channels), numbers(channels * channels * 9));
        let filters = Filters::of_weights(&w, channels, channels, [3, 3]);
        let bits = pack_rows(Isa::best(), &x, channels);
        let extent = Extent { batch: 1, size: [side; 2], window, pad_end: [1, 1], padding: Padding::Zero };
        group.throughput(Throughput::Elements((side * side * channels * channels * 9) as u64));
        group.bench_function(format!("{side}x{side}x{channels}"), |b| {
            b.iter(|| sums(Isa::best(), &filters, black_box(&extent), &bits));
        });
        group.bench_function(format!("packing {side}x{side}x{channels}"), |b| {
            b.iter(|| pack_rows(Isa::best(), black_box(&x), channels));
        });
    }
}

// The macro's function carries no documentation.
#[allow(missing_docs)]
mod groups {
    use super::*;
    criterion_group!(benches, products, convolutions, binary_convolutions, depthwise_and_pooling, elements);
}
criterion_main!(groups::benches);
