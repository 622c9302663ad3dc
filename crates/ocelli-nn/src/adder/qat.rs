//! Codes that can be trained through: straight-through rounding with learned scales.

use burn::tensor::{Int, Tensor, TensorData};
use ocelli_kernels::adder::sad::Coding;

use super::{adapted, distances};

/// Numbers that are the values of codes `clamp(round(x · L / s / divisor), low, high)`; gradients pass inside the range.
///
/// The scale's gradient is `value / s - x / s` inside and `value / s` beyond. What is inside is judged by the rounded code.
fn fake(x: Tensor<4>, scale: Tensor<1>, levels: f32, divisor: f32, [low, high]: [f32; 2]) -> Tensor<4> {
    let shape = x.dims();
    let wide = |scale: Tensor<1>| scale.reshape([1, 1, 1, 1]).expand(shape);
    let own = x.clone().detach();
    let still = wide(scale.clone().detach());
    let codes = own.clone().mul_scalar(levels).div(still.clone()).div_scalar(divisor).round();
    let inside = codes.clone().greater_equal_elem(low).bool_and(codes.clone().lower_equal_elem(high)).float();
    let value = codes.clamp(low, high).mul(still.clone()).mul_scalar(divisor / levels);
    // Per unit of scale.
    let slope = value.clone().div(still.clone()).sub(own.div(still).mul(inside.clone()));
    let given = x.mul(inside).add(wide(scale).mul(slope));
    given.clone().add(value.sub(given.detach()))
}

/// Activations as their codes' numbers, for a learned `scale` `[1]`.
pub fn fake_activations(x: Tensor<4>, scale: Tensor<1>, coding: Coding) -> Tensor<4> {
    let half = (1i32 << (coding.bits - 1)) as f32;
    if coding.signed {
        fake(x, scale, coding.levels(), 2.0, [-half, half - 1.0])
    } else {
        fake(x, scale, coding.levels(), 1.0, [0.0, coding.levels()])
    }
}

/// Weights as their codes' numbers, for a learned `scale` `[1]`.
pub fn fake_weights(w: Tensor<4>, scale: Tensor<1>, coding: Coding) -> Tensor<4> {
    let half = (1i32 << (coding.bits - 1)) as f32;
    fake(w, scale, coding.levels(), 2.0, [-half, half - 1.0])
}

/// An adder layer in training with codes: groups of filters, a learned scale each, weights clamped without loss.
#[derive(Clone, Debug)]
pub struct FakeCodes {
    /// Form of the codes.
    pub coding: Coding,
    /// Group of every filter.
    pub labels: Vec<u8>,
    /// How far activations reach.
    pub reach: f32,
}

impl FakeCodes {
    /// The layer's output for `scales` `[groups]`; what clamping takes from the weights is computed anew from them, so that it
    /// follows their training.
    pub fn forward(
        &self,
        x: Tensor<4>,
        weight: Tensor<4>,
        scales: Tensor<1>,
        stride: usize,
        padding: usize,
        eta: f64,
    ) -> Tensor<4> {
        let device = x.device();
        let groups: Vec<(usize, Vec<i64>)> = (0..scales.dims()[0])
            .map(|group| {
                let members = (0..self.labels.len()).filter(|&o| usize::from(self.labels[o]) == group);
                (group, members.map(|o| o as i64).collect::<Vec<i64>>())
            })
            .filter(|(_, members)| !members.is_empty())
            .collect();
        let index = |places: Vec<i64>| {
            let count = places.len();
            Tensor::<1, Int>::from_data(TensorData::new(places, [count]), &device)
        };
        let scale = |group: usize| scales.clone().narrow(0, group, 1);
        let order: Vec<i64> = groups.iter().flat_map(|(_, members)| members.iter().copied()).collect();
        let filters = order.len();
        let weight = weight.select(0, index(order.clone()));
        let beyond = weight.clone().detach().abs().sub_scalar(self.reach).clamp_min(0.0);
        let extra = beyond.sum_dim(1).sum_dim(2).sum_dim(3).neg().reshape([1, filters, 1, 1]);
        // The adder's own gradient goes to the weights as they are.
        let clamped = weight.clone().detach().clamp(-self.reach, self.reach);
        let clamped = weight.clone().add(clamped.sub(weight.detach()));
        let mut first = 0;
        let coded = groups.iter().map(|(group, members)| {
            let own = clamped.clone().narrow(0, first, members.len());
            first += members.len();
            fake_weights(own, scale(*group), self.coding)
        });
        let coded = adapted(Tensor::cat(coded.collect(), 0), eta);
        let mut first = 0;
        let parts = groups.iter().map(|(group, members)| {
            let own = coded.clone().narrow(0, first, members.len());
            first += members.len();
            distances(fake_activations(x.clone(), scale(*group), self.coding), own, stride, padding, 0.0)
        });
        let y = Tensor::cat(parts.collect(), 1).add(extra);
        let mut places = vec![0i64; filters];
        for (place, o) in order.into_iter().enumerate() {
            places[o as usize] = place as i64;
        }
        y.select(1, index(places))
    }
}
