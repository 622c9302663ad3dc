//! The serialisable settings of a training.

use serde::{Deserialize, Serialize};

use crate::{Schedule, ScheduleKind, TrainError};

/// Which optimiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerKind {
    /// Stochastic gradient descent with momentum.
    Sgd,
    /// Adam with decoupled weight decay (arXiv 1711.05101).
    #[serde(rename = "adamw")]
    AdamW,
}

/// Settings of the optimiser. Names as in PyTorch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Which one.
    pub kind: OptimizerKind,
    /// Momentum of SGD.
    pub momentum: f64,
    /// Nesterov's form of the momentum.
    pub nesterov: bool,
    /// Weight decay. Norms and biases (tensors of one axis) are left out.
    pub weight_decay: f64,
    /// Decay norms and biases too.
    pub decay_norms_and_biases: bool,
    /// Decay rates of AdamW's first and second moment.
    pub betas: [f64; 2],
    /// Added to AdamW's denominator.
    pub eps: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            kind: OptimizerKind::Sgd,
            momentum: 0.9,
            nesterov: true,
            weight_decay: 5e-5,
            decay_norms_and_biases: false,
            betas: [0.9, 0.999],
            eps: 1e-8,
        }
    }
}

/// What the strength of the penal connection is relative to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PenalScale {
    /// Nothing: the penalty sums over the batch, as in the reference.
    #[default]
    Sum,
    /// The batch: its size does not change the strength per sample.
    MeanBatch,
}

/// The penal connection on all residual branches (arXiv 2209.15278).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PenalConfig {
    /// Strength; 0 for none.
    pub tau: f64,
    /// What it is relative to.
    pub scale: PenalScale,
}

impl PenalConfig {
    /// Strength for a batch of `samples`.
    pub fn tau_for(&self, samples: usize) -> f32 {
        match self.scale {
            PenalScale::Sum => self.tau as f32,
            PenalScale::MeanBatch => (self.tau / samples.max(1) as f64) as f32,
        }
    }

    fn is_none(&self) -> bool {
        self.tau == 0.0
    }
}

/// Settings of a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the training part.
    pub epochs: usize,
    /// Seed of weights, order, augmentation and dropout.
    pub seed: u64,
    /// Peak learning rate.
    pub lr: f64,
    /// How the learning rate moves.
    pub schedule: ScheduleKind,
    /// Final learning rate as a share of the peak (cosine).
    pub min_lr_ratio: f64,
    /// Epochs of linear warm-up.
    pub warmup_epochs: f64,
    /// Epochs between reductions (step schedule).
    pub decay_epochs: f64,
    /// Factor of a reduction (step schedule).
    pub decay_rate: f64,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// Largest global norm of the gradient; larger ones are scaled down.
    pub clip_grad: Option<f64>,
    /// Batches whose gradients are averaged into one step.
    pub accumulate: usize,
    /// The penal connection.
    #[serde(skip_serializing_if = "PenalConfig::is_none")]
    pub penal: PenalConfig,
    /// Decay of the exponential moving average of the weights; none without.
    pub ema_decay: Option<f64>,
    /// Epochs between evaluations.
    pub eval_every: usize,
    /// Minutes between checkpoints inside an epoch; one is always written at its end.
    pub checkpoint_minutes: f64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 30,
            seed: 0,
            lr: 0.05,
            schedule: ScheduleKind::Cosine,
            min_lr_ratio: 0.0,
            warmup_epochs: 1.0,
            decay_epochs: 30.0,
            decay_rate: 0.1,
            optimizer: OptimizerConfig::default(),
            clip_grad: None,
            accumulate: 1,
            penal: PenalConfig::default(),
            ema_decay: None,
            eval_every: 1,
            checkpoint_minutes: 10.0,
        }
    }
}

impl TrainConfig {
    /// Refuses settings that cannot train.
    pub fn check(&self) -> Result<(), TrainError> {
        let refuse = |problem: String| Err(TrainError::Config(problem));
        if self.epochs == 0 {
            return refuse("--epochs must be at least 1".into());
        }
        if !(self.lr.is_finite() && self.lr >= 0.0) {
            return refuse(format!("--lr must be a number of at least 0, found {}", self.lr));
        }
        if self.accumulate == 0 || self.eval_every == 0 {
            return refuse("--accumulate and --eval-every must be at least 1".into());
        }
        if self.ema_decay.is_some_and(|decay| !(0.0..1.0).contains(&decay)) {
            return refuse("--ema must lie in [0, 1)".into());
        }
        if !(self.penal.tau.is_finite() && self.penal.tau >= 0.0) {
            return refuse(format!("--penal-tau must be a number of at least 0, found {}", self.penal.tau));
        }
        if self.clip_grad.is_some_and(|norm| norm.is_nan() || norm <= 0.0) {
            return refuse("--clip-grad must be above 0".into());
        }
        Ok(())
    }

    /// The learning rate schedule for `steps_per_epoch` optimiser steps.
    pub fn schedule(&self, steps_per_epoch: usize) -> Schedule {
        let steps = |epochs: f64| (epochs * steps_per_epoch as f64).round() as usize;
        Schedule {
            kind: self.schedule,
            peak: self.lr,
            min_ratio: self.min_lr_ratio,
            total: self.epochs * steps_per_epoch,
            warmup: steps(self.warmup_epochs).min(self.epochs * steps_per_epoch / 2),
            decay_steps: steps(self.decay_epochs).max(1),
            decay_rate: self.decay_rate,
        }
    }
}
