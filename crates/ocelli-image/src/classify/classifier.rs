//! A network together with its labels and preprocessing: pictures in, names out.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData, activation::softmax};
use ocelli_data::{DataError, EvalTransform, Preprocess, RgbImage};
use ocelli_nn::weights::{WeightFile, WeightsError};
use serde::Serialize;

use crate::backbone::senet::weights::CAFFE_INPUT;
use crate::labels;
use crate::model_file;
use crate::network::Network;
use crate::zoo::{self, Options, UnknownModel};

/// Pictures in, class names out.
pub struct Classifier {
    /// Name of the model.
    pub name: String,
    /// The network, outside of autodiff.
    pub network: Network,
    /// Class names, index = logit.
    pub labels: Vec<String>,
    /// How pictures become inputs.
    pub preprocess: Preprocess,
    transform: EvalTransform,
    device: Device,
}

/// What a picture shows.
#[derive(Clone, Debug, Serialize)]
pub struct Classification {
    /// The best guesses, best first.
    pub guesses: Vec<Guess>,
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
}

impl Classifier {
    /// Loads the model file at `path`.
    pub fn from_file(path: &Path, device: &Device) -> Result<Self, ClassifierError> {
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
        let transform = EvalTransform::new(&preprocess)?;
        Ok(Self { name, network, labels, preprocess, transform, device: device.clone() })
    }

    /// The `top` best guesses for each picture.
    pub fn classify(
        &self,
        pictures: &[RgbImage],
        top: usize,
    ) -> Result<Vec<Classification>, ClassifierError> {
        let inputs =
            pictures.iter().map(|picture| self.transform.apply(picture)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.classify_prepared(&inputs, top))
    }

    /// One picture as the network's input, row-major `[channels, height, width]`.
    pub fn prepare(&self, picture: &RgbImage) -> Result<Vec<f32>, ClassifierError> {
        Ok(self.transform.apply(picture)?)
    }

    /// The `top` best guesses for each input made by [`prepare`](Self::prepare).
    pub fn classify_prepared(&self, inputs: &[Vec<f32>], top: usize) -> Vec<Classification> {
        if inputs.is_empty() {
            return Vec::new();
        }
        let [channels, height, width] = self.preprocess.input_size;
        let x = TensorData::new(inputs.concat(), [inputs.len(), channels, height, width]);
        let logits = self.network.forward(Tensor::from_data(x, &self.device));
        let probabilities = softmax(logits, 1).into_data();
        let values = probabilities.as_slice::<f32>().expect("probabilities are float32");
        values.chunks_exact(self.labels.len()).map(|row| self.best(row, top)).collect()
    }

    fn best(&self, row: &[f32], top: usize) -> Classification {
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
        let guesses = order
            .into_iter()
            .take(top)
            .map(|index| Guess { label: self.labels[index].clone(), index, probability: row[index] })
            .collect();
        Classification { guesses }
    }
}
