//! Places within rows: runs of slots that shall stand exactly below each other move as one column (after
//! Brandes and Köpf 2001), each towards what it is joined to.

use super::layout::Layers;

/// Room between neighbours, in pixels.
const GAP: f64 = 18.0;
/// Passes of moving columns towards their neighbours.
const PASSES: usize = 24;

/// Middles of all slots, in pixels from the left, and the whole width.
pub(super) fn place(layers: &Layers) -> (Vec<f64>, f64) {
    let column = columns(layers);
    let count = column.iter().max().map_or(0, |last| last + 1);
    let mut members = vec![Vec::new(); count];
    for (slot, &column) in column.iter().enumerate() {
        members[column].push(slot);
    }
    // `left[c]`: columns that stand somewhere directly to the left of c, and the distance of the middles.
    let (mut left, mut right) = (vec![Vec::new(); count], vec![Vec::new(); count]);
    for row in &layers.rows {
        for pair in row.windows(2) {
            let distance = (layers.slots[pair[0]].width + layers.slots[pair[1]].width) / 2.0 + GAP;
            left[column[pair[1]]].push((column[pair[0]], distance));
            right[column[pair[0]]].push((column[pair[1]], distance));
        }
    }
    let sorted = leftmost_first(&left, &right);
    let mut x = vec![0.0f64; count];
    for &column in &sorted {
        x[column] = left[column].iter().map(|&(other, distance)| x[other] + distance).fold(0.0, f64::max);
    }
    let fixed: Vec<bool> =
        members.iter().map(|slots| slots.iter().filter(|&&slot| layers.spine[slot]).count() > 1).collect();
    for pass in 0..PASSES {
        for step in 0..count {
            let at = sorted[if pass % 2 == 0 { count - 1 - step } else { step }];
            if fixed[at] {
                continue;
            }
            let low = left[at].iter().map(|&(other, distance)| x[other] + distance);
            let low = low.fold(f64::NEG_INFINITY, f64::max);
            let high = right[at].iter().map(|&(other, distance)| x[other] - distance);
            let high = high.fold(f64::INFINITY, f64::min);
            let ends =
                members[at].iter().flat_map(|&slot| layers.above[slot].iter().chain(&layers.below[slot]));
            let others: Vec<f64> =
                ends.filter(|&&end| column[end] != at).map(|&end| x[column[end]]).collect();
            if !others.is_empty() && low <= high {
                x[at] = (others.iter().sum::<f64>() / others.len() as f64).clamp(low, high);
            }
        }
    }
    let edge = |sign: f64| {
        let ends = layers.slots.iter().zip(&column).map(move |(slot, &at)| (at, sign * slot.width / 2.0));
        ends.map(|(at, half)| x[at] + half).collect::<Vec<_>>()
    };
    let start = edge(-1.0).into_iter().fold(f64::INFINITY, f64::min);
    let end = edge(1.0).into_iter().fold(f64::NEG_INFINITY, f64::max);
    if column.is_empty() {
        return (Vec::new(), 0.0);
    }
    (column.iter().map(|&at| x[at] - start).collect(), end - start)
}

/// The column of each slot.
fn columns(layers: &Layers) -> Vec<usize> {
    let mut parent: Vec<usize> = (0..layers.slots.len()).collect();
    for row in 1..layers.rows.len() {
        let upper = &layers.rows[row - 1];
        let place = |slots: &[usize], slot: usize| slots.iter().position(|&other| other == slot);
        let mut pairs: Vec<(u8, usize, usize, usize)> = Vec::new();
        for (low, &slot) in layers.rows[row].iter().enumerate() {
            for &other in &layers.above[slot] {
                let Some(high) = place(upper, other) else { continue };
                let bends = [other, slot].map(|end| layers.slots[end].content.is_none());
                let rank = match (layers.spine[other] && layers.spine[slot], bends) {
                    (true, _) => 0,
                    (_, [true, true]) => 1,
                    (_, [false, false]) => 2,
                    _ => 3,
                };
                // Among equals, the middle one.
                let count = layers.above[slot].len().max(layers.below[other].len());
                pairs.push((rank, count, high, low));
            }
        }
        pairs.sort_unstable();
        let mut taken: Vec<(usize, usize)> = Vec::new();
        for (_, _, high, low) in pairs {
            let clear = |&(a, b): &(usize, usize)| (a < high && b < low) || (a > high && b > low);
            if taken.iter().all(clear) {
                taken.push((high, low));
                let (upper, slot) = (upper[high], layers.rows[row][low]);
                parent[slot] = parent[upper];
            }
        }
    }
    // Numbers without holes.
    let mut number = vec![usize::MAX; parent.len()];
    let mut count = 0;
    parent
        .iter()
        .map(|&top| {
            if number[top] == usize::MAX {
                number[top] = count;
                count += 1;
            }
            number[top]
        })
        .collect()
}

/// Columns in an order in which each comes after all to its left.
fn leftmost_first(left: &[Vec<(usize, f64)>], right: &[Vec<(usize, f64)>]) -> Vec<usize> {
    let mut waiting: Vec<usize> = left.iter().map(Vec::len).collect();
    let mut ready: Vec<usize> = (0..left.len()).filter(|&at| waiting[at] == 0).rev().collect();
    let mut sorted = Vec::with_capacity(left.len());
    while let Some(at) = ready.pop() {
        sorted.push(at);
        for &(other, _) in &right[at] {
            waiting[other] -= 1;
            if waiting[other] == 0 {
                ready.push(other);
            }
        }
    }
    sorted
}
