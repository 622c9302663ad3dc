//! What an epoch consists of; shared by all threads that work on it.

use super::config::{BadImages, LoaderConfig};
use crate::dataset::Dataset;
use crate::error::DataError;
use crate::rng::{Purpose, Rng};
use crate::transform::SampleTransform;
use std::ops::Range;
use std::sync::Arc;

pub(super) struct Plan {
    pub dataset: Arc<dyn Dataset>,
    pub transform: Arc<dyn SampleTransform>,
    pub config: LoaderConfig,
    pub epoch: u64,
    /// The dataset's indices in the order of this epoch.
    pub order: Vec<usize>,
    /// Number of batches.
    pub batches: usize,
}

impl Plan {
    pub(super) fn new(
        dataset: Arc<dyn Dataset>,
        transform: Arc<dyn SampleTransform>,
        config: LoaderConfig,
        epoch: u64,
    ) -> Self {
        let mut order: Vec<usize> = (0..dataset.len()).collect();
        if config.shuffle {
            Rng::keyed(config.seed, epoch, 0, Purpose::Shuffle).shuffle(&mut order);
        }
        let batches = batch_count(order.len(), &config);
        Self { dataset, transform, config, epoch, order, batches }
    }

    /// The positions in `order` that make a batch.
    pub(super) fn positions(&self, batch: usize) -> Range<usize> {
        let start = batch * self.config.batch_size;
        start..(start + self.config.batch_size).min(self.order.len())
    }

    /// Whether a sample with this error is left out.
    pub(super) fn skips(&self, error: &DataError) -> bool {
        self.config.bad_images == BadImages::Skip
            && matches!(error, DataError::Io { .. } | DataError::Invalid { .. } | DataError::TooLarge { .. })
    }
}

/// Batches in an epoch.
pub(super) fn batch_count(samples: usize, config: &LoaderConfig) -> usize {
    if config.drop_last { samples / config.batch_size } else { samples.div_ceil(config.batch_size) }
}
