//! Exact k-means of numbers: the reference's k-means++ stops in a local optimum that depends on its seed.

/// Groups of numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Clusters {
    /// Group of every number; groups are numbered by ascending mean.
    pub labels: Vec<u8>,
    /// How many groups there are: fewer than asked for, if there are fewer different numbers.
    pub count: usize,
    /// Squared distances to the groups' means, summed.
    pub sse: f64,
}

/// Groups `values` into at most `groups` (1 to 256) groups of least squared error, by dynamic programming over their order:
/// `O(groups · n²)`. Numbers that are none count as zeros.
pub fn cluster(values: &[f32], groups: usize) -> Clusters {
    let clean = |v: f32| if v.is_finite() { f64::from(v) } else { 0.0 };
    let mut sorted: Vec<f64> = values.iter().map(|v| clean(*v)).collect();
    sorted.sort_by(f64::total_cmp);
    // Equal numbers stay together: different ones, and how often each occurs.
    let mut points: Vec<(f64, f64)> = Vec::new();
    for v in sorted {
        match points.last_mut() {
            Some((last, count)) if *last == v => *count += 1.0,
            _ => points.push((v, 1.0)),
        }
    }
    let n = points.len();
    let groups = groups.clamp(1, 256).min(n.max(1));
    // Prefix sums of counts, numbers and squares, around the middle to lose little by cancellation.
    let middle = points.get(n / 2).map_or(0.0, |p| p.0);
    let mut sums = vec![[0.0f64; 3]; n + 1];
    for (i, (v, count)) in points.iter().enumerate() {
        let d = v - middle;
        let [a, b, c] = sums[i];
        sums[i + 1] = [a + count, b + count * d, c + count * d * d];
    }
    let error = |from: usize, to: usize| {
        let [count, sum, square] = [0, 1, 2].map(|k| sums[to][k] - sums[from][k]);
        (square - sum * sum / count.max(1.0)).max(0.0)
    };
    // best[j]: least error of the first j points in as many groups as rounds so far.
    let mut best: Vec<f64> = (0..=n).map(|j| error(0, j)).collect();
    let mut cuts: Vec<Vec<usize>> = Vec::new();
    for group in 1..groups {
        let mut next = vec![f64::INFINITY; n + 1];
        let mut cut = vec![0; n + 1];
        for j in group + 1..=n {
            for (from, own) in best.iter().enumerate().take(j).skip(group) {
                let total = own + error(from, j);
                if total < next[j] {
                    (next[j], cut[j]) = (total, from);
                }
            }
        }
        cuts.push(cut);
        best = next;
    }
    let mut starts = vec![0; groups];
    let mut end = n;
    for group in (1..groups).rev() {
        end = cuts[group - 1][end];
        starts[group] = end;
    }
    let label = |v: f32| {
        let at = points.partition_point(|p| p.0 < clean(v));
        (starts.partition_point(|start| *start <= at) - 1) as u8
    };
    let sse = (0..groups).map(|g| error(starts[g], starts.get(g + 1).copied().unwrap_or(n))).sum();
    Clusters { labels: values.iter().map(|v| label(*v)).collect(), count: groups, sse }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_the_best_there_are() {
        let values = [21.0, 1.3, 1.2, 8.0, 7.5, 1.25, 20.0, 0.1];
        let found = cluster(&values, 3);
        assert_eq!(found.labels, [2, 0, 0, 1, 1, 0, 2, 0]);
        // Every other way to cut the order in three is worse.
        let mut sorted = values;
        sorted.sort_by(f32::total_cmp);
        let sse = |part: &[f32]| {
            let mean = part.iter().sum::<f32>() / part.len() as f32;
            part.iter().map(|v| f64::from((v - mean) * (v - mean))).sum::<f64>()
        };
        for a in 1..7 {
            for b in a + 1..8 {
                let all = sse(&sorted[..a]) + sse(&sorted[a..b]) + sse(&sorted[b..]);
                assert!(found.sse <= all + 1e-6);
            }
        }
    }

    #[test]
    fn few_numbers_make_few_groups() {
        assert_eq!(cluster(&[2.0, 1.0, 2.0], 4).labels, [1, 0, 1]);
        assert_eq!(cluster(&[3.0], 4), Clusters { labels: vec![0], count: 1, sse: 0.0 });
        assert_eq!(cluster(&[], 4).count, 1);
        assert_eq!(cluster(&[f32::NAN, 1.0], 2).labels, [0, 1]);
    }
}
