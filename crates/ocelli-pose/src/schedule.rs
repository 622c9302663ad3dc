//! Schedules of the reference's training.

/// Temperature of the attention at the start.
pub const MAX_TEMPERATURE: f64 = 30.0;

/// Temperature of batch `batch` of `batches` in `epoch` (from 0): it falls linearly from `highest` to 1 over `epochs`. Nothing past them,
/// where the reference leaves the last value standing.
pub fn temperature(highest: f64, epochs: usize, epoch: usize, batch: usize, batches: usize) -> Option<f64> {
    (epoch < epochs).then(|| 1.0 + (highest - 1.0) * (1.0 - progress(epochs, epoch, batch, batches)))
}

/// As [`temperature`], rising from 1; 1 past the end, as the reference has it.
pub fn rising_temperature(highest: f64, epochs: usize, epoch: usize, batch: usize, batches: usize) -> f64 {
    if epoch >= epochs {
        return 1.0;
    }
    1.0 + (highest - 1.0) * progress(epochs, epoch, batch, batches)
}

fn progress(epochs: usize, epoch: usize, batch: usize, batches: usize) -> f64 {
    (epoch as f64 + batch as f64 / batches.max(1) as f64) / epochs as f64
}

/// Learning rate used in `epoch` (from 0): multiplied by `gamma` after every epoch divisible by `every`, so that the first drop comes
/// right after epoch 0.
pub fn step_rate(first: f64, gamma: f64, every: usize, epoch: usize) -> f64 {
    (0..epoch).filter(|done| done.is_multiple_of(every.max(1))).fold(first, |rate, _| rate * gamma)
}
