//! One of our operations → ONNX's.

use super::OnnxError;
use super::builder::Scope;
use super::model::{Attr, Data, element_code};
use super::{binary, layers, maps, movement, nodes};
use crate::codes::Codes;
use crate::ir::ElementType;
use crate::op::{Binary, Op, Reduction, Unary};

/// Translates one node.
pub(super) fn lower(mut scope: Scope<'_, '_>) -> Result<(), OnnxError> {
    let s = &mut scope;
    let op = &s.node.op;
    let result = match op {
        Op::Conv { attrs, bias, residual, activation } => {
            layers::conv(s, attrs, *bias, *residual, *activation)?
        }
        Op::ConvTranspose { attrs, output_padding, bias } => {
            layers::conv_transpose(s, attrs, output_padding, *bias)?
        }
        Op::Linear { bias, residual, activation } => layers::linear(s, *bias, *residual, *activation)?,
        Op::MatMul => s.push("MatMul", &[&s.input(0)?, &s.input(1)?], vec![]),
        Op::Attention { scale, causal, mask } => layers::attention(s, *scale, *causal, *mask)?,
        Op::BatchNorm { epsilon } => layers::batch_norm(s, *epsilon)?,
        Op::LayerNorm { epsilon, shift } => layers::layer_norm(s, *epsilon, *shift)?,
        Op::GroupNorm { groups, epsilon } => layers::group_norm(s, *groups, *epsilon)?,
        Op::Unary { function } => {
            let x = s.input(0)?;
            let element = s.input_value(0)?.element;
            unary(s, *function, &x, element)
        }
        Op::Binary { function } => s.push(binary(*function), &[&s.input(0)?, &s.input(1)?], vec![]),
        Op::Where => s.push("Where", &[&s.input(0)?, &s.input(1)?, &s.input(2)?], vec![]),
        Op::Softmax { axis } => s.push("Softmax", &[&s.input(0)?], vec![axis_of(*axis)]),
        Op::LogSoftmax { axis } => s.push("LogSoftmax", &[&s.input(0)?], vec![axis_of(*axis)]),
        Op::Reduce { reduction, axes, keep_dims } => reduce(s, *reduction, axes, *keep_dims)?,
        Op::ArgExtreme { axis, largest } => {
            let op = if *largest { "ArgMax" } else { "ArgMin" };
            let found = s.push(op, &[&s.input(0)?], vec![axis_of(*axis), ("keepdims", Attr::Int(1))]);
            indices_as(s, found)?
        }
        Op::TopK { axis, k, largest } => {
            let k = s.ints("k", vec![*k as i64]);
            let order = ("largest", Attr::Int(i64::from(*largest)));
            let [values, indices] = s.push_two("TopK", &[&s.input(0)?, &k], vec![axis_of(*axis), order]);
            return scope.finish(vec![values, indices]);
        }
        Op::MaxPool(pool) => maps::max_pool(s, pool)?,
        Op::AvgPool { pool, count_include_pad } => maps::avg_pool(s, pool, *count_include_pad)?,
        Op::AdaptiveAvgPool => maps::adaptive_avg_pool(s)?,
        Op::Resize { mode, align_corners } => maps::resize(s, *mode, *align_corners)?,
        Op::Reshape => {
            let (x, from, to) = (s.input(0)?, &s.input_value(0)?.shape, &s.output_value()?.shape);
            s.reshape(&x, from, to)?
        }
        Op::Transpose { permutation } => {
            let order = permutation.iter().map(|&axis| axis as i64).collect();
            s.push("Transpose", &[&s.input(0)?], vec![("perm", Attr::Ints(order))])
        }
        Op::Expand => movement::expand(s)?,
        Op::Slice { starts, ends, steps } => movement::slice(s, starts, ends, steps)?,
        Op::Flip { axes } => movement::flip(s, axes)?,
        Op::Concat { axis } => {
            let inputs = s.inputs()?;
            let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
            s.push("Concat", &inputs, vec![axis_of(*axis)])
        }
        Op::Pad { mode, before, after } => movement::pad(s, *mode, before, after)?,
        Op::Gather { axis } => s.push("Gather", &[&s.input(0)?, &s.input(1)?], vec![axis_of(*axis)]),
        Op::GatherElements { axis } => {
            s.push("GatherElements", &[&s.input(0)?, &s.input(1)?], vec![axis_of(*axis)])
        }
        Op::Quantize(codes) => quantize(s, *codes)?,
        Op::Dequantize { zero_point, axis } => dequantize(s, *zero_point, *axis)?,
        Op::Cast => {
            let to = element_code(s.output_value()?.element);
            s.push("Cast", &[&s.input(0)?], vec![("to", Attr::Int(to))])
        }
        Op::Full { value } => movement::full(s, *value)?,
        Op::AdderConv(own) => super::adder::conv(s, own)?,
        Op::DynamicConv { attrs, kernel, bias, activation } => {
            nodes::dynamic_conv(s, attrs, *kernel, *bias, *activation)?
        }
        Op::BinaryConv(own) => binary::binary_conv(s, own)?,
        Op::Neighbours { k, dilation, positions } => nodes::neighbours(s, *k, *dilation, *positions)?,
        Op::MaxRelative => nodes::max_relative(s)?,
        Op::ConvCodes { .. }
        | Op::LinearCodes { .. }
        | Op::AddCodes(_)
        | Op::MulCodes(_)
        | Op::MeanCodes { .. }
        | Op::TableCodes => {
            return Err(OnnxError::Unsupported {
                node: s.node.name.clone(),
                operation: format!("{}: export the graph before it is lowered to integers", op.kind()),
            });
        }
        Op::Custom { name, .. } => {
            return Err(OnnxError::Unsupported {
                node: s.node.name.clone(),
                operation: format!("the operation '{name}'"),
            });
        }
    };
    scope.finish(vec![result])
}

/// Fewer than 8 bits are a bound before ONNX's 8-bit codes.
fn quantize(s: &mut Scope<'_, '_>, codes: Codes) -> Result<String, OnnxError> {
    let mut x = s.input(0)?;
    if codes.bits < 8 {
        let [low, high] = [0, codes.highest() as u8].map(|code| codes.number(code));
        x = unary(s, Unary::Clamp { min: low, max: high }, &x, ElementType::F32);
    }
    let scale = s.floats("scale", &[], vec![codes.scale]);
    let zero = s.constant("zero_point", &[], filled(codes.zero_point as f32, ElementType::U8));
    Ok(s.push("QuantizeLinear", &[&x, &scale, &zero], vec![]))
}

fn dequantize(s: &mut Scope<'_, '_>, zero_point: i32, axis: Option<usize>) -> Result<String, OnnxError> {
    let (x, scale) = (s.input(0)?, s.input(1)?);
    let element = s.input_value(0)?.element;
    let shape = s.fixed(&s.input_value(1)?.shape)?;
    let count = shape.iter().product::<usize>();
    let zeros = match element {
        ElementType::I32 => Data::I32(vec![0; count].into()),
        ElementType::I8 => Data::I8(vec![zero_point as i8; count].into()),
        _ => Data::U8(vec![zero_point as u8; count].into()),
    };
    let zero = s.constant("zero_point", &shape, zeros);
    Ok(s.push("DequantizeLinear", &[&x, &scale, &zero], axis.map(axis_of).into_iter().collect()))
}

fn axis_of(axis: usize) -> (&'static str, Attr) {
    ("axis", Attr::Int(axis as i64))
}

/// ONNX's indices as the output's element type.
fn indices_as(s: &mut Scope<'_, '_>, indices: String) -> Result<String, OnnxError> {
    Ok(match s.output_value()?.element {
        ElementType::I64 => indices,
        other => s.push("Cast", &[&indices], vec![("to", Attr::Int(element_code(other)))]),
    })
}

/// A scalar constant of type `element`.
pub(super) fn scalar(s: &mut Scope<'_, '_>, what: &str, value: f32, element: ElementType) -> String {
    s.constant(what, &[], filled(value, element))
}

/// One element of type `element`.
pub(super) fn filled(value: f32, element: ElementType) -> Data<'static> {
    match element {
        ElementType::F32 => Data::F32(vec![value].into()),
        ElementType::I64 => Data::I64(vec![value as i64].into()),
        ElementType::I32 => Data::I32(vec![value as i32].into()),
        ElementType::U8 => Data::U8(vec![value as u8].into()),
        ElementType::I8 => Data::I8(vec![value as i8].into()),
        ElementType::Bool => Data::Bool(vec![value != 0.0].into()),
    }
}

/// Applies an optional activation to floating point numbers.
pub(super) fn activate(s: &mut Scope<'_, '_>, activation: Option<Unary>, x: String) -> String {
    match activation {
        Some(function) => unary(s, function, &x, ElementType::F32),
        None => x,
    }
}

fn unary(s: &mut Scope<'_, '_>, function: Unary, x: &str, element: ElementType) -> String {
    let op = match function {
        Unary::Relu if element == ElementType::F32 => "Relu",
        Unary::Relu => {
            let zero = scalar(s, "zero", 0.0, element);
            return s.push("Max", &[x, &zero], vec![]);
        }
        Unary::Clamp { min, max } => {
            // An absent bound, an empty name, does not bound.
            let mut bound = |what, value: f32| match value.is_finite() {
                true => scalar(s, what, value, element),
                false => String::new(),
            };
            let (min, max) = (bound("min", min), bound("max", max));
            return s.push("Clip", &[x, &min, &max], vec![]);
        }
        Unary::LeakyRelu { slope } => return s.push("LeakyRelu", &[x], vec![("alpha", Attr::Float(slope))]),
        Unary::Gelu => "Gelu",
        Unary::Sigmoid => "Sigmoid",
        Unary::HardSigmoid { alpha, beta } => {
            let attributes = vec![("alpha", Attr::Float(alpha)), ("beta", Attr::Float(beta))];
            return s.push("HardSigmoid", &[x], attributes);
        }
        Unary::HardSwish => "HardSwish",
        Unary::Silu => {
            let gate = s.push("Sigmoid", &[x], vec![]);
            return s.push("Mul", &[x, &gate], vec![]);
        }
        Unary::Tanh => "Tanh",
        Unary::Erf => "Erf",
        Unary::Exp => "Exp",
        Unary::Log => "Log",
        Unary::Sqrt => "Sqrt",
        Unary::Reciprocal => "Reciprocal",
        Unary::Neg => "Neg",
        Unary::Abs => "Abs",
        Unary::Sign => "Sign",
        Unary::Floor => "Floor",
        Unary::Ceil => "Ceil",
        Unary::Round => "Round",
        Unary::Sin => "Sin",
        Unary::Cos => "Cos",
        Unary::Not => "Not",
    };
    s.push(op, &[x], vec![])
}

fn binary(function: Binary) -> &'static str {
    match function {
        Binary::Add => "Add",
        Binary::Sub => "Sub",
        Binary::Mul => "Mul",
        Binary::Div => "Div",
        Binary::Pow => "Pow",
        Binary::Min => "Min",
        Binary::Max => "Max",
        Binary::Equal => "Equal",
        Binary::Less => "Less",
        Binary::LessEqual => "LessOrEqual",
        Binary::Greater => "Greater",
        Binary::GreaterEqual => "GreaterOrEqual",
        Binary::And => "And",
        Binary::Or => "Or",
    }
}

fn reduce(
    s: &mut Scope<'_, '_>,
    reduction: Reduction,
    axes: &[usize],
    keep_dims: bool,
) -> Result<String, OnnxError> {
    let x = s.input(0)?;
    if axes.is_empty() {
        // To ONNX no axes are all axes.
        return Ok(x);
    }
    let op = match reduction {
        Reduction::Mean => "ReduceMean",
        Reduction::Sum => "ReduceSum",
        Reduction::Max => "ReduceMax",
        Reduction::Min => "ReduceMin",
        Reduction::Prod => "ReduceProd",
    };
    let axes = s.ints("axes", axes.iter().map(|&axis| axis as i64).collect());
    Ok(s.push(op, &[&x, &axes], vec![("keepdims", Attr::Int(i64::from(keep_dims)))]))
}
