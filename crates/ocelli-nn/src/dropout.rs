//! Dropout and stochastic depth; both do nothing outside training.

use burn::module::{Flag, Module, Param};
use burn::tensor::{Tensor, TensorData};

use crate::random::bernoulli;

/// Zeroes single activations with probability `probability` and scales the rest by `1 / (1 - probability)`.
#[derive(Module, Debug)]
pub struct Dropout {
    /// Probability of zeroing.
    pub probability: f64,
    /// Whether the layer acts on an autodiff device.
    pub training: Param<Flag>,
}

impl Dropout {
    /// A layer that drops with `probability`.
    pub fn new(probability: f64) -> Self {
        Self { probability, training: Param::from_bool(true) }
    }

    /// Any shape → the same shape.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let shape = x.dims();
        drop(x, self.probability, self.training.is_enabled(), shape)
    }

    /// One decision for everything along `axes`: `[1]` drops whole channels of `[batch, places, channels]` (PyTorch's `dropout2d`).
    pub fn forward_alike<const D: usize, const A: usize>(&self, x: Tensor<D>, axes: [usize; A]) -> Tensor<D> {
        let mut shape = x.dims();
        axes.into_iter().for_each(|axis| shape[axis] = 1);
        drop(x, self.probability, self.training.is_enabled(), shape)
    }
}

/// Stochastic depth: zeroes the whole residual branch of a sample with probability `probability`
/// (arXiv 1603.09382; timm's `DropPath`).
#[derive(Module, Debug)]
pub struct DropPath {
    /// Probability of dropping a sample's branch.
    pub probability: f64,
    /// Whether the layer acts on an autodiff device.
    pub training: Param<Flag>,
}

impl DropPath {
    /// A layer that drops with `probability`.
    pub fn new(probability: f64) -> Self {
        Self { probability, training: Param::from_bool(true) }
    }

    /// `[batch, ...]` → the same shape.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let mut shape = [1; D];
        shape[0] = x.dims()[0];
        drop(x, self.probability, self.training.is_enabled(), shape)
    }
}

fn drop<const D: usize>(x: Tensor<D>, probability: f64, enabled: bool, mask: [usize; D]) -> Tensor<D> {
    let device = x.device();
    if probability <= 0.0 || !enabled || !device.is_autodiff() {
        return x;
    }
    let keep = 1.0 - probability;
    let mask = Tensor::<D>::from_data(TensorData::new(bernoulli(mask.iter().product(), keep), mask), &device);
    x.mul(mask.div_scalar(keep))
}
