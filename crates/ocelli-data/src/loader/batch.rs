//! What a loader gives, and how it is put together.

use super::plan::Plan;
use crate::error::{DataError, Result};
use crate::rng::{Purpose, Rng};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// A picture that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its number in the dataset.
    pub index: usize,
    /// Its path.
    pub name: String,
    /// Why.
    pub error: String,
}

/// Some samples, ready for the network.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Number of the batch in its epoch, counted from 0 also when the epoch began later.
    pub number: usize,
    /// `[batch, channels, height, width]`, contiguous.
    pub pixels: Vec<f32>,
    /// Batch, channels, height, width.
    pub shape: [usize; 4],
    /// One label per sample, before mixing.
    pub labels: Vec<usize>,
    /// Soft targets, `[batch, classes]`, with mixup, CutMix or label smoothing.
    pub targets: Option<Vec<f32>>,
    /// The samples' numbers in the dataset.
    pub indices: Vec<usize>,
    /// Pictures that were left out since the batch before.
    pub skipped: Vec<Skipped>,
    /// How long the consumer waited for it.
    pub wait: Duration,
}

impl Batch {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.shape[0]
    }

    /// Whether it has no samples; a loader never gives such a batch.
    pub fn is_empty(&self) -> bool {
        self.shape[0] == 0
    }
}

/// Decodes and augments the sample at position `at` of the epoch.
pub(super) fn sample(plan: &Plan, at: usize) -> Result<Vec<f32>> {
    let index = plan.order[at];
    let work = || {
        let image = plan.dataset.load(index)?;
        let mut rng = Rng::for_sample(plan.config.seed, plan.epoch, index as u64);
        let sample = plan.transform.apply(&image, &mut rng)?;
        let expected: usize = plan.transform.shape().iter().product();
        if sample.len() != expected {
            let found = format!("{} values", sample.len());
            return Err(DataError::config("transform", format!("{expected} values per sample"), found));
        }
        Ok(sample)
    };
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(plan, index, panic.as_ref())))
}

fn panicked(plan: &Plan, index: usize, panic: &(dyn Any + Send)) -> DataError {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    DataError::Panicked { name: plan.dataset.name(index), message: message.into() }
}

/// Puts the samples of batch `number` together. A batch whose pictures are all bad comes out empty.
pub(super) fn assemble(plan: &Plan, number: usize, samples: Vec<Result<Vec<f32>>>) -> Result<Batch> {
    let [channels, height, width] = plan.transform.shape();
    let first = plan.positions(number).start;
    let mut pixels = Vec::with_capacity(samples.len() * channels * height * width);
    let (mut labels, mut indices, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
    for (offset, sample) in samples.into_iter().enumerate() {
        let index = plan.order[first + offset];
        match sample {
            Ok(sample) => {
                pixels.extend_from_slice(&sample);
                labels.push(plan.dataset.label(index));
                indices.push(index);
            }
            // Only pictures may be bad; a panic or a wrong setting is never skipped.
            Err(e) if plan.skips(&e) => {
                skipped.push(Skipped { index, name: plan.dataset.name(index), error: e.to_string() });
            }
            Err(e) => return Err(e),
        }
    }
    let shape = [labels.len(), channels, height, width];
    let mut targets = None;
    if let Some(mix) = plan.config.mix.filter(|mix| mix.is_active() && !labels.is_empty()) {
        let mut rng = Rng::keyed(plan.config.seed, plan.epoch, number as u64, Purpose::Batch);
        let classes = plan.dataset.classes().len();
        targets = Some(mix.apply(&mut pixels, shape, &labels, classes, &mut rng)?.targets);
    }
    Ok(Batch { number, pixels, shape, labels, targets, indices, skipped, wait: Duration::ZERO })
}
