//! Quantisation-aware training of a classifier: fine-tuning on the numbers its codes stand for, with pruned weights kept at zero.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData, activation::log_softmax};
use ocelli_data::Batch;
use ocelli_nn::fake_quant::{CodeRange, LayerCodes, with_codes};
use ocelli_nn::{prune, with_frozen_statistics};
use ocelli_train::{Batches, Evaluation, Step, Task, TrainError};
use serde::{Deserialize, Serialize};

use super::ClassifyTask;
use super::weights::{keep_positive, masked, numbers, parameter, weight_ids, weights};
use crate::network::Network;

/// The codes of one layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AwareLayer {
    /// The layer's place in the network, `layer1.0.conv1`.
    pub name: String,
    /// Codes of the weights.
    pub weights: CodeRange,
    /// The unit of every output channel's weights.
    pub steps: Vec<f32>,
    /// The codes of the input.
    pub input: Option<InputCodes>,
}

/// The codes of a layer's input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputCodes {
    /// The value; layers that read the same one learn one unit.
    pub source: String,
    /// Its codes, zero's being 0.
    pub codes: CodeRange,
    /// Their unit.
    pub step: f32,
}

/// A network and the units it learns.
#[derive(Module, Debug)]
pub struct Aware {
    /// The network, float.
    pub network: Network,
    /// Units of weights, `[channels_out]` per layer.
    pub weight_steps: Vec<Param<Tensor<1>>>,
    /// Units of inputs, `[1]` each.
    pub input_steps: Vec<Param<Tensor<1>>>,
}

/// Which weights stay at zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sparsity {
    /// None.
    Dense,
    /// Those that are zero when the training begins.
    Kept,
    /// More and more of the smallest, up to a share of them, then those.
    Growing {
        /// The share in the end.
        share: f64,
        /// Steps until then.
        steps: usize,
    },
}

/// Training with codes, pruning, or both.
pub struct AwareTask {
    /// The classification.
    pub base: ClassifyTask,
    /// The layers with codes; empty trains in floating point.
    pub layers: Vec<AwareLayer>,
    /// Layers whose weights are pruned.
    pub pruned: Vec<String>,
    /// Which weights stay at zero.
    pub sparsity: Sparsity,
    /// A network whose answers are learned beside the labels.
    pub teacher: Option<Network>,
    /// From this epoch on (counted from 0) norms stay on their running statistics.
    pub frozen_from: usize,
    /// Batches whose gradients make one step.
    pub accumulate: usize,
    sources: BTreeMap<String, usize>,
    epoch: Cell<usize>,
    steps: Cell<usize>,
    masks: RefCell<Option<HashMap<String, Vec<bool>>>>,
}

impl AwareTask {
    /// Training of `layers` in `base`'s network.
    pub fn new(base: ClassifyTask, layers: Vec<AwareLayer>, pruned: Vec<String>, sparsity: Sparsity) -> Self {
        let mut sources = BTreeMap::new();
        for input in layers.iter().filter_map(|layer| layer.input.as_ref()) {
            let next = sources.len();
            sources.entry(input.source.clone()).or_insert(next);
        }
        Self {
            base,
            layers,
            pruned,
            sparsity,
            teacher: None,
            frozen_from: usize::MAX,
            accumulate: 1,
            sources,
            epoch: Cell::new(0),
            steps: Cell::new(0),
            masks: RefCell::new(None),
        }
    }

    /// `network` with the units to begin with. Its parameters lie on an autodiff device.
    pub fn model(&self, network: Network) -> Aware {
        let device = self.base.device.clone().autodiff();
        let mut inputs = vec![1.0; self.sources.len()];
        for input in self.layers.iter().filter_map(|layer| layer.input.as_ref()) {
            inputs[self.sources[&input.source]] = input.step;
        }
        Aware {
            network,
            weight_steps: self.layers.iter().map(|layer| parameter(&layer.steps, &device)).collect(),
            input_steps: inputs.iter().map(|step| parameter(&[*step], &device)).collect(),
        }
    }

    /// The layers with the units that `model` has learned.
    pub fn learned(&self, model: &Aware) -> Vec<AwareLayer> {
        let inputs: Vec<f32> = model.input_steps.iter().flat_map(numbers).collect();
        let learned = |(layer, steps): (&AwareLayer, &Param<Tensor<1>>)| {
            let mut layer = layer.clone();
            layer.steps = numbers(steps);
            if let Some(input) = &mut layer.input {
                input.step = inputs[self.sources[&input.source]];
            }
            layer
        };
        self.layers.iter().zip(&model.weight_steps).map(learned).collect()
    }

    fn with_codes<R>(&self, model: &Aware, forward: impl FnOnce() -> R) -> R {
        if self.layers.is_empty() {
            return forward();
        }
        let ids = weight_ids(&model.network);
        let codes = self.layers.iter().zip(&model.weight_steps).filter_map(|(layer, steps)| {
            let id = ids.get(&format!("{}.weight", layer.name))?;
            let input = layer
                .input
                .as_ref()
                .map(|input| (model.input_steps[self.sources[&input.source]].val(), input.codes));
            Some((*id, LayerCodes { weight: (steps.val(), layer.weights), input }))
        });
        with_codes(codes.collect(), forward)
    }

    /// The loss of `x`, and the answers.
    fn loss(&self, model: &Aware, batch: Batch) -> Step {
        let Some(teacher) = &self.teacher else { return self.base.step(&model.network, batch) };
        let device = self.base.device.clone();
        let pixels = TensorData::new(batch.pixels.clone(), batch.shape);
        // The teacher computes in floating point, and learns nothing.
        let wanted = teacher.forward(Tensor::<4>::from_data(pixels, &device));
        let (step, logits) = self.base.step_with_logits(&model.network, batch);
        let wanted = log_softmax(Tensor::<2>::from_data(wanted.into_data(), &device.autodiff()), 1);
        let given = log_softmax(logits, 1);
        let apart = (wanted.clone().exp() * (wanted - given)).sum_dim(1).mean();
        Step { loss: step.loss + apart, ..step }
    }

    /// The weights that are zero now.
    fn zeros(&self, network: &Network) -> HashMap<String, Vec<bool>> {
        let of = |list: Vec<f32>| list.iter().map(|w| *w != 0.0).collect();
        weights(network, &self.pruned).into_iter().map(|(name, list)| (name, of(list))).collect()
    }
}

impl Task for AwareTask {
    type Model = Aware;
    type Batch = Batch;

    fn batches_per_epoch(&self) -> usize {
        self.base.batches_per_epoch()
    }

    fn batches<'a>(&'a self, epoch: usize, start: usize) -> Result<Batches<'a, Batch>, TrainError> {
        self.epoch.set(epoch);
        let group = self.accumulate.max(1);
        let per_epoch = self.batches_per_epoch().div_ceil(group);
        self.steps.set(epoch * per_epoch + start.div_ceil(group));
        self.base.batches(epoch, start)
    }

    fn step(&self, model: &Aware, batch: Batch) -> Step {
        let fixed = match self.sparsity {
            Sparsity::Dense => false,
            Sparsity::Kept => true,
            Sparsity::Growing { steps, .. } => self.steps.get() >= steps,
        };
        if fixed && self.masks.borrow().is_none() {
            // What is zero stays zero, so that an interrupted training goes on with the same weights.
            *self.masks.borrow_mut() = Some(self.zeros(&model.network));
        }
        let forward = || self.with_codes(model, || self.loss(model, batch));
        if self.epoch.get() >= self.frozen_from { with_frozen_statistics(forward) } else { forward() }
    }

    fn batch_size(&self, batch: &Batch) -> usize {
        self.base.batch_size(batch)
    }

    fn after_step(&self, mut model: Aware) -> Aware {
        self.steps.set(self.steps.get() + 1);
        model.network = self.base.after_step(model.network);
        keep_positive(model.weight_steps.iter_mut().chain(&mut model.input_steps), 1e-9);
        if let Some(masks) = self.masks.borrow().as_ref() {
            model.network = masked(model.network, masks);
        } else if let Sparsity::Growing { share, steps } = self.sparsity {
            let (names, own): (Vec<String>, Vec<Vec<f32>>) =
                weights(&model.network, &self.pruned).into_iter().unzip();
            let own: Vec<&[f32]> = own.iter().map(Vec::as_slice).collect();
            let stays = prune::global_masks(&own, prune::gradual(share, self.steps.get(), steps));
            model.network = masked(model.network, &names.into_iter().zip(stays).collect());
        }
        model
    }

    fn rate(&self, name: &str) -> f64 {
        match name.strip_prefix("network.") {
            Some(own) => self.base.rate(own),
            // Units move a tenth as fast as weights.
            None => 0.1,
        }
    }

    fn evaluate(&self, model: &Aware) -> Result<Evaluation, TrainError> {
        let mut found = self.with_codes(model, || self.base.evaluate(&model.network))?;
        if matches!(self.sparsity, Sparsity::Growing { steps, .. } if self.steps.get() < steps) {
            // Not yet as sparse as it is to be: no match for any that is.
            found.score -= 1.0;
        }
        Ok(found)
    }

    fn save(&self, model: &Aware, path: &Path, evaluation: &Evaluation) -> Result<(), TrainError> {
        let mut description = self.base.description.clone();
        for (name, value) in &evaluation.metrics {
            description.training.insert(format!("val_{name}"), (*value).into());
        }
        if !self.layers.is_empty() {
            let layers = serde_json::to_value(self.learned(model)).map_err(TrainError::task)?;
            description.training.insert(CODES.into(), layers);
        }
        crate::model_file::save(&model.network, &description, path).map_err(TrainError::task)
    }
}

/// Where a model file says which codes were learned: a list of [`AwareLayer`], or the scales of adder layers by name.
pub const CODES: &str = "codes";
