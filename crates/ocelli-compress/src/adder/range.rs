//! How far activations reach, without their outliers.

/// The authors' share of numbers that are kept.
pub const ALPHA: f64 = 0.9997;

/// The least range: nothing is divided by less.
pub const LEAST: f32 = 1e-3;

/// Which of `n` ascending numbers is the range: `int((round(n · alpha) - 1) · alpha)`, halves to even. The share enters twice, as in
/// the released code: about 0.06 % lie beyond with 0.9997.
pub fn index(n: usize, alpha: Option<f64>) -> usize {
    let Some(alpha) = alpha else { return n.saturating_sub(1) };
    let kept = ((n as f64 * alpha).round_ties_even() - 1.0) * alpha;
    (kept.max(0.0) as usize).min(n.saturating_sub(1))
}

/// How far `values` reach: the number at [`index`] of their ascending magnitudes; all the way without `alpha`. Nothing reaches 0.
pub fn reach(values: &[f32], alpha: Option<f64>) -> f32 {
    if values.is_empty() {
        return 0.0;
    }
    let mut magnitudes: Vec<f32> = values.iter().map(|v| v.abs()).collect();
    let at = index(values.len(), alpha);
    *magnitudes.select_nth_unstable_by(at, f32::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_enters_twice() {
        assert_eq!(index(504, Some(ALPHA)), 502);
        assert_eq!(index(1, Some(ALPHA)), 0);
        assert_eq!(index(10, None), 9);
        assert_eq!(reach(&[-3.0, 1.0, 2.0], None), 3.0);
        assert_eq!(reach(&[-3.0, 1.0, 2.0, 0.5], Some(0.7)), 1.0);
        assert_eq!(reach(&[], Some(ALPHA)), 0.0);
    }
}
