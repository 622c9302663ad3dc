//! The operator of adder networks.

use serde::{Deserialize, Serialize};

use crate::op::{ConvAttrs, Unary};

/// A convolution whose products are negative distances; beyond the edge lie zeros, which have a distance like any number.
///
/// Inputs: x `[n, c, h, w]`, weight `[out, c, kh, kw]`, then what the attributes say, in their order: scale `[out]` and shift `[out]`,
/// residual (of the output's shape). Result: `activation(scale · y + shift + residual)` with `y = -Σ |x - w|`, or on codes, where
/// the weight is `I8` codes, `y = -step · Σ |a - k q|` (see [`AdderCodes`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdderConv {
    /// Geometry; there are no groups of channels.
    pub attrs: ConvAttrs,
    /// The weight is codes, and the input becomes some.
    #[serde(default)]
    pub codes: Option<AdderCodes>,
    /// Scale and shift follow the weight (passes only).
    #[serde(default)]
    pub affine: bool,
    /// A residual is the last input (fusion only).
    #[serde(default)]
    pub residual: bool,
    /// Applied last (fusion only).
    #[serde(default)]
    pub activation: Option<Unary>,
}

/// Codes of an adder layer: filters in groups, a scale for each.
///
/// In a group of scale `s`, with `L = 2^bits - 1`, an activation has the code `a = clamp(round(x L / s), 0, L)` of step `s / L`, and a
/// weight's code `q` stands for `2 q s / L`: a sum of `|a - 2 q|` has step `s / L`. Signed activations have the weights' step and
/// range: `|a - q|` of step `2 s / L`. Halves round to even, in `f32` and in this order. Source: Nie et al., "Redistribution of Weights
/// and Activations for AdderNet Quantization" (2022).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdderCodes {
    /// Bits of a code, 2 to 8.
    pub bits: u8,
    /// Whether activations have codes on both sides of zero.
    pub signed: bool,
    /// Scale of every group.
    pub scales: Vec<f32>,
    /// Group of every filter, `[out]`.
    pub labels: Vec<u8>,
}

impl AdderConv {
    /// An adder convolution of numbers.
    pub fn new(attrs: ConvAttrs) -> Self {
        Self { attrs, codes: None, affine: false, residual: false, activation: None }
    }

    /// How many inputs it has.
    pub fn inputs(&self) -> usize {
        2 + 2 * usize::from(self.affine) + usize::from(self.residual)
    }
}

impl AdderCodes {
    /// `2^bits - 1`
    pub fn levels(&self) -> f32 {
        ((1u32 << self.bits.min(8)) - 1) as f32
    }

    /// The code of activation `x` in group `group`.
    pub fn code(&self, x: f32, group: usize) -> i32 {
        let steps = x * self.levels() / self.scales[group];
        let (steps, low, high) = if self.signed {
            let half = (1i32 << (self.bits - 1)) as f32;
            (steps / 2.0, -half, half - 1.0)
        } else {
            (steps, 0.0, self.levels())
        };
        // What is no number has the smallest code.
        steps.round_ties_even().max(low).min(high) as i32
    }

    /// What one unit of a sum of distances in group `group` stands for.
    pub fn step(&self, group: usize) -> f32 {
        let step = self.scales[group] / self.levels();
        if self.signed { 2.0 * step } else { step }
    }

    /// What a weight's code is multiplied by among the codes of activations.
    pub fn factor(&self) -> i32 {
        if self.signed { 1 } else { 2 }
    }

    /// Whether these are codes of `filters` filters.
    pub fn is_sound(&self, filters: usize) -> bool {
        (2..=8).contains(&self.bits)
            && (1..=256).contains(&self.scales.len())
            && self.scales.iter().all(|scale| scale.is_finite() && *scale > 0.0)
            && self.labels.len() == filters
            && self.labels.iter().all(|&label| usize::from(label) < self.scales.len())
    }
}
