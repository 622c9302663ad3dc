//! One step of an optimiser over a parameter: a single pass over weights, gradient and state.

use crate::train::parallel::{Shared, each};

/// Elements a task takes.
const PIECE: usize = 1 << 15;

/// Settings of [`sgd`].
#[derive(Clone, Copy, Debug)]
pub struct Sgd {
    /// Step length.
    pub rate: f32,
    /// Weight decay, added to the gradient.
    pub decay: f32,
    /// Share of the old velocity that is kept.
    pub momentum: f32,
    /// Look ahead along the velocity.
    pub nesterov: bool,
}

/// `v = momentum · v + g`, `w -= rate · v` (or `g + momentum · v`) with `g = grad + decay · w`; on the `first` step
/// `v = g`.
///
/// # Panics
/// If the slices differ in length.
pub fn sgd(settings: Sgd, first: bool, weights: &mut [f32], grad: &[f32], velocity: &mut [f32]) {
    assert!(weights.len() == grad.len() && velocity.len() == grad.len());
    let Sgd { rate, decay, momentum, nesterov } = settings;
    // What is constant is decided outside of the loop, which then runs on vectors.
    let keep = if first { 0.0 } else { momentum };
    let [own, ahead] = if nesterov { [1.0, momentum] } else { [0.0, 1.0] };
    let (shared, state) = (Shared::new(weights), Shared::new(velocity));
    pieces(grad.len(), |at, n| {
        // SAFETY: every task has a range of its own.
        let (weights, velocity) = unsafe { (shared.slice(at, n), state.slice(at, n)) };
        for ((w, &g), v) in weights.iter_mut().zip(&grad[at..at + n]).zip(velocity) {
            let g = g + decay * *w;
            let speed = keep * *v + g;
            *v = speed;
            *w -= rate * (own * g + ahead * speed);
        }
    });
}

/// Settings of [`adamw`].
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    /// What the weights are multiplied with: one minus rate times decay.
    pub keep: f32,
    /// Step length over the first moment's correction.
    pub step: f32,
    /// Root of the second moment's correction.
    pub root: f32,
    /// Shares of the old moments.
    pub betas: [f32; 2],
    /// Added to the root of the second moment.
    pub epsilon: f32,
}

/// `m = β₁ m + (1 - β₁) g`, `v = β₂ v + (1 - β₂) g²`, `w = keep · w - step · m / (√v / root + ε)`.
///
/// # Panics
/// If the slices differ in length.
pub fn adamw(settings: AdamW, weights: &mut [f32], grad: &[f32], first: &mut [f32], second: &mut [f32]) {
    assert!(weights.len() == grad.len() && first.len() == grad.len() && second.len() == grad.len());
    let AdamW { keep, step, root, betas: [b1, b2], epsilon } = settings;
    let (shared, means, squares) = (Shared::new(weights), Shared::new(first), Shared::new(second));
    pieces(grad.len(), |at, n| {
        // SAFETY: every task has a range of its own.
        let (weights, first, second) =
            unsafe { (shared.slice(at, n), means.slice(at, n), squares.slice(at, n)) };
        let moments = first.iter_mut().zip(second);
        for ((w, &g), (m, v)) in weights.iter_mut().zip(&grad[at..at + n]).zip(moments) {
            *m = b1 * *m + (1.0 - b1) * g;
            *v = b2 * *v + (1.0 - b2) * g * g;
            *w = keep * *w - step * *m / (v.sqrt() / root + epsilon);
        }
    });
}

/// Calls `task` with the start and length of pieces of `len` elements.
fn pieces(len: usize, task: impl Fn(usize, usize) + Sync + Send) {
    each(len.div_ceil(PIECE), len, |i| task(i * PIECE, PIECE.min(len - i * PIECE)));
}
