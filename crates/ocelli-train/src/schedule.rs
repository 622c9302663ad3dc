//! Learning rate as a function of the optimiser step.

use serde::{Deserialize, Serialize};

/// Shape of the schedule after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleKind {
    /// Half a cosine down to the minimum (arXiv 1608.03983).
    Cosine,
    /// Multiplied by a factor every so many epochs.
    Step,
    /// Constant.
    Constant,
}

/// A schedule over `total` steps.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Shape.
    pub kind: ScheduleKind,
    /// Highest learning rate.
    pub peak: f64,
    /// Final learning rate as a share of the peak (cosine).
    pub min_ratio: f64,
    /// Steps in all.
    pub total: usize,
    /// Steps of linear warm-up.
    pub warmup: usize,
    /// Steps between reductions (step).
    pub decay_steps: usize,
    /// Factor of a reduction (step).
    pub decay_rate: f64,
}

impl Schedule {
    /// Learning rate of step `step`, counted from 0.
    pub fn at(&self, step: usize) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / (self.warmup + 1) as f64;
        }
        let after = step - self.warmup;
        match self.kind {
            ScheduleKind::Constant => self.peak,
            ScheduleKind::Step => self.peak * self.decay_rate.powi((step / self.decay_steps) as i32),
            ScheduleKind::Cosine => {
                let progress = after as f64 / (self.total - self.warmup).max(1) as f64;
                let low = self.peak * self.min_ratio;
                low + (self.peak - low) * 0.5 * (1.0 + (std::f64::consts::PI * progress.min(1.0)).cos())
            }
        }
    }
}
