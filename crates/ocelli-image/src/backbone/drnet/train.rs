//! Steps of the two stages of training.

use burn::tensor::{Tensor, s};
use ocelli_nn::random;

use super::config::{Stage, TrainingMode};
use super::decision::{EPSILON, Gate, gumbel_noise, straight_through};
use super::loss::{FlopsLoss, flops_loss};
use super::model::{Net, by_choice};
use crate::backbone::cross_entropy;

/// What a joint step computes.
#[derive(Clone, Debug)]
pub struct Joint {
    /// The predictor's scores `[batch, candidates]`.
    pub scores: Tensor<2>,
    /// The choices.
    pub gate: Gate,
    /// `[batch, classes]`
    pub logits: Tensor<2>,
    /// The cost's term, in 10⁹ multiply-accumulates.
    pub flops: FlopsLoss,
    /// Mean cross entropy `[1]`.
    pub cross_entropy: Tensor<1>,
    /// What is minimised `[1]`.
    pub loss: Tensor<1>,
}

/// What a step of the first stage computes.
#[derive(Clone, Debug)]
pub struct Pretraining {
    /// `[batch, classes]` per resolution.
    pub logits: Vec<Tensor<2>>,
    /// Mean cross entropy `[1]` per resolution.
    pub cross_entropy: Vec<Tensor<1>>,
    /// Their sum, as in the paper: the learning rate counts as often as there are resolutions.
    pub loss: Tensor<1>,
}

impl Net {
    /// The whole batch at every resolution, each with its own norm set; the predictor takes no part.
    pub fn pretrain(&self, x: Tensor<4>, targets: Tensor<2>) -> Pretraining {
        let logits: Vec<Tensor<2>> =
            (0..self.config().resolutions.len()).map(|j| self.branch(j, x.clone())).collect();
        let parts: Vec<Tensor<1>> =
            logits.iter().map(|logits| cross_entropy(logits.clone(), targets.clone())).collect();
        let loss = Tensor::cat(parts.clone(), 0).sum();
        Pretraining { logits, cross_entropy: parts, loss }
    }

    /// One step of predictor and classifier on `x` `[batch, channels, h, w]` with `targets` `[batch, classes]`.
    /// `uniform` are the numbers behind the noise, row-major `[batch, candidates]`; `costs` the candidates' in 10⁹
    /// multiply-accumulates.
    pub fn joint(&self, x: Tensor<4>, targets: Tensor<2>, uniform: &[f64], costs: &[f64]) -> Joint {
        let training = &self.config().training;
        let scores = self.scores(x.clone());
        let noise = gumbel_noise(uniform, EPSILON);
        let gate = straight_through(scores.clone(), noise, training.temperature);
        let column = |j: usize| gate.hard.clone().slice(s![.., j..j + 1]);
        let logits = match training.mode {
            TrainingMode::Split => by_choice(&gate.choice, costs.len(), &x.device(), |j, rows| {
                // A factor of one that carries the gradient of this picture's choice.
                let gates = column(j).select(0, rows.clone());
                self.branch(j, x.clone().select(0, rows)).mul(gates)
            }),
            TrainingMode::Dense => (1..costs.len())
                .fold(self.branch(0, x.clone()).mul(column(0)), |sum, j| {
                    sum.add(self.branch(j, x.clone()).mul(column(j)))
                }),
        };
        let flops = flops_loss(gate.hard.clone(), costs, self.config().flops_target(costs));
        let entropy = cross_entropy(logits.clone(), targets);
        let loss = entropy.clone().add(flops.value.clone().mul_scalar(training.flops_weight));
        Joint { scores, gate, logits, flops, cross_entropy: entropy, loss }
    }

    /// Loss `[1]` and logits `[batch, classes]` of one step of the stage at hand, with noise of the thread's generator.
    pub(super) fn step(&self, x: Tensor<4>, targets: Tensor<2>) -> (Tensor<1>, Tensor<2>) {
        match self.config().training.stage {
            Stage::Pretrain => {
                let Pretraining { mut logits, loss, .. } = self.pretrain(x, targets);
                (loss, logits.swap_remove(0))
            }
            Stage::Joint => {
                let [batch, _, height, width] = x.dims();
                let costs = self.costs([height, width]).giga();
                let uniform = random::uniform(batch * costs.len());
                let Joint { loss, logits, .. } = self.joint(x, targets, &uniform, &costs);
                (loss, logits)
            }
        }
    }
}
