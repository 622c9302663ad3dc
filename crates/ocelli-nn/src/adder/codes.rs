//! Adder layers on codes, in floating point that holds the integers exactly.

use burn::tensor::{Int, Tensor, TensorData};
use ocelli_kernels::adder::sad::Coding;

use super::distances;

/// What an adder layer computes with: codes of its weights, groups of filters with a scale each.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerCodes {
    /// Form of the codes.
    pub coding: Coding,
    /// A scale per group: the number that the largest activation code stands for.
    pub scales: Vec<f32>,
    /// Group of every filter, `[channels_out]`.
    pub labels: Vec<u8>,
    /// Codes of the weights, row-major.
    pub codes: Vec<i8>,
    /// `[channels_out, channels_in, kernel height, kernel width]`
    pub shape: [usize; 4],
    /// Added to every filter's output: what clamping its weights took away, `[channels_out]`.
    pub extra: Vec<f32>,
}

impl LayerCodes {
    /// The filters of group `group`, ascending.
    pub fn members(&self, group: usize) -> Vec<usize> {
        (0..self.labels.len()).filter(|&o| usize::from(self.labels[o]) == group).collect()
    }

    /// Codes of activations in group `group`, as numbers.
    pub fn activations(&self, x: Tensor<4>, group: usize) -> Tensor<4> {
        let steps = x.mul_scalar(self.coding.levels()).div_scalar(self.scales[group]);
        if self.coding.signed {
            let half = (1i32 << (self.coding.bits - 1)) as f32;
            steps.div_scalar(2.0).round().clamp(-half, half - 1.0)
        } else {
            steps.round().clamp(0.0, self.coding.levels())
        }
    }

    /// The sums of distances of codes (whole numbers, held exactly below 2^24): `[batch, channels_out, height', width']`.
    ///
    /// No gradient flows.
    pub fn sums(&self, x: Tensor<4>, stride: usize, padding: usize) -> Tensor<4> {
        let device = x.device();
        let x = x.detach();
        let [_, channels, kernel_height, kernel_width] = self.shape;
        let filter = channels * kernel_height * kernel_width;
        let factor = if self.coding.signed { 1.0 } else { 2.0 };
        let (mut order, mut parts) = (Vec::new(), Vec::new());
        for group in 0..self.scales.len() {
            let members = self.members(group);
            if members.is_empty() {
                continue;
            }
            let weights: Vec<f32> = members
                .iter()
                .flat_map(|o| &self.codes[o * filter..][..filter])
                .map(|q| factor * f32::from(*q))
                .collect();
            let shape = [members.len(), channels, kernel_height, kernel_width];
            let weights = Tensor::<4>::from_data(TensorData::new(weights, shape), &device);
            let own = self.activations(x.clone(), group);
            parts.push(distances(own, weights, stride, padding, 0.0).neg());
            order.extend(members);
        }
        if parts.len() == 1 {
            return parts.remove(0);
        }
        let mut places = vec![0i64; order.len()];
        for (place, o) in order.into_iter().enumerate() {
            places[o] = place as i64;
        }
        let count = places.len();
        let places = Tensor::<1, Int>::from_data(TensorData::new(places, [count]), &device);
        Tensor::cat(parts, 1).select(1, places)
    }

    /// What one unit of a sum stands for, per filter (positive).
    pub fn steps(&self) -> Vec<f32> {
        self.labels.iter().map(|&label| self.coding.step(self.scales[usize::from(label)])).collect()
    }

    /// `-step · sum + extra`: `[batch, channels_in, height, width]` → `[batch, channels_out, height', width']`
    pub fn forward(&self, x: Tensor<4>, stride: usize, padding: usize) -> Tensor<4> {
        let device = x.device();
        let channels = self.labels.len();
        let vector = |values: Vec<f32>| {
            Tensor::<1>::from_data(TensorData::new(values, [channels]), &device).reshape([1, channels, 1, 1])
        };
        let factors = self.steps().into_iter().map(|step| -step).collect();
        self.sums(x, stride, padding).mul(vector(factors)).add(vector(self.extra.clone()))
    }
}
