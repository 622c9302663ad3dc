//! Adder convolutions in ONNX's vocabulary: differences, absolute values, sums, tap by tap. Exact, and slow: ONNX has no operator for
//! distances, so that a table of `filters · channels` numbers per pixel is made for every tap.

use super::OnnxError;
use super::builder::Scope;
use super::lower::{activate, scalar};
use super::model::Attr;
use super::nodes::{cut, reshaped, taps};
use crate::adder_conv::{AdderCodes, AdderConv};
use crate::ir::ElementType;

/// `Σ |x - w|` of the pixels under the taps and filters `[out, c, taps]`.
fn distances(
    s: &mut Scope<'_, '_>,
    x: &str,
    weight: &str,
    own: &AdderConv,
    kernel: [usize; 2],
    channels: usize,
    to: [usize; 2],
) -> Result<String, OnnxError> {
    let mut sum: Option<String> = None;
    for (tap, map) in taps(s, x, &own.attrs, kernel, to).into_iter().enumerate() {
        let map = reshaped(s, &map, &[1, channels, to[0] * to[1]]);
        let column = cut(s, weight, &[2], &[tap as i64], &[tap as i64 + 1], &[1]);
        let difference = s.push("Sub", &[&map, &column], vec![]);
        let distance = s.push("Abs", &[&difference], vec![]);
        let axes = s.ints("axes", vec![2]);
        let part = s.push("ReduceSum", &[&distance, &axes], vec![("keepdims", Attr::Int(0))]);
        sum = Some(match sum {
            Some(sum) => s.push("Add", &[&sum, &part], vec![]),
            None => part,
        });
    }
    sum.ok_or_else(|| s.malformed("a kernel without taps"))
}

/// The codes of x in group `group`, as numbers.
fn codes(s: &mut Scope<'_, '_>, x: &str, own: &AdderCodes, group: usize) -> String {
    let half = (1i32 << (own.bits - 1)) as f32;
    let [low, high] = if own.signed { [-half, half - 1.0] } else { [0.0, own.levels()] };
    let mut number = |what: &str, v: f32| scalar(s, what, v, ElementType::F32);
    let [levels, scale] = [("levels", own.levels()), ("scale", own.scales[group])].map(|(n, v)| number(n, v));
    let [low, high] = [("low", low), ("high", high)].map(|(n, v)| number(n, v));
    let many = s.push("Mul", &[x, &levels], vec![]);
    let mut steps = s.push("Div", &[&many, &scale], vec![]);
    if own.signed {
        let two = scalar(s, "two", 2.0, ElementType::F32);
        steps = s.push("Div", &[&steps, &two], vec![]);
    }
    let whole = s.push("Round", &[&steps], vec![]);
    s.push("Clip", &[&whole, &low, &high], vec![])
}

pub(super) fn conv(s: &mut Scope<'_, '_>, own: &AdderConv) -> Result<String, OnnxError> {
    let (x, weight) = (s.input(0)?, s.input(1)?);
    let extents = s.fixed(&s.input_value(1)?.shape)?;
    let to = s.fixed(&s.output_value()?.shape[1..])?;
    let (&[out, channels, kh, kw], &[_, oh, ow]) = (extents.as_slice(), to.as_slice()) else {
        return Err(s.malformed("a map of two dimensions is needed"));
    };
    let kernel = [kh, kw];
    let table = |s: &mut Scope<'_, '_>, weight: &str, filters: usize| {
        let shape = s.ints("filters", vec![filters as i64, channels as i64, (kh * kw) as i64]);
        s.push("Reshape", &[weight, &shape], vec![])
    };
    let mut factor = vec![-1.0f32; out];
    let sums = match &own.codes {
        None => {
            let weight = table(s, &weight, out);
            distances(s, &x, &weight, own, kernel, channels, [oh, ow])?
        }
        Some(coded) => {
            let numbers = s.push("Cast", &[&weight], vec![("to", Attr::Int(1))]);
            let times = scalar(s, "factor", coded.factor() as f32, ElementType::F32);
            let numbers = s.push("Mul", &[&numbers, &times], vec![]);
            let (mut parts, mut order) = (Vec::new(), Vec::new());
            for group in 0..coded.scales.len() {
                let members: Vec<usize> =
                    (0..out).filter(|&o| usize::from(coded.labels[o]) == group).collect();
                if members.is_empty() {
                    continue;
                }
                members.iter().for_each(|&o| factor[o] = -coded.step(group));
                let places = s.ints("members", members.iter().map(|&o| o as i64).collect());
                let weight = s.push("Gather", &[&numbers, &places], vec![("axis", Attr::Int(0))]);
                let weight = table(s, &weight, members.len());
                let x = codes(s, &x, coded, group);
                parts.push(distances(s, &x, &weight, own, kernel, channels, [oh, ow])?);
                order.extend(members);
            }
            match parts.as_slice() {
                [only] => only.clone(),
                parts => {
                    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                    let joined = s.push("Concat", &parts, vec![("axis", Attr::Int(1))]);
                    let mut places = vec![0i64; out];
                    order.iter().enumerate().for_each(|(place, &o)| places[o] = place as i64);
                    let places = s.ints("places", places);
                    s.push("Gather", &[&joined, &places], vec![("axis", Attr::Int(1))])
                }
            }
        }
    };
    let y = reshaped(s, &sums, &[out, oh, ow]);
    let per_channel = |s: &mut Scope<'_, '_>, vector: &str| {
        let shape = s.ints("per_channel", vec![out as i64, 1, 1]);
        s.push("Reshape", &[vector, &shape], vec![])
    };
    let steps = s.floats("steps", &[out, 1, 1], factor);
    let mut y = s.push("Mul", &[&y, &steps], vec![]);
    if own.affine {
        for (place, op) in [(2, "Mul"), (3, "Add")] {
            let vector = s.input(place)?;
            let vector = per_channel(s, &vector);
            y = s.push(op, &[&y, &vector], vec![]);
        }
    }
    if own.residual {
        let residual = s.input(own.inputs() - 1)?;
        y = s.push("Add", &[&y, &residual], vec![]);
    }
    Ok(activate(s, own.activation, y))
}
