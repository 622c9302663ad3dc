//! What a confusion matrix says about each class.

/// How well one class is recognised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassMetrics {
    /// The index of the class.
    pub class: usize,
    /// Images of this class.
    pub support: u64,
    /// Images of this class that were recognised.
    pub hits: u64,
    /// Images that were taken for this class, rightly or not.
    pub predicted: u64,
}

impl ClassMetrics {
    /// The share of images of this class that were recognised; `None` without such images.
    #[must_use]
    pub fn recall(&self) -> Option<f64> {
        (self.support > 0).then(|| self.hits as f64 / self.support as f64)
    }

    /// The share of images taken for this class that belong to it; `None` if there are none.
    #[must_use]
    pub fn precision(&self) -> Option<f64> {
        (self.predicted > 0).then(|| self.hits as f64 / self.predicted as f64)
    }

    /// The harmonic mean of precision and recall; `None` for a class neither seen nor predicted.
    #[must_use]
    pub fn f1(&self) -> Option<f64> {
        let total = self.support + self.predicted;
        (total > 0).then(|| 2.0 * self.hits as f64 / total as f64)
    }
}

/// A confusion of one class with another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConfusedPair {
    /// The true class.
    pub truth: usize,
    /// What it was taken for.
    pub predicted: usize,
    /// How many times.
    pub count: u64,
    /// The share of the true class's images.
    pub share: f64,
}

/// The metrics of each class of `confusion[true][predicted]`, in the order of the classes.
#[must_use]
pub fn class_metrics(confusion: &[Vec<u64>]) -> Vec<ClassMetrics> {
    let columns = confusion.iter().map(Vec::len).max().unwrap_or(0);
    let at = |row: usize, column: usize| {
        confusion.get(row).and_then(|row| row.get(column)).copied().unwrap_or_default()
    };
    let mut predicted = vec![0_u64; columns.max(confusion.len())];
    for row in confusion {
        for (column, count) in row.iter().enumerate() {
            predicted[column] += count;
        }
    }
    let metrics = |(class, predicted)| ClassMetrics {
        class,
        support: confusion.get(class).map_or(0, |row| row.iter().sum()),
        hits: at(class, class),
        predicted,
    };
    predicted.into_iter().enumerate().map(metrics).collect()
}

/// The most frequent confusions, at most `limit`, most frequent first.
#[must_use]
pub fn confused_pairs(confusion: &[Vec<u64>], limit: usize) -> Vec<ConfusedPair> {
    let mut pairs = Vec::new();
    for (truth, row) in confusion.iter().enumerate() {
        let support: u64 = row.iter().sum();
        for (predicted, &count) in row.iter().enumerate() {
            if predicted != truth && count > 0 {
                pairs.push(ConfusedPair { truth, predicted, count, share: count as f64 / support as f64 });
            }
        }
    }
    pairs.sort_by(|a, b| b.count.cmp(&a.count).then(b.share.total_cmp(&a.share)));
    pairs.truncate(limit);
    pairs
}

/// The 95 % Wilson score interval of a share: where it may lie when `hits` of `total` draws say yes. `None`
/// without any.
#[must_use]
pub fn wilson_interval(hits: u64, total: u64) -> Option<(f64, f64)> {
    if total == 0 || hits > total {
        return None;
    }
    let z2 = 1.959_964_f64.powi(2);
    let n = total as f64;
    let p = hits as f64 / n;
    let middle = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt() * z2.sqrt() / (1.0 + z2 / n);
    Some(((middle - half).max(0.0), (middle + half).min(1.0)))
}

/// Images on the diagonal, and all images.
pub(super) fn totals(confusion: &[Vec<u64>]) -> (u64, u64) {
    let hits = confusion.iter().enumerate().filter_map(|(i, row)| row.get(i)).sum();
    (hits, confusion.iter().flatten().sum())
}

/// The share of images on the diagonal.
pub(super) fn accuracy(confusion: &[Vec<u64>]) -> Option<f64> {
    let (hits, total) = totals(confusion);
    (total > 0).then(|| hits as f64 / total as f64)
}
