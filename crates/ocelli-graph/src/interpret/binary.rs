//! Convolutions of signs.

use super::map;
use super::{Call, Tensor};
use crate::binary_conv::{BinaryConv, Part};
use crate::ir::{ElementType, Node};
use crate::op::Op;

fn sign(x: f32) -> f32 {
    if x < 0.0 { -1.0 } else { 1.0 }
}

pub(super) fn binary_conv(call: &Call<'_>, own: &BinaryConv) -> Vec<Tensor> {
    let part = |part: Part| own.place(part).ok().map(|place| call.floats(place));
    let (mut x, weights) = (call.floats(0), call.floats(1));
    let (shape, output) = (call.shape(0).to_vec(), call.output().to_vec());
    let area_in: usize = shape[2] * shape[3];
    if let Some(shift) = part(Part::Shift) {
        for (at, x) in x.iter_mut().enumerate() {
            *x += shift[at / area_in % shift.len()];
        }
    }
    let filter = (weights.len() / output[1]).max(1);
    let signs = Tensor::new(&shape, x.into_iter().map(sign).collect());
    let weight_shape = [output[1], shape[1] / own.attrs.groups, own.kernel[0], own.kernel[1]];
    let weight_signs = Tensor::new(&weight_shape, weights.iter().map(|&w| sign(w)).collect());
    let node = Node { op: Op::Cast, ..call.node.clone() };
    let plain = Call {
        node: &node,
        inputs: vec![&signs, &weight_signs],
        outputs: vec![(output.clone(), ElementType::F32)],
    };
    let mut y = map::conv(&plain, &own.attrs, false, false, None)[0].floats();
    let factors: Vec<f32> = weights
        .chunks(filter)
        .enumerate()
        .map(|(out, own_weights)| {
            let sum: f64 = own_weights.iter().map(|w| f64::from(w.abs())).sum();
            let mean = if own.mean { sum / filter as f64 } else { 1.0 };
            (mean * part(Part::Scale).map_or(1.0, |scale| f64::from(scale[out]))) as f32
        })
        .collect();
    let [bias, residual, slope, after] = [Part::Bias, Part::Residual, Part::Slope, Part::After].map(part);
    let area = output[2] * output[3];
    for (at, y) in y.iter_mut().enumerate() {
        let out = at / area % output[1];
        *y *= factors[out];
        *y += bias.as_ref().map_or(0.0, |bias| bias[out]);
        *y += residual.as_ref().map_or(0.0, |residual| residual[at]);
        if let Some(slope) = &slope
            && *y < 0.0
        {
            *y *= slope[out];
        }
        *y += after.as_ref().map_or(0.0, |after| after[out]);
    }
    call.done(y)
}
