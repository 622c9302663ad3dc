//! Batch normalisation with PyTorch's names and running statistics.
//!
//! A norm may hold several sets of gain, shift and statistics, one per resolution of the input (the resolution-aware
//! norm of arXiv 2106.02898). Which one computes is said for a whole forward pass by [`with_norm_set`], so that a
//! network needs no code for it.

use std::cell::Cell;

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
    sets: usize,
    pinned: bool,
}

impl BatchNormConfig {
    /// PyTorch's defaults: epsilon 1e-5, momentum 0.1.
    pub fn new(features: usize) -> Self {
        Self { features, epsilon: 1e-5, momentum: 0.1, sets: 1, pinned: false }
    }

    /// Number of sets among which [`with_norm_set`] chooses; at least one is built.
    pub fn sets(mut self, sets: usize) -> Self {
        self.sets = sets;
        self
    }

    /// Whether the first set always computes: further ones exist for checkpoints only.
    pub fn pinned(mut self, pinned: bool) -> Self {
        self.pinned = pinned;
        self
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
        let NormSet { weight, bias, running_mean, running_var } = NormSet::new(self.features, device);
        BatchNorm {
            weight,
            bias,
            running_mean,
            running_var,
            further: (1..self.sets).map(|_| NormSet::new(self.features, device)).collect(),
            training: Param::from_bool(true),
            epsilon: self.epsilon,
            momentum: self.momentum,
            pinned: self.pinned,
        }
    }
}

thread_local! {
    static SET: Cell<usize> = const { Cell::new(0) };
}

/// Runs `forward` with set `set` in every norm of this thread that has several; norms with one ignore it.
pub fn with_norm_set<T>(set: usize, forward: impl FnOnce() -> T) -> T {
    /// Puts the former set back, even if the pass is unwound.
    struct Restore(usize);
    impl Drop for Restore {
        fn drop(&mut self) {
            SET.set(self.0);
        }
    }
    let _restore = Restore(SET.replace(set));
    forward()
}

thread_local! {
    static MOMENTUM: Cell<Option<f64>> = const { Cell::new(None) };
}

/// Runs `forward` with `momentum` in every norm of this thread: with 1, 1/2, 1/3, .. the running statistics become the plain mean of
/// those of the batches, whatever they were before (re-estimation, as after weights have been changed).
pub fn with_momentum<T>(momentum: f64, forward: impl FnOnce() -> T) -> T {
    struct Restore(Option<f64>);
    impl Drop for Restore {
        fn drop(&mut self) {
            MOMENTUM.set(self.0);
        }
    }
    let _restore = Restore(MOMENTUM.replace(Some(momentum)));
    forward()
}

thread_local! {
    static FROZEN: Cell<bool> = const { Cell::new(false) };
}

/// Runs `forward` with every norm of this thread on its running statistics, which stay as they are, whatever the device: the last
/// part of a fine-tuning.
pub fn with_frozen_statistics<T>(forward: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            FROZEN.set(self.0);
        }
    }
    let _restore = Restore(FROZEN.replace(true));
    forward()
}

/// Gain, shift and statistics of one resolution beyond the first.
#[derive(Module, Debug)]
pub struct NormSet {
    /// Gain `[channels]`.
    pub weight: Param<Tensor<1>>,
    /// Shift `[channels]`.
    pub bias: Param<Tensor<1>>,
    /// Running mean `[channels]`.
    pub running_mean: RunningState<Tensor<1>>,
    /// Running unbiased variance `[channels]`.
    pub running_var: RunningState<Tensor<1>>,
}

impl NormSet {
    fn new(features: usize, device: &Device) -> Self {
        Self {
            weight: ones([features], device),
            bias: zeros([features], device),
            running_mean: RunningState::new(Tensor::zeros([features], device)),
            running_var: RunningState::new(Tensor::ones([features], device)),
        }
    }
}

/// The set that computes.
struct Chosen<'a> {
    weight: &'a Param<Tensor<1>>,
    bias: &'a Param<Tensor<1>>,
    running_mean: &'a RunningState<Tensor<1>>,
    running_var: &'a RunningState<Tensor<1>>,
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
    /// The second set and those after it; empty in an ordinary norm.
    pub further: Vec<NormSet>,
    /// Whether batch statistics are used on an autodiff device.
    pub training: Param<Flag>,
    /// Added to the variance.
    pub epsilon: f64,
    /// Share of the newest batch in the running statistics.
    pub momentum: f64,
    /// Whether the first set always computes.
    pub pinned: bool,
}

impl BatchNorm {
    fn chosen(&self) -> Chosen<'_> {
        let set = if self.pinned { 0 } else { SET.get() };
        match set.checked_sub(1).and_then(|place| self.further.get(place)) {
            Some(NormSet { weight, bias, running_mean, running_var }) => {
                Chosen { weight, bias, running_mean, running_var }
            }
            None => Chosen {
                weight: &self.weight,
                bias: &self.bias,
                running_mean: &self.running_mean,
                running_var: &self.running_var,
            },
        }
    }

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
            Some(clamp) if self.is_fused(&x) && !penal::is_active() => self.fused(x, Some(residual), clamp),
            _ => activation.forward(penal::residual(self.plain(x), residual)),
        }
    }

    fn uses_batch<const D: usize>(&self, x: &Tensor<D>) -> bool {
        x.device().is_autodiff() && self.training.is_enabled() && !FROZEN.get()
    }

    fn is_fused<const D: usize>(&self, x: &Tensor<D>) -> bool {
        kernels::serve(x) && self.uses_batch(x)
    }

    fn plain<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        if self.is_fused(&x) {
            self.fused(x, None, Clamp::NONE)
        } else if self.uses_batch(&x) {
            let (samples, set) = (samples(&x), self.chosen());
            let out = batch_norm_train(x, set.weight.val(), set.bias.val(), self.epsilon);
            self.blend(out.mean, out.variance, samples);
            out.output
        } else {
            let (device, set) = (x.device(), self.chosen());
            batch_norm(
                x,
                set.weight.val(),
                set.bias.val(),
                set.running_mean.value().to_device(&device),
                set.running_var.value().to_device(&device),
                self.epsilon,
            )
        }
    }

    fn fused<const D: usize>(&self, x: Tensor<D>, residual: Option<Tensor<D>>, clamp: Clamp) -> Tensor<D> {
        let (samples, set) = (samples(&x), self.chosen());
        let out = kernels::batch_norm(x, set.weight.val(), set.bias.val(), residual, self.epsilon, clamp);
        self.blend(out.mean, out.variance, samples);
        out.output
    }

    /// Takes the batch's mean and biased variance over `samples` values into the running statistics.
    fn blend(&self, mean: Tensor<1>, variance: Tensor<1>, samples: usize) {
        // One sample has no unbiased variance: nothing is learnt from it.
        if samples < 2 {
            return;
        }
        let unbias = samples as f64 / (samples - 1) as f64;
        let blend = |state: &RunningState<Tensor<1>>, batch: Tensor<1>| {
            let old = state.value_sync().to_device(&batch.device());
            let momentum = MOMENTUM.get().unwrap_or(self.momentum);
            let new = old.mul_scalar(1.0 - momentum).add(batch.detach().mul_scalar(momentum));
            state.update(new.detach());
            // Publishes the update now: state dicts and checkpoints read the published value.
            state.value_sync();
        };
        let set = self.chosen();
        blend(set.running_mean, mean);
        blend(set.running_var, variance.mul_scalar(unbias));
    }
}

/// Values per channel.
fn samples<const D: usize>(x: &Tensor<D>) -> usize {
    let shape = x.dims();
    shape.iter().product::<usize>() / shape[1]
}
