//! Training of an adder network on the numbers its codes stand for.

use std::collections::BTreeMap;
use std::path::Path;

use ocelli_data::Batch;
use ocelli_nn::adder::{FakeCodes, with_fake_codes};
use ocelli_train::{Batches, Evaluation, Step, Task, TrainError};

use super::weights::{keep_positive, numbers, parameter, weight_ids};
use super::{Aware, CODES, ClassifyTask};
use crate::network::Network;

/// The codes of one adder layer in training.
#[derive(Clone, Debug)]
pub struct AdderLayer {
    /// The layer's place in the network.
    pub name: String,
    /// Groups, and how far activations reach.
    pub codes: FakeCodes,
    /// The scale of every group.
    pub scales: Vec<f32>,
}

/// Training of an adder network with codes in its adder layers.
pub struct AdderAwareTask {
    /// The classification.
    pub base: ClassifyTask,
    /// The layers with codes.
    pub layers: Vec<AdderLayer>,
}

impl AdderAwareTask {
    /// `network` with the scales to begin with. Its parameters lie on an autodiff device.
    pub fn model(&self, network: Network) -> Aware {
        let device = self.base.device.clone().autodiff();
        let weight_steps = self.layers.iter().map(|layer| parameter(&layer.scales, &device)).collect();
        Aware { network, weight_steps, input_steps: Vec::new() }
    }

    fn with_codes<R>(&self, model: &Aware, forward: impl FnOnce() -> R) -> R {
        let ids = weight_ids(&model.network);
        let codes = self.layers.iter().zip(&model.weight_steps).filter_map(|(layer, scales)| {
            Some((*ids.get(&format!("{}.adder", layer.name))?, (layer.codes.clone(), scales.val())))
        });
        with_fake_codes(codes.collect(), forward)
    }
}

impl Task for AdderAwareTask {
    type Model = Aware;
    type Batch = Batch;

    fn batches_per_epoch(&self) -> usize {
        self.base.batches_per_epoch()
    }

    fn batches<'a>(&'a self, epoch: usize, start: usize) -> Result<Batches<'a, Batch>, TrainError> {
        self.base.batches(epoch, start)
    }

    fn step(&self, model: &Aware, batch: Batch) -> Step {
        self.with_codes(model, || self.base.step(&model.network, batch))
    }

    fn batch_size(&self, batch: &Batch) -> usize {
        self.base.batch_size(batch)
    }

    fn after_step(&self, mut model: Aware) -> Aware {
        model.network = self.base.after_step(model.network);
        keep_positive(model.weight_steps.iter_mut(), 1e-6);
        model
    }

    fn rate(&self, name: &str) -> f64 {
        name.strip_prefix("network.").map_or(0.1, |own| self.base.rate(own))
    }

    fn evaluate(&self, model: &Aware) -> Result<Evaluation, TrainError> {
        self.with_codes(model, || self.base.evaluate(&model.network))
    }

    fn save(&self, model: &Aware, path: &Path, evaluation: &Evaluation) -> Result<(), TrainError> {
        let mut description = self.base.description.clone();
        for (name, value) in &evaluation.metrics {
            description.training.insert(format!("val_{name}"), (*value).into());
        }
        let scales: BTreeMap<&str, Vec<f32>> = self
            .layers
            .iter()
            .zip(&model.weight_steps)
            .map(|(layer, scales)| (layer.name.as_str(), numbers(scales)))
            .collect();
        description.training.insert(CODES.into(), serde_json::to_value(scales).map_err(TrainError::task)?);
        crate::model_file::save(&model.network, &description, path).map_err(TrainError::task)
    }
}
