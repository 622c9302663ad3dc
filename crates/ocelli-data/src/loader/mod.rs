//! Datasets to batches, ahead of the consumer and always the same.
//!
//! The order of an epoch depends on `(seed, epoch)`, a sample's augmentation on `(seed, epoch, index)`, a
//! batch's mixing on `(seed, epoch, batch)`, and on nothing else (see [`crate::rng`]). So the batches are
//! bit for bit the same for any number of workers, and an epoch that is entered at batch `n` goes on
//! exactly as if it had been read from its beginning.

mod batch;
mod config;
mod epoch;
mod plan;
mod pool;

pub use batch::{Batch, Skipped};
pub use config::{BadImages, LoaderConfig};
pub use epoch::Epoch;

use crate::dataset::{Cached, Dataset};
use crate::error::{DataError, Result};
use crate::transform::SampleTransform;
use plan::Plan;
use std::sync::Arc;

/// Makes batches of a dataset.
pub struct Loader {
    dataset: Arc<dyn Dataset>,
    transform: Arc<dyn SampleTransform>,
    config: LoaderConfig,
}

impl Loader {
    /// # Errors
    /// [`DataError::Config`] when a setting makes no sense or no batch would come out.
    pub fn new(
        dataset: Arc<dyn Dataset>,
        config: LoaderConfig,
        transform: Arc<dyn SampleTransform>,
    ) -> Result<Self> {
        config.validate()?;
        if plan::batch_count(dataset.len(), &config) == 0 {
            let expected = if dataset.is_empty() { "pictures" } else { "as many pictures as one batch" };
            let found = format!("{} pictures, batch size {}", dataset.len(), config.batch_size);
            return Err(DataError::config("dataset", expected, found));
        }
        let dataset = match config.cache_bytes {
            0 => dataset,
            budget => Arc::new(Cached::new(dataset, budget)) as Arc<dyn Dataset>,
        };
        Ok(Self { dataset, transform, config })
    }

    /// What is loaded.
    pub fn dataset(&self) -> &Arc<dyn Dataset> {
        &self.dataset
    }

    /// The settings.
    pub fn config(&self) -> &LoaderConfig {
        &self.config
    }

    /// Batches in an epoch.
    pub fn batches(&self) -> usize {
        plan::batch_count(self.dataset.len(), &self.config)
    }

    /// Samples in an epoch: fewer than the dataset has when the last batch is dropped.
    pub fn samples(&self) -> usize {
        self.dataset.len().min(self.batches() * self.config.batch_size)
    }

    /// The batches of `epoch` from `start_batch` on; what is before is neither decoded nor augmented.
    ///
    /// Threads start at once and end when the iterator is dropped.
    ///
    /// # Errors
    /// [`DataError::Io`] when the system gives no threads.
    pub fn epoch(&self, epoch: u64, start_batch: usize) -> Result<Epoch> {
        let (dataset, transform) = (self.dataset.clone(), self.transform.clone());
        Epoch::new(Plan::new(dataset, transform, self.config.clone(), epoch), start_batch)
    }
}
