//! Choosing a candidate: the largest score, with Gumbel noise in training so that the choice has a gradient.

use burn::tensor::{Tensor, TensorData, activation::softmax};

/// Guards both logarithms of the noise, as released.
pub const EPSILON: f64 = 1e-10;

/// Gumbel noise of numbers that are uniform in `[0, 1)`: `-ln(ε - ln(u + ε))`.
pub fn gumbel_noise(uniform: &[f64], epsilon: f64) -> Vec<f32> {
    uniform.iter().map(|u| -(epsilon - (u + epsilon).ln()).ln() as f32).collect()
}

/// The best of every row of `scores`, row-major `[batch, candidates]`; the first among equals.
pub fn choose(scores: &[f32], candidates: usize) -> Vec<usize> {
    let best = |row: &[f32]| (1..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best });
    scores.chunks_exact(candidates).map(best).collect()
}

/// A choice with a gradient.
#[derive(Clone, Debug)]
pub struct Gate {
    /// Softmax of the noisy scores over the temperature `[batch, candidates]`.
    pub soft: Tensor<2>,
    /// One where chosen, else zero, and the gradient of [`soft`](Self::soft) `[batch, candidates]`.
    pub hard: Tensor<2>,
    /// The chosen candidate of every picture.
    pub choice: Vec<usize>,
}

/// The straight-through Gumbel-softmax of `scores` `[batch, candidates]` with `noise`, row-major of the same shape.
///
/// Scores differ from the logarithms of their softmax by a constant per row, which changes nothing here.
pub fn straight_through(scores: Tensor<2>, noise: Vec<f32>, temperature: f64) -> Gate {
    let [batch, candidates] = scores.dims();
    let device = scores.device();
    let noise = Tensor::<2>::from_data(TensorData::new(noise, [batch, candidates]), &device);
    let noisy = scores.add(noise);
    let values: Vec<f32> = noisy.clone().detach().into_data().try_into_vec().expect("scores are float32");
    let choice = choose(&values, candidates);
    let mut one_hot = vec![0f32; batch * candidates];
    for (row, &chosen) in one_hot.chunks_exact_mut(candidates).zip(&choice) {
        row[chosen] = 1.0;
    }
    let one_hot = Tensor::<2>::from_data(TensorData::new(one_hot, [batch, candidates]), &device);
    let soft = softmax(noisy.div_scalar(temperature), 1);
    // The difference first: it is exactly zero.
    let hard = one_hot.add(soft.clone().sub(soft.clone().detach()));
    Gate { soft, hard, choice }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equals_is_chosen() {
        assert_eq!(choose(&[1.0, 1.0, 0.0, -1.0, 2.0, 2.0], 3), [0, 1]);
        assert_eq!(choose(&[], 3), [0usize; 0]);
    }
}
