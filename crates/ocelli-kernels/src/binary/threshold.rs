//! A batch norm between two signs is a comparison of integers.

/// A batch norm's numbers of one channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// Gain.
    pub gamma: f32,
    /// Shift.
    pub beta: f32,
    /// Running mean.
    pub mean: f32,
    /// Running variance.
    pub variance: f32,
    /// Added to the variance.
    pub epsilon: f64,
}

/// Which sums give -1: those below `bound`, or with `flip` those above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// Compared with a sum; ±2^30 where the sum does not matter.
    pub bound: i32,
    /// -1 where the sum is above.
    pub flip: bool,
}

const FAR: f64 = (1 << 30) as f64;

impl Threshold {
    /// Of `sign(norm(alpha · sum) + shift)`.
    pub fn fold(norm: &Norm, alpha: f32, shift: f32) -> Self {
        let k = f64::from(norm.gamma) / (f64::from(norm.variance) + norm.epsilon).sqrt();
        let offset = f64::from(norm.beta) - f64::from(norm.mean) * k + f64::from(shift);
        Self::of_line(k * f64::from(alpha), offset)
    }

    /// Of `sign(slope · sum + offset)`.
    pub fn of_line(slope: f64, offset: f64) -> Self {
        let bound = |value: f64| value.clamp(-FAR, FAR) as i32;
        if slope > 0.0 {
            Self { bound: bound((-offset / slope).ceil()), flip: false }
        } else if slope < 0.0 {
            Self { bound: bound((-offset / slope).floor()), flip: true }
        } else {
            // Always or never.
            Self { bound: bound(if offset < 0.0 { FAR } else { -FAR }), flip: false }
        }
    }

    /// Whether `sum` gives -1.
    pub fn is_negative(&self, sum: i32) -> bool {
        if self.flip { sum > self.bound } else { sum < self.bound }
    }

    /// The same as two factors: -1 where `sum · sign < bound`.
    pub fn as_comparison(&self) -> (i32, i32) {
        if self.flip { (-1, -self.bound) } else { (1, self.bound) }
    }
}
