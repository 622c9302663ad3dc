//! What a system tells the trainer.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use burn::tensor::Tensor;

use crate::TrainError;

/// A stream of batches.
pub type Batches<'a, B> = Box<dyn Iterator<Item = Result<B, TrainError>> + 'a>;

/// Something that can be trained.
pub trait Task {
    /// The model.
    type Model: Module;
    /// What one step consumes.
    type Batch;

    /// Batches per epoch.
    fn batches_per_epoch(&self) -> usize;

    /// The batches of `epoch` from batch `start` on, the same ones whenever it is asked.
    fn batches<'a>(&'a self, epoch: usize, start: usize) -> Result<Batches<'a, Self::Batch>, TrainError>;

    /// Forward pass and loss on one batch.
    fn step(&self, model: &Self::Model, batch: Self::Batch) -> Step;

    /// Samples of a batch; needed only where the strength of the penal connection follows them.
    fn batch_size(&self, _batch: &Self::Batch) -> usize {
        1
    }

    /// What a step of the optimiser leaves to be done, such as keeping values in bounds.
    fn after_step(&self, model: Self::Model) -> Self::Model {
        model
    }

    /// Factor of the learning rate of the parameter called `name`.
    fn rate(&self, _name: &str) -> f64 {
        1.0
    }

    /// Judges `model`, which is outside of autodiff.
    fn evaluate(&self, model: &Self::Model) -> Result<Evaluation, TrainError>;

    /// Writes `model` as a file that is enough to use it.
    fn save(&self, model: &Self::Model, path: &Path, evaluation: &Evaluation) -> Result<(), TrainError>;
}

/// What came out of a batch.
#[derive(Debug)]
pub struct Step {
    /// Mean loss over the batch `[1]`.
    pub loss: Tensor<1>,
    /// Samples in the batch.
    pub samples: usize,
    /// Samples got right, where that can be said.
    pub correct: Option<f64>,
}

/// The judgement of a model.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Evaluation {
    /// What is to be maximised.
    pub score: f64,
    /// Everything worth logging, by name.
    pub metrics: BTreeMap<String, f64>,
}
