//! One trainer for all systems.
//!
//! A system says what a batch is, how its loss is computed and how a model is evaluated ([`Task`]); the
//! [`Trainer`] does the rest: optimiser, schedule, gradient accumulation and clipping, weight averaging,
//! checkpoints that survive a kill and resume to the same bits, progress, metrics as JSON lines and
//! TensorBoard events.

mod average;
mod checkpoint;
mod config;
mod gradients;
mod optimizer;
mod progress;
mod run_folder;
mod schedule;
mod task;
mod trainer;

pub use average::Average;
pub use checkpoint::{Checkpoint, Progress as SavedProgress, Running};
pub use config::{OptimizerConfig, OptimizerKind, PenalConfig, PenalScale, TrainConfig};
pub use gradients::{by_rate, clip_norm, global_norm};
pub use ocelli_kernels::train::Recycler;
pub use optimizer::{AdamW, Sgd};
pub use progress::{Console, ProgressStyle};
pub use run_folder::RunFolder;
pub use schedule::{Schedule, ScheduleKind};
pub use task::{Batches, Evaluation, Step, Task};
pub use trainer::{EpochRecord, Outcome, Trainer};

use std::path::PathBuf;

/// What stops a training.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// The loss is no longer a number.
    #[error(
        "the loss became {loss} at step {step} (epoch {epoch}); the checkpoint before it is kept: try a lower \
         --lr, a longer --warmup-epochs or --clip-grad"
    )]
    NotFinite {
        /// The value.
        loss: f64,
        /// Optimiser steps taken before it.
        step: usize,
        /// Epoch, from 1.
        epoch: usize,
    },
    /// A checkpoint does not belong here.
    #[error("{}: {problem}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The run folder is in use or holds another run.
    #[error("{}: {problem}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A setting makes no sense.
    #[error("{0}")]
    Config(String),
    /// The task itself failed (data, evaluation, saving).
    #[error(transparent)]
    Task(#[from] Box<dyn std::error::Error + Send + Sync>),
}

impl TrainError {
    /// Wraps an error of the task.
    pub fn task(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Task(Box::new(error))
    }

    pub(crate) fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_path_buf(), source }
    }
}
