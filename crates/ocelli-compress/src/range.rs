//! How far the numbers of a tensor reach, found from batches of it.
//!
//! Every estimator streams: it keeps extremes, a histogram or a sample, never the tensors.

use ocelli_graph::Codes;
use serde::{Deserialize, Serialize};

use crate::kl;
use crate::quantiser::affine;

/// A rule for a range.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Estimator {
    /// The extremes of all batches.
    MinMax,
    /// Extremes of the batches, each `1 - momentum` of what is believed: `r := momentum * r + (1 - momentum) * batch`.
    MovingAverage {
        /// Share of what was believed before.
        momentum: f64,
    },
    /// So many percent lie below the upper end, and above the lower one.
    Percentile(f64),
    /// Of 1.00, 0.99, .. 0.20 of the extremes, what leaves the least squared error.
    Mse,
    /// Of the same, what keeps the direction best.
    Cosine,
    /// The threshold at which a histogram of codes tells least apart from the numbers' (entropy calibration).
    Kl,
}

impl Estimator {
    /// Its name on the command line.
    pub fn name(self) -> String {
        match self {
            Self::MinMax => "min-max".into(),
            Self::MovingAverage { .. } => "moving-average".into(),
            Self::Percentile(p) => format!("percentile {p}"),
            Self::Mse => "mse".into(),
            Self::Cosine => "cosine".into(),
            Self::Kl => "kl".into(),
        }
    }
}

/// Most numbers that are kept of a tensor for the estimators that look at each.
const KEPT: usize = 1 << 18;

/// Watches one tensor.
#[derive(Clone, Debug)]
pub struct Observer {
    estimator: Estimator,
    low: f64,
    high: f64,
    seen: u64,
    /// Numbers, evenly spread over all that were seen.
    sample: Vec<f32>,
    /// Every `step`-th number is kept.
    step: usize,
    phase: usize,
}

impl Observer {
    /// Nothing seen yet.
    pub fn new(estimator: Estimator) -> Self {
        Self { estimator, low: 0.0, high: 0.0, seen: 0, sample: Vec::new(), step: 1, phase: 0 }
    }

    /// Looks at a batch.
    ///
    /// # Errors
    /// The index of the first number that is none.
    pub fn observe(&mut self, batch: &[f32]) -> Result<(), usize> {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for (i, &x) in batch.iter().enumerate() {
            if !x.is_finite() {
                return Err(i);
            }
            low = low.min(f64::from(x));
            high = high.max(f64::from(x));
        }
        if batch.is_empty() {
            return Ok(());
        }
        match self.estimator {
            _ if self.seen == 0 => (self.low, self.high) = (low, high),
            Estimator::MovingAverage { momentum } => {
                self.low = momentum * self.low + (1.0 - momentum) * low;
                self.high = momentum * self.high + (1.0 - momentum) * high;
            }
            _ => {
                self.low = self.low.min(low);
                self.high = self.high.max(high);
            }
        }
        self.seen += batch.len() as u64;
        if !matches!(self.estimator, Estimator::MinMax | Estimator::MovingAverage { .. }) {
            self.keep(batch);
        }
        Ok(())
    }

    fn keep(&mut self, batch: &[f32]) {
        let mut at = self.phase;
        while at < batch.len() {
            self.sample.push(batch[at]);
            at += self.step;
            if self.sample.len() > KEPT {
                // Half as dense from here on, also of what is kept.
                let mut even = false;
                self.sample.retain(|_| {
                    even = !even;
                    even
                });
                self.step *= 2;
            }
        }
        self.phase = at - batch.len();
    }

    /// How many numbers were seen.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Smallest and largest number seen (or believed, for a moving average).
    pub fn extremes(&self) -> (f64, f64) {
        (self.low, self.high)
    }

    /// The range for codes of `bits`.
    pub fn range(&self, bits: u8) -> (f64, f64) {
        match self.estimator {
            Estimator::MinMax | Estimator::MovingAverage { .. } => (self.low, self.high),
            Estimator::Percentile(p) => percentile(&self.sample, p),
            Estimator::Mse => search(&self.sample, (self.low, self.high), bits, squared_error),
            Estimator::Cosine => {
                search(&self.sample, (self.low, self.high), bits, |x, codes| -cosine(x, codes))
            }
            Estimator::Kl => {
                let rectified = self.low >= 0.0;
                let most = self.low.abs().max(self.high.abs());
                let threshold =
                    kl::threshold(&kl::histogram(&self.sample, most, rectified), bits, rectified, most);
                if rectified { (0.0, threshold.value) } else { (-threshold.value, threshold.value) }
            }
        }
    }

    /// Codes of `bits` for what was seen.
    pub fn codes(&self, bits: u8) -> Codes {
        let (low, high) = self.range(bits);
        affine(low, high, bits)
    }
}

/// The numbers below which `100 - p` and `p` percent of `x` lie, between ranks linearly interpolated.
pub fn percentile(x: &[f32], p: f64) -> (f64, f64) {
    if x.is_empty() {
        return (0.0, 0.0);
    }
    let mut sorted = x.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let at = |p: f64| {
        let rank = (sorted.len() - 1) as f64 * p / 100.0;
        let (below, share) = (rank.floor() as usize, rank.fract());
        let (a, b) = (f64::from(sorted[below]), f64::from(sorted[(below + 1).min(sorted.len() - 1)]));
        a + (b - a) * share
    };
    (at(100.0 - p), at(p))
}

/// The sum of the squares of what `codes` lose of `x`.
pub fn squared_error(x: &[f32], codes: Codes) -> f64 {
    x.iter().map(|&x| (f64::from(codes.number(codes.code(x))) - f64::from(x)).powi(2)).sum()
}

/// Cosine of the angle between `x` and what its codes stand for.
pub fn cosine(x: &[f32], codes: Codes) -> f64 {
    let (mut both, mut own, mut other) = (0.0, 0.0, 0.0);
    for &x in x {
        let (a, b) = (f64::from(x), f64::from(codes.number(codes.code(x))));
        both += a * b;
        own += a * a;
        other += b * b;
    }
    if own == 0.0 || other == 0.0 { 0.0 } else { both / (own.sqrt() * other.sqrt()) }
}

/// Of 1.00, 0.99, .. 0.20 of the extremes, the range with the least loss; of equals the widest.
fn search(x: &[f32], (low, high): (f64, f64), bits: u8, loss: impl Fn(&[f32], Codes) -> f64) -> (f64, f64) {
    let ratio = best_ratio(x, (low, high), bits, loss);
    (low.min(0.0) * ratio, high.max(0.0) * ratio)
}

/// The share that [`Estimator::Mse`] and [`Estimator::Cosine`] take of the extremes.
pub fn best_ratio(x: &[f32], (low, high): (f64, f64), bits: u8, loss: impl Fn(&[f32], Codes) -> f64) -> f64 {
    let (low, high) = (low.min(0.0), high.max(0.0));
    let mut best = (f64::INFINITY, 1.0);
    for i in 0..=80 {
        let ratio = f64::from(100 - i) / 100.0;
        let own = loss(x, affine(low * ratio, high * ratio, bits));
        if own < best.0 {
            best = (own, ratio);
        }
    }
    best.1
}
