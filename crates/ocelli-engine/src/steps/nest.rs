//! Loops over several strided operands at once, with neighbouring dimensions merged.

/// Loops, outermost first; at least one.
#[derive(Clone, Debug)]
pub(crate) struct Nest<const N: usize> {
    pub extents: Vec<usize>,
    pub strides: Vec<[usize; N]>,
}

impl<const N: usize> Nest<N> {
    /// Loops over `shape`, ordered so that operand 0 is walked through memory, merged where all operands allow.
    pub fn new(shape: &[usize], strides: [&[usize]; N]) -> Self {
        let mut order: Vec<usize> = (0..shape.len()).filter(|&d| shape[d] != 1).collect();
        order.sort_by_key(|&d| (std::cmp::Reverse(strides[0][d]), d));
        let mut nest = Self { extents: Vec::new(), strides: Vec::new() };
        for d in order {
            let own: [usize; N] = std::array::from_fn(|i| strides[i][d]);
            if let (Some(extent), Some(last)) = (nest.extents.last_mut(), nest.strides.last_mut())
                && (0..N).all(|i| last[i] == own[i] * shape[d])
            {
                *extent *= shape[d];
                *last = own;
                continue;
            }
            nest.extents.push(shape[d]);
            nest.strides.push(own);
        }
        if nest.extents.is_empty() {
            nest.extents.push(1);
            nest.strides.push([1; N]);
        }
        nest
    }

    /// Takes the two innermost loops off: `(rows, their strides, elements, their strides)`.
    pub fn split(mut self) -> Split<N> {
        let len = self.len();
        let (n, inner) = (self.extents.pop().unwrap_or(1), self.strides.pop().unwrap_or([1; N]));
        let (rows, row) = (self.extents.pop().unwrap_or(1), self.strides.pop().unwrap_or([0; N]));
        Split { outer: self, len, rows, row, n, inner }
    }

    /// Number of rounds.
    pub fn len(&self) -> usize {
        self.extents.iter().product()
    }

    /// The operands' offsets in round `index`.
    pub fn offsets(&self, mut index: usize) -> [usize; N] {
        let mut offsets = [0; N];
        for (extent, strides) in self.extents.iter().zip(&self.strides).rev() {
            let at = index % extent;
            index /= extent;
            for (offset, stride) in offsets.iter_mut().zip(strides) {
                *offset += at * stride;
            }
        }
        offsets
    }
}

/// A nest with its two innermost loops apart.
#[derive(Clone, Debug)]
pub(crate) struct Split<const N: usize> {
    pub outer: Nest<N>,
    /// Elements in all.
    pub len: usize,
    pub rows: usize,
    pub row: [usize; N],
    pub n: usize,
    pub inner: [usize; N],
}

impl<const N: usize> Split<N> {
    /// All rows as tasks `(outer round, rows)`: how many pieces each outer round's rows are cut into.
    pub fn pieces(&self, tasks: usize) -> usize {
        tasks.div_ceil(self.outer.len().max(1)).clamp(1, self.rows.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_over_a_channels_last_map_becomes_two_loops() {
        // y, x: [2, 8, 3, 5] channels-last; gate: [2, 8, 1, 1] expanded.
        let (y, gate) = ([120, 1, 40, 8], [8, 1, 0, 0]);
        let nest = Nest::new(&[2, 8, 3, 5], [&y, &y, &gate]);
        assert_eq!(nest.extents, [2, 15, 8]);
        assert_eq!(nest.strides, [[120, 120, 8], [8, 8, 0], [1, 1, 1]]);
        assert_eq!(nest.offsets(119 + 8), [127, 127, 8 + 7]);
    }
}
