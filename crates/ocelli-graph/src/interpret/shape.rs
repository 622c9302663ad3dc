//! What rearranges or chooses elements.

use super::{Call, InterpretError, Tensor, convert, each_index, strides};
use crate::ir::Constant;
use crate::op::{Op, PadMode};

/// Where an element comes from: an input and a place in it, or a number.
enum From {
    Place(usize, usize),
    Number(f64),
}

pub(super) fn rearrange(call: &Call<'_>) -> Result<Vec<Tensor>, InterpretError> {
    let shape = call.output().to_vec();
    let x = call.shape(0);
    let own = strides(x);
    let offset = |index: &[usize]| index.iter().zip(&own).map(|(i, s)| i * s).sum::<usize>();
    let mut sources = Vec::with_capacity(shape.iter().product());
    match &call.node.op {
        Op::Transpose { permutation } => each_index(&shape, |index| {
            let at = index.iter().zip(permutation).map(|(i, &d)| i * own[d]).sum();
            sources.push(From::Place(0, at));
        }),
        Op::Expand => {
            let missing = shape.len() - x.len();
            each_index(&shape, |index| {
                let at = (0..x.len()).filter(|&d| x[d] > 1).map(|d| index[d + missing] * own[d]).sum();
                sources.push(From::Place(0, at));
            });
        }
        Op::Slice { starts, steps, .. } => each_index(&shape, |index| {
            let at = (0..x.len()).map(|d| (starts[d] + index[d] * steps[d]) * own[d]).sum();
            sources.push(From::Place(0, at));
        }),
        Op::Flip { axes } => each_index(&shape, |index| {
            let turned = |d: usize| if axes.contains(&d) { x[d] - 1 - index[d] } else { index[d] };
            sources.push(From::Place(0, (0..x.len()).map(|d| turned(d) * own[d]).sum()));
        }),
        Op::Concat { axis } => each_index(&shape, |index| {
            let (mut part, mut at) = (0, index[*axis]);
            while at >= call.shape(part)[*axis] {
                at -= call.shape(part)[*axis];
                part += 1;
            }
            let steps = strides(call.shape(part));
            let place = |d: usize| if d == *axis { at } else { index[d] };
            sources.push(From::Place(part, (0..shape.len()).map(|d| place(d) * steps[d]).sum()));
        }),
        Op::Pad { mode, before, .. } => each_index(&shape, |index| {
            let mut at = 0;
            let mut outside = false;
            for d in 0..x.len() {
                let (place, last) = (index[d] as isize - before[d] as isize, x[d] as isize - 1);
                outside |= place < 0 || place > last;
                let inside = match mode {
                    PadMode::Reflect if place < 0 => -place,
                    PadMode::Reflect if place > last => 2 * last - place,
                    _ => place.clamp(0, last),
                };
                at += inside as usize * own[d];
            }
            sources.push(match mode {
                PadMode::Constant(value) if outside => From::Number(f64::from(*value)),
                _ => From::Place(0, at),
            });
        }),
        Op::Gather { axis } | Op::GatherElements { axis } => {
            let rows = matches!(call.node.op, Op::Gather { .. });
            let indices = call.inputs[1].numbers();
            let wrong = indices.iter().find(|&&i| i < 0.0 || i >= x[*axis] as f64);
            if let Some(index) = wrong {
                let problem = format!("index {index} of {}", x[*axis]);
                return Err(InterpretError::Node { node: call.node.name.clone(), problem });
            }
            let mut element = 0;
            each_index(&shape, |index| {
                let mut place = index.to_vec();
                place[*axis] = indices[if rows { index[*axis] } else { element }] as usize;
                element += 1;
                sources.push(From::Place(0, offset(&place)));
            });
        }
        _ => {}
    }
    let numbers: Vec<Vec<f64>> = call.inputs.iter().map(|tensor| tensor.numbers()).collect();
    let data = sources
        .into_iter()
        .map(|from| match from {
            From::Place(input, at) => numbers[input][at],
            From::Number(value) => value,
        })
        .collect();
    Ok(call.convert(data))
}

/// Values and indices of the best, best first, of equals the first; or the indices alone.
pub(super) fn top_k(
    call: &Call<'_>,
    axis: usize,
    k: usize,
    largest: bool,
    indices_only: bool,
) -> Vec<Tensor> {
    let x = call.shape(0);
    let step: usize = x[axis + 1..].iter().product();
    let extent = x[axis];
    let numbers = call.inputs[0].numbers();
    let count = numbers.len() / extent * k;
    let (mut values, mut indices) = (vec![0.0; count], vec![0i64; count]);
    for (outer, block) in numbers.chunks_exact(extent * step).enumerate() {
        for first in 0..step {
            let mut order: Vec<usize> = (0..extent).collect();
            let key = |i: &usize| block[first + i * step];
            order.sort_by(|a, b| {
                let order = key(a).total_cmp(&key(b));
                if largest { order.reverse() } else { order }
            });
            for (j, &i) in order.iter().take(k).enumerate() {
                let at = (outer * k + j) * step + first;
                values[at] = key(&i);
                indices[at] = i as i64;
            }
        }
    }
    let last = call.outputs.len() - 1;
    let indices = Tensor { shape: call.outputs[last].0.clone(), data: Constant::I64(indices.into()) };
    if indices_only {
        return vec![indices];
    }
    vec![convert(&call.outputs[0].0, call.outputs[0].1, values), indices]
}
