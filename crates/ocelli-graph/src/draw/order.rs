//! The order within layers: few crossings (barycentre method, Sugiyama et al. 1981).

use super::layout::Layers;

/// Passes over all layers, downwards and upwards in turn.
const PASSES: usize = 10;

/// Reorders the rows.
pub(super) fn order(layers: &mut Layers) {
    // The longest way starts at the left, so that what goes around it goes around on the right.
    for row in 0..layers.rows.len() {
        let spine = &layers.spine;
        layers.rows[row].sort_by_key(|&slot| !spine[slot]);
    }
    let mut best = layers.rows.clone();
    let mut fewest = crossings(layers);
    for pass in 0..PASSES {
        if fewest == 0 && pass > 1 {
            break;
        }
        let down = pass.is_multiple_of(2);
        let rows = layers.rows.len();
        for step in 1..rows {
            sort(layers, if down { step } else { rows - 1 - step }, down);
        }
        let count = crossings(layers);
        if count < fewest || (pass == 0 && count == fewest) {
            fewest = count;
            best.clone_from(&layers.rows);
        }
    }
    layers.rows = best;
}

/// Sorts a row by the mean position of what its slots are joined to in the row above (or below).
fn sort(layers: &mut Layers, row: usize, down: bool) {
    let fixed = if down { row - 1 } else { row + 1 };
    let position = positions(layers, fixed);
    let joined = if down { &layers.above } else { &layers.below };
    let mut keyed: Vec<(f64, usize)> = layers.rows[row]
        .iter()
        .enumerate()
        .map(|(at, &slot)| {
            let others = &joined[slot];
            let sum: usize = others.iter().map(|other| position[other]).sum();
            // Without a neighbour a slot stays about where it is.
            let mean = if others.is_empty() { at as f64 } else { sum as f64 / others.len() as f64 };
            (mean, slot)
        })
        .collect();
    keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
    layers.rows[row] = keyed.into_iter().map(|(_, slot)| slot).collect();
}

/// Position of every slot in its row, for the slots of `row`; 0 elsewhere.
fn positions(layers: &Layers, row: usize) -> std::collections::HashMap<usize, usize> {
    layers.rows[row].iter().enumerate().map(|(at, &slot)| (slot, at)).collect()
}

/// How many pairs of lines cross.
fn crossings(layers: &Layers) -> usize {
    let mut total = 0;
    for row in 1..layers.rows.len() {
        let position = positions(layers, row);
        // Ends of the lines in the order of their beginnings; each inversion is a crossing.
        let mut counts = vec![0usize; layers.rows[row].len() + 1];
        let mut seen = 0;
        for &slot in &layers.rows[row - 1] {
            let mut ends: Vec<usize> = layers.below[slot].iter().map(|other| position[other]).collect();
            ends.sort_unstable();
            total += ends.iter().map(|&end| seen - before(&counts, end + 1)).sum::<usize>();
            seen += ends.len();
            for end in ends {
                let mut at = end + 1;
                while at < counts.len() {
                    counts[at] += 1;
                    at += at & at.wrapping_neg();
                }
            }
        }
    }
    total
}

/// Sum of the first `count` entries of a binary indexed tree.
fn before(counts: &[usize], count: usize) -> usize {
    let (mut sum, mut at) = (0, count);
    while at > 0 {
        sum += counts[at];
        at &= at - 1;
    }
    sum
}
