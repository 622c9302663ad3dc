//! How batches are made.

use serde::{Deserialize, Serialize};

use crate::error::{DataError, Result};
use crate::transform::MixConfig;

/// What happens when a picture cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BadImages {
    /// The first one ends the epoch with an error that names it.
    #[default]
    Error,
    /// They are named, counted and left out; their batch is smaller.
    Skip,
}

/// How batches are made. Only `workers`, `prefetch` and `cache_bytes` do not change what is in them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoaderConfig {
    /// Samples per batch.
    pub batch_size: usize,
    /// Threads that decode and transform.
    pub workers: usize,
    /// Batches made ahead at most; 0 for two per worker.
    pub prefetch: usize,
    /// Another order every epoch.
    pub shuffle: bool,
    /// Leave out the last batch if it is not full.
    pub drop_last: bool,
    /// Seed of order, augmentation and mixing.
    pub seed: u64,
    /// What happens when a picture cannot be read.
    pub bad_images: BadImages,
    /// Mixup, CutMix and label smoothing.
    pub mix: MixConfig,
    /// Memory for decoded pictures, in bytes; 0 for none.
    pub cache_bytes: usize,
}

impl Default for LoaderConfig {
    fn default() -> Self {
        Self::eval()
    }
}

impl LoaderConfig {
    /// For training: shuffled, full batches only.
    pub fn train() -> Self {
        Self { shuffle: true, drop_last: true, ..Self::eval() }
    }

    /// For evaluation: every picture once, in order.
    pub fn eval() -> Self {
        Self {
            batch_size: 32,
            workers: std::thread::available_parallelism().map_or(2, usize::from),
            prefetch: 0,
            shuffle: false,
            drop_last: false,
            seed: 0,
            bad_images: BadImages::Error,
            mix: MixConfig::default(),
            cache_bytes: 0,
        }
    }

    /// # Errors
    /// [`DataError::Config`] naming the field that makes no sense.
    pub fn validate(&self) -> Result<()> {
        for (field, value, most) in
            [("batch_size", self.batch_size, 1 << 20), ("workers", self.workers, 1024)]
        {
            if !(1..=most).contains(&value) {
                return Err(DataError::config(field, format!("1 to {most}"), value));
            }
        }
        self.mix.validate()
    }

    pub(super) fn ahead(&self) -> usize {
        if self.prefetch == 0 { 2 * self.workers } else { self.prefetch }
    }
}
