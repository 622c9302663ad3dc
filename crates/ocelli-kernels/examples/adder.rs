//! Times 3x3 adder convolutions on one thread: numbers (float32), and 8-bit codes from float32 maps to float32 maps (codes of four
//! groups of filters are made on the way). `cargo run --release -p ocelli-kernels --example adder`

use std::time::Instant;

use ocelli_kernels::Isa;
use ocelli_kernels::adder::sad::{Coding, Encode, Filters, SadConv, codes, convolve};
use ocelli_kernels::adder::{self, Finish};
use ocelli_kernels::conv::{Conv, MapIn, Window, pack_weights};
use ocelli_kernels::gemm::{self, Epilogue};

fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect()
}

/// The fastest of many runs, in microseconds.
fn fastest(mut run: impl FnMut()) -> f64 {
    let begun = Instant::now();
    let mut best = f64::INFINITY;
    let mut runs = 0;
    while runs < 20 || begun.elapsed().as_secs_f64() < 0.5 {
        let one = Instant::now();
        run();
        best = best.min(one.elapsed().as_secs_f64());
        runs += 1;
    }
    1e6 * best
}

fn main() {
    let isa = Isa::best();
    println!("{isa}, one thread, us (fastest)");
    println!("{:<16} {:>10} {:>12} {:>12} {:>12}", "map", "float32", "codes, G=4", "codes, G=1", "Gdist/s");
    for (side, channels) in [(32, 16), (16, 32), (8, 64), (56, 64), (28, 128), (14, 256), (7, 512)] {
        let (x, w) = (numbers(side * side * channels), numbers(channels * channels * 9));
        let window = Window { kernel: [3, 3], stride: [1, 1], pad: [1, 1], dilation: [1, 1] };
        let mut y = vec![0.0f32; side * side * channels];
        let (scale, offset) = (vec![-1e-3f32; channels], vec![0.0f32; channels]);
        let finish = Finish {
            output: y.as_mut_ptr(),
            stride: channels,
            scale: scale.as_ptr(),
            offset: offset.as_ptr(),
            residual: std::ptr::null(),
            residual_stride: 0,
            low: 0.0,
            high: f32::INFINITY,
        };
        let (packed, zeros) = (pack_weights(&w, channels, channels, [3, 3]), vec![0.0; channels]);
        let conv = Conv {
            input: MapIn {
                data: x.as_ptr(),
                picture: side * side * channels,
                row: side * channels,
                pixel: channels,
                height: side,
                width: side,
            },
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
        let pixels = side * side;
        // SAFETY (here and below): the operands were made for these extents.
        let float = fastest(|| unsafe {
            adder::conv(isa, &conv, 0..pixels, 0..gemm::panels(channels));
            adder::finish(isa, &finish, 0, pixels, 0, channels);
        });
        let coding = Coding { bits: 8, signed: false };
        let timed = |groups: usize| {
            let labels: Vec<u8> = (0..channels).map(|o| (o * groups / channels) as u8).collect();
            let q: Vec<i8> = w.iter().map(|w| coding.weight(*w, 1.0)).collect();
            let filters = Filters::new(&q, &labels, groups, channels, 9, false).expect("they fit");
            let mut bytes = vec![0u8; groups * pixels * channels];
            let edge = vec![0u8; channels];
            let sad = SadConv {
                codes: bytes.as_ptr(),
                group: pixels * channels,
                size: [side; 2],
                window,
                channels,
                edge: edge.as_ptr(),
                weights: filters.packed.as_ptr(),
                groups: filters.groups.as_ptr(),
                group_count: groups,
                sums: filters.sums(),
                places: filters.places.as_ptr(),
                outputs: channels,
                output_size: [side; 2],
                finish,
            };
            fastest(|| unsafe {
                for group in 0..groups {
                    let encode = Encode {
                        x: x.as_ptr(),
                        stride: channels,
                        pixels,
                        channels,
                        coding,
                        scale: 1.0 + group as f32,
                        out: bytes.as_mut_ptr().add(group * pixels * channels),
                        padded: channels,
                    };
                    codes(isa, &encode);
                }
                convolve(isa, &sad, 0..pixels);
            })
        };
        let (four, one) = (timed(4), timed(1));
        let terms = (pixels * channels * channels * 9) as f64;
        println!(
            "{:<16} {float:>10.1} {four:>12.1} {one:>12.1} {:>12.1}",
            format!("{side}x{side}x{channels}"),
            terms / one / 1e3
        );
    }
}
