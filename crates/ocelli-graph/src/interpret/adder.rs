//! Adder convolutions.

use super::elementwise::activate;
use super::{Call, Tensor};
use crate::adder_conv::AdderConv;
use crate::ir::Constant;

/// Adds `|a - w|` for every window of `map` `[c, h, w]` to `out`.
fn distances(
    own: &AdderConv,
    map: &[f64],
    filter: &[f64],
    [from, kernel, to]: [[usize; 2]; 3],
    out: &mut [f64],
) {
    let attrs = &own.attrs;
    let (area, taps) = (from[0] * from[1], kernel[0] * kernel[1]);
    for (plane, filter) in map.chunks_exact(area).zip(filter.chunks_exact(taps)) {
        for (tap, w) in filter.iter().enumerate() {
            let at = [tap / kernel[1], tap % kernel[1]];
            let source = |d: usize, i: usize| {
                let place = i * attrs.stride[d] + at[d] * attrs.dilation[d];
                place.checked_sub(attrs.pad_begin[d]).filter(|&s| s < from[d])
            };
            for y in 0..to[0] {
                let row = source(0, y);
                for x in 0..to[1] {
                    let pixel = row.and_then(|row| Some(plane[row * from[1] + source(1, x)?]));
                    out[y * to[1] + x] += (pixel.unwrap_or(0.0) - w).abs();
                }
            }
        }
    }
}

pub(super) fn conv(call: &Call<'_>, own: &AdderConv) -> Vec<Tensor> {
    let (x, shape, weight) = (call.floats(0), call.shape(0).to_vec(), call.shape(1).to_vec());
    let output = call.output().to_vec();
    let window = [&shape, &weight, &output].map(|dims| [dims[2], dims[3]]);
    let picture = shape[1..].iter().product::<usize>();
    let (filter, area) = (weight[1..].iter().product::<usize>(), output[2] * output[3]);
    let mut y = vec![0.0f32; output.iter().product()];
    let weights: Vec<f64> = match (&call.inputs[1].data, &own.codes) {
        (Constant::I8(q), Some(codes)) => {
            q.iter().map(|&q| f64::from(codes.factor() * i32::from(q))).collect()
        }
        _ => call.floats(1).into_iter().map(f64::from).collect(),
    };
    let vector = |place: usize| if own.affine { Some(call.floats(place)) } else { None };
    let (scale, shift) = (vector(2), vector(3));
    for group in 0..own.codes.as_ref().map_or(1, |codes| codes.scales.len()) {
        let activations: Vec<f64> = match &own.codes {
            Some(codes) => x.iter().map(|&x| f64::from(codes.code(x, group))).collect(),
            None => x.iter().map(|&x| f64::from(x)).collect(),
        };
        for (plane, out) in y.chunks_exact_mut(area).enumerate() {
            let (n, o) = (plane / output[1], plane % output[1]);
            if own.codes.as_ref().is_some_and(|codes| usize::from(codes.labels[o]) != group) {
                continue;
            }
            let mut sums = vec![0.0f64; area];
            let map = &activations[n * picture..][..picture];
            distances(own, map, &weights[o * filter..][..filter], window, &mut sums);
            let step = own.codes.as_ref().map_or(1.0, |codes| f64::from(codes.step(group)));
            let factor = -step * scale.as_ref().map_or(1.0, |scale| f64::from(scale[o]));
            let added = shift.as_ref().map_or(0.0, |shift| f64::from(shift[o]));
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = (factor * sum + added) as f32;
            }
        }
    }
    if own.residual {
        let residual = call.floats(call.inputs.len() - 1);
        y.iter_mut().zip(residual).for_each(|(y, r)| *y += r);
    }
    activate(own.activation, &mut y);
    call.done(y)
}
