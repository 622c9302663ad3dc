//! Batch normalisation with PyTorch's names and running statistics.

use burn::module::{Flag, Module, Param, RunningState};
use burn::tensor::{
    Device, Tensor,
    module::{batch_norm, batch_norm_train},
};

use ocelli_kernels::train::norm::Clamp;

use crate::init::{ones, zeros};
use crate::{Activation, kernels, penal};

/// How to build a [`BatchNorm`].
#[derive(Clone, Debug)]
pub struct BatchNormConfig {
    features: usize,
    epsilon: f64,
    momentum: f64,
}

impl BatchNormConfig {
    /// PyTorch's defaults: epsilon 1e-5, momentum 0.1.
    pub fn new(features: usize) -> Self {
        Self { features, epsilon: 1e-5, momentum: 0.1 }
    }

    /// Added to the variance before the square root.
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// Share of the newest batch in the running statistics.
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// Builds the layer: gain 1, shift 0, running mean 0, running variance 1.
    pub fn init(&self, device: &Device) -> BatchNorm {
        BatchNorm {
            weight: ones([self.features], device),
            bias: zeros([self.features], device),
            running_mean: RunningState::new(Tensor::zeros([self.features], device)),
            running_var: RunningState::new(Tensor::ones([self.features], device)),
            training: Param::from_bool(true),
            epsilon: self.epsilon,
            momentum: self.momentum,
        }
    }
}

/// Batch normalisation over every axis but the channel axis 1.
///
/// Differs from `burn::nn::BatchNorm` where PyTorch does: the running variance is updated with the unbiased
/// batch variance, and the update is visible at once rather than one step later.
#[derive(Module, Debug)]
pub struct BatchNorm {
    /// Gain `[channels]`.
    pub weight: Param<Tensor<1>>,
    /// Shift `[channels]`.
    pub bias: Param<Tensor<1>>,
    /// Running mean `[channels]`.
    pub running_mean: RunningState<Tensor<1>>,
    /// Running unbiased variance `[channels]`.
    pub running_var: RunningState<Tensor<1>>,
    /// Whether batch statistics are used on an autodiff device.
    pub training: Param<Flag>,
    /// Added to the variance.
    pub epsilon: f64,
    /// Share of the newest batch in the running statistics.
    pub momentum: f64,
}

impl BatchNorm {
    /// `[batch, channels, ...]` → the same shape.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.forward_then(x, Activation::Identity)
    }

    /// `activation(norm(x))`, in one pass where the device allows.
    pub fn forward_then<const D: usize>(&self, x: Tensor<D>, activation: Activation) -> Tensor<D> {
        match activation.bounds() {
            Some(clamp) if self.is_fused(&x) => self.fused(x, None, clamp),
            _ => activation.forward(self.plain(x)),
        }
    }

    /// `activation(norm(x) + residual)`, in one pass where the device allows: the end of a residual block.
    pub fn forward_add<const D: usize>(
        &self,
        x: Tensor<D>,
        residual: Tensor<D>,
        activation: Activation,
    ) -> Tensor<D> {
        match activation.bounds() {
            // A penal connection sits between the norm and the sum.
            Some(clamp) if self.is_fused(&x) && penal::tau() == 0.0 => self.fused(x, Some(residual), clamp),
            _ => activation.forward(penal::residual(self.plain(x), residual)),
        }
    }

    fn uses_batch<const D: usize>(&self, x: &Tensor<D>) -> bool {
        x.device().is_autodiff() && self.training.is_enabled()
    }

    fn is_fused<const D: usize>(&self, x: &Tensor<D>) -> bool {
        kernels::serve(x) && self.uses_batch(x)
    }

    fn plain<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        if self.is_fused(&x) {
            self.fused(x, None, Clamp::NONE)
        } else if self.uses_batch(&x) {
            let samples = samples(&x);
            let out = batch_norm_train(x, self.weight.val(), self.bias.val(), self.epsilon);
            self.blend(out.mean, out.variance, samples);
            out.output
        } else {
            let device = x.device();
            batch_norm(
                x,
                self.weight.val(),
                self.bias.val(),
                self.running_mean.value().to_device(&device),
                self.running_var.value().to_device(&device),
                self.epsilon,
            )
        }
    }

    fn fused<const D: usize>(&self, x: Tensor<D>, residual: Option<Tensor<D>>, clamp: Clamp) -> Tensor<D> {
        let samples = samples(&x);
        let out = kernels::batch_norm(x, self.weight.val(), self.bias.val(), residual, self.epsilon, clamp);
        self.blend(out.mean, out.variance, samples);
        out.output
    }

    /// Takes the batch's mean and biased variance over `samples` values into the running statistics.
    fn blend(&self, mean: Tensor<1>, variance: Tensor<1>, samples: usize) {
        // One sample has no unbiased variance.
        let unbias = samples as f64 / samples.saturating_sub(1).max(1) as f64;
        let blend = |state: &RunningState<Tensor<1>>, batch: Tensor<1>| {
            let old = state.value_sync().to_device(&batch.device());
            let new = old.mul_scalar(1.0 - self.momentum).add(batch.detach().mul_scalar(self.momentum));
            state.update(new.detach());
            // Publishes the update now: state dicts and checkpoints read the published value.
            state.value_sync();
        };
        blend(&self.running_mean, mean);
        blend(&self.running_var, variance.mul_scalar(unbias));
    }
}

/// Values per channel.
fn samples<const D: usize>(x: &Tensor<D>) -> usize {
    let shape = x.dims();
    shape.iter().product::<usize>() / shape[1]
}
