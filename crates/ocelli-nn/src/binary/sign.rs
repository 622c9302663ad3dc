//! The sign and what stands for its derivative.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::kernels;

/// What stands for the derivative of the sign in the backward pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Estimator {
    /// 1 everywhere.
    Identity,
    /// 1 where `|x| <= 1`, else 0.
    #[serde(alias = "hardtanh")]
    HardTanh,
    /// `2 - 2|x|` where `|x| < 1`, else 0: the derivative of a piecewise parabola (Bi-Real Net, section 3.3).
    #[default]
    Approx,
}

impl Estimator {
    /// What stands for the derivative at `x`.
    #[inline]
    pub fn slope(self, x: f32) -> f32 {
        match self {
            Self::Identity => 1.0,
            Self::HardTanh => f32::from(u8::from(x.abs() <= 1.0)),
            Self::Approx => (2.0 - 2.0 * x.abs()).max(0.0),
        }
    }

    /// A function of this derivative, in tensor operations.
    fn surrogate<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Identity => x,
            Self::HardTanh => x.clamp(-1.0, 1.0),
            Self::Approx => {
                let x = x.clamp(-1.0, 1.0);
                x.clone().mul_scalar(2.0).sub(x.clone().mul(x.abs()))
            }
        }
    }
}

/// -1 below zero, else +1 (for both zeros, and for what is no number); the gradient passes as `estimator` says.
///
/// Reference training code has 0 at zero; deployed networks cannot, so this is the sign everywhere here.
pub fn sign<const D: usize>(x: Tensor<D>, estimator: Estimator) -> Tensor<D> {
    if kernels::serve(&x) {
        return kernels::sign(x, estimator);
    }
    straight_through(hard(x.clone()), x, |x| estimator.surrogate(x))
}

/// `scale · sign(weight)` per filter, where `scale` is the mean of the filter's absolute values, or 1 where `scaled` is false:
/// `[channels_out, ...]` → the same shape.
///
/// The gradient passes unchanged where `|weight| <= 1`, else not at all; the scale counts as a constant and does not enter
/// it (ReActNet's code).
pub fn binarize<const D: usize>(weight: Tensor<D>, scaled: bool) -> Tensor<D> {
    if kernels::serve(&weight) {
        return kernels::binarize(weight, scaled);
    }
    let mut values = hard(weight.clone());
    if scaled {
        let shape = weight.dims();
        let count = shape[0];
        let scale = super::weight_scale(weight.clone().reshape([count as i32, -1]));
        let mut per_filter = [1; D];
        per_filter[0] = count;
        values = values.mul(scale.reshape(per_filter));
    }
    straight_through(values, weight, |weight| Estimator::HardTanh.surrogate(weight))
}

fn hard<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let ones = x.ones_like();
    let below = x.lower_elem(0.0);
    ones.mask_fill(below, -1.0)
}

/// `values` with the gradient of `surrogate(x)`.
fn straight_through<const D: usize>(
    values: Tensor<D>,
    x: Tensor<D>,
    surrogate: impl FnOnce(Tensor<D>) -> Tensor<D>,
) -> Tensor<D> {
    if !x.device().is_autodiff() {
        return values;
    }
    let soft = surrogate(x);
    // The difference is exactly zero, so that the sum is `values` to the bit.
    soft.clone().sub(soft.detach()).add(values.detach())
}
