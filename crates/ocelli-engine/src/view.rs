//! Where a value lies: a buffer, an offset, and how far apart neighbours are in every dimension.
//!
//! Transpositions, slices, expansions and most reshapes are views of the same memory. Maps `[n, c, h, w]` are
//! stored channels-last: the strides say so, the shape stays PyTorch's.

/// A strided view of a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Which buffer.
    pub root: usize,
    /// First element.
    pub offset: usize,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// Elements between neighbours; 0 repeats.
    pub strides: Vec<usize>,
}

impl View {
    /// Row-major.
    pub fn dense(root: usize, shape: &[usize]) -> Self {
        let mut strides = vec![1; shape.len()];
        for i in (1..shape.len()).rev() {
            strides[i - 1] = strides[i] * shape[i];
        }
        Self { root, offset: 0, shape: shape.to_vec(), strides }
    }

    /// Channels-last for maps `[n, c, ..]`: dimension 1 moves innermost.
    pub fn channels_last(root: usize, shape: &[usize]) -> Self {
        let mut order: Vec<usize> = (0..shape.len()).filter(|&d| d != 1).collect();
        order.push(1);
        Self::ordered(root, shape, &order)
    }

    /// Dense with the dimensions in `order`, outermost first.
    pub fn ordered(root: usize, shape: &[usize], order: &[usize]) -> Self {
        let mut strides = vec![0; shape.len()];
        let mut next = 1;
        for &d in order.iter().rev() {
            strides[d] = next;
            next *= shape[d];
        }
        Self { root, offset: 0, shape: shape.to_vec(), strides }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Dimensions by falling stride; of equal strides the outer first.
    pub fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.shape.len()).collect();
        order.sort_by_key(|&d| (std::cmp::Reverse(self.strides[d]), d));
        order
    }

    /// Whether the elements lie row-major without gaps.
    pub fn is_dense(&self) -> bool {
        let dense = Self::dense(self.root, &self.shape);
        (0..self.shape.len()).all(|d| self.shape[d] == 1 || self.strides[d] == dense.strides[d])
    }

    /// Output dimension `i` is dimension `permutation[i]`.
    pub fn transposed(&self, permutation: &[usize]) -> Self {
        Self {
            root: self.root,
            offset: self.offset,
            shape: permutation.iter().map(|&d| self.shape[d]).collect(),
            strides: permutation.iter().map(|&d| self.strides[d]).collect(),
        }
    }

    /// Elements `start, start + step, ..` along `axis`, `extent` of them.
    pub fn sliced(&self, axis: usize, start: usize, step: usize, extent: usize) -> Self {
        let mut view = self.clone();
        view.offset += start * self.strides[axis];
        view.strides[axis] *= step;
        view.shape[axis] = extent;
        view
    }

    /// Repeats dimensions of extent 1 to `shape`, aligned at the last dimension.
    pub fn expanded(&self, shape: &[usize]) -> Self {
        let missing = shape.len() - self.shape.len();
        let strides = (0..shape.len())
            .map(|d| {
                let own = d.checked_sub(missing);
                own.filter(|&d| self.shape[d] != 1).map_or(0, |d| self.strides[d])
            })
            .collect();
        Self { root: self.root, offset: self.offset, shape: shape.to_vec(), strides }
    }

    /// The same memory in another shape, if its elements lie so that strides can express it.
    pub fn reshaped(&self, shape: &[usize]) -> Option<Self> {
        let old: Vec<(usize, usize)> = self
            .shape
            .iter()
            .copied()
            .zip(self.strides.iter().copied())
            .filter(|(extent, _)| *extent != 1)
            .collect();
        let mut strides = vec![0; shape.len()];
        let (mut i, mut j) = (old.len(), shape.len());
        // From the innermost outwards: groups of old and new dimensions with equal products.
        while i > 0 {
            let (mut from, mut to) = (old[i - 1].0, 1);
            let inner = old[i - 1].1;
            let mut stride = inner;
            i -= 1;
            loop {
                if to < from {
                    if j == 0 {
                        return None;
                    }
                    j -= 1;
                    strides[j] = stride;
                    stride *= shape[j];
                    to *= shape[j];
                } else if to > from {
                    // The next old dimension must continue the last.
                    if i == 0 || old[i - 1].1 != inner * from {
                        return None;
                    }
                    i -= 1;
                    from *= old[i].0;
                } else {
                    break;
                }
            }
        }
        for j in (0..j).rev() {
            if shape[j] != 1 {
                return None;
            }
        }
        Some(Self { root: self.root, offset: self.offset, shape: shape.to_vec(), strides })
    }

    /// For a map `[n, c, h, w]` whose channels are neighbours: the distances of pictures, rows and pixels.
    /// Dimensions of extent 1 get the distance a dense map would have.
    pub fn as_map(&self) -> Option<[usize; 3]> {
        let [n, c, h, w] = *<&[usize; 4]>::try_from(self.shape.as_slice()).ok()?;
        let s = &self.strides;
        if c > 1 && s[1] != 1 {
            return None;
        }
        let pixel = if w > 1 {
            s[3]
        } else if h > 1 {
            s[2]
        } else if n > 1 {
            s[0]
        } else {
            c
        };
        let row = if h > 1 { s[2] } else { pixel * w };
        let picture = if n > 1 { s[0] } else { row * h };
        Some([picture, row, pixel])
    }

    /// The distance of pixels, if they are equally far apart throughout the batch and channels are neighbours.
    pub fn as_pixels(&self) -> Option<usize> {
        let [picture, row, pixel] = self.as_map()?;
        let [_, _, h, w] = *<&[usize; 4]>::try_from(self.shape.as_slice()).ok()?;
        (row == pixel * w && picture == row * h && pixel > 0).then_some(pixel)
    }

    /// `(rows, distance)` if the last dimension's elements are neighbours and its rows equally far apart.
    pub fn as_rows(&self) -> Option<(usize, usize)> {
        let rank = self.shape.len();
        let last = *self.shape.last()?;
        if last > 1 && self.strides[rank - 1] != 1 {
            return None;
        }
        let (mut rows, mut distance, mut expected) = (1, last, None);
        for d in (0..rank - 1).rev() {
            if self.shape[d] == 1 {
                continue;
            }
            match expected {
                None => distance = self.strides[d],
                Some(stride) if stride != self.strides[d] => return None,
                Some(_) => {}
            }
            rows *= self.shape[d];
            expected = Some(distance * rows);
        }
        Some((rows, distance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_last_maps_flatten_to_tokens() {
        let map = View::channels_last(0, &[2, 8, 3, 5]);
        assert_eq!(map.as_map(), Some([120, 40, 8]));
        assert_eq!(map.as_pixels(), Some(8));
        let tokens = map.reshaped(&[2, 8, 15]).expect("height and width merge").transposed(&[0, 2, 1]);
        assert!(tokens.is_dense());
        assert_eq!(tokens.as_rows(), Some((30, 8)));
        assert!(map.reshaped(&[2, 120]).is_none());
        assert!(View::dense(0, &[2, 8, 3, 5]).reshaped(&[4, 4, 15]).expect("dense").is_dense());
    }

    #[test]
    fn a_part_of_the_channels_keeps_the_distance_of_pixels() {
        let part = View::channels_last(0, &[1, 8, 3, 5]).sliced(1, 2, 1, 4);
        assert_eq!((part.offset, part.as_pixels()), (2, Some(8)));
        assert!(!part.is_dense());
    }

    #[test]
    fn reshapes_around_ones_and_of_single_elements() {
        let pooled = View::channels_last(0, &[3, 8, 1, 1]);
        assert!(pooled.reshaped(&[3, 8]).expect("ones vanish").is_dense());
        assert!(View::dense(0, &[1, 1]).reshaped(&[]).is_some());
        assert!(View::dense(0, &[6]).reshaped(&[2, 1, 3]).expect("splits").is_dense());
    }
}
