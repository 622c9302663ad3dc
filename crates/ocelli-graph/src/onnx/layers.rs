//! Convolutions, products, attention and normalisations.

use super::OnnxError;
use super::builder::Scope;
use super::lower::activate;
use super::model::Attr;
use crate::ir::{Dim, ElementType, Value};
use crate::op::{ConvAttrs, Unary};

fn ints(values: impl IntoIterator<Item = usize>) -> Attr {
    Attr::Ints(values.into_iter().map(|value| value as i64).collect())
}

/// The attributes that convolutions in both directions share.
fn geometry(s: &Scope<'_, '_>, attrs: &ConvAttrs) -> Result<Vec<(&'static str, Attr)>, OnnxError> {
    let weight = &s.input_value(1)?.shape;
    let kernel = s.fixed(weight.get(2..).unwrap_or_default())?;
    let lists = [&attrs.stride, &attrs.pad_begin, &attrs.pad_end, &attrs.dilation];
    if kernel.is_empty() || lists.iter().any(|list| list.len() != kernel.len()) {
        return Err(s.malformed(format!("a window of {} dimensions with geometry {attrs:?}", kernel.len())));
    }
    Ok(vec![
        ("kernel_shape", ints(kernel)),
        ("strides", ints(attrs.stride.iter().copied())),
        ("pads", ints(attrs.pad_begin.iter().chain(&attrs.pad_end).copied())),
        ("dilations", ints(attrs.dilation.iter().copied())),
        ("group", Attr::Int(attrs.groups as i64)),
    ])
}

pub(super) fn conv(
    s: &mut Scope<'_, '_>,
    attrs: &ConvAttrs,
    bias: bool,
    residual: bool,
    activation: Option<Unary>,
) -> Result<String, OnnxError> {
    let attributes = geometry(s, attrs)?;
    let inputs = s.inputs()?;
    let mut operands = vec![s.input(0)?, s.input(1)?];
    if bias {
        operands.push(s.input(2)?);
    }
    let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
    let y = s.push("Conv", &operands, attributes);
    finish_layer(s, y, &inputs, 2 + usize::from(bias), residual, activation)
}

/// Adds the residual, which is input number `at`, and applies the activation.
fn finish_layer(
    s: &mut Scope<'_, '_>,
    y: String,
    inputs: &[String],
    at: usize,
    residual: bool,
    activation: Option<Unary>,
) -> Result<String, OnnxError> {
    let y = if residual {
        let residual = inputs.get(at).ok_or_else(|| s.malformed("the residual is missing"))?;
        s.push("Add", &[&y, residual], vec![])
    } else {
        y
    };
    Ok(activate(s, activation, y))
}

pub(super) fn conv_transpose(
    s: &mut Scope<'_, '_>,
    attrs: &ConvAttrs,
    output_padding: &[usize],
    bias: bool,
) -> Result<String, OnnxError> {
    let mut attributes = geometry(s, attrs)?;
    if output_padding.iter().any(|&rows| rows > 0) {
        attributes.push(("output_padding", ints(output_padding.iter().copied())));
    }
    let mut operands = vec![s.input(0)?, s.input(1)?];
    if bias {
        operands.push(s.input(2)?);
    }
    let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
    Ok(s.push("ConvTranspose", &operands, attributes))
}

pub(super) fn linear(
    s: &mut Scope<'_, '_>,
    bias: bool,
    residual: bool,
    activation: Option<Unary>,
) -> Result<String, OnnxError> {
    let inputs = s.inputs()?;
    let (x, weight) = (s.input(0)?, s.input(1)?);
    let y = if s.input_value(0)?.shape.len() == 2 {
        let mut operands = vec![x.as_str(), weight.as_str()];
        let bias = if bias { Some(s.input(2)?) } else { None };
        operands.extend(bias.as_deref());
        s.push("Gemm", &operands, vec![])
    } else {
        let y = s.push("MatMul", &[&x, &weight], vec![]);
        if bias { s.push("Add", &[&y, &s.input(2)?], vec![]) } else { y }
    };
    finish_layer(s, y, &inputs, 2 + usize::from(bias), residual, activation)
}

pub(super) fn attention(
    s: &mut Scope<'_, '_>,
    scale: f32,
    causal: bool,
    mask: bool,
) -> Result<String, OnnxError> {
    let (q, k, v) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let tokens =
        |value: &Value| value.shape.get(2).copied().ok_or_else(|| s.malformed("expected 4 dimensions"));
    let counts = [tokens(s.input_value(0)?)?, tokens(s.input_value(1)?)?];
    let turned = s.push("Transpose", &[&k], vec![("perm", Attr::Ints(vec![0, 1, 3, 2]))]);
    let factor = s.floats("scale", &[], vec![scale]);
    let q = s.push("Mul", &[&q, &factor], vec![]);
    let mut scores = s.push("MatMul", &[&q, &turned], vec![]);
    if mask {
        scores = s.push("Add", &[&scores, &s.input(3)?], vec![]);
    }
    if causal {
        let counts = s.fixed(&counts)?;
        let (rows, columns) = (counts[0], counts[1]);
        let hidden = (0..rows)
            .flat_map(|row| {
                (0..columns).map(move |column| if column > row { f32::NEG_INFINITY } else { 0.0 })
            })
            .collect();
        let hidden = s.floats("causal", &[rows, columns], hidden);
        scores = s.push("Add", &[&scores, &hidden], vec![]);
    }
    let weights = s.push("Softmax", &[&scores], vec![("axis", Attr::Int(-1))]);
    Ok(s.push("MatMul", &[&weights, &v], vec![]))
}

pub(super) fn batch_norm(s: &mut Scope<'_, '_>, epsilon: f32) -> Result<String, OnnxError> {
    let operands = [s.input(0)?, s.input(1)?, s.input(2)?, s.input(3)?, s.input(4)?];
    let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
    Ok(s.push("BatchNormalization", &operands, vec![("epsilon", Attr::Float(epsilon))]))
}

pub(super) fn layer_norm(s: &mut Scope<'_, '_>, epsilon: f32, shift: bool) -> Result<String, OnnxError> {
    let mut operands = vec![s.input(0)?, s.input(1)?];
    if shift {
        operands.push(s.input(2)?);
    }
    let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
    let attributes = vec![("axis", Attr::Int(-1)), ("epsilon", Attr::Float(epsilon))];
    Ok(s.push("LayerNormalization", &operands, attributes))
}

/// Each group is one channel of an instance normalisation; scale and shift follow per channel. (The operator
/// `GroupNormalization` had a scale per group until operator set 21.)
pub(super) fn group_norm(s: &mut Scope<'_, '_>, groups: usize, epsilon: f32) -> Result<String, OnnxError> {
    let value = s.input_value(0)?;
    if value.element != ElementType::F32 || value.shape.len() < 2 || groups == 0 {
        return Err(s.malformed("group normalisation of other than [n, c, ..] in at least one group"));
    }
    let rest = s.fixed(&value.shape[1..])?;
    let x = s.input(0)?;
    let per_group = rest.iter().product::<usize>() / groups;
    let grouped = [value.shape[0], Dim::Fixed(groups), Dim::Fixed(per_group)];
    let x = s.reshape(&x, &value.shape, &grouped)?;
    let ones = s.floats("ones", &[groups], vec![1.0; groups]);
    let zeros = s.floats("zeros", &[groups], vec![0.0; groups]);
    let x = s.push("InstanceNormalization", &[&x, &ones, &zeros], vec![("epsilon", Attr::Float(epsilon))]);
    let mut y = s.reshape(&x, &grouped, &value.shape)?;
    let mut column = vec![1i64; rest.len()];
    column[0] = -1;
    let column = s.ints("column", column);
    for (op, position) in [("Mul", 1), ("Add", 2)] {
        let factor = s.push("Reshape", &[&s.input(position)?, &column], vec![]);
        y = s.push(op, &[&y, &factor], vec![]);
    }
    Ok(y)
}
