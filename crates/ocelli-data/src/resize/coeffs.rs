//! Which source pixels make an output pixel, and with what weight.

use super::Interpolation;
use std::f64::consts::PI;

/// Fractional bits of a weight: 32 bits less 8 for the sample and 2 for overshoot and sign.
pub(super) const PRECISION: u32 = 22;

/// The weights for a run of output positions along one axis.
pub(super) struct Coefficients {
    /// Per output position: first source position and number of taps.
    bounds: Vec<(usize, usize)>,
    /// `taps` weights per output position, 0 past the used ones.
    weights: Vec<i32>,
    taps: usize,
}

impl Coefficients {
    /// For the output positions `first..first + count` of an axis that goes from `input` to `output` pixels.
    pub(super) fn new(
        input: usize,
        output: usize,
        first: usize,
        count: usize,
        filter: Interpolation,
    ) -> Self {
        let scale = input as f64 / output as f64;
        let stretch = scale.max(1.0);
        let support = radius(filter) * stretch;
        let taps = support.ceil() as usize * 2 + 1;
        let mut bounds = Vec::with_capacity(count);
        let mut weights = vec![0; taps * count];
        let mut exact = Vec::with_capacity(taps);
        for (position, slots) in (first..first + count).zip(weights.chunks_exact_mut(taps)) {
            let center = (position as f64 + 0.5) * scale;
            // Float to integer casts saturate, so a negative start becomes 0.
            let from = (center - support + 0.5) as usize;
            let to = ((center + support + 0.5) as usize).min(input);
            exact.clear();
            exact.extend((from..to).map(|x| weight(filter, (x as f64 - center + 0.5) * (1.0 / stretch))));
            let sum: f64 = exact.iter().sum();
            for (slot, w) in slots.iter_mut().zip(&exact) {
                let w = if sum != 0.0 { w / sum } else { *w };
                let scaled = w * f64::from(1u32 << PRECISION);
                *slot = (scaled + if w < 0.0 { -0.5 } else { 0.5 }) as i32;
            }
            bounds.push((from, to - from));
        }
        Self { bounds, weights, taps }
    }

    /// Number of output positions.
    pub(super) fn len(&self) -> usize {
        self.bounds.len()
    }

    /// First source position and weights, per output position.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        self.bounds.iter().zip(self.weights.chunks_exact(self.taps)).map(|(&(at, n), w)| (at, &w[..n]))
    }

    /// The source positions that are read at all: from, to (exclusive).
    pub(super) fn span(&self) -> (usize, usize) {
        let from = self.bounds.iter().map(|b| b.0).min().unwrap_or(0);
        let to = self.bounds.iter().map(|b| b.0 + b.1).max().unwrap_or(0);
        (from, to)
    }
}

/// The source position of each output position, for nearest.
pub(super) fn nearest(input: usize, output: usize, first: usize, count: usize) -> Vec<usize> {
    let scale = input as f64 / output as f64;
    // Pillow steps by adding, and the rounding errors of that decide exact ties. Far windows of huge
    // pictures, which Pillow could not make anyway, are computed directly.
    let stepped = first < 1 << 24;
    let mut at = scale * 0.5 + if stepped { 0.0 } else { first as f64 * scale };
    if stepped {
        (0..first).for_each(|_| at += scale);
    }
    let mut columns = Vec::with_capacity(count);
    for _ in 0..count {
        columns.push((at as usize).min(input - 1));
        at += scale;
    }
    columns
}

fn radius(filter: Interpolation) -> f64 {
    match filter {
        Interpolation::Nearest | Interpolation::Box => 0.5,
        Interpolation::Bilinear | Interpolation::Hamming => 1.0,
        Interpolation::Bicubic => 2.0,
        Interpolation::Lanczos => 3.0,
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { libm::sin(x * PI) / (x * PI) }
}

fn weight(filter: Interpolation, x: f64) -> f64 {
    let distance = x.abs();
    match filter {
        // Half open, so that a source pixel on the border belongs to one side only.
        Interpolation::Nearest | Interpolation::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
        Interpolation::Bilinear => (1.0 - distance).max(0.0),
        Interpolation::Hamming if distance == 0.0 => 1.0,
        Interpolation::Hamming if distance >= 1.0 => 0.0,
        // Pillow writes these two as single precision.
        Interpolation::Hamming => {
            sinc(distance) * (f64::from(0.54f32) + f64::from(0.46f32) * libm::cos(distance * PI))
        }
        Interpolation::Bicubic if distance < 1.0 => (1.5 * distance - 2.5) * distance * distance + 1.0,
        Interpolation::Bicubic if distance < 2.0 => {
            -0.5 * (((distance - 5.0) * distance + 8.0) * distance - 4.0)
        }
        Interpolation::Bicubic => 0.0,
        Interpolation::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
        Interpolation::Lanczos => 0.0,
    }
}
