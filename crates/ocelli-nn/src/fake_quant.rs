//! Quantisation that can be trained through: numbers are rounded to what their codes stand for, gradients pass.
//!
//! Source: Esser et al., "Learned Step Size Quantization" (2020).

use burn::tensor::Tensor;

/// The codes a tensor may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CodeRange {
    /// The smallest code.
    pub low: i32,
    /// The largest code.
    pub high: i32,
}

impl CodeRange {
    /// Codes from zero on: rectified activations.
    pub fn unsigned(bits: u8) -> Self {
        Self { low: 0, high: (1 << bits) - 1 }
    }

    /// Codes on both sides of zero, of activations (one more below than above).
    pub fn signed(bits: u8) -> Self {
        Self { low: -(1 << (bits - 1)), high: (1 << (bits - 1)) - 1 }
    }

    /// As many codes above zero as below: weights.
    pub fn narrow(bits: u8) -> Self {
        let high = (1 << (bits - 1)) - 1;
        Self { low: -high, high }
    }

    /// The step to begin with, `2 mean|v| / sqrt(high)`.
    pub fn initial_step<const D: usize>(self, v: &Tensor<D>) -> f32 {
        let mean: f32 = v.clone().abs().mean().into_scalar();
        (2.0 * mean / (self.high as f32).sqrt()).max(f32::MIN_POSITIVE)
    }
}

/// `clamp(round(v / step), low, high) * step`, halves to even, for a learned `step` `[1]`.
///
/// The gradient passes to `v` where its code lies inside of the range. That of the step is what rounding added inside, the outermost
/// code beyond, times `1 / sqrt(elements * high)`.
pub fn learned_step<const D: usize>(v: Tensor<D>, step: Tensor<1>, range: CodeRange) -> Tensor<D> {
    let count = v.dims().iter().product::<usize>() as f64;
    let factor = 1.0 / (count * f64::from(range.high)).sqrt();
    let [low, high] = [range.low, range.high].map(|code| code as f32);
    // The step's value, with a share of its gradient.
    let slow = step.clone().mul_scalar(factor) + step.clone().mul_scalar(1.0 - factor).detach();
    let own = v.clone().detach();
    let wide = step.detach().reshape([1; D]).expand(own.dims());
    let steps = own / wide.clone();
    let codes = steps.clone().round().clamp(low, high);
    let inside = steps.clone().greater_elem(low).bool_and(steps.clone().lower_elem(high)).float();
    let kept = codes.clone() - steps * inside.clone();
    let given = v * inside + slow.reshape([1; D]).expand(kept.dims()) * kept;
    // The value is exact, not the sum of its parts.
    let exact = codes * wide;
    given.clone() + (exact - given).detach()
}
