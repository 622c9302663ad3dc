//! Numbers as codes and back.

use super::{Call, Tensor};
use crate::codes::{CodeLayer, CodeMean, CodeProduct, CodeSum, Codes};
use crate::ir::Constant;
use crate::op::ConvAttrs;

pub(super) fn quantize(call: &Call<'_>, codes: Codes) -> Vec<Tensor> {
    let found = call.floats(0).into_iter().map(|x| codes.code(x)).collect();
    vec![Tensor { shape: call.output().to_vec(), data: Constant::U8(found) }]
}

pub(super) fn dequantize(call: &Call<'_>, zero_point: i32, axis: Option<usize>) -> Vec<Tensor> {
    let scales = call.floats(1);
    let shape = call.shape(0);
    // Elements that share a scale: those behind the axis.
    let (extent, run) = match axis {
        Some(axis) => (shape[axis], shape[axis + 1..].iter().product::<usize>()),
        None => (1, 1),
    };
    let number = |(i, code): (usize, f64)| {
        let scale = if axis.is_some() { scales[i / run % extent] } else { scales[0] };
        (code as i64 - i64::from(zero_point)) as f32 * scale
    };
    call.done(call.inputs[0].numbers().into_iter().enumerate().map(number).collect())
}

fn bytes(call: &Call<'_>, place: usize) -> Vec<u8> {
    call.inputs[place].numbers().into_iter().map(|v| v as u8).collect()
}

fn integers(call: &Call<'_>, place: usize) -> Vec<i32> {
    call.inputs[place].numbers().into_iter().map(|v| v as i32).collect()
}

fn coded(call: &Call<'_>, codes: Vec<u8>) -> Vec<Tensor> {
    vec![Tensor { shape: call.output().to_vec(), data: Constant::U8(codes.into()) }]
}

/// The results of a layer from its sums of products, each with its output channel.
fn layer(call: &Call<'_>, own: &CodeLayer, sums: &[(i32, usize)]) -> Vec<Tensor> {
    let scales = call.floats(2);
    if own.output.is_none() {
        return call.done(sums.iter().map(|&(sum, o)| own.number(sum, scales[o])).collect());
    }
    let mut codes: Vec<u8> = sums.iter().map(|&(sum, o)| own.code(sum, scales[o])).collect();
    if let Some(sum) = own.sum {
        for (code, other) in codes.iter_mut().zip(bytes(call, 4)) {
            *code = sum.code(*code, other);
        }
    }
    coded(call, codes)
}

pub(super) fn conv(call: &Call<'_>, attrs: &ConvAttrs, own: &CodeLayer) -> Vec<Tensor> {
    let (x, w, bias) = (integers(call, 0), integers(call, 1), integers(call, 3));
    // One spatial dimension is a map of height 1.
    let two = |shape: &[usize]| if shape.len() == 1 { [1, shape[0]] } else { [shape[0], shape[1]] };
    let one =
        |values: &[usize], fill| if values.len() == 1 { [fill, values[0]] } else { [values[0], values[1]] };
    let (batch, channels, [h, w_in]) = (call.shape(0)[0], call.shape(0)[1], two(&call.shape(0)[2..]));
    let (outputs, depth, [kh, kw]) = (call.shape(1)[0], call.shape(1)[1], two(&call.shape(1)[2..]));
    let [oh, ow] = two(&call.output()[2..]);
    let (stride, pad, dilation) = (one(&attrs.stride, 1), one(&attrs.pad_begin, 0), one(&attrs.dilation, 1));
    let zero = own.input.zero_point;
    let mut sums = Vec::with_capacity(call.output().iter().product());
    for n in 0..batch {
        for o in 0..outputs {
            let group = o / (outputs / attrs.groups);
            for (i, j) in (0..oh).flat_map(|i| (0..ow).map(move |j| (i, j))) {
                let mut sum = bias[o];
                for c in 0..depth {
                    let map = (n * channels + group * depth + c) * h * w_in;
                    for (a, b) in (0..kh).flat_map(|a| (0..kw).map(move |b| (a, b))) {
                        let at = [i * stride[0] + a * dilation[0], j * stride[1] + b * dilation[1]];
                        let (Some(r), Some(s)) = (at[0].checked_sub(pad[0]), at[1].checked_sub(pad[1]))
                        else {
                            continue;
                        };
                        if r < h && s < w_in {
                            let weight = w[((o * depth + c) * kh + a) * kw + b];
                            sum += (x[map + r * w_in + s] - zero) * weight;
                        }
                    }
                }
                sums.push((sum, o));
            }
        }
    }
    layer(call, own, &sums)
}

pub(super) fn linear(call: &Call<'_>, own: &CodeLayer) -> Vec<Tensor> {
    let (x, w, bias) = (integers(call, 0), integers(call, 1), integers(call, 3));
    let [depth, columns] = [call.shape(1)[0], call.shape(1)[1]];
    let mut sums = Vec::with_capacity(call.output().iter().product());
    for row in x.chunks_exact(depth) {
        for (o, bias) in bias.iter().enumerate() {
            let products =
                row.iter().enumerate().map(|(k, v)| (v - own.input.zero_point) * w[k * columns + o]);
            sums.push((bias + products.sum::<i32>(), o));
        }
    }
    layer(call, own, &sums)
}

pub(super) fn add(call: &Call<'_>, own: &CodeSum) -> Vec<Tensor> {
    let codes = bytes(call, 0).into_iter().zip(bytes(call, 1)).map(|(a, b)| own.code(a, b)).collect();
    coded(call, codes)
}

pub(super) fn multiply(call: &Call<'_>, own: &CodeProduct) -> Vec<Tensor> {
    let (a, b) = (bytes(call, 0), bytes(call, 1));
    // A factor per channel stands for a whole plane.
    let count = a.len().max(b.len());
    let at = |x: &[u8], i: usize| x[i / (count / x.len())];
    coded(call, (0..count).map(|i| own.code(at(&a, i), at(&b, i))).collect())
}

pub(super) fn mean(call: &Call<'_>, own: &CodeMean) -> Vec<Tensor> {
    let area = call.shape(0)[2] * call.shape(0)[3];
    let codes = bytes(call, 0)
        .chunks_exact(area)
        .map(|plane| own.code(plane.iter().map(|&code| i64::from(code)).sum(), area))
        .collect();
    coded(call, codes)
}

pub(super) fn table(call: &Call<'_>) -> Vec<Tensor> {
    let table = bytes(call, 1);
    coded(call, bytes(call, 0).into_iter().map(|code| table[usize::from(code)]).collect())
}
