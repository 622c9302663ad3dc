//! Training a classifier.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_data::{Batch, Loader};
use ocelli_nn::mask_conv::clamp_masks;
use ocelli_train::{Batches, Evaluation, Step, Task, TrainError};

use super::evaluate::{argmax, evaluate};
use crate::model_file::{self, Description};
use crate::network::Network;
use crate::runner::burn_answers;

/// Classification with cross entropy on (possibly soft) targets.
pub struct ClassifyTask {
    /// Augmented, shuffled batches.
    pub train: Loader,
    /// Held-out batches.
    pub val: Loader,
    /// Device of the training, without autodiff.
    pub device: Device,
    /// What the model files will say.
    pub description: Description,
    /// Whether batches are mixed (mixup, CutMix), so that right and wrong mean little in training.
    pub mixing: bool,
}

/// One-hot targets, row-major `[batch, classes]`.
fn one_hot(labels: &[usize], classes: usize) -> Vec<f32> {
    let mut targets = vec![0.0; labels.len() * classes];
    for (row, &label) in targets.chunks_exact_mut(classes).zip(labels) {
        row[label] = 1.0;
    }
    targets
}

impl ClassifyTask {
    /// A training step, and the logits `[batch, classes]`.
    pub(super) fn step_with_logits(&self, model: &Network, batch: Batch) -> (Step, Tensor<2>) {
        let device = self.device.clone().autodiff();
        let classes = self.description.labels.len();
        let samples = batch.labels.len();
        let x = Tensor::<4>::from_data(TensorData::new(batch.pixels, batch.shape), &device);
        let targets = batch.targets.unwrap_or_else(|| one_hot(&batch.labels, classes));
        let targets = Tensor::<2>::from_data(TensorData::new(targets, [samples, classes]), &device);
        let (loss, logits) = model.training_loss(x, targets);
        let correct = (!self.mixing).then(|| {
            let logits = logits.clone().detach().into_data();
            let rows = logits.as_slice::<f32>().expect("logits are float32");
            let right =
                rows.chunks_exact(classes).zip(&batch.labels).filter(|(row, label)| argmax(row) == **label);
            right.count() as f64
        });
        (Step { loss, samples, correct }, logits)
    }
}

impl Task for ClassifyTask {
    type Model = Network;
    type Batch = Batch;

    fn batches_per_epoch(&self) -> usize {
        self.train.batches()
    }

    fn batches<'a>(&'a self, epoch: usize, start: usize) -> Result<Batches<'a, Batch>, TrainError> {
        let batches = self.train.epoch(epoch as u64, start).map_err(TrainError::task)?;
        Ok(Box::new(batches.map(|batch| batch.map_err(TrainError::task))))
    }

    fn step(&self, model: &Network, batch: Batch) -> Step {
        self.step_with_logits(model, batch).0
    }

    fn batch_size(&self, batch: &Batch) -> usize {
        batch.labels.len()
    }

    fn after_step(&self, model: Network) -> Network {
        if self.description.config.has_masks() { clamp_masks(model) } else { model }
    }

    fn rate(&self, name: &str) -> f64 {
        self.description.config.rate(name)
    }

    fn evaluate(&self, model: &Network) -> Result<Evaluation, TrainError> {
        let answers = |pixels, shape| Ok(burn_answers(model, &self.device, pixels, shape));
        let report =
            evaluate(answers, &self.val, &self.description.labels, |_| {}).map_err(TrainError::task)?;
        let mut metrics = vec![("top1", report.top1), ("top5", report.top5), ("loss", report.loss)];
        metrics.extend(model.flip_rate().map(|rate| ("flip_rate", rate)));
        metrics.extend(report.routing.map(|routing| ("gmacs", routing.mean_macs / 1e9)));
        let metrics = metrics.into_iter().map(|(k, v)| (k.to_string(), v));
        Ok(Evaluation { score: report.top1, metrics: metrics.collect() })
    }

    fn save(&self, model: &Network, path: &Path, evaluation: &Evaluation) -> Result<(), TrainError> {
        let mut description = self.description.clone();
        for (name, value) in &evaluation.metrics {
            description.training.insert(format!("val_{name}"), (*value).into());
        }
        // What served training alone stays behind.
        if let Some((deployed, config)) = model.deployed(&description.config) {
            description.config = config;
            return model_file::save(&deployed, &description, path).map_err(TrainError::task);
        }
        model_file::save(model, &description, path).map_err(TrainError::task)
    }
}
