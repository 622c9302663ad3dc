//! Channels of two maps behind each other, and the way back.

use crate::train::parallel::{Shared, buffer, each};

/// Lengths of a picture: of the first map, of the second, and of what is kept of the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Elements of a picture of the first map.
    pub first: usize,
    /// Elements of a picture of the second map.
    pub second: usize,
    /// Elements of the second map that are kept, from its start.
    pub kept: usize,
}

/// Elements copied at once.
const PIECE: usize = 1 << 14;

/// Copies `pictures` pieces of `len` elements, `from_stride` and `to_stride` apart.
fn copy(
    pictures: usize,
    len: usize,
    from: &[f32],
    from_stride: usize,
    to: Shared,
    to_start: usize,
    to_stride: usize,
) {
    let pieces = len.div_ceil(PIECE);
    each(pictures * pieces, pictures * len, |task| {
        let (picture, at) = (task / pieces, task % pieces * PIECE);
        let n = PIECE.min(len - at);
        // SAFETY: every task has a range of its own.
        let to = unsafe { to.slice(to_start + picture * to_stride + at, n) };
        to.copy_from_slice(&from[picture * from_stride + at..][..n]);
    });
}

/// `[pictures][first + kept]`
///
/// # Panics
/// If a slice does not have the extent `parts` says.
pub fn forward(pictures: usize, parts: Parts, first: &[f32], second: &[f32]) -> Vec<f32> {
    assert!(first.len() == pictures * parts.first && second.len() == pictures * parts.second);
    assert!(parts.kept <= parts.second);
    let whole = parts.first + parts.kept;
    let mut out = buffer(pictures * whole);
    let shared = Shared::new(&mut out);
    copy(pictures, parts.first, first, parts.first, shared, 0, whole);
    copy(pictures, parts.kept, second, parts.second, shared, parts.first, whole);
    out
}

/// Gradients of both maps.
///
/// # Panics
/// As [`forward`].
pub fn backward(pictures: usize, parts: Parts, grad: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let whole = parts.first + parts.kept;
    assert_eq!(grad.len(), pictures * whole);
    let mut first = buffer(pictures * parts.first);
    let mut second = if parts.kept < parts.second {
        vec![0.0; pictures * parts.second]
    } else {
        buffer(pictures * parts.second)
    };
    copy(pictures, parts.first, grad, whole, Shared::new(&mut first), 0, parts.first);
    if parts.kept > 0 {
        copy(pictures, parts.kept, &grad[parts.first..], whole, Shared::new(&mut second), 0, parts.second);
    }
    (first, second)
}
