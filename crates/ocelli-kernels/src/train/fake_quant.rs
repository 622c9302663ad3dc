//! Numbers rounded to what their codes stand for, with a learned step, and the way back.
//!
//! `y = clamp(round(v / step), low, high) · step`, halves to even. The gradient passes to `v` where its code lies inside of the range;
//! that of the step is what rounding added inside, the outermost code beyond (Esser et al., "Learned Step Size Quantization", 2020).

use crate::Isa;
use crate::simd::Simd;
use crate::train::parallel::{Shared, buffer, each};

/// Elements of a task.
const SHARE: usize = 1 << 14;

/// Operations an element is worth.
const WORK: usize = 8;

/// The smallest and the largest code.
pub type CodeRange = [f32; 2];

/// Elements of a row (they have one step) and tasks of a row.
fn extents(x: &[f32], steps: &[f32]) -> (usize, usize) {
    assert!(!steps.is_empty() && x.len().is_multiple_of(steps.len()), "rows of one length, a step each");
    let row = x.len() / steps.len();
    (row, row.div_ceil(SHARE).max(1))
}

/// `x` `[rows, ...]` rounded with `steps` `[rows]`.
///
/// # Panics
/// If the elements are no whole rows.
pub fn forward(isa: Isa, x: &[f32], steps: &[f32], range: CodeRange) -> Vec<f32> {
    let (row, parts) = extents(x, steps);
    let mut output = buffer(x.len());
    let out = Shared::new(&mut output);
    each(steps.len() * parts, WORK * x.len(), |task| {
        let (r, begin) = (task / parts, task % parts * SHARE);
        let len = SHARE.min(row - begin);
        let at = r * row + begin;
        // SAFETY: the elements exist and are this task's own.
        unsafe { forward_any(isa, x[at..].as_ptr(), steps[r], range, len, out.at(at)) };
    });
    output
}

/// Gradients of the elements, and of every row's step, for the gradient `grad` of the result.
///
/// # Panics
/// If the slices do not match.
pub fn backward(isa: Isa, x: &[f32], steps: &[f32], range: CodeRange, grad: &[f32]) -> (Vec<f32>, Vec<f32>) {
    assert_eq!(x.len(), grad.len(), "a gradient for every element");
    let (row, parts) = extents(x, steps);
    let mut output = buffer(x.len());
    let mut sums = vec![0.0f64; steps.len() * parts];
    {
        let (out, sums) = (Shared::new(&mut output), Shared::new(&mut sums));
        each(steps.len() * parts, WORK * x.len(), |task| {
            let (r, begin) = (task / parts, task % parts * SHARE);
            let len = SHARE.min(row - begin);
            let at = r * row + begin;
            // SAFETY: as above; every task has a sum of its own.
            unsafe {
                let (x, grad) = (x[at..].as_ptr(), grad[at..].as_ptr());
                *sums.at(task) = backward_any(isa, x, steps[r], range, grad, len, out.at(at));
            }
        });
    }
    (output, sums.chunks_exact(parts).map(|own| own.iter().sum::<f64>() as f32).collect())
}

// Plain loops: the compiler widens them for the set this is inlined into.
#[allow(clippy::extra_unused_type_parameters)]
#[inline(always)]
unsafe fn forward_of<S: Simd>(x: *const f32, step: f32, [low, high]: CodeRange, len: usize, out: *mut f32) {
    for i in 0..len {
        // SAFETY: `len` elements on both sides by the caller's promise.
        unsafe { *out.add(i) = (*x.add(i) / step).max(low).min(high).round_ties_even() * step };
    }
}

/// Sums go into so many places in turn, so that they stay exact and can be computed side by side.
const PLACES: usize = 32;

// Plain loops: the compiler widens them for the set this is inlined into.
#[allow(clippy::extra_unused_type_parameters)]
#[inline(always)]
unsafe fn backward_of<S: Simd>(
    x: *const f32,
    step: f32,
    [low, high]: CodeRange,
    grad: *const f32,
    len: usize,
    out: *mut f32,
) -> f64 {
    let mut sums = [0.0f32; PLACES];
    let mut all = 0.0f64;
    let mut begin = 0;
    while begin < len {
        let n = PLACES.min(len - begin);
        for (place, sum) in sums.iter_mut().enumerate().take(n) {
            // SAFETY: as above.
            let (v, g) = unsafe { (*x.add(begin + place) / step, *grad.add(begin + place)) };
            let code = v.max(low).min(high).round_ties_even();
            let inside = v > low && v < high;
            *sum += g * if inside { code - v } else { code };
            // SAFETY: as above.
            unsafe { *out.add(begin + place) = if inside { g } else { 0.0 } };
        }
        begin += n;
        // A few hundred terms each: single precision is exact enough for them.
        if begin % (PLACES * 128) == 0 || begin == len {
            all += sums.iter().map(|sum| f64::from(*sum)).sum::<f64>();
            sums = [0.0; PLACES];
        }
    }
    all
}

crate::dispatch! {
    fn forward_any(x: *const f32, step: f32, range: CodeRange, len: usize, out: *mut f32) = forward_of;
}
crate::dispatch! {
    fn backward_any(x: *const f32, step: f32, range: CodeRange, grad: *const f32, len: usize, out: *mut f32) -> f64 = backward_of;
}
