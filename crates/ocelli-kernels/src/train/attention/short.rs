//! Heads of few tokens: the queries lie side by side in the lanes of a vector, so that the soft-max needs no sums across
//! lanes, and a head never leaves the first-level cache.

use super::{AttentionShape, Gradients, Heads, Operands, Target};
use crate::Isa;
use crate::math;
use crate::simd::Simd;

/// Most keys.
pub(super) const TOKENS: usize = 32;

/// Most elements of a key or value.
pub(super) const DIM: usize = 32;

/// Most lanes of a vector.
const LANES: usize = 16;

/// Keys, or elements, summed side by side.
const SIDE: usize = 4;

/// A table with a row of lanes per key or element.
#[repr(align(64))]
struct Table([f32; TOKENS * LANES]);

const EMPTY: Table = Table([0.0; TOKENS * LANES]);

/// Heads `first..first + count` forward.
///
/// # Safety
/// The operands must be checked, the heads exist and be written by one thread.
pub(super) unsafe fn forward(
    isa: Isa,
    shape: &AttentionShape,
    scale: f32,
    x: &Operands,
    out: Target,
    first: usize,
    count: usize,
) {
    // SAFETY: the caller's promise.
    unsafe { forward_any(isa, shape, scale, x, out, first, count) }
}

/// Heads `first..first + count` backward; as [`forward`].
///
/// # Safety
/// As [`forward`].
pub(super) unsafe fn backward(
    isa: Isa,
    shape: &AttentionShape,
    scale: f32,
    x: &Operands,
    grad: Heads,
    to: Gradients,
    first: usize,
    count: usize,
) {
    // SAFETY: the caller's promise.
    unsafe { backward_any(isa, shape, scale, x, grad, to, first, count) }
}

crate::dispatch! {
    fn forward_any(
        shape: &AttentionShape, scale: f32, x: &Operands, out: Target, first: usize, count: usize,
    ) = forward_of;
}
crate::dispatch! {
    fn backward_any(
        shape: &AttentionShape, scale: f32, x: &Operands, grad: Heads, to: Gradients, first: usize, count: usize,
    ) = backward_of;
}

/// Writes `lanes` rows of `dim` elements as columns.
#[inline(always)]
unsafe fn turn_in<S: Simd>(from: *const f32, stride: usize, lanes: usize, dim: usize, to: &mut Table) {
    for lane in 0..lanes {
        for d in 0..dim {
            // SAFETY: the rows exist by the caller's promise.
            to.0[d * S::LANES + lane] = unsafe { *from.add(lane * stride + d) };
        }
    }
}

/// Writes columns as `lanes` rows of `dim` elements.
#[inline(always)]
unsafe fn turn_out<S: Simd>(from: &Table, lanes: usize, dim: usize, to: *mut f32, stride: usize) {
    for lane in 0..lanes {
        for d in 0..dim {
            // SAFETY: the rows exist by the caller's promise.
            unsafe { *to.add(lane * stride + d) = from.0[d * S::LANES + lane] };
        }
    }
}

/// `out[r] = Σ_k factors[r · step.0 + k · step.1] · table[k]`: rows of lanes, weighed by plain numbers.
#[inline(always)]
unsafe fn mix<S: Simd>(
    rows: usize,
    depth: usize,
    factors: *const f32,
    step: (usize, usize),
    table: &Table,
    out: &mut Table,
) {
    // SAFETY: the factors exist by the caller's promise, and tables hold what heads need.
    unsafe {
        let (table, out) = (table.0.as_ptr(), out.0.as_mut_ptr());
        let mut row = 0;
        while row + SIDE <= rows {
            let mut sums = [S::splat(0.0); SIDE];
            for k in 0..depth {
                let lanes = S::load(table.add(k * S::LANES));
                for j in 0..SIDE {
                    let factor = S::splat(*factors.add((row + j) * step.0 + k * step.1));
                    sums[j] = S::fma(factor, lanes, sums[j]);
                }
            }
            for j in 0..SIDE {
                S::store(out.add((row + j) * S::LANES), sums[j]);
            }
            row += SIDE;
        }
        while row < rows {
            let mut sum = S::splat(0.0);
            for k in 0..depth {
                let factor = S::splat(*factors.add(row * step.0 + k * step.1));
                sum = S::fma(factor, S::load(table.add(k * S::LANES)), sum);
            }
            S::store(out.add(row * S::LANES), sum);
            row += 1;
        }
    }
}

/// `out[r] (+)= Σ_lane table[r][lane] · x[lane]`: vectors of `dim` elements, weighed by the lanes of the table.
#[inline(always)]
unsafe fn gather<S: Simd>(
    rows: usize,
    lanes: usize,
    dim: usize,
    table: &Table,
    (x, x_stride): (*const f32, usize),
    (out, out_stride): (*mut f32, usize),
    accumulate: bool,
) {
    // SAFETY: the vectors exist by the caller's promise, and tables hold what heads need.
    unsafe {
        let table = table.0.as_ptr();
        for d in (0..dim).step_by(S::LANES) {
            let n = (dim - d).min(S::LANES);
            let mut row = 0;
            while row < rows {
                let some = (rows - row).min(SIDE);
                let mut sums = [S::splat(0.0); SIDE];
                if some == SIDE {
                    for lane in 0..lanes {
                        let vector = S::load_n(x.add(lane * x_stride + d), n);
                        for j in 0..SIDE {
                            let share = S::splat(*table.add((row + j) * S::LANES + lane));
                            sums[j] = S::fma(share, vector, sums[j]);
                        }
                    }
                } else {
                    for j in 0..some {
                        for lane in 0..lanes {
                            let vector = S::load_n(x.add(lane * x_stride + d), n);
                            let share = S::splat(*table.add((row + j) * S::LANES + lane));
                            sums[j] = S::fma(share, vector, sums[j]);
                        }
                    }
                }
                for (j, &sum) in sums.iter().enumerate().take(some) {
                    let out = out.add((row + j) * out_stride + d);
                    let sum = if accumulate { S::add(sum, S::load_n(out, n)) } else { sum };
                    S::store_n(out, sum, n);
                }
                row += some;
            }
        }
    }
}

/// `table = exp(scale · (table - largest))` lane by lane; gives the inverse of the sums.
#[inline(always)]
unsafe fn exponentials<S: Simd>(rows: usize, table: &mut Table, scale: f32) -> S::V {
    // SAFETY: the table holds the rows.
    unsafe {
        let table = table.0.as_mut_ptr();
        let mut largest = S::splat(f32::NEG_INFINITY);
        for row in 0..rows {
            largest = S::max(largest, S::load(table.add(row * S::LANES)));
        }
        let factor = S::splat(scale);
        let mut sum = S::splat(0.0);
        for row in 0..rows {
            let p = table.add(row * S::LANES);
            let e = math::exp::<S>(S::mul(S::sub(S::load(p), largest), factor));
            S::store(p, e);
            sum = S::add(sum, e);
        }
        S::div(S::splat(1.0), sum)
    }
}

#[inline(always)]
unsafe fn forward_of<S: Simd>(
    shape: &AttentionShape,
    scale: f32,
    x: &Operands,
    out: Target,
    first: usize,
    count: usize,
) {
    let AttentionShape { queries, keys, dim, values, .. } = *shape;
    let (mut q_turned, mut table, mut mixed) = (EMPTY, EMPTY, EMPTY);
    for head in first..first + count {
        let (batch, head) = (head / shape.heads, head % shape.heads);
        // SAFETY: the head exists; tables hold all keys and elements.
        unsafe {
            let (q, k, v) = (x.q.head(batch, head), x.k.head(batch, head), x.v.head(batch, head));
            let to = out.head(batch, head);
            for start in (0..queries).step_by(S::LANES) {
                let lanes = (queries - start).min(S::LANES);
                turn_in::<S>(q.add(start * x.q.strides[2]), x.q.strides[2], lanes, dim, &mut q_turned);
                mix::<S>(keys, dim, k, (x.k.strides[2], 1), &q_turned, &mut table);
                let inverse = exponentials::<S>(keys, &mut table, scale);
                mix::<S>(values, keys, v, (1, x.v.strides[2]), &table, &mut mixed);
                for d in 0..values {
                    let p = mixed.0.as_mut_ptr().add(d * S::LANES);
                    S::store(p, S::mul(S::load(p), inverse));
                }
                turn_out::<S>(&mixed, lanes, values, to.add(start * out.strides[2]), out.strides[2]);
            }
        }
    }
}

#[inline(always)]
unsafe fn backward_of<S: Simd>(
    shape: &AttentionShape,
    scale: f32,
    x: &Operands,
    grad: Heads,
    to: Gradients,
    first: usize,
    count: usize,
) {
    let AttentionShape { queries, keys, dim, values, .. } = *shape;
    let (mut q_turned, mut grad_turned) = (EMPTY, EMPTY);
    let (mut shares, mut slopes, mut mixed) = (EMPTY, EMPTY, EMPTY);
    for head in first..first + count {
        let (batch, head) = (head / shape.heads, head % shape.heads);
        // SAFETY: the head exists; tables hold all keys and elements.
        unsafe {
            let (q, k, v) = (x.q.head(batch, head), x.k.head(batch, head), x.v.head(batch, head));
            let grads = grad.head(batch, head);
            let (to_q, to_k, to_v) = (to.q.head(batch, head), to.k.head(batch, head), to.v.head(batch, head));
            if queries == 0 {
                for key in 0..keys {
                    to_k.add(key * to.k.strides[2]).write_bytes(0, dim);
                    to_v.add(key * to.v.strides[2]).write_bytes(0, values);
                }
            }
            for start in (0..queries).step_by(S::LANES) {
                let lanes = (queries - start).min(S::LANES);
                let q = (q.add(start * x.q.strides[2]), x.q.strides[2]);
                let g = (grads.add(start * grad.strides[2]), grad.strides[2]);
                turn_in::<S>(q.0, q.1, lanes, dim, &mut q_turned);
                turn_in::<S>(g.0, g.1, lanes, values, &mut grad_turned);
                mix::<S>(keys, dim, k, (x.k.strides[2], 1), &q_turned, &mut shares);
                let inverse = exponentials::<S>(keys, &mut shares, scale);
                mix::<S>(keys, values, v, (x.v.strides[2], 1), &grad_turned, &mut slopes);
                // The part of the gradient along the output falls away: shares sum to one.
                let mut along = S::splat(0.0);
                for key in 0..keys {
                    let p = shares.0.as_mut_ptr().add(key * S::LANES);
                    let share = S::mul(S::load(p), inverse);
                    S::store(p, share);
                    along = S::fma(share, S::load(slopes.0.as_ptr().add(key * S::LANES)), along);
                }
                let factor = S::splat(scale);
                for key in 0..keys {
                    let p = slopes.0.as_mut_ptr().add(key * S::LANES);
                    let share = S::mul(S::load(shares.0.as_ptr().add(key * S::LANES)), factor);
                    S::store(p, S::mul(share, S::sub(S::load(p), along)));
                }
                mix::<S>(dim, keys, k, (1, x.k.strides[2]), &slopes, &mut mixed);
                turn_out::<S>(&mixed, lanes, dim, to_q.add(start * to.q.strides[2]), to.q.strides[2]);
                let (to_k, to_v) = ((to_k, to.k.strides[2]), (to_v, to.v.strides[2]));
                gather::<S>(keys, lanes, dim, &slopes, q, to_k, start > 0);
                gather::<S>(keys, lanes, values, &shares, g, to_v, start > 0);
            }
        }
    }
}
