//! Kernels mixed per picture, graphs of nodes.

use super::elementwise::activate;
use super::map;
use super::{Call, Tensor};
use crate::ir::{Constant, ElementType, Node};
use crate::op::{ConvAttrs, Op, Unary};

pub(super) fn dynamic_conv(
    call: &Call<'_>,
    attrs: &ConvAttrs,
    kernel: [usize; 2],
    bias: bool,
    activation: Option<Unary>,
) -> Vec<Tensor> {
    let (x, experts, shares) = (call.floats(0), call.floats(1), call.floats(2));
    let (shape, output) = (call.shape(0), call.output());
    let (batch, count, numbers) = (shape[0], call.shape(1)[0], call.shape(1)[1]);
    let weight_shape = [output[1], shape[1] / attrs.groups, kernel[0], kernel[1]];
    let node = Node { op: Op::Cast, ..call.node.clone() };
    let mut y = Vec::with_capacity(output.iter().product());
    let biases = if bias { Some(call.inputs[3].clone()) } else { None };
    for n in 0..batch {
        let mixed = (0..numbers)
            .map(|i| {
                (0..count)
                    .map(|e| f64::from(shares[n * count + e]) * f64::from(experts[e * numbers + i]))
                    .sum::<f64>() as f32
            })
            .collect();
        let picture = x[n * x.len() / batch..(n + 1) * x.len() / batch].to_vec();
        let picture = Tensor::new(&[1, shape[1], shape[2], shape[3]], picture);
        let weight = Tensor::new(&weight_shape, mixed);
        let mut inputs = vec![&picture, &weight];
        inputs.extend(biases.as_ref());
        let outputs = vec![(vec![1, output[1], output[2], output[3]], ElementType::F32)];
        let own = Call { node: &node, inputs, outputs };
        y.extend(map::conv(&own, attrs, bias, false, None)[0].floats());
    }
    activate(activation, &mut y);
    call.done(y)
}

/// The nodes of a map as rows of float64.
fn rows(call: &Call<'_>, place: usize, picture: usize) -> Vec<Vec<f64>> {
    let (map, shape) = (call.floats(place), call.shape(place));
    let (channels, area) = (shape[1], shape[2] * shape[3]);
    let own = &map[picture * channels * area..][..channels * area];
    (0..area).map(|node| (0..channels).map(|c| f64::from(own[c * area + node])).collect()).collect()
}

pub(super) fn neighbours(call: &Call<'_>, k: usize, dilation: usize, positions: bool) -> Vec<Tensor> {
    let unit = |row: Vec<f64>| -> Vec<f64> {
        let length = row.iter().map(|v| v * v).sum::<f64>().sqrt().max(1e-12);
        row.into_iter().map(|v| v / length).collect()
    };
    let table = positions.then(|| call.floats(2));
    let mut lists = Vec::new();
    for picture in 0..call.shape(0)[0] {
        let nodes: Vec<Vec<f64>> = rows(call, 0, picture).into_iter().map(unit).collect();
        let targets: Vec<Vec<f64>> = rows(call, 1, picture).into_iter().map(unit).collect();
        for (n, node) in nodes.iter().enumerate() {
            let mut order: Vec<(f64, usize)> = targets
                .iter()
                .enumerate()
                .map(|(m, target)| {
                    let square: f64 = node.iter().zip(target).map(|(a, b)| (a - b).powi(2)).sum();
                    let all =
                        square + table.as_ref().map_or(0.0, |table| f64::from(table[n * targets.len() + m]));
                    (if all.is_nan() { f64::INFINITY } else { all }, m)
                })
                .collect();
            order.sort_by(|a, b| a.0.total_cmp(&b.0));
            lists.extend(order.into_iter().take(k * dilation).step_by(dilation).map(|(_, m)| m as i64));
        }
    }
    vec![Tensor { shape: call.output().to_vec(), data: Constant::I64(lists.into()) }]
}

pub(super) fn max_relative(call: &Call<'_>) -> Vec<Tensor> {
    let (x, shape) = (call.floats(0), call.shape(0));
    let (channels, area) = (shape[1], shape[2] * shape[3]);
    let y = call.floats(1);
    let targets = call.shape(1)[2] * call.shape(1)[3];
    let lists = call.inputs[2].numbers();
    let k = call.shape(2)[2];
    let mut out = Vec::with_capacity(2 * x.len());
    for (plane, own) in x.chunks_exact(area).enumerate() {
        let others = &y[plane * targets..][..targets];
        out.extend_from_slice(own);
        for (node, value) in own.iter().enumerate() {
            let list = &lists[(plane / channels * area + node) * k..][..k];
            // Indices beyond the map mean its last node, whatever made them.
            let of = |index: &f64| others[(*index as usize).min(targets - 1)] - value;
            out.push(list.iter().map(of).fold(f32::NEG_INFINITY, f32::max));
        }
    }
    call.done(out)
}
