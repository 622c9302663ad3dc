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

    /// Of a rule that is -1 for all sums below some number or for all above one; sums lie within `±limit`.
    ///
    /// The rule is asked for single sums, so that the threshold rounds as whatever computes the rule does.
    pub fn of_rule(limit: i32, is_negative: impl Fn(i32) -> bool) -> Self {
        let far = FAR as i32;
        let (mut low, mut high) = (-limit, limit);
        let (at_low, at_high) = (is_negative(low), is_negative(high));
        if at_low == at_high {
            return Self { bound: if at_low { far } else { -far }, flip: false };
        }
        // The rule is `at_low` at `low` and not at `high`.
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if is_negative(middle) == at_low { low = middle } else { high = middle }
        }
        if at_low { Self { bound: high, flip: false } } else { Self { bound: low, flip: true } }
    }

    /// The same as a factor and a bound: -1 where `sum · factor <= bound`. Sums below 2^24 are compared exactly.
    pub fn as_comparison(&self) -> (f32, f32) {
        let bound = f64::from(self.bound);
        if self.flip { (-1.0, (-bound - 1.0) as f32) } else { (1.0, (bound - 1.0) as f32) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_become_thresholds() {
        let rules: [&dyn Fn(i32) -> bool; 8] = [
            &|sum| sum < 3,
            &|sum| sum > -7,
            &|sum| sum < -20,
            &|sum| sum > 19,
            &|sum| sum <= 20,
            &|_| true,
            &|_| false,
            &|sum| (sum as f32) * 0.3 - 0.9 < 0.0,
        ];
        for (place, rule) in rules.iter().enumerate() {
            let threshold = Threshold::of_rule(20, rule);
            let (factor, bound) = threshold.as_comparison();
            for sum in -20..=20 {
                assert_eq!(threshold.is_negative(sum), rule(sum), "rule {place} at {sum}");
                assert_eq!(sum as f32 * factor <= bound, rule(sum), "rule {place} at {sum}, compared");
            }
        }
    }
}
