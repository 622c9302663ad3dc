//! How batches are made.

use crate::error::{DataError, Result};
use crate::transform::MixConfig;
use serde::{Deserialize, Serialize};

/// What happens when a picture cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BadImages {
    /// The epoch stops with an error that names it.
    #[default]
    Error,
    /// It is left out of its batch, which becomes smaller, and named in [`Batch::skipped`](super::Batch).
    Skip,
}

/// Settings of a [`Loader`](super::Loader).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoaderConfig {
    /// Samples per batch.
    pub batch_size: usize,
    /// Threads that decode and augment; 0 does it in the caller's. Changes no batch.
    pub workers: usize,
    /// A new order each epoch.
    pub shuffle: bool,
    /// Leave out the last batch when it is not full.
    pub drop_last: bool,
    /// The one source of all randomness.
    pub seed: u64,
    /// Batches that are prepared ahead, at least 1.
    pub prefetch: usize,
    /// Unreadable pictures.
    pub bad_images: BadImages,
    /// Bytes of decoded pictures to keep between epochs; 0 keeps none.
    pub cache_bytes: u64,
    /// Mixup, CutMix and label smoothing.
    pub mix: Option<MixConfig>,
}

impl Default for LoaderConfig {
    /// That of [`eval`](Self::eval).
    fn default() -> Self {
        Self::eval()
    }
}

impl LoaderConfig {
    /// For training: shuffled, full batches only.
    pub fn train() -> Self {
        Self { shuffle: true, drop_last: true, ..Self::eval() }
    }

    /// For evaluation and prediction: in order, every sample once.
    pub fn eval() -> Self {
        Self {
            batch_size: 64,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            shuffle: false,
            drop_last: false,
            seed: 0,
            prefetch: 2,
            bad_images: BadImages::Error,
            cache_bytes: 0,
            mix: None,
        }
    }

    /// # Errors
    /// [`DataError::Config`] naming the field that makes no sense.
    pub fn validate(&self) -> Result<()> {
        if self.batch_size == 0 {
            return Err(DataError::config("batch_size", "at least 1", 0));
        }
        if self.workers > 1024 {
            return Err(DataError::config("workers", "at most 1024", self.workers));
        }
        if self.prefetch == 0 {
            return Err(DataError::config("prefetch", "at least 1", 0));
        }
        self.mix.map_or(Ok(()), |mix| mix.validate())
    }
}
