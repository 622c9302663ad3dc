//! The term that holds the average cost at its target.

use burn::tensor::{Tensor, TensorData};

/// What the choices of a batch cost.
#[derive(Clone, Debug)]
pub struct FlopsLoss {
    /// Cost of every picture `[batch]`, in the unit of the costs.
    pub per_picture: Tensor<1>,
    /// Their mean `[1]`.
    pub mean: Tensor<1>,
    /// `max(0, (mean - target) / (largest - smallest cost))` `[1]`, without its weight.
    pub value: Tensor<1>,
}

/// The hinge on the mean cost of a batch whose choices are `gate` `[batch, candidates]`; `costs` are the classifier's
/// per candidate, without the predictor, in the unit of `target`.
pub fn flops_loss(gate: Tensor<2>, costs: &[f64], target: f64) -> FlopsLoss {
    let largest = costs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let smallest = costs.iter().copied().fold(f64::INFINITY, f64::min);
    // Candidates of one cost leave nothing to choose between.
    let span = if largest > smallest { largest - smallest } else { 1.0 };
    let row: Vec<f32> = costs.iter().map(|&cost| cost as f32).collect();
    let row = Tensor::<2>::from_data(TensorData::new(row, [1, costs.len()]), &gate.device());
    let per_picture = gate.mul(row).sum_dim(1).flatten::<1>(0, 1);
    let mean = per_picture.clone().mean();
    let value = mean.clone().sub_scalar(target).div_scalar(span).clamp_min(0.0);
    FlopsLoss { per_picture, mean, value }
}
