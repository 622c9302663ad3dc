//! Training of lifting networks, and their judgement.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_nn::random;
use ocelli_train::{Batches, Evaluation, Step, Task, TrainError};
use serde::{Deserialize, Serialize};

use crate::data::{Augment, Pairs};
use crate::lifter::{GridNet, Lifter, LifterConfig};
use crate::metrics::{Protocol, Report};
use crate::model_file::{self, Description};
use crate::schedule;
use crate::skeleton::{JOINTS, Pose2, Pose3};

/// Poses per pass of an evaluation.
const EVALUATED: usize = 256;

/// What is minimised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Loss {
    /// Mean square.
    #[default]
    L2,
    /// Mean distance.
    SqrtL2,
    /// Mean absolute difference.
    L1,
}

impl Loss {
    /// Of two `[batch, places, 3]`; places that repeat a joint count as often as they repeat it.
    pub fn of(self, found: Tensor<3>, wanted: Tensor<3>) -> Tensor<1> {
        let apart = found.sub(wanted);
        match self {
            Self::L2 => apart.square().mean(),
            // A little under the root keeps its slope finite where both agree.
            Self::SqrtL2 => apart.square().sum_dim(2).add_scalar(1e-12).sqrt().mean(),
            Self::L1 => apart.abs().mean(),
        }
    }
}

/// Lifting 2D joints to 3D.
#[derive(Debug)]
pub struct LiftTask {
    /// Pairs to train on.
    pub train: Pairs,
    /// Pairs to judge by.
    pub val: Pairs,
    /// How training pairs vary.
    pub augment: Augment,
    /// Pairs per step.
    pub batch: usize,
    /// Seed of order and variation.
    pub seed: u64,
    /// What is minimised.
    pub loss: Loss,
    /// Epochs over which the temperature falls from 30 to 1.
    pub temperature_epochs: usize,
    /// Factor of the learning rate of a learnt grid.
    pub grid_rate: f64,
    /// Whether a learnt grid stays as it is.
    pub fixed_grid: bool,
    /// Device without autodiff.
    pub device: Device,
    /// What saved models say about themselves.
    pub description: Description,
    /// The temperature now, as bits.
    now: AtomicU64,
}

/// What one step consumes.
#[derive(Debug)]
pub struct Batch {
    joints: Vec<f32>,
    target: Vec<f32>,
    temperature: f64,
}

impl LiftTask {
    /// A task with the reference's settings.
    pub fn new(train: Pairs, val: Pairs, description: Description, device: Device) -> Self {
        Self {
            train,
            val,
            augment: Augment::NONE,
            batch: 200,
            seed: 0,
            loss: Loss::default(),
            temperature_epochs: 10,
            grid_rate: 1.0,
            fixed_grid: false,
            device,
            description,
            now: AtomicU64::new(schedule::MAX_TEMPERATURE.to_bits()),
        }
    }

    /// The temperature of a batch; past its schedule the schedule's last value.
    fn temperature(&self, epoch: usize, batch: usize) -> f64 {
        let (epochs, batches) = (self.temperature_epochs, self.batches_per_epoch());
        let at =
            |epoch, batch| schedule::temperature(schedule::MAX_TEMPERATURE, epochs, epoch, batch, batches);
        at(epoch, batch)
            .or_else(|| at(epochs.checked_sub(1)?, batches.saturating_sub(1)))
            .unwrap_or(schedule::MAX_TEMPERATURE)
    }

    /// The temperature that a model judged now is judged at.
    fn current(&self) -> f64 {
        f64::from_bits(self.now.load(Ordering::Relaxed))
    }
}

impl Task for LiftTask {
    type Model = Lifter;
    type Batch = Batch;

    fn batches_per_epoch(&self) -> usize {
        self.train.len() / self.batch.max(1)
    }

    fn batches<'a>(&'a self, epoch: usize, start: usize) -> Result<Batches<'a, Batch>, TrainError> {
        random::seed_thread(self.seed ^ 0x0de4, epoch as u64);
        let order = random::permutation(self.train.len());
        let batches = self.batches_per_epoch();
        Ok(Box::new((start..batches).map(move |batch| {
            let mut made = Batch {
                joints: Vec::with_capacity(self.batch * JOINTS * 2),
                target: Vec::with_capacity(self.batch * JOINTS * 3),
                temperature: self.temperature(epoch, batch),
            };
            for &index in &order[batch * self.batch..(batch + 1) * self.batch] {
                let (joints, target) = self.train.varied(index, &self.augment, self.seed, epoch);
                made.joints.extend(joints.as_flattened());
                made.target.extend(target.as_flattened());
            }
            Ok(made)
        })))
    }

    fn step(&self, model: &Lifter, batch: Batch) -> Step {
        let device = self.device.clone().autodiff();
        self.now.store(batch.temperature.to_bits(), Ordering::Relaxed);
        let samples = batch.joints.len() / (2 * JOINTS);
        let joints = Tensor::from_data(TensorData::new(batch.joints, [samples, JOINTS, 2]), &device);
        let target = Tensor::from_data(TensorData::new(batch.target, [samples, JOINTS, 3]), &device);
        let (found, wanted) = model.compared(joints, target, batch.temperature);
        Step { loss: self.loss.of(found, wanted), samples, correct: None }
    }

    fn batch_size(&self, batch: &Batch) -> usize {
        batch.joints.len() / (2 * JOINTS)
    }

    fn rate(&self, name: &str) -> f64 {
        match name.ends_with("sgt_trans_mat") {
            true if self.fixed_grid => 0.0,
            true => self.grid_rate,
            false => f64::from(u8::from(!name.ends_with("adjacency"))),
        }
    }

    fn evaluate(&self, model: &Lifter) -> Result<Evaluation, TrainError> {
        let temperature = self.current();
        let report =
            evaluate(&self.val, |poses| Ok::<_, TrainError>(lift(model, &self.device, poses, temperature)))?;
        let (mean, all) = (report.mean_over_actions, report.all_poses);
        let mut metrics: std::collections::BTreeMap<String, f64> = [
            ("mpjpe_mm", mean.mpjpe),
            ("pa_mpjpe_mm", mean.pa_mpjpe),
            ("pck150", mean.pck150),
            ("auc", mean.auc),
            ("mpjpe_all_mm", all.mpjpe),
        ]
        .map(|(name, value)| (name.to_string(), value))
        .into();
        if let Some(grid) = model.learnt_grid() {
            let LifterConfig::Grid(config) = &self.description.config else {
                return Ok(Evaluation { score: -mean.mpjpe, metrics });
            };
            // The seed that drew the grid is the training's.
            let start = GridNet::new(config, self.seed, &self.device).sgt_layer;
            let start = start.map(|sgt| sgt.owners()).unwrap_or_default();
            let changed = grid.iter().zip(&start).filter(|(a, b)| a != b).count();
            metrics.insert("cells_changed".into(), changed as f64);
        }
        Ok(Evaluation { score: -mean.mpjpe, metrics })
    }

    fn save(&self, model: &Lifter, path: &Path, evaluation: &Evaluation) -> Result<(), TrainError> {
        let mut description = Description { temperature: self.current(), ..self.description.clone() };
        for (name, value) in &evaluation.metrics {
            description.training.insert(name.clone(), (*value).into());
        }
        model_file::save(model, &description, path).map_err(TrainError::task)
    }
}

/// Lifts by burn.
pub fn lift(model: &Lifter, device: &Device, poses: &[Pose2], temperature: f64) -> Vec<Pose3> {
    let values = poses.as_flattened().as_flattened().to_vec();
    let joints = Tensor::from_data(TensorData::new(values, [poses.len(), JOINTS, 2]), device);
    let lifted: Vec<f32> = model.forward(joints, temperature).into_data().iter::<f32>().collect();
    lifted.as_chunks::<3>().0.as_chunks::<JOINTS>().0.to_vec()
}

/// Judges what `lift` makes of all `pairs`.
///
/// # Errors
/// As `lift` does.
pub fn evaluate<E>(
    pairs: &Pairs,
    mut lift: impl FnMut(&[Pose2]) -> Result<Vec<Pose3>, E>,
) -> Result<Report, E> {
    let mut protocol = Protocol::default();
    let wide = |pose: &Pose3| pose.map(|joint| joint.map(f64::from));
    for first in (0..pairs.len()).step_by(EVALUATED) {
        let end = (first + EVALUATED).min(pairs.len());
        let (joints, targets): (Vec<Pose2>, Vec<Pose3>) = (first..end).map(|index| pairs.get(index)).unzip();
        for (index, (found, target)) in lift(&joints)?.iter().zip(&targets).enumerate() {
            protocol.add(pairs.action(first + index), &wide(target), &wide(found));
        }
    }
    Ok(protocol.report())
}
