//! Heads of many tokens: products over packed operands, a block of tokens at a time.

use super::{AttentionShape, Gradients, Heads, Operands, Target};
use crate::Isa;
use crate::gemm::{Epilogue, PANEL, Product, packed_len, panels, product, split};
use crate::math;
use crate::simd::Simd;
use crate::train::pack::{Right, turn};
use crate::train::parallel::buffer;

/// Tokens of a block.
const BLOCK: usize = 96;

/// Rows of a block's table: rows a power of two apart would fall into the same few lines of the cache.
fn stride(columns: usize) -> usize {
    columns.next_multiple_of(PANEL) + PANEL
}

/// Packs a matrix; empty ones too.
///
/// # Safety
/// As for [`Right::pack`].
unsafe fn pack(isa: Isa, right: Right, depth: usize, columns: usize) -> Vec<f32> {
    let mut packed = buffer(packed_len(depth, columns));
    // SAFETY: the caller's promise.
    unsafe { right.pack(isa, depth, columns, packed.as_mut_ptr()) };
    packed
}

/// `c = a · b` with rows of `a` and `c` apart by the strides, or `c + a · b`.
///
/// # Safety
/// As for [`product`].
unsafe fn multiply(
    isa: Isa,
    [rows, depth, columns]: [usize; 3],
    (a, a_stride): (*const f32, usize),
    b: &[f32],
    (c, c_stride): (*mut f32, usize),
    accumulate: bool,
) {
    let epilogue = Epilogue::NONE;
    let own = Product { a, a_stride, b: b.as_ptr(), depth, columns, c, c_stride, accumulate, epilogue };
    // SAFETY: the caller's promise.
    unsafe {
        if depth == 0 && !accumulate {
            (0..rows).for_each(|row| c.add(row * c_stride).write_bytes(0, columns));
        }
        product(isa, &own, 0..rows, 0..panels(columns));
    }
}

/// One head forward.
///
/// # Safety
/// The operands must be checked, the head exist and be written by one thread; `log_sums` holds its queries.
pub(super) unsafe fn forward(
    isa: Isa,
    shape: &AttentionShape,
    scale: f32,
    x: &Operands,
    out: Target,
    log_sums: *mut f32,
    head: usize,
) {
    let AttentionShape { queries, keys, dim, values, .. } = *shape;
    let (batch, head) = (head / shape.heads, head % shape.heads);
    let width = stride(keys);
    let mut scores = buffer(BLOCK.min(queries) * width);
    let mut inverse = [0.0; BLOCK];
    // SAFETY: the caller's promise; the scores have a row for every query of a block.
    unsafe {
        let (q, out) = (x.q.head(batch, head), out.head(batch, head));
        let k = pack(isa, Right::Turned(x.k.head(batch, head), x.k.strides[2]), dim, keys);
        let v = pack(isa, Right::Straight(x.v.head(batch, head), x.v.strides[2]), keys, values);
        let out_stride = shape.heads * values;
        for (first, n) in split(queries, BLOCK) {
            let q = (q.add(first * x.q.strides[2]), x.q.strides[2]);
            let table = scores.as_mut_ptr();
            multiply(isa, [n, dim, keys], q, &k, (table, width), false);
            exponentials(isa, n, keys, table, width, scale, inverse.as_mut_ptr(), log_sums.add(first));
            let out = out.add(first * out_stride);
            multiply(isa, [n, keys, values], (table, width), &v, (out, out_stride), false);
            // The sum divides once per value, not once per key.
            scale_rows(isa, n, values, out, out_stride, inverse.as_ptr());
        }
    }
}

/// One head backward. Tables have a row per key and a column per query: what belongs to a query, its sum and the part of
/// the gradient along its output, is then a vector, and both tables are left operands as they are.
///
/// # Safety
/// As [`forward`]; the forward pass's output and logarithms belong to the operands.
pub(super) unsafe fn backward(
    isa: Isa,
    shape: &AttentionShape,
    scale: f32,
    x: &Operands,
    (output, log_sums): (Heads, *const f32),
    grad: Heads,
    to: Gradients,
    head: usize,
) {
    let AttentionShape { queries, keys, dim, values, .. } = *shape;
    let (batch, head) = (head / shape.heads, head % shape.heads);
    let width = stride(queries);
    let block = BLOCK.min(keys);
    let [mut shares, mut slopes] = [(); 2].map(|()| buffer(block * width));
    let turned_width = stride(block);
    let mut turned = buffer(queries * turned_width);
    let mut along = buffer(queries);
    // SAFETY: the caller's promise; the tables have a row for every key of a block.
    unsafe {
        let row = |heads: &Heads| (heads.head(batch, head), heads.strides[2]);
        let (q, k, v, grad) = (row(&x.q), row(&x.k), row(&x.v), row(&grad));
        let (to_q, to_k, to_v) = (to.q.head(batch, head), to.k.head(batch, head), to.v.head(batch, head));
        let (q_stride, k_stride, v_stride) = (to.q.strides[2], to.k.strides[2], to.v.strides[2]);
        let output = row(&output);
        dots(isa, queries, values, grad.0, grad.1, output.0, output.1, along.as_mut_ptr());
        let q_turned = pack(isa, Right::Turned(q.0, q.1), dim, queries);
        let q_packed = pack(isa, Right::Straight(q.0, q.1), queries, dim);
        let grad_turned = pack(isa, Right::Turned(grad.0, grad.1), values, queries);
        let grad_packed = pack(isa, Right::Straight(grad.0, grad.1), queries, values);
        for (first, n) in split(keys, BLOCK) {
            let (k, v) = ((k.0.add(first * k.1), k.1), (v.0.add(first * v.1), v.1));
            let (table, slope) = (shares.as_mut_ptr(), slopes.as_mut_ptr());
            multiply(isa, [n, dim, queries], k, &q_turned, (table, width), false);
            multiply(isa, [n, values, queries], v, &grad_turned, (slope, width), false);
            back(isa, n, queries, table, slope, width, scale, log_sums, along.as_ptr());
            let to_v = (to_v.add(first * v_stride), v_stride);
            multiply(isa, [n, queries, values], (table, width), &grad_packed, to_v, false);
            let to_k = (to_k.add(first * k_stride), k_stride);
            multiply(isa, [n, queries, dim], (slope, width), &q_packed, to_k, false);
            turn(isa, slope, width, n, queries, turned.as_mut_ptr(), turned_width);
            let k = pack(isa, Right::Straight(k.0, k.1), n, dim);
            let turned = (turned.as_ptr(), turned_width);
            multiply(isa, [queries, n, dim], turned, &k, (to_q, q_stride), first > 0);
        }
    }
}

#[inline(always)]
unsafe fn read<S: Simd>(p: *const f32, n: usize) -> S::V {
    // SAFETY: the caller's promise.
    unsafe { if n == S::LANES { S::load(p) } else { S::load_n(p, n) } }
}

#[inline(always)]
unsafe fn write<S: Simd>(p: *mut f32, v: S::V, n: usize) {
    // SAFETY: the caller's promise.
    unsafe { if n == S::LANES { S::store(p, v) } else { S::store_n(p, v, n) } }
}

#[inline(always)]
unsafe fn exponentials_of<S: Simd>(
    rows: usize,
    len: usize,
    x: *mut f32,
    stride: usize,
    scale: f32,
    inverse: *mut f32,
    log_sums: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let full = len / S::LANES * S::LANES;
        for row in 0..rows {
            let x = x.add(row * stride);
            let mut most = S::splat(f32::NEG_INFINITY);
            for i in (0..full).step_by(S::LANES) {
                most = S::max(most, S::load(x.add(i)));
            }
            let mut largest = if full > 0 { S::reduce_max(most) } else { f32::NEG_INFINITY };
            for i in full..len {
                largest = largest.max(*x.add(i));
            }
            let (factor, shift) = (S::splat(scale), S::splat(-largest * scale));
            let mut sums = S::splat(0.0);
            for i in (0..full).step_by(S::LANES) {
                let e = math::exp::<S>(S::fma(S::load(x.add(i)), factor, shift));
                S::store(x.add(i), e);
                sums = S::add(sums, e);
            }
            let mut sum = S::sum(sums);
            if full < len {
                let p = x.add(full);
                let e = math::exp::<S>(S::fma(S::load_n(p, len - full), factor, shift));
                S::store_n(p, e, len - full);
                for i in full..len {
                    sum += *x.add(i);
                }
            }
            *inverse.add(row) = 1.0 / sum;
            *log_sums.add(row) = largest * scale + sum.ln();
        }
    }
}

crate::dispatch! {
    /// `x = exp(scale · (x - largest))` for every row, the sum's inverse, and the logarithm of the sum of `exp(scale · x)`.
    fn exponentials(
        rows: usize, len: usize, x: *mut f32, stride: usize, scale: f32, inverse: *mut f32, log_sums: *mut f32,
    ) = exponentials_of;
}

#[inline(always)]
unsafe fn scale_rows_of<S: Simd>(rows: usize, len: usize, x: *mut f32, stride: usize, factors: *const f32) {
    // SAFETY: the caller's promise.
    unsafe {
        for row in 0..rows {
            let (x, factor) = (x.add(row * stride), S::splat(*factors.add(row)));
            for i in (0..len).step_by(S::LANES) {
                let n = (len - i).min(S::LANES);
                write::<S>(x.add(i), S::mul(read::<S>(x.add(i), n), factor), n);
            }
        }
    }
}

crate::dispatch! {
    /// Every row times its factor.
    fn scale_rows(rows: usize, len: usize, x: *mut f32, stride: usize, factors: *const f32) = scale_rows_of;
}

#[inline(always)]
unsafe fn dots_of<S: Simd>(
    rows: usize,
    len: usize,
    a: *const f32,
    a_stride: usize,
    b: *const f32,
    b_stride: usize,
    out: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        for row in 0..rows {
            let (a, b) = (a.add(row * a_stride), b.add(row * b_stride));
            let mut sum = S::splat(0.0);
            for i in (0..len).step_by(S::LANES) {
                let n = (len - i).min(S::LANES);
                sum = S::fma(read::<S>(a.add(i), n), read::<S>(b.add(i), n), sum);
            }
            *out.add(row) = S::sum(sum);
        }
    }
}

crate::dispatch! {
    /// Products of rows.
    fn dots(
        rows: usize, len: usize, a: *const f32, a_stride: usize, b: *const f32, b_stride: usize, out: *mut f32,
    ) = dots_of;
}

#[inline(always)]
unsafe fn back_of<S: Simd>(
    rows: usize,
    len: usize,
    table: *mut f32,
    slope: *mut f32,
    stride: usize,
    scale: f32,
    log_sums: *const f32,
    along: *const f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let factor = S::splat(scale);
        for row in 0..rows {
            let (table, slope) = (table.add(row * stride), slope.add(row * stride));
            for i in (0..len).step_by(S::LANES) {
                let n = (len - i).min(S::LANES);
                let score = S::mul(read::<S>(table.add(i), n), factor);
                let share = math::exp::<S>(S::sub(score, read::<S>(log_sums.add(i), n)));
                let rest = S::sub(read::<S>(slope.add(i), n), read::<S>(along.add(i), n));
                write::<S>(table.add(i), share, n);
                write::<S>(slope.add(i), S::mul(S::mul(share, rest), factor), n);
            }
        }
    }
}

crate::dispatch! {
    /// Of scores and gradients of shares: shares and gradients of scores.
    fn back(
        rows: usize, len: usize, table: *mut f32, slope: *mut f32, stride: usize, scale: f32, log_sums: *const f32,
        along: *const f32,
    ) = back_of;
}
