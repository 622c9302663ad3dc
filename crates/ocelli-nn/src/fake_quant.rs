//! Quantisation that can be trained through: numbers are rounded to what their codes stand for, gradients pass.
//!
//! Source: Esser et al., "Learned Step Size Quantization" (2020).

use std::cell::RefCell;
use std::collections::HashMap;

use burn::module::{Param, ParamId};
use burn::tensor::Tensor;

use crate::kernels;

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

/// `clamp(round(v / step), low, high) * step`, halves to even, for learned steps: one for all of `v` (`[1]`) or one for every
/// row of `v` (`[rows]` with `[rows, ...]`).
///
/// The gradient passes to `v` where its code lies inside of the range. That of the step is what rounding added inside, the outermost
/// code beyond, times `1 / sqrt(elements * high)`.
pub fn learned_step<const D: usize>(v: Tensor<D>, step: Tensor<1>, range: CodeRange) -> Tensor<D> {
    let rows = step.dims()[0];
    let count = v.dims().iter().product::<usize>() as f64 / rows as f64;
    let factor = 1.0 / (count * f64::from(range.high)).sqrt();
    let [low, high] = [range.low, range.high].map(|code| code as f32);
    if kernels::serve(&v) {
        return kernels::fake_quant(v, step, [low, high], factor as f32);
    }
    let mut shape = [1; D];
    shape[0] = rows;
    // The step's value, with a share of its gradient.
    let slow = step.clone().mul_scalar(factor) + step.clone().mul_scalar(1.0 - factor).detach();
    let own = v.clone().detach();
    let wide = step.detach().reshape(shape).expand(own.dims());
    let steps = own / wide.clone();
    let codes = steps.clone().round().clamp(low, high);
    let inside = steps.clone().greater_elem(low).bool_and(steps.clone().lower_elem(high)).float();
    let kept = codes.clone() - steps * inside.clone();
    let given = v * inside + slow.reshape(shape).expand(kept.dims()) * kept;
    // The value is exact, not the sum of its parts.
    let exact = codes * wide;
    given.clone() + (exact - given).detach()
}

/// How one layer's weights and input are rounded.
#[derive(Clone, Debug)]
pub struct LayerCodes {
    /// Steps of the weights, `[channels_out]`, and their codes.
    pub weight: (Tensor<1>, CodeRange),
    /// Step of the input, `[1]`, and its codes; nothing leaves it as it is.
    pub input: Option<(Tensor<1>, CodeRange)>,
}

thread_local! {
    static LAYERS: RefCell<Option<HashMap<ParamId, LayerCodes>>> = const { RefCell::new(None) };
}

/// Runs `forward` with the convolutions and linear layers whose weights are in `layers` computing on rounded weights and inputs:
/// quantisation-aware training, of any network of this crate's layers.
pub fn with_codes<R>(layers: HashMap<ParamId, LayerCodes>, forward: impl FnOnce() -> R) -> R {
    struct Restore(Option<HashMap<ParamId, LayerCodes>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            LAYERS.set(self.0.take());
        }
    }
    let _restore = Restore(LAYERS.replace(Some(layers)));
    forward()
}

/// What a layer computes with: its input and its weights, rounded if [`with_codes`] says so.
pub(crate) fn operands<const D: usize, const W: usize>(
    x: Tensor<D>,
    weight: &Param<Tensor<W>>,
) -> (Tensor<D>, Tensor<W>) {
    let own = LAYERS.with_borrow(|layers| layers.as_ref()?.get(&weight.id).cloned());
    let Some(LayerCodes { weight: (steps, range), input }) = own else { return (x, weight.val()) };
    let rounded = learned_step(weight.val(), steps, range);
    let x = match input {
        Some((step, range)) => learned_step(x, step, range),
        None => x,
    };
    (x, rounded)
}
