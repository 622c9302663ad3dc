//! Entropy calibration: where to cut a histogram so that its codes tell least apart from it.

/// Bins of a histogram.
pub const BINS: usize = 2048;

/// A cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// Bins that are kept.
    pub bins: usize,
    /// Where the cut is.
    pub value: f64,
    /// The divergence.
    pub divergence: f64,
}

/// Counts of `|x|` in equal bins up to `most`; of rectified tensors without the zeros.
pub fn histogram(x: &[f32], most: f64, rectified: bool) -> Vec<u64> {
    let mut counts = vec![0; BINS];
    if most <= 0.0 {
        return counts;
    }
    for &x in x {
        if rectified && x == 0.0 {
            continue;
        }
        let bin = (f64::from(x.abs()) * BINS as f64 / most) as usize;
        counts[bin.min(BINS - 1)] += 1;
    }
    counts
}

/// The cut with the least Kullback-Leibler divergence between the histogram, what lies beyond counted in the last bin, and its
/// codes; of equals the first.
pub fn threshold(counts: &[u64], bits: u8, rectified: bool, most: f64) -> Threshold {
    let levels = 1usize << if rectified { bits } else { bits - 1 };
    let mut beyond: u64 = counts.iter().sum();
    let total = beyond as f64;
    let mut best = Threshold { bins: counts.len(), value: most, divergence: f64::INFINITY };
    if beyond == 0 {
        return best;
    }
    beyond -= counts[..levels.min(counts.len())].iter().sum::<u64>();
    for kept in levels..=counts.len() {
        if kept > levels {
            beyond -= counts[kept - 1];
        }
        let divergence = divergence(&counts[..kept], beyond, levels, total);
        if divergence < best.divergence {
            best = Threshold { bins: kept, value: kept as f64 * most / counts.len() as f64, divergence };
        }
    }
    best
}

/// The divergence for the bins `kept`.
fn divergence(kept: &[u64], beyond: u64, levels: usize, total: f64) -> f64 {
    let bins = kept.len();
    let inside = total - beyond as f64;
    if inside == 0.0 {
        return f64::INFINITY;
    }
    let mut sum = 0.0;
    for j in 0..levels {
        let (from, to) = (j * bins / levels, (j + 1) * bins / levels);
        let segment = &kept[from..to];
        let (count, filled) =
            segment.iter().fold((0u64, 0u64), |(count, filled), &n| (count + n, filled + u64::from(n > 0)));
        let spread = if filled > 0 { count as f64 / filled as f64 / inside } else { 0.0 };
        for (i, &n) in segment.iter().enumerate() {
            let last = from + i + 1 == bins;
            let p = (n + if last { beyond } else { 0 }) as f64 / total;
            if p > 0.0 {
                let q = if n > 0 { spread } else { 0.0 };
                sum += p * (p / q.max(1e-12)).ln();
            }
        }
    }
    sum
}
