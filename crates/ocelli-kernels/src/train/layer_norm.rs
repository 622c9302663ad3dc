//! Layer norm over rows, and its way back.
//!
//! Every row is read while it is in cache: forward once for the mean, once for the variance and once for the result; backward
//! once for the sums and once for the gradient. Rows may be as short as a vector: tails are masked, never gone
//! through one by one.

use crate::Isa;
use crate::simd::Simd;
use crate::train::parallel::{Shared, buffer, each};

/// Extents of a layer norm's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerShape {
    /// Rows: the product of all dimensions but the last.
    pub rows: usize,
    /// Elements of a row.
    pub features: usize,
}

impl LayerShape {
    fn len(&self) -> usize {
        self.rows * self.features
    }

    /// Rows of a task. They depend on the shape alone, as do the sums of gradients.
    fn share(&self) -> usize {
        (SHARE / self.features.max(1)).max(LEAST)
    }
}

/// What [`forward`] gives.
#[derive(Clone, Debug)]
pub struct Normalised {
    /// Like the input.
    pub output: Vec<f32>,
    /// Mean of every row.
    pub mean: Vec<f32>,
    /// `1 / sqrt(variance + epsilon)` of every row.
    pub inverse: Vec<f32>,
}

/// What [`backward`] gives.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// Of the input.
    pub input: Vec<f32>,
    /// Of the gain `[features]`.
    pub gain: Vec<f32>,
    /// Of the shift `[features]`.
    pub shift: Vec<f32>,
}

/// Elements a task takes, and the rows it takes at least: its sums are as long as two rows.
const SHARE: usize = 1 << 14;
const LEAST: usize = 32;

/// `(x - mean) / sqrt(variance + epsilon) · gain + shift` per row, with the row's mean and biased variance.
///
/// # Panics
/// If a slice does not have the extent `shape` says.
pub fn forward(
    isa: Isa,
    shape: LayerShape,
    x: &[f32],
    gain: &[f32],
    shift: &[f32],
    epsilon: f64,
) -> Normalised {
    let LayerShape { rows, features } = shape;
    assert_eq!(x.len(), shape.len(), "input of {shape:?}");
    assert!(gain.len() == features && shift.len() == features, "{shape:?}");
    let mut found = Normalised { output: buffer(x.len()), mean: buffer(rows), inverse: buffer(rows) };
    let (out, mean, inverse) =
        (Shared::new(&mut found.output), Shared::new(&mut found.mean), Shared::new(&mut found.inverse));
    let share = shape.share();
    each(rows.div_ceil(share), 4 * x.len(), |task| {
        let row = task * share;
        let n = share.min(rows - row);
        // SAFETY: the rows exist and are this task's own.
        unsafe {
            let to = Row { out: out.at(row * features), mean: mean.at(row), inverse: inverse.at(row) };
            let x = x[row * features..].as_ptr();
            forward_any(isa, n, features, x, gain.as_ptr(), shift.as_ptr(), epsilon as f32, to);
        }
    });
    found
}

/// Gradients of [`forward`], given the means and inverse deviations it found.
///
/// # Panics
/// If a slice does not have the extent `shape` says.
pub fn backward(
    isa: Isa,
    shape: LayerShape,
    x: &[f32],
    gain: &[f32],
    (mean, inverse): (&[f32], &[f32]),
    grad: &[f32],
) -> Gradients {
    let LayerShape { rows, features } = shape;
    assert!(x.len() == shape.len() && grad.len() == shape.len(), "input of {shape:?}");
    assert!(gain.len() == features && mean.len() == rows && inverse.len() == rows, "{shape:?}");
    let share = shape.share();
    let tasks = rows.div_ceil(share);
    let mut input = buffer(x.len());
    // Every task sums gradients of gain and shift of its own.
    let mut partial = vec![0.0; tasks * 2 * features];
    {
        let (out, sums) = (Shared::new(&mut input), Shared::new(&mut partial));
        each(tasks, 8 * x.len(), |task| {
            let row = task * share;
            let n = share.min(rows - row);
            let at = row * features;
            // SAFETY: the rows and sums exist and are this task's own.
            unsafe {
                let from = Given {
                    x: x[at..].as_ptr(),
                    grad: grad[at..].as_ptr(),
                    mean: mean[row..].as_ptr(),
                    inverse: inverse[row..].as_ptr(),
                };
                let sums = sums.at(task * 2 * features);
                backward_any(isa, n, features, from, gain.as_ptr(), out.at(at), sums, sums.add(features));
            }
        });
    }
    let mut sums = vec![0.0; 2 * features];
    for share in partial.chunks_exact((2 * features).max(1)) {
        for (sum, x) in sums.iter_mut().zip(share) {
            *sum += x;
        }
    }
    let shift = sums.split_off(features);
    Gradients { input, gain: sums, shift }
}

/// Where a task's results go.
#[derive(Clone, Copy)]
struct Row {
    out: *mut f32,
    mean: *mut f32,
    inverse: *mut f32,
}

/// What the way back starts from.
#[derive(Clone, Copy)]
struct Given {
    x: *const f32,
    grad: *const f32,
    mean: *const f32,
    inverse: *const f32,
}

/// Vectors summed side by side.
const SIDE: usize = 4;

/// Goes through `0..$len` vector by vector, whole ones `SIDE` at a time: `$whole` with the position and the sum's number, then
/// `$tail` with the position and the number of elements left.
///
/// A macro, since closures are compiled without the instruction set of their caller.
macro_rules! vectors {
    ($s:ident, $len:expr, |$i:ident, $j:ident| $whole:expr, |$t:ident, $n:ident| $tail:expr) => {{
        let mut at = 0;
        while at + SIDE * $s::LANES <= $len {
            for $j in 0..SIDE {
                let $i = at + $j * $s::LANES;
                $whole;
            }
            at += SIDE * $s::LANES;
        }
        while at + $s::LANES <= $len {
            let ($i, $j) = (at, 0);
            $whole;
            at += $s::LANES;
        }
        if at < $len {
            let ($t, $n) = (at, $len - at);
            $tail;
        }
    }};
}

#[inline(always)]
unsafe fn total<S: Simd>(sums: [S::V; SIDE]) -> f32 {
    // SAFETY: arithmetic on vectors of the caller's instruction set.
    unsafe { S::sum(S::add(S::add(sums[0], sums[1]), S::add(sums[2], sums[3]))) }
}

/// Ones, then zeros: sixteen elements from `16 - n` on have `n` ones.
static ONES: [f32; 32] = {
    let mut ones = [0.0; 32];
    let mut i = 0;
    while i < 16 {
        ones[i] = 1.0;
        i += 1;
    }
    ones
};

#[inline(always)]
unsafe fn forward_of<S: Simd>(
    rows: usize,
    features: usize,
    x: *const f32,
    gain: *const f32,
    shift: *const f32,
    epsilon: f32,
    to: Row,
) {
    // SAFETY: `rows` rows of `features` elements by the caller's promise.
    unsafe {
        let zero = S::splat(0.0);
        let share = 1.0 / features as f32;
        let ones = S::load(ONES.as_ptr().add(16 - features % S::LANES));
        for row in 0..rows {
            let (x, out) = (x.add(row * features), to.out.add(row * features));
            let mut sums = [zero; SIDE];
            vectors!(S, features, |i, j| sums[j] = S::add(sums[j], S::load(x.add(i))), |i, n| sums[1] =
                S::add(sums[1], S::load_n(x.add(i), n)));
            let mean = total::<S>(sums) * share;
            // A second pass instead of E[x²] - E[x]²: large means do not cancel.
            let centre = S::splat(mean);
            let mut sums = [zero; SIDE];
            vectors!(
                S,
                features,
                |i, j| {
                    let d = S::sub(S::load(x.add(i)), centre);
                    sums[j] = S::fma(d, d, sums[j]);
                },
                |i, n| {
                    let d = S::sub(S::load_n(x.add(i), n), S::mul(centre, ones));
                    sums[1] = S::fma(d, d, sums[1]);
                }
            );
            let inverse = 1.0 / (total::<S>(sums) * share + epsilon).sqrt();
            let scale = S::splat(inverse);
            vectors!(
                S,
                features,
                |i, _j| {
                    let hat = S::mul(S::sub(S::load(x.add(i)), centre), scale);
                    S::store(out.add(i), S::fma(hat, S::load(gain.add(i)), S::load(shift.add(i))));
                },
                |i, n| {
                    let hat = S::mul(S::sub(S::load_n(x.add(i), n), centre), scale);
                    let y = S::fma(hat, S::load_n(gain.add(i), n), S::load_n(shift.add(i), n));
                    S::store_n(out.add(i), y, n);
                }
            );
            *to.mean.add(row) = mean;
            *to.inverse.add(row) = inverse;
        }
    }
}

#[inline(always)]
unsafe fn backward_of<S: Simd>(
    rows: usize,
    features: usize,
    from: Given,
    gain: *const f32,
    out: *mut f32,
    of_gain: *mut f32,
    of_shift: *mut f32,
) {
    // SAFETY: `rows` rows of `features` elements by the caller's promise.
    unsafe {
        let zero = S::splat(0.0);
        let share = 1.0 / features as f32;
        for row in 0..rows {
            let (x, grad) = (from.x.add(row * features), from.grad.add(row * features));
            let out = out.add(row * features);
            let (centre, scale) = (S::splat(*from.mean.add(row)), S::splat(*from.inverse.add(row)));
            let (mut sums, mut products) = ([zero; SIDE], [zero; SIDE]);
            vectors!(
                S,
                features,
                |i, j| {
                    let g = S::load(grad.add(i));
                    let hat = S::mul(S::sub(S::load(x.add(i)), centre), scale);
                    let scaled = S::mul(g, S::load(gain.add(i)));
                    sums[j] = S::add(sums[j], scaled);
                    products[j] = S::fma(scaled, hat, products[j]);
                    S::store(of_gain.add(i), S::fma(g, hat, S::load(of_gain.add(i))));
                    S::store(of_shift.add(i), S::add(g, S::load(of_shift.add(i))));
                },
                |i, n| {
                    // Lanes beyond the end have a zero gradient.
                    let g = S::load_n(grad.add(i), n);
                    let hat = S::mul(S::sub(S::load_n(x.add(i), n), centre), scale);
                    let scaled = S::mul(g, S::load_n(gain.add(i), n));
                    sums[1] = S::add(sums[1], scaled);
                    products[1] = S::fma(scaled, hat, products[1]);
                    S::store_n(of_gain.add(i), S::fma(g, hat, S::load_n(of_gain.add(i), n)), n);
                    S::store_n(of_shift.add(i), S::add(g, S::load_n(of_shift.add(i), n)), n);
                }
            );
            let mean = S::splat(total::<S>(sums) * share);
            let along = S::splat(total::<S>(products) * share);
            vectors!(
                S,
                features,
                |i, _j| {
                    let hat = S::mul(S::sub(S::load(x.add(i)), centre), scale);
                    let scaled = S::mul(S::load(grad.add(i)), S::load(gain.add(i)));
                    let inner = S::sub(S::sub(scaled, mean), S::mul(hat, along));
                    S::store(out.add(i), S::mul(inner, scale));
                },
                |i, n| {
                    let hat = S::mul(S::sub(S::load_n(x.add(i), n), centre), scale);
                    let scaled = S::mul(S::load_n(grad.add(i), n), S::load_n(gain.add(i), n));
                    let inner = S::sub(S::sub(scaled, mean), S::mul(hat, along));
                    S::store_n(out.add(i), S::mul(inner, scale), n);
                }
            );
        }
    }
}

crate::dispatch! {
    fn forward_any(
        rows: usize, features: usize, x: *const f32, gain: *const f32, shift: *const f32, epsilon: f32, to: Row,
    ) = forward_of;
}
crate::dispatch! {
    fn backward_any(
        rows: usize, features: usize, from: Given, gain: *const f32, out: *mut f32, of_gain: *mut f32,
        of_shift: *mut f32,
    ) = backward_of;
}
