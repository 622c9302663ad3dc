//! A network together with its labels and preprocessing: pictures in, names out.

use std::path::Path;

use burn::tensor::Device;
use ocelli_data::{DataError, EvalTransform, Preprocess, RgbImage};
use ocelli_engine::{Model, RunOptions};
use ocelli_nn::weights::{WeightFile, WeightsError};
use serde::Serialize;

use crate::backbone::drnet::Decision;
use crate::backbone::senet::weights::CAFFE_INPUT;
use crate::deploy::{self, DeployError};
use crate::labels;
use crate::model_file;
use crate::network::Network;
use crate::routed::RoutedEngine;
use crate::runner::{Answers, Runner};
use crate::zoo::{self, Options, UnknownModel};

/// Pictures in, class names out.
pub struct Classifier {
    /// Name of the model.
    pub name: String,
    /// What computes its logits.
    pub runner: Runner,
    /// Class names, index = logit.
    pub labels: Vec<String>,
    /// How pictures become inputs.
    pub preprocess: Preprocess,
    transform: EvalTransform,
}

/// What a picture shows.
#[derive(Clone, Debug, Serialize)]
pub struct Classification {
    /// The best guesses, best first.
    pub guesses: Vec<Guess>,
    /// The resolution the network chose, if it chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
}

/// One guess.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Guess {
    /// Class name.
    pub label: String,
    /// Index of the class.
    pub index: usize,
    /// Probability (softmax).
    pub probability: f32,
}

/// What goes wrong on the way to a classifier.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClassifierError {
    /// The name is not registered and no such file exists.
    #[error(transparent)]
    Unknown(#[from] UnknownModel),
    /// The weights cannot be used.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A picture, or the model's preprocessing, cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The engine cannot take it.
    #[error(transparent)]
    Deploy(#[from] DeployError),
    /// The preprocessing makes pictures the network cannot look at.
    #[error("{name}: {problem}")]
    Size {
        /// The model.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

impl Classifier {
    /// Loads the model file at `path`: one of ours, or a compiled one, which runs on the CPU whatever `device` is.
    pub fn from_file(path: &Path, device: &Device) -> Result<Self, ClassifierError> {
        if Model::is_compiled(path) {
            let (model, description) = deploy::load(path)?;
            let runner = Runner::Engine { model, options: RunOptions::default() };
            return Self::assemble(description.name, runner, description.labels, description.preprocess);
        }
        let (network, description) = model_file::load(path, device)?;
        Self::new(description.name, network, description.labels, description.preprocess, device)
    }

    /// The registered network `name` with published weights (timm, torchvision, official files).
    ///
    /// The number of classes is read off the file's classifier. With `lenient` what does not fit is left at
    /// zero.
    pub fn from_weights(
        name: &str,
        weights: &Path,
        lenient: bool,
        device: &Device,
    ) -> Result<Self, ClassifierError> {
        let entry = zoo::entry(name)?;
        let file = WeightFile::read(weights)?;
        if let Some(description) = model_file::description(&file)? {
            let (network, _) = description.config.init(device).load_weights(file, name, lenient)?;
            return Self::new(description.name, network, description.labels, description.preprocess, device);
        }
        let mut preprocess = entry.preprocess();
        if file.is_caffe() {
            // Caffe's weights expect Caffe's pictures, whatever the network is called.
            preprocess.bgr = true;
            preprocess.mean = CAFFE_INPUT.mean_bgr.map(|mean| mean / 255.0).to_vec();
            preprocess.std = vec![CAFFE_INPUT.std / 255.0; 3];
        }
        let head = format!("{}.weight", entry.config().init(device).classifier());
        let num_classes = file.tensors.get(&head).and_then(|weight| weight.shape().first().copied());
        let options = Options { num_classes, ..Default::default() };
        let config = entry.config_with(&options);
        let labels = labels::default_labels(config.num_classes());
        let (network, _) = config.init(device).load_weights(file, name, lenient)?;
        Self::new(name.to_string(), network, labels, preprocess, device)
    }

    /// Assembles a classifier.
    pub fn new(
        name: String,
        network: Network,
        labels: Vec<String>,
        preprocess: Preprocess,
        device: &Device,
    ) -> Result<Self, ClassifierError> {
        let [_, height, width] = preprocess.input_size;
        if let Err(problem) = network.check_size([height, width]) {
            return Err(ClassifierError::Size { name, problem });
        }
        Self::assemble(name, Runner::burn(network, device), labels, preprocess)
    }

    fn assemble(
        name: String,
        runner: Runner,
        labels: Vec<String>,
        preprocess: Preprocess,
    ) -> Result<Self, ClassifierError> {
        let transform = EvalTransform::new(&preprocess)?;
        Ok(Self { name, runner, labels, preprocess, transform })
    }

    /// Compiles the network for the engine, which computes all further logits on `options.threads` threads of the CPU.
    /// A model that is compiled already only changes its threads.
    ///
    /// # Errors
    /// If the network has an operation the engine does not run.
    pub fn use_engine(&mut self, options: RunOptions) -> Result<(), ClassifierError> {
        match &mut self.runner {
            Runner::Engine { options: own, .. } => *own = options,
            Runner::Routed(engine) => engine.options = options,
            Runner::Burn { network, .. } => {
                if let Some(net) = network.dynamic() {
                    let engine = RoutedEngine::compile(net, self.preprocess.input_size, options)?;
                    self.runner = Runner::Routed(Box::new(engine));
                    return Ok(());
                }
                let model = deploy::compile(network, &self.name, self.preprocess.input_size, None)?;
                self.runner = Runner::Engine { model, options };
            }
        }
        Ok(())
    }

    /// The `top` best guesses for each picture.
    pub fn classify(
        &self,
        pictures: &[RgbImage],
        top: usize,
    ) -> Result<Vec<Classification>, ClassifierError> {
        let inputs =
            pictures.iter().map(|picture| self.transform.apply(picture)).collect::<Result<Vec<_>, _>>()?;
        self.classify_prepared(&inputs, top)
    }

    /// One picture as the network's input, row-major `[channels, height, width]`.
    pub fn prepare(&self, picture: &RgbImage) -> Result<Vec<f32>, ClassifierError> {
        Ok(self.transform.apply(picture)?)
    }

    /// The `top` best guesses for each input made by [`prepare`](Self::prepare).
    ///
    /// # Errors
    /// If there is no memory for so many pictures at once.
    pub fn classify_prepared(
        &self,
        inputs: &[Vec<f32>],
        top: usize,
    ) -> Result<Vec<Classification>, ClassifierError> {
        if inputs.is_empty() {
            return Ok(Vec::new());
        }
        let [channels, height, width] = self.preprocess.input_size;
        let Answers { logits, decisions } = self
            .runner
            .answers(inputs.concat(), [inputs.len(), channels, height, width])
            .map_err(DeployError::from)?;
        let rows = logits.chunks_exact(self.labels.len()).enumerate();
        Ok(rows.map(|(i, row)| self.best(&softmax(row), top, decisions.get(i).copied())).collect())
    }

    fn best(&self, row: &[f32], top: usize, decision: Option<Decision>) -> Classification {
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
        let guesses = order
            .into_iter()
            .take(top)
            .map(|index| Guess { label: self.labels[index].clone(), index, probability: row[index] })
            .collect();
        Classification { guesses, decision }
    }
}

/// Probabilities of logits.
fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponentials: Vec<f32> = logits.iter().map(|v| (v - largest).exp()).collect();
    let sum: f32 = exponentials.iter().sum();
    exponentials.into_iter().map(|e| e / sum).collect()
}
