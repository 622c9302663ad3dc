//! The 8-bit kernels: every instruction set of the machine gives the bits of the plain twin.

mod convolution;
mod depthwise;
mod elements;
mod winograd;

use ocelli_kernels::conv::Window;
use ocelli_kernels::int8::Requantiser;
use ocelli_kernels::int8::arithmetic::{Fixed, Target, requantise_fixed, requantise_float};
use proptest::prelude::*;

/// Deterministic numbers.
pub fn numbers(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 20
    }
}

/// Codes, every fourth at an end of their range.
pub fn codes(len: usize, seed: u64) -> Vec<u8> {
    let mut next = numbers(seed);
    (0..len)
        .map(|_| match next() % 8 {
            0 => 255,
            1 => 0,
            _ => (next() % 256) as u8,
        })
        .collect()
}

/// Weights, every fourth at an end of their range; in `-63..=63` for `seven_bits`.
pub fn weights(len: usize, seed: u64, seven_bits: bool) -> Vec<i8> {
    let mut next = numbers(seed);
    (0..len)
        .map(|_| {
            let (low, high) = if seven_bits { (-63, 63) } else { (-128, 127) };
            match next() % 8 {
                0 => low,
                1 => high,
                _ => (low as i64 + (next() % (high as i64 - low as i64 + 1) as u64) as i64) as i8,
            }
        })
        .collect()
}

pub fn biases(len: usize, seed: u64) -> Vec<i32> {
    let mut next = numbers(seed);
    (0..len).map(|_| (next() % 20_000) as i32 - 10_000).collect()
}

pub fn target() -> impl Strategy<Value = Target> {
    (any::<u8>(), any::<u8>(), any::<u8>(), any::<bool>()).prop_map(|(zero, low, high, all)| {
        if all { Target::all(zero) } else { Target { zero, low: low.min(high), high: low.max(high) } }
    })
}

/// How sums become codes: multipliers around `scale`, now and then of quite another size.
#[derive(Clone, Debug)]
pub enum Mode {
    Fixed(Vec<Fixed>),
    Float(Vec<f32>),
}

impl Mode {
    pub fn new(columns: usize, scale: f64, fixed: bool, odd: bool, seed: u64) -> Self {
        let mut next = numbers(seed ^ 77);
        let m: Vec<f64> = (0..columns)
            .map(|_| {
                let near = scale * (0.25 + next() as f64 / (1u64 << 44) as f64);
                if odd && next().is_multiple_of(8) {
                    2f64.powi((next() % 70) as i32 - 46) * 1.37
                } else {
                    near
                }
            })
            .collect();
        if fixed {
            Self::Fixed(m.iter().map(|&m| Fixed::new(m).unwrap()).collect())
        } else {
            Self::Float(m.iter().map(|&m| m as f32).collect())
        }
    }

    pub fn requantiser(&self, bias: &[i32], target: Target) -> Requantiser {
        match self {
            Self::Fixed(by) => Requantiser::fixed(bias, by, target),
            Self::Float(by) => Requantiser::float(bias, by, target),
        }
    }

    pub fn code(&self, sum: i32, column: usize, target: Target) -> u8 {
        match self {
            Self::Fixed(by) => requantise_fixed(sum, by[column], target),
            Self::Float(by) => requantise_float(sum, by[column], target),
        }
    }
}

/// Windows with padding at the end and the extent of a map they fit on.
pub fn windows() -> impl Strategy<Value = (Window, [usize; 2], [usize; 2])> {
    let pair = |r: std::ops::Range<usize>| prop::array::uniform2(r);
    (pair(1..6), pair(1..4), pair(0..3), pair(1..3), pair(0..3), pair(0..14)).prop_map(
        |(kernel, stride, pad, dilation, pad_end, extra)| {
            let window = Window { kernel, stride, pad, dilation };
            let size = [0, 1].map(|axis| (kernel[axis] - 1) * dilation[axis] + 1 + extra[axis]);
            (window, pad_end, size)
        },
    )
}

/// Windows of one tap that move pixel by pixel.
pub fn pointwise() -> impl Strategy<Value = (Window, [usize; 2], [usize; 2])> {
    let window = Window { kernel: [1; 2], stride: [1; 2], pad: [0; 2], dilation: [1; 2] };
    prop::array::uniform2(1usize..14).prop_map(move |size| (window, [0; 2], size))
}
