//! Frames per second as a fraction, and whether times lie on its grid.

use serde::{Deserialize, Serialize};

/// Frames per second, as a fraction: 24000/1001.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// Frames...
    pub numerator: u32,
    /// ...in so many seconds.
    pub denominator: u32,
}

impl Rate {
    /// Frames per second. 0 for a fraction with a 0 in it.
    pub fn value(self) -> f64 {
        if self.denominator == 0 { 0.0 } else { f64::from(self.numerator) / f64::from(self.denominator) }
    }

    /// Reads `24000/1001` or `25`; `None` for anything else, and for 0.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (numerator, denominator) = text.split_once('/').unwrap_or((text, "1"));
        Self::new(numerator.parse().ok()?, denominator.parse().ok()?)
    }

    /// The fraction, when it is one of frames per second.
    pub(super) fn new(numerator: u32, denominator: u32) -> Option<Self> {
        (numerator > 0 && denominator > 0).then_some(Self { numerator, denominator })
    }

    /// The rate of frames shown at `times`, in s, from 0 on; to a thousandth of a frame per second.
    pub(super) fn average(times: &[f64]) -> Option<Self> {
        let last = times.last().filter(|last| **last > 0.0)?;
        let thousandths = ((times.len() - 1) as f64 / last * 1000.0).round();
        Self::new((thousandths <= f64::from(u32::MAX)).then_some(thousandths as u32)?, 1000)
    }

    /// How far the times, in s, are from the grid `i / rate`, in frames: the largest distance.
    pub(super) fn distance(self, times: &[f64]) -> f64 {
        let rate = self.value();
        times.iter().enumerate().map(|(i, t)| (t * rate - i as f64).abs()).fold(0.0, f64::max)
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.numerator, self.denominator)
    }
}
