//! Convolutions of signs: ONNX has signs made by a choice, and a convolution of numbers.

use super::OnnxError;
use super::builder::Scope;
use super::lower::scalar;
use super::model::Attr;
use crate::binary_conv::{BinaryConv, Part};
use crate::ir::ElementType;

/// -1 below zero, else +1: ONNX's own sign has 0 at zero.
fn sign(s: &mut Scope<'_, '_>, x: &str) -> String {
    let [zero, minus, plus] = [("zero", 0.0), ("minus_one", -1.0), ("one", 1.0)]
        .map(|(what, v)| scalar(s, what, v, ElementType::F32));
    let below = s.push("Less", &[x, &zero], vec![]);
    s.push("Where", &[&below, &minus, &plus], vec![])
}

/// A vector with an entry per channel, along the second of four dimensions.
fn per_channel(s: &mut Scope<'_, '_>, place: usize) -> Result<String, OnnxError> {
    let vector = s.input(place)?;
    let shape = s.ints("per_channel", vec![-1, 1, 1]);
    Ok(s.push("Reshape", &[&vector, &shape], vec![]))
}

pub(super) fn binary_conv(s: &mut Scope<'_, '_>, own: &BinaryConv) -> Result<String, OnnxError> {
    let mut x = s.input(0)?;
    if let Ok(place) = own.place(Part::Shift) {
        let shift = per_channel(s, place)?;
        x = s.push("Add", &[&x, &shift], vec![]);
    }
    let (from, to) = (s.fixed(&s.input_value(0)?.shape[1..])?, s.fixed(&s.output_value()?.shape[1..])?);
    let [kh, kw] = own.kernel;
    let shape = [to[0], from[0] / own.attrs.groups, kh, kw].map(|extent| extent as i64);
    let latent = s.input(1)?;
    let rows = s.ints("filters", vec![shape[0], -1]);
    let latent = s.push("Reshape", &[&latent, &rows], vec![]);
    let mut filters = sign(s, &latent);
    if own.mean {
        let absolute = s.push("Abs", &[&latent], vec![]);
        let axes = s.ints("axes", vec![1]);
        let mean = s.push("ReduceMean", &[&absolute, &axes], vec![("keepdims", Attr::Int(1))]);
        filters = s.push("Mul", &[&filters, &mean], vec![]);
    }
    let shape = s.ints("kernel", shape.to_vec());
    let filters = s.push("Reshape", &[&filters, &shape], vec![]);
    let signs = sign(s, &x);
    let list = |values: &[usize]| Attr::Ints(values.iter().map(|&value| value as i64).collect());
    let attrs = &own.attrs;
    let geometry = vec![
        ("kernel_shape", list(&own.kernel)),
        ("strides", list(&attrs.stride)),
        ("pads", list(&[attrs.pad_begin.as_slice(), &attrs.pad_end].concat())),
        ("dilations", list(&attrs.dilation)),
        ("group", Attr::Int(attrs.groups as i64)),
    ];
    let mut y = s.push("Conv", &[&signs, &filters], geometry);
    for (part, op) in [(Part::Scale, "Mul"), (Part::Bias, "Add")] {
        if let Ok(place) = own.place(part) {
            let vector = per_channel(s, place)?;
            y = s.push(op, &[&y, &vector], vec![]);
        }
    }
    if let Ok(place) = own.place(Part::Residual) {
        let residual = s.input(place)?;
        y = s.push("Add", &[&y, &residual], vec![]);
    }
    if let Ok(place) = own.place(Part::Slope) {
        let slope = per_channel(s, place)?;
        y = s.push("PRelu", &[&y, &slope], vec![]);
    }
    if let Ok(place) = own.place(Part::After) {
        let after = per_channel(s, place)?;
        y = s.push("Add", &[&y, &after], vec![]);
    }
    Ok(y)
}
