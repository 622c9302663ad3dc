//! Operations that move elements and compute nothing.

use super::OnnxError;
use super::builder::Scope;
use super::lower::{filled, scalar};
use super::model::{Attr, Tensor};
use crate::ir::Dim;
use crate::op::PadMode;

pub(super) fn expand(s: &mut Scope<'_, '_>) -> Result<String, OnnxError> {
    let x = s.input(0)?;
    let (from, to) = (&s.input_value(0)?.shape, &s.output_value()?.shape);
    let offset =
        to.len().checked_sub(from.len()).ok_or_else(|| s.malformed("expands to fewer dimensions"))?;
    // ONNX broadcasts both ways: a 1 leaves an extent that is already right.
    let wanted: Vec<Dim> = to
        .iter()
        .enumerate()
        .map(|(axis, dim)| match axis.checked_sub(offset) {
            Some(axis) if matches!(dim, Dim::Batch(_)) && from[axis] == *dim => Dim::Fixed(1),
            _ => *dim,
        })
        .collect();
    let shape = s.shape(&wanted)?;
    Ok(s.push("Expand", &[&x, &shape], vec![]))
}

pub(super) fn slice(
    s: &mut Scope<'_, '_>,
    starts: &[usize],
    ends: &[Option<usize>],
    steps: &[usize],
) -> Result<String, OnnxError> {
    let x = s.input(0)?;
    let shape = &s.input_value(0)?.shape;
    if [starts.len(), ends.len(), steps.len()].iter().any(|&count| count != shape.len()) {
        return Err(s.malformed("a slice needs a start, an end and a step per dimension"));
    }
    let (mut axes, mut from, mut to, mut by) = (vec![], vec![], vec![], vec![]);
    for axis in 0..shape.len() {
        let whole = match (ends[axis], shape[axis]) {
            (None, _) => true,
            (Some(end), Dim::Fixed(extent)) => end >= extent,
            (Some(_), Dim::Batch(_)) => false,
        };
        if starts[axis] == 0 && steps[axis] == 1 && whole {
            continue;
        }
        axes.push(axis as i64);
        from.push(starts[axis] as i64);
        to.push(ends[axis].map_or(i64::MAX, |end| end as i64));
        by.push(steps[axis] as i64);
    }
    if axes.is_empty() {
        return Ok(x);
    }
    Ok(cut(s, &x, axes, from, to, by))
}

pub(super) fn flip(s: &mut Scope<'_, '_>, axes: &[usize]) -> Result<String, OnnxError> {
    let x = s.input(0)?;
    if axes.is_empty() {
        return Ok(x);
    }
    let axes: Vec<i64> = axes.iter().map(|&axis| axis as i64).collect();
    let same = |value: i64| vec![value; axes.len()];
    let (from, to, by) = (same(-1), same(i64::MIN), same(-1));
    Ok(cut(s, &x, axes, from, to, by))
}

fn cut(s: &mut Scope<'_, '_>, x: &str, axes: Vec<i64>, from: Vec<i64>, to: Vec<i64>, by: Vec<i64>) -> String {
    let from = s.ints("starts", from);
    let to = s.ints("ends", to);
    let axes = s.ints("axes", axes);
    let by = s.ints("steps", by);
    s.push("Slice", &[x, &from, &to, &axes, &by], vec![])
}

pub(super) fn pad(
    s: &mut Scope<'_, '_>,
    mode: PadMode,
    before: &[usize],
    after: &[usize],
) -> Result<String, OnnxError> {
    let x = s.input(0)?;
    let pads = s.ints("pads", before.iter().chain(after).map(|&count| count as i64).collect());
    Ok(match mode {
        PadMode::Constant(value) => {
            let element = s.input_value(0)?.element;
            let value = scalar(s, "value", value, element);
            s.push("Pad", &[&x, &pads, &value], vec![("mode", Attr::Text("constant"))])
        }
        PadMode::Reflect => s.push("Pad", &[&x, &pads], vec![("mode", Attr::Text("reflect"))]),
        PadMode::Edge => s.push("Pad", &[&x, &pads], vec![("mode", Attr::Text("edge"))]),
    })
}

pub(super) fn full(s: &mut Scope<'_, '_>, value: f32) -> Result<String, OnnxError> {
    let output = s.output_value()?;
    let shape = s.shape(&output.shape)?;
    let value = Tensor { name: "value".into(), dims: vec![1], data: filled(value, output.element) };
    Ok(s.push("ConstantOfShape", &[&shape], vec![("value", Attr::Tensor(value))]))
}
