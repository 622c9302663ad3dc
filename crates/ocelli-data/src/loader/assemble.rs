//! Making one batch: what it holds depends on its number and on nothing else.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::{BadImages, Batch, LoaderConfig};
use crate::dataset::Dataset;
use crate::error::{DataError, Result};
use crate::rng::{Purpose, Rng};
use crate::transform::SampleTransform;

/// Everything that decides the batches of an epoch.
pub(super) struct Job {
    pub data: Arc<dyn Dataset>,
    pub transform: Arc<dyn SampleTransform>,
    pub config: LoaderConfig,
    pub order: Vec<usize>,
    pub epoch: u64,
}

impl Job {
    /// Batch `number` of the epoch.
    pub fn batch(&self, number: usize) -> Result<Batch> {
        let size = self.config.batch_size;
        let end = self.order.len().min((number + 1) * size);
        let mut batch = Batch::default();
        for &index in &self.order[number * size..end] {
            match self.sample(index) {
                Ok(pixels) => {
                    batch.pixels.extend(pixels);
                    batch.labels.push(self.data.label(index));
                    batch.indices.push(index);
                }
                Err(error @ DataError::Panicked { .. }) => return Err(error),
                Err(error) if self.config.bad_images == BadImages::Skip => {
                    batch.skipped.push((self.data.name(index), error.to_string()));
                }
                Err(error) => return Err(error),
            }
        }
        let [channels, height, width] = self.transform.shape();
        batch.shape = [batch.labels.len(), channels, height, width];
        if self.config.mix.is_active() && !batch.labels.is_empty() {
            let mut rng = Rng::keyed(self.config.seed, self.epoch, number as u64, Purpose::Batch);
            let classes = self.data.classes().len();
            let mixed =
                self.config.mix.apply(&mut batch.pixels, batch.shape, &batch.labels, classes, &mut rng)?;
            batch.targets = Some(mixed.targets);
        }
        Ok(batch)
    }

    /// One sample; a panic in a decoder becomes an error that names the picture.
    fn sample(&self, index: usize) -> Result<Vec<f32>> {
        let work = || {
            let picture = self.data.load(index)?;
            let mut rng = Rng::for_sample(self.config.seed, self.epoch, index as u64);
            self.transform.apply(&picture, &mut rng)
        };
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
            let message = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()))
                .unwrap_or_else(|| "no message".into());
            Err(DataError::Panicked { name: self.data.name(index), message })
        })
    }
}
