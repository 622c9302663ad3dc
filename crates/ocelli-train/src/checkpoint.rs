//! Checkpoints: everything a run needs to go on as if it had never stopped, in one file that is replaced
//! whole or not at all.
//!
//! The file is safetensors: `model.*` and `ema.*` tensors, the optimiser's record as bytes, and the progress
//! as JSON in the header.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use burn::module::Module;
use burn::tensor::{Bytes, TensorData};
use ocelli_nn::state_dict::{load_state_dict, state_dict};
use ocelli_report::tensorboard::crc32c;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::trainer::EpochRecord;

const PROGRESS: &str = "ocelli_checkpoint";
const OPTIMIZER: &str = "optimizer";
/// The optimiser's record is read by code that trusts it, so its checksum stands in the header.
const OPTIMIZER_CRC: &str = "optimizer_crc32c";

/// How far a run has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Epochs finished.
    pub epoch: usize,
    /// Batches consumed of the epoch begun.
    pub batch: usize,
    /// Optimiser steps taken.
    pub step: usize,
    /// Best score so far.
    pub best_score: Option<f64>,
    /// Epoch of the best score, from 1.
    pub best_epoch: usize,
    /// Sums of the epoch begun.
    pub running: Running,
    /// One record per finished epoch.
    pub history: Vec<EpochRecord>,
    /// Fingerprint of the settings that must not change on resuming.
    pub fingerprint: String,
}

/// Sums over the batches of an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Running {
    /// Losses times samples.
    pub loss: f64,
    /// Samples got right; none once a batch could not say.
    pub correct: Option<f64>,
    /// Samples.
    pub samples: f64,
    /// Seconds.
    pub seconds: f64,
    /// Seconds of them spent waiting for data.
    pub waited: f64,
}

impl Running {
    /// Adds a batch.
    pub fn add(&mut self, loss: f64, samples: usize, correct: Option<f64>, seconds: f64, waited: f64) {
        let before = if self.samples == 0.0 { Some(0.0) } else { self.correct };
        self.correct = before.zip(correct).map(|(a, b)| a + b);
        self.loss += loss * samples as f64;
        self.samples += samples as f64;
        self.seconds += seconds;
        self.waited += waited;
    }

    /// Share of samples got right.
    pub fn accuracy(&self) -> Option<f64> {
        self.correct.map(|correct| correct / self.samples)
    }
}

/// A checkpoint in memory.
#[derive(Debug, Default)]
pub struct Checkpoint {
    /// The model's tensors.
    pub model: BTreeMap<String, TensorData>,
    /// The averaged model's tensors.
    pub average: Option<BTreeMap<String, TensorData>>,
    /// The optimiser's record.
    pub optimizer: Vec<u8>,
    /// How far the run has come.
    pub progress: Progress,
}

impl Checkpoint {
    /// Collects the state of a run.
    pub fn new<M: Module>(model: &M, average: Option<&M>, optimizer: Vec<u8>, progress: Progress) -> Self {
        Self { model: state_dict(model), average: average.map(state_dict), optimizer, progress }
    }

    /// Writes the file: temporary file, fsync, rename.
    pub fn write(&self, path: &Path) -> Result<(), TrainError> {
        let broken = |problem: String| TrainError::Checkpoint { path: path.to_path_buf(), problem };
        let progress = serde_json::to_string(&self.progress).map_err(|error| broken(error.to_string()))?;
        let mut views: Vec<(String, TensorView)> = Vec::new();
        let groups = [("model", Some(&self.model)), ("ema", self.average.as_ref())];
        for (group, tensors) in groups.into_iter().filter_map(|(group, tensors)| Some((group, tensors?))) {
            for (name, data) in tensors {
                let shape = data.shape().iter().copied().collect();
                let view = TensorView::new(Dtype::F32, shape, data.as_bytes())
                    .map_err(|error| broken(format!("{name}: {error}")))?;
                views.push((format!("{group}.{name}"), view));
            }
        }
        let state = TensorView::new(Dtype::U8, vec![self.optimizer.len()], &self.optimizer)
            .map_err(|error| broken(error.to_string()))?;
        views.push((OPTIMIZER.into(), state));
        let crc = crc32c(&self.optimizer).to_string();
        let metadata = HashMap::from([(PROGRESS.to_string(), progress), (OPTIMIZER_CRC.to_string(), crc)]);
        let bytes =
            safetensors::serialize(views, Some(metadata)).map_err(|error| broken(error.to_string()))?;
        ocelli_report::atomic::write_atomic(path, &bytes).map_err(TrainError::io(path))
    }

    /// Reads a file written by [`write`](Self::write).
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        let broken = |problem: String| TrainError::Checkpoint {
            path: path.to_path_buf(),
            problem: format!("not a checkpoint of a run: {problem}"),
        };
        let bytes = std::fs::read(path).map_err(TrainError::io(path))?;
        let (_, header) =
            safetensors::SafeTensors::read_metadata(&bytes).map_err(|e| broken(e.to_string()))?;
        let entry = |key| header.metadata().as_ref().and_then(|entries| entries.get(key));
        let progress =
            entry(PROGRESS).ok_or_else(|| broken("its header says nothing about a run's progress".into()))?;
        let mut checkpoint = Self {
            progress: serde_json::from_str(progress).map_err(|error| broken(error.to_string()))?,
            ..Default::default()
        };
        let file =
            safetensors::SafeTensors::deserialize(&bytes).map_err(|error| broken(error.to_string()))?;
        for (name, view) in file.iter() {
            if name == OPTIMIZER {
                if entry(OPTIMIZER_CRC) != Some(&crc32c(view.data()).to_string()) {
                    return Err(broken("the optimiser's record is damaged".into()));
                }
                checkpoint.optimizer = view.data().to_vec();
                continue;
            }
            if view.dtype() != Dtype::F32 {
                return Err(broken(format!("tensor {name} is {:?}, expected F32", view.dtype())));
            }
            let values: Vec<f32> =
                view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            let data = TensorData::new(values, view.shape().to_vec());
            if let Some(name) = name.strip_prefix("model.") {
                checkpoint.model.insert(name.into(), data);
            } else if let Some(name) = name.strip_prefix("ema.") {
                checkpoint.average.get_or_insert_default().insert(name.into(), data);
            }
        }
        Ok(checkpoint)
    }

    /// Puts tensors of a checkpoint into `module`.
    pub fn restore<M: Module>(
        path: &Path,
        module: M,
        tensors: BTreeMap<String, TensorData>,
    ) -> Result<M, TrainError> {
        let (module, mismatch) = load_state_dict(module, tensors);
        if mismatch.is_empty() {
            Ok(module)
        } else {
            Err(TrainError::Checkpoint {
                path: path.to_path_buf(),
                problem: format!("belongs to another network:{mismatch}"),
            })
        }
    }

    /// The optimiser's record as burn wants it.
    pub fn optimizer_bytes(&mut self) -> Bytes {
        Bytes::from_bytes_vec(std::mem::take(&mut self.optimizer))
    }
}
