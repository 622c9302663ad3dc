//! The beginning of fine-tuning: mapping networks drawn at random learn the labels.

use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::Tensor;
use ocelli_nn::binary::{Estimator, MappingNetwork, noisy_loss, sign};
use ocelli_train::{AdamW, OptimizerConfig, OptimizerKind};

use super::Net;
use super::config::Supervision;

/// Share of the labels a mapping network must agree with.
const ENOUGH: f64 = 0.999;

/// Learning rate.
const RATE: f64 = 1e-3;

/// What mapping networks make stays within this in the loss.
const BOUND: f64 = 1.5;

impl Net {
    /// Trains every mapping network alone until its signs are 99.9 % of the labels, for at most `most` steps: otherwise fine-tuning
    /// would begin with random weights. The weights themselves stay. The network must be on an autodiff device; with mapping
    /// networks that agree already (those with a skip connection) nothing happens.
    pub fn warmed_up(mut self, supervision: &Supervision, most: usize) -> Self {
        for stage in [&mut self.layer1, &mut self.layer2, &mut self.layer3, &mut self.layer4] {
            for unit in stage {
                let (labels, weight) = (unit.labels(), unit.conv.weight.val().detach());
                let map = unit.conv.map.take();
                unit.conv.map = map.map(|map| warm_up(map, weight, labels, supervision, most));
            }
        }
        self
    }
}

fn warm_up(
    mut map: MappingNetwork,
    weight: Tensor<4>,
    labels: Tensor<4>,
    supervision: &Supervision,
    most: usize,
) -> MappingNetwork {
    let adam = OptimizerConfig { kind: OptimizerKind::AdamW, weight_decay: 0.0, ..Default::default() };
    let mut optimizer: ModuleOptimizer = AdamW::new(adam).into();
    for _ in 0..most {
        let made = map.forward(weight.clone());
        let signs = sign(made.clone().detach(), Estimator::Identity);
        let agreement = f64::from(signs.mul(labels.clone()).mean().into_scalar::<f32>());
        if (1.0 + agreement) / 2.0 >= ENOUGH {
            break;
        }
        let loss = noisy_loss(made.clamp(-BOUND, BOUND), labels.clone(), supervision.rates).mean();
        let grads = GradientsParams::from_grads(loss.backward(), &map);
        map = optimizer.step(RATE, map, grads);
    }
    map
}
