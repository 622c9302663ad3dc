//! Matrix products, attention, normalisation.

use super::elementwise::activate;
use super::{Call, Tensor, strides};
use crate::op::Unary;

/// `y += a b` for row-major `[m, k]`, `[k, n]`.
fn product(a: &[f32], b: &[f32], y: &mut [f32], k: usize, n: usize) {
    for (row, out) in a.chunks_exact(k).zip(y.chunks_exact_mut(n)) {
        for (&factor, line) in row.iter().zip(b.chunks_exact(n)) {
            out.iter_mut().zip(line).for_each(|(sum, value)| *sum += factor * value);
        }
    }
}

pub(super) fn linear(call: &Call<'_>, bias: bool, residual: bool, activation: Option<Unary>) -> Vec<Tensor> {
    let (x, w) = (call.floats(0), call.floats(1));
    let (k, n) = (call.shape(1)[0], call.shape(1)[1]);
    let mut y = vec![0.0; call.output().iter().product()];
    if bias {
        let bias = call.floats(2);
        y.chunks_exact_mut(n).for_each(|row| row.copy_from_slice(&bias));
    }
    product(&x, &w, &mut y, k, n);
    if residual {
        let added = call.floats(call.inputs.len() - 1);
        y.iter_mut().zip(added).for_each(|(y, r)| *y += r);
    }
    activate(activation, &mut y);
    call.done(y)
}

pub(super) fn matmul(call: &Call<'_>) -> Vec<Tensor> {
    let (a, b) = (call.floats(0), call.floats(1));
    let (sa, sb, output) = (call.shape(0), call.shape(1), call.output());
    let (m, k, n) = (sa[sa.len() - 2], sa[sa.len() - 1], sb[sb.len() - 1]);
    let lead = &output[..output.len() - 2];
    // Matrices that are used again and again have a leading extent of 1, or none.
    let place = |shape: &[usize], mut i: usize| {
        let own = &shape[..shape.len() - 2];
        let steps = strides(own);
        let mut at = 0;
        for d in (0..lead.len()).rev() {
            let index = i % lead[d];
            i /= lead[d];
            if let Some(d) = (d + own.len()).checked_sub(lead.len())
                && own[d] > 1
            {
                at += index * steps[d];
            }
        }
        at
    };
    let mut y = vec![0.0; output.iter().product()];
    for (i, out) in y.chunks_exact_mut(m * n).enumerate() {
        product(&a[place(sa, i) * m * k..][..m * k], &b[place(sb, i) * k * n..][..k * n], out, k, n);
    }
    call.done(y)
}

pub(super) fn attention(call: &Call<'_>, scale: f32, causal: bool, mask: bool) -> Vec<Tensor> {
    let (q, k, v) = (call.floats(0), call.floats(1), call.floats(2));
    let (t, d) = (call.shape(0)[2], call.shape(0)[3]);
    let (s, e) = (call.shape(1)[2], call.shape(2)[3]);
    let heads = call.shape(0)[1];
    let added = mask.then(|| (call.floats(3), call.shape(3).to_vec()));
    let mut y = vec![0.0; call.output().iter().product()];
    for (i, out) in y.chunks_exact_mut(t * e).enumerate() {
        let (q, k, v) = (&q[i * t * d..][..t * d], &k[i * s * d..][..s * d], &v[i * s * e..][..s * e]);
        for row in 0..t {
            let mut scores: Vec<f64> = (0..s)
                .map(|column| {
                    let dot: f64 = q[row * d..][..d]
                        .iter()
                        .zip(&k[column * d..][..d])
                        .map(|(a, b)| f64::from(*a) * f64::from(*b))
                        .sum();
                    let extra = added.as_ref().map_or(0.0, |(numbers, shape)| {
                        let missing = 4 - shape.len();
                        let own = strides(shape);
                        let index = [i / heads, i % heads, row, column];
                        let at: usize = (0..shape.len())
                            .filter(|&d| shape[d] > 1)
                            .map(|d| index[d + missing] * own[d])
                            .sum();
                        f64::from(numbers[at])
                    });
                    // Queries are the last tokens when there are more keys than queries.
                    let hidden = causal && column + t > row + s;
                    if hidden { f64::NEG_INFINITY } else { dot * f64::from(scale) + extra }
                })
                .collect();
            normalise(&mut scores, false);
            for (column, weight) in scores.iter().enumerate() {
                for (sum, value) in out[row * e..][..e].iter_mut().zip(&v[column * e..][..e]) {
                    *sum += *weight as f32 * value;
                }
            }
        }
    }
    call.done(y)
}

fn normalise(row: &mut [f64], log: bool) {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = row.iter().map(|v| (v - largest).exp()).sum();
    for v in row {
        *v = if log { *v - largest - sum.ln() } else { (*v - largest).exp() / sum };
    }
}

pub(super) fn softmax(call: &Call<'_>, axis: usize, log: bool) -> Vec<Tensor> {
    let shape = call.output();
    let step: usize = shape[axis + 1..].iter().product();
    let extent = shape[axis];
    let mut numbers = call.inputs[0].numbers();
    for block in numbers.chunks_exact_mut(extent * step) {
        for first in 0..step {
            let mut row: Vec<f64> = (0..extent).map(|i| block[first + i * step]).collect();
            normalise(&mut row, log);
            for (i, v) in row.into_iter().enumerate() {
                block[first + i * step] = v;
            }
        }
    }
    call.convert(numbers)
}

pub(super) fn batch_norm(call: &Call<'_>, epsilon: f32) -> Vec<Tensor> {
    let mut x = call.inputs[0].numbers();
    let [scale, shift, mean, variance] = [1, 2, 3, 4].map(|i| call.inputs[i].numbers());
    let area: usize = call.output()[2..].iter().product();
    for (plane, map) in x.chunks_exact_mut(area).enumerate() {
        let c = plane % scale.len();
        let factor = scale[c] / (variance[c] + f64::from(epsilon)).sqrt();
        map.iter_mut().for_each(|v| *v = (*v - mean[c]) * factor + shift[c]);
    }
    call.convert(x)
}

/// Subtracts the mean of `part` and divides by its deviation.
fn standardise(part: &mut [f64], epsilon: f32) {
    let mean = part.iter().sum::<f64>() / part.len() as f64;
    let variance = part.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / part.len() as f64;
    let factor = 1.0 / (variance + f64::from(epsilon)).sqrt();
    part.iter_mut().for_each(|v| *v = (*v - mean) * factor);
}

pub(super) fn layer_norm(call: &Call<'_>, epsilon: f32, shift: bool) -> Vec<Tensor> {
    let mut x = call.inputs[0].numbers();
    let scale = call.inputs[1].numbers();
    let shifts = if shift { call.inputs[2].numbers() } else { vec![0.0; scale.len()] };
    for row in x.chunks_exact_mut(scale.len()) {
        standardise(row, epsilon);
        row.iter_mut().zip(scale.iter().zip(&shifts)).for_each(|(v, (scale, shift))| *v = *v * scale + shift);
    }
    call.convert(x)
}

pub(super) fn group_norm(call: &Call<'_>, groups: usize, epsilon: f32) -> Vec<Tensor> {
    let mut x = call.inputs[0].numbers();
    let (scale, shift) = (call.inputs[1].numbers(), call.inputs[2].numbers());
    let area: usize = call.output()[2..].iter().product();
    for part in x.chunks_exact_mut(scale.len() / groups * area) {
        standardise(part, epsilon);
    }
    for (plane, map) in x.chunks_exact_mut(area).enumerate() {
        let c = plane % scale.len();
        map.iter_mut().for_each(|v| *v = *v * scale[c] + shift[c]);
    }
    call.convert(x)
}
