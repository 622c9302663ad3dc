//! Batches, made ahead by several threads, the same ones for any number of them.

mod assemble;
mod config;
mod epoch;

use std::sync::Arc;

pub use config::{BadImages, LoaderConfig};
pub use epoch::Epoch;

use crate::dataset::{Cached, Dataset};
use crate::error::{DataError, Result};
use crate::rng::{Purpose, Rng};
use crate::transform::SampleTransform;

/// One batch.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Row-major `[batch, channels, height, width]`.
    pub pixels: Vec<f32>,
    /// Batch, channels, height, width.
    pub shape: [usize; 4],
    /// Class of each sample.
    pub labels: Vec<usize>,
    /// Row-major `[batch, classes]`, where mixing or label smoothing is on.
    pub targets: Option<Vec<f32>>,
    /// Number in the dataset of each sample.
    pub indices: Vec<usize>,
    /// Pictures of this batch that could not be read, under [`BadImages::Skip`]: name and reason.
    pub skipped: Vec<(String, String)>,
}

/// A picture left out: its name and why.
pub type Skipped = (String, String);

/// A dataset, a transform and the threads between them.
pub struct Loader {
    data: Arc<dyn Dataset>,
    transform: Arc<dyn SampleTransform>,
    config: LoaderConfig,
}

impl std::fmt::Debug for Loader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loader").field("pictures", &self.data.len()).field("config", &self.config).finish()
    }
}

impl Loader {
    /// Batches of `data` by `transform`.
    ///
    /// # Errors
    /// [`DataError::Config`] for settings that make no sense, [`DataError::Invalid`] for an empty dataset.
    pub fn new(
        data: Arc<dyn Dataset>,
        config: LoaderConfig,
        transform: Arc<dyn SampleTransform>,
    ) -> Result<Self> {
        config.validate()?;
        if data.is_empty() {
            return Err(DataError::invalid("dataset", "at least one picture", "none"));
        }
        let data: Arc<dyn Dataset> = match config.cache_bytes {
            0 => data,
            budget => Arc::new(Cached::new(data, budget as u64)),
        };
        Ok(Self { data, transform, config })
    }

    /// The pictures.
    pub fn dataset(&self) -> &dyn Dataset {
        self.data.as_ref()
    }

    /// Batches per epoch.
    pub fn batches_per_epoch(&self) -> usize {
        let (pictures, size) = (self.data.len(), self.config.batch_size);
        if self.config.drop_last { pictures / size } else { pictures.div_ceil(size) }
    }

    /// The batches of `epoch` from batch `start` on. What came before `start` is not even decoded.
    ///
    /// # Errors
    /// The system's, if no thread can be started.
    pub fn epoch(&self, epoch: u64, start: usize) -> Result<Epoch> {
        let mut order: Vec<usize> = (0..self.data.len()).collect();
        if self.config.shuffle {
            Rng::keyed(self.config.seed, epoch, 0, Purpose::Shuffle).shuffle(&mut order);
        }
        let job = assemble::Job {
            data: self.data.clone(),
            transform: self.transform.clone(),
            config: self.config.clone(),
            order,
            epoch,
        };
        Epoch::start(job, start, self.batches_per_epoch())
    }
}
