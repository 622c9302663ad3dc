//! Eight-bit weights for `vpmaddubsw`, exactly.
//!
//! The instruction adds two products of a code and a weight in 16 bits and saturates where they do not fit, which
//! two weights of one sign cannot make happen while their sum is within ±128. Of pairs beyond that, the larger
//! weight is cut down and what was cut off (the *excess*) goes to an additional step over the same codes. Weights of
//! trained networks lie around zero: few vectors of columns need few such steps, and the product stays about as fast
//! as one of seven-bit weights.

use super::Isa;
use super::weights::{Group, Layout, SLACK};
use crate::gemm::PANEL;

/// Largest sum of two weights of one sign that cannot saturate: `255 · 128 < 2^15`.
const SAFE: i32 = 128;

/// Additional steps per group of a vector of columns up to which this is faster than products in 16 bits.
const PAYS: f64 = 0.25;

/// Where the codes of an additional step are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub run: u32,
    /// Of the run.
    pub group: u32,
}

/// Packed weights whose pairs are safe, and the rest.
#[derive(Clone, Debug)]
pub struct Excess {
    /// Columns of a vector.
    lanes: usize,
    /// Groups of a run.
    pub(crate) run_groups: usize,
    /// The panels, and [`SLACK`] more groups.
    groups: Vec<Group>,
    /// The first step of every vector of columns, and the number of all.
    starts: Vec<u32>,
    places: Vec<Place>,
    /// Four weights of each column of the vector, step by step.
    rest: Vec<i8>,
}

/// Whether no pair of `weights` can saturate.
fn is_safe(weights: &[i8]) -> bool {
    let sum = |[a, b]: &[i8; 2]| {
        let (a, b) = (i16::from(*a), i16::from(*b));
        (a.max(0) + b.max(0)).max(-(a.min(0) + b.min(0)))
    };
    weights.as_chunks().0.iter().fold(0, |most, pair| sum(pair).max(most)) <= SAFE as i16
}

/// Makes a pair safe; returns what was cut off.
fn cut(pair: &mut [i8; 2]) -> [i8; 2] {
    let [a, b] = [i32::from(pair[0]), i32::from(pair[1])];
    let over = if a > 0 && b > 0 {
        (a + b - SAFE).max(0)
    } else if a < 0 && b < 0 {
        (a + b + SAFE).min(0)
    } else {
        0
    };
    let larger = usize::from(b.abs() > a.abs());
    let mut rest = [0; 2];
    // At most 128 from one side: in the range of bytes, as both signs are that of the weight.
    rest[larger] = over as i8;
    pair[larger] = ([a, b][larger] - over) as i8;
    rest
}

impl Excess {
    /// Takes packed `weights` of whole panels apart, where `isa` multiplies by `vpmaddubsw` and that is faster than its
    /// other way.
    pub fn new(isa: Isa, weights: &[i8], layout: Layout) -> Option<Self> {
        let lanes = match isa {
            Isa::Avx2 => 8,
            Isa::Avx512 => 16,
            _ => return None,
        };
        // Counted first: that is quick, and often the end of it.
        let (mut all, mut more) = (0, 0);
        for columns in weights.chunks_exact(lanes * 4) {
            all += 1;
            more += usize::from(!is_safe(columns));
        }
        (more as f64 <= PAYS * f64::from(all)).then(|| Self::split(lanes, weights, layout))
    }

    /// As [`Excess::new`], whether it pays or not.
    pub fn split(lanes: usize, weights: &[i8], layout: Layout) -> Self {
        let mut groups: Vec<Group> = weights.as_chunks().0.iter().map(|group| Group(*group)).collect();
        let mut own = Self {
            lanes,
            run_groups: layout.groups(),
            groups: Vec::new(),
            starts: vec![0],
            places: Vec::new(),
            rest: Vec::new(),
        };
        for panel in groups.chunks_exact_mut(layout.panel_groups().max(1)) {
            for vector in 0..PANEL / lanes {
                for (index, group) in panel.iter_mut().enumerate() {
                    let columns = &mut group.0[vector * lanes * 4..][..lanes * 4];
                    if !is_safe(columns) {
                        own.rest.extend(columns.as_chunks_mut().0.iter_mut().flat_map(cut));
                        let (run, group) = (index / layout.groups(), index % layout.groups());
                        own.places.push(Place { run: run as u32, group: group as u32 });
                    }
                }
                own.starts.push(own.places.len() as u32);
            }
        }
        groups.resize(groups.len() + SLACK, Group([0; 64]));
        own.groups = groups;
        own
    }

    /// The panels.
    pub(crate) fn data(&self) -> *const i8 {
        self.groups.as_ptr().cast()
    }

    /// The steps of vector `vector` of panel `panel`: places, and the first weights.
    #[inline(always)]
    pub(crate) fn steps(&self, panel: usize, vector: usize) -> (&[Place], *const i8) {
        let at = panel * (PANEL / self.lanes) + vector;
        let (from, to) = (self.starts[at] as usize, self.starts[at + 1] as usize);
        (&self.places[from..to], self.rest.as_ptr().wrapping_add(from * self.lanes * 4))
    }

    /// Additional steps per group of a vector of columns.
    pub fn share(&self) -> f64 {
        let steps = self.groups.len().saturating_sub(SLACK) * (PANEL / self.lanes);
        self.places.len() as f64 / (steps as f64).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_become_safe_and_sum_up() {
        for a in i8::MIN..=i8::MAX {
            for b in i8::MIN..=i8::MAX {
                let mut pair = [a, b];
                let rest = cut(&mut pair);
                let whole = |i: usize| i32::from(pair[i]) + i32::from(rest[i]);
                assert_eq!([whole(0), whole(1)], [i32::from(a), i32::from(b)]);
                for codes in [[255, 255], [255, 0], [0, 255]] {
                    for w in [pair, rest] {
                        let sum = codes[0] * i32::from(w[0]) + codes[1] * i32::from(w[1]);
                        assert_eq!(sum.clamp(-32768, 32767), sum, "{a}, {b}");
                    }
                }
            }
        }
    }
}
