//! Times 8-bit kernels in turns with those for float32: `int8 [INSTRUCTION SETS [PART OF A NAME [ROUNDS]]]`, the sets
//! separated by commas (`all` for every one of the machine). Prints the best rounds' GMAC/s on one thread.

use std::cell::RefCell;
use std::time::Instant;

use ocelli_kernels::conv::Window;
use ocelli_kernels::gemm::panels;
use ocelli_kernels::int8::arithmetic::{Fixed, Target};
use ocelli_kernels::int8::{self, Isa, Packed, Requantiser};
use ocelli_kernels::{conv, depthwise, gemm};

/// Channels in and out, side, kernel, stride, groups.
const SHAPES: [(usize, usize, usize, usize, usize, usize); 14] = [
    (64, 64, 56, 3, 1, 1),
    (128, 128, 28, 3, 1, 1),
    (256, 256, 14, 3, 1, 1),
    (512, 512, 7, 3, 1, 1),
    (256, 64, 56, 1, 1, 1),
    (1024, 256, 14, 1, 1, 1),
    (96, 96, 56, 3, 1, 96),
    (576, 576, 14, 3, 1, 576),
    (8, 8, 112, 3, 1, 8),
    (24, 24, 112, 3, 1, 24),
    (36, 36, 56, 3, 1, 36),
    (72, 72, 56, 5, 2, 72),
    (3, 64, 224, 7, 2, 1),
    (16, 96, 112, 1, 1, 1),
];

fn main() {
    let argument = |n: usize| std::env::args().nth(n);
    let sets: Vec<Isa> = match argument(1).as_deref() {
        None => vec![Isa::best()],
        Some("all") => Isa::available(),
        Some(names) => Isa::available()
            .into_iter()
            .filter(|isa| names.split(',').any(|n| n == isa.to_string()))
            .collect(),
    };
    let wanted = argument(2).unwrap_or_default();
    let rounds = argument(3).and_then(|n| n.parse().ok()).unwrap_or(15);
    for isa in sets {
        println!(
            "{:<28}{:>16}{:>12}{:>12}{:>12}{:>8}{:>8}{:>8}",
            isa.to_string(),
            "float32",
            "fixed",
            "float",
            "Winograd",
            "×",
            "×",
            "×"
        );
        for (channels, out, side, kernel, stride, groups) in SHAPES {
            let name = format!("{channels}->{out} {side}² {kernel}×{kernel}/{stride} g{groups}");
            if !name.contains(&wanted) {
                continue;
            }
            let job = Job::new(isa, channels, out, side, kernel, stride, groups);
            let mut best = [f64::INFINITY; 4];
            for _ in 0..rounds {
                for (way, best) in best.iter_mut().enumerate() {
                    if way == 3 && job.winograd.is_none() {
                        continue;
                    }
                    // Long enough for the clock; the first run, not timed, brings operands near.
                    let repeats = (1e8 / job.macs).ceil() as usize;
                    let mut start = Instant::now();
                    for repeat in 0..=repeats {
                        if repeat == 1 {
                            start = Instant::now();
                        }
                        match way {
                            0 => job.run_float(isa.lanes()),
                            1 => job.run(isa, &job.fixed),
                            2 => job.run(isa, &job.float),
                            _ => job.run_winograd(isa),
                        }
                    }
                    *best = best.min(start.elapsed().as_secs_f64() / repeats as f64);
                }
            }
            let speed = best.map(|t| job.macs / t * 1e-9);
            println!(
                "{name:<28}{:>16.1}{:>12.1}{:>12.1}{:>12.1}{:>8.2}{:>8.2}{:>8.2}  {}",
                speed[0],
                speed[1],
                speed[2],
                speed[3],
                speed[1] / speed[0],
                speed[2] / speed[0],
                speed[3] / speed[0],
                job.excess.as_ref().map_or(String::new(), |e| format!("excess {:.3}", e.share()))
            );
        }
    }
}

/// About normally distributed weights, as those of trained networks: the largest are 3.7 deviations out.
fn normal(len: usize) -> Vec<i8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / (1u64 << 24) as f64 - 0.5
    };
    // The sum of twelve has a deviation of 1.
    (0..len).map(|_| (34.0 * (0..12).map(|_| next()).sum::<f64>()).clamp(-127.0, 127.0) as i8).collect()
}

/// A convolution in both kinds of numbers.
struct Job {
    channels: usize,
    out: usize,
    side: usize,
    out_side: usize,
    window: Window,
    is_depthwise: bool,
    macs: f64,
    floats: Vec<f32>,
    float_weights: Vec<f32>,
    float_bias: Vec<f32>,
    codes: Vec<u8>,
    packed: Packed,
    filters: int8::depthwise::Filters,
    excess: Option<int8::Excess>,
    winograd: Option<int8::winograd::Filters>,
    fixed: Requantiser,
    float: Requantiser,
    output: RefCell<Vec<u8>>,
    float_output: RefCell<Vec<f32>>,
}

impl Job {
    fn new(
        isa: Isa,
        channels: usize,
        out: usize,
        side: usize,
        kernel: usize,
        stride: usize,
        groups: usize,
    ) -> Self {
        let window =
            Window { kernel: [kernel; 2], stride: [stride; 2], pad: [kernel / 2; 2], dilation: [1; 2] };
        let out_side = (side + 2 * (kernel / 2) - kernel) / stride + 1;
        let depth = channels / groups;
        let taps = kernel * kernel;
        let is_depthwise = groups > 1;
        let weights: Vec<i8> = normal(out * depth * taps);
        let packed = Packed::new(&weights, if is_depthwise { 0 } else { out }, depth, [kernel; 2]);
        let layout = int8::weights::Layout::new(depth, [kernel; 2]);
        let excess = if is_depthwise { None } else { int8::Excess::new(isa, packed.panels(), layout) };
        let whole = !is_depthwise && (kernel, stride) == (3, 1);
        let weight = |o: usize, c: usize, tap: usize| weights[(o * depth + c) * taps + tap];
        let winograd = if whole { int8::winograd::Filters::new(isa, out, depth, weight) } else { None };
        let floats: Vec<f32> = weights.iter().map(|w| f32::from(*w) / 127.0).collect();
        let m = 0.01 / (depth * taps) as f64;
        let target = Target::all(3);
        let bias = vec![100; out];
        Self {
            channels,
            out,
            side,
            out_side,
            window,
            is_depthwise,
            macs: (out_side * out_side * out * depth * taps) as f64,
            floats: vec![0.5; channels * side * side],
            float_weights: if is_depthwise {
                depthwise::pack_weights(&floats, out)
            } else {
                conv::pack_weights(&floats, out, depth, [kernel; 2])
            },
            float_bias: vec![0.1; out + 16],
            codes: (0..channels * side * side + 3).map(|i| (i * 31 % 256) as u8).collect(),
            packed,
            excess,
            winograd,
            filters: int8::depthwise::Filters::new(
                if is_depthwise { &weights } else { &[] },
                if is_depthwise { out } else { 0 },
                [kernel; 2],
            ),
            fixed: Requantiser::fixed(&bias, &vec![Fixed::new(m).unwrap(); out], target),
            float: Requantiser::float(&bias, &vec![m as f32; out], target),
            output: RefCell::new(vec![0; out * out_side * out_side]),
            float_output: RefCell::new(vec![0.0; out * out_side * out_side]),
        }
    }

    fn run(&self, isa: Isa, requantiser: &Requantiser) {
        let mut y = self.output.borrow_mut();
        let input = int8::MapIn::dense(self.codes.as_ptr(), [self.side, self.side, self.channels]);
        let padding = vec![3u8; self.channels.next_multiple_of(4)];
        let output_size = [self.out_side; 2];
        let output = int8::Output::Codes { data: y.as_mut_ptr(), stride: self.out };
        let epilogue = int8::Epilogue { requantiser, column: 0, output, residual: None };
        // SAFETY: the buffers were made for these extents.
        unsafe {
            if self.is_depthwise {
                let x = int8::Depthwise {
                    input,
                    window: self.window,
                    channels: self.channels,
                    zero: 3,
                    filters: self.filters.data(),
                    seven_bits: false,
                    output_size,
                    requantiser,
                    output: y.as_mut_ptr(),
                    output_stride: self.out,
                };
                int8::depthwise(isa, &x, 0..self.out_side, 0..self.channels);
            } else {
                let x = int8::Conv {
                    input,
                    window: self.window,
                    depth: self.channels,
                    padding: padding.as_ptr(),
                    weights: int8::Weights { excess: self.excess.as_ref(), ..self.packed.weights() },
                    columns: self.out,
                    output_size,
                    epilogue,
                };
                int8::conv(isa, &x, 0..self.out_side * self.out_side, 0..panels(self.out));
            }
        }
        std::hint::black_box(&y);
    }

    fn run_winograd(&self, isa: Isa) {
        let mut y = self.output.borrow_mut();
        let output = int8::Output::Codes { data: y.as_mut_ptr(), stride: self.out };
        let x = int8::Winograd {
            input: int8::MapIn::dense(self.codes.as_ptr(), [self.side, self.side, self.channels]),
            pad: [1; 2],
            depth: self.channels,
            zero: 3,
            filters: self.winograd.as_ref().expect("filters"),
            columns: self.out,
            output_size: [self.out_side; 2],
            epilogue: int8::Epilogue { requantiser: &self.fixed, column: 0, output, residual: None },
        };
        let tiles = x.tiles()[0] * x.tiles()[1];
        // SAFETY: the buffers were made for these extents.
        unsafe { int8::winograd(isa, &x, 0..tiles, 0..panels(self.out)) };
        std::hint::black_box(&y);
    }

    fn run_float(&self, isa: ocelli_kernels::Isa) {
        let mut y = self.float_output.borrow_mut();
        let input = conv::MapIn {
            data: self.floats.as_ptr(),
            picture: self.channels * self.side * self.side,
            row: self.channels * self.side,
            pixel: self.channels,
            height: self.side,
            width: self.side,
        };
        let zeros = vec![0f32; self.channels];
        let output_size = [self.out_side; 2];
        // SAFETY: the buffers were made for these extents.
        unsafe {
            if self.is_depthwise {
                let x = depthwise::Depthwise {
                    input,
                    window: self.window,
                    channels: self.channels,
                    weights: self.float_weights.as_ptr(),
                    bias: self.float_bias.as_ptr(),
                    output: y.as_mut_ptr(),
                    output_stride: self.out,
                    output_size,
                    low: 0.0,
                    high: 6.0,
                };
                depthwise::depthwise(isa, &x, 0..self.out_side, 0..self.channels);
            } else {
                let x = conv::Conv {
                    input,
                    window: self.window,
                    depth: self.channels,
                    zeros: zeros.as_ptr(),
                    weights: self.float_weights.as_ptr(),
                    columns: self.out,
                    output: y.as_mut_ptr(),
                    output_stride: self.out,
                    output_size,
                    epilogue: gemm::Epilogue {
                        bias: self.float_bias.as_ptr(),
                        low: 0.0,
                        high: f32::INFINITY,
                        ..gemm::Epilogue::NONE
                    },
                };
                conv::conv(isa, &x, 0..self.out_side * self.out_side, 0..panels(self.out));
            }
        }
        std::hint::black_box(&y);
    }
}
