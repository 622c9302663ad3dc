//! From ranges to scales, from numbers to codes.
//!
//! Statistics are kept in `f64` and scales rounded once to `f32`; codes come from an `f32` division, rounded half to even, as
//! ONNX's `QuantizeLinear` defines it.

use ocelli_graph::Codes;

/// Codes for numbers between `low` and `high`, which is widened to contain zero. A range of nothing gets scale 1.
pub fn affine(low: f64, high: f64, bits: u8) -> Codes {
    let (low, high) = (low.min(0.0), high.max(0.0));
    let steps = f64::from((1u32 << bits) - 1);
    let scale = ((high - low) / steps) as f32;
    if !(scale.is_finite() && scale > 0.0) {
        return Codes { scale: 1.0, zero_point: 0, bits };
    }
    let zero_point = (-low / f64::from(scale)).round_ties_even().clamp(0.0, steps) as i32;
    Codes { scale, zero_point, bits }
}

/// The largest symmetric code: the narrow range, `-m..=m`.
pub fn largest_code(bits: u8) -> i32 {
    (1 << (bits - 1)) - 1
}

/// The scale at which `most` is the largest symmetric code; 1 for nothing.
pub fn symmetric_scale(most: f64, bits: u8) -> f32 {
    let scale = (most / f64::from(largest_code(bits))) as f32;
    if scale.is_finite() && scale > 0.0 { scale } else { 1.0 }
}

/// The symmetric code of `w`.
pub fn symmetric_code(w: f32, scale: f32, bits: u8) -> i8 {
    let most = largest_code(bits) as f32;
    (w / scale).round_ties_even().clamp(-most, most) as i8
}

/// How the scale of weights is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WeightRange {
    /// The largest weight is the largest code.
    MinMax,
    /// Of 1.00, 0.99, .. 0.40 of the largest weight, what leaves the least squared error; of equals the largest.
    Mse,
}

/// The scale for `weights` that share one.
pub fn weight_scale(weights: &[f32], range: WeightRange, bits: u8) -> f32 {
    let most = weights.iter().fold(0f64, |most, w| most.max(f64::from(w.abs())));
    if range == WeightRange::MinMax || most == 0.0 {
        return symmetric_scale(most, bits);
    }
    let error = |scale: f32| -> f64 {
        let left = |w: &f32| f64::from(f32::from(symmetric_code(*w, scale, bits)) * scale) - f64::from(*w);
        weights.iter().map(|w| left(w).powi(2)).sum()
    };
    let candidates = (0..=60).map(|i| symmetric_scale(most * f64::from(100 - i) / 100.0, bits));
    let mut best = (f64::INFINITY, 1.0);
    for scale in candidates {
        let own = error(scale);
        if own < best.0 {
            best = (own, scale);
        }
    }
    best.1
}

/// Weights as codes.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantisedWeights {
    /// The codes, row-major as the weights were.
    pub codes: Vec<i8>,
    /// A scale per output channel, or one for all.
    pub scales: Vec<f32>,
    /// Bits of a code.
    pub bits: u8,
}

impl QuantisedWeights {
    /// Weights `[channels, ..]` (`channels` rows of equal length), a scale per row or, without `per_channel`, one for all.
    pub fn new(weights: &[f32], channels: usize, per_channel: bool, range: WeightRange, bits: u8) -> Self {
        let scales = if per_channel {
            rows(weights, channels).map(|row| weight_scale(row, range, bits)).collect()
        } else {
            vec![weight_scale(weights, range, bits)]
        };
        Self::with_scales(weights, channels, scales, bits)
    }

    /// Weights as the nearest codes at given scales.
    pub fn with_scales(weights: &[f32], channels: usize, scales: Vec<f32>, bits: u8) -> Self {
        let scale = |row: usize| scales[if scales.len() == 1 { 0 } else { row }];
        let codes = rows(weights, channels)
            .enumerate()
            .flat_map(|(i, row)| row.iter().map(move |w| (i, *w)))
            .map(|(i, w)| symmetric_code(w, scale(i), bits))
            .collect();
        Self { codes, scales, bits }
    }

    /// The scale of row `row`.
    pub fn scale(&self, row: usize) -> f32 {
        self.scales[if self.scales.len() == 1 { 0 } else { row }]
    }

    /// What the codes stand for, `channels` rows.
    pub fn numbers(&self, channels: usize) -> Vec<f32> {
        let row = self.codes.len() / channels.max(1);
        self.codes.iter().enumerate().map(|(i, code)| f32::from(*code) * self.scale(i / row.max(1))).collect()
    }
}

/// Rows of equal length.
pub(crate) fn rows(weights: &[f32], count: usize) -> std::slice::ChunksExact<'_, f32> {
    weights.chunks_exact((weights.len() / count.max(1)).max(1))
}

/// A bias in units of `scale`, the product of input and weight scale.
pub fn bias_code(bias: f32, scale: f32) -> i32 {
    (f64::from(bias) / f64::from(scale)).round_ties_even().clamp(f64::from(i32::MIN), f64::from(i32::MAX))
        as i32
}
