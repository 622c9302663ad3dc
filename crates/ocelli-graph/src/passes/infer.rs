//! Shapes that follow from a node's operation and inputs.

use super::geometry::{conv_extent, pool_extent, transposed_extent};
use crate::binary_conv::Part;
use crate::codes::CodeLayer;
use crate::ir::{Dim, ElementType, Value};
use crate::op::{Binary, ConvAttrs, Op, PadMode, PoolAttrs, Unary};

/// Why an operation cannot be applied.
pub(super) struct Refused(pub String);

impl Refused {
    pub fn new(problem: impl Into<String>) -> Self {
        Self(problem.into())
    }
}

type Shape = Vec<Dim>;

/// Shapes and element types of the results of `op`. `recorded` are the results as the graph has them: operations
/// whose arguments are the result's shape are checked against these.
pub(super) fn infer(
    op: &Op,
    inputs: &[&Value],
    recorded: &[&Value],
) -> Result<Vec<(Shape, ElementType)>, Refused> {
    use ElementType::{Bool, F32, I64};
    let (least, most) = input_count(op);
    ensure(
        (least..=most).contains(&inputs.len()),
        format!("{} inputs; {least} to {most} are needed", inputs.len()),
    )?;
    let outputs = if matches!(op, Op::TopK { .. }) { 2 } else { 1 };
    if !matches!(op, Op::Custom { .. }) {
        ensure(recorded.len() == outputs, format!("{} outputs; {outputs} are needed", recorded.len()))?;
    }
    let x = inputs.first().map_or(&[][..], |value| &value.shape);
    let rank = x.len();
    let kind = inputs.first().map_or(F32, |value| value.element);
    if !matches!(
        op,
        Op::Where
            | Op::Cast
            | Op::Dequantize { .. }
            | Op::AdderConv(_)
            | Op::ConvCodes { .. }
            | Op::LinearCodes { .. }
            | Op::AddCodes(_)
            | Op::MulCodes(_)
            | Op::MeanCodes { .. }
            | Op::TableCodes
            | Op::MaxPool(_)
            | Op::Reshape
            | Op::Transpose { .. }
            | Op::Expand
            | Op::Slice { .. }
            | Op::Flip { .. }
            | Op::Concat { .. }
            | Op::Gather { .. }
            | Op::GatherElements { .. }
            | Op::Pad { .. }
            | Op::Unary { .. }
            | Op::Binary { .. }
            | Op::Reduce { .. }
            | Op::ArgExtreme { .. }
            | Op::TopK { .. }
            | Op::MaxRelative
            | Op::Custom { .. }
    ) {
        ensure(inputs.iter().all(|value| value.element == F32), "floating point inputs are needed")?;
    }
    let one = |shape: Shape| Ok(vec![(shape, kind)]);
    match op {
        Op::Conv { attrs, bias, residual, activation } => {
            check_activation(*activation)?;
            let shape = conv(attrs, x, &inputs[1].shape)?;
            check_epilogue(&shape, shape[1], *bias, *residual, inputs)?;
            one(shape)
        }
        Op::ConvTranspose { attrs, output_padding, bias } => {
            let shape = conv_transpose(attrs, output_padding, x, &inputs[1].shape)?;
            check_epilogue(&shape, shape[1], *bias, false, inputs)?;
            one(shape)
        }
        Op::Linear { bias, residual, activation } => {
            check_activation(*activation)?;
            let [Dim::Fixed(depth), Dim::Fixed(columns)] = inputs[1].shape[..] else {
                return Err(Refused::new("the weight is not a matrix"));
            };
            ensure(x.last() == Some(&Dim::Fixed(depth)), "the weight does not fit the input")?;
            let mut shape = x.to_vec();
            shape[rank - 1] = Dim::Fixed(columns);
            check_epilogue(&shape, Dim::Fixed(columns), *bias, *residual, inputs)?;
            one(shape)
        }
        Op::MatMul => one(matmul(x, &inputs[1].shape)?),
        Op::Attention { mask, .. } => {
            let (k, v) = (&inputs[1].shape, &inputs[2].shape);
            ensure([rank, k.len(), v.len()] == [4; 3], "attention has four dimensions")?;
            ensure(x[..2] == k[..2] && x[..2] == v[..2], "batch or heads differ")?;
            ensure(x[3] == k[3] && k[2] == v[2], "sizes or tokens differ")?;
            if *mask {
                let scores = [x[0], x[1], x[2], k[2]];
                let fits = broadcast(&inputs[3].shape, &scores).is_some_and(|all| all == scores);
                ensure(fits, "the mask does not fit the scores")?;
            }
            one(vec![x[0], x[1], x[2], v[3]])
        }
        Op::Quantize(codes) => {
            ensure(codes.is_sound(), "a scale, a zero point or bits that no codes have")?;
            Ok(vec![(x.to_vec(), ElementType::U8)])
        }
        Op::Dequantize { zero_point, axis } => {
            use ElementType::{I8, I32, U8};
            let zero = match kind {
                U8 => (0..=255).contains(zero_point),
                I8 => (-128..=127).contains(zero_point),
                I32 => *zero_point == 0,
                _ => return Err(Refused::new("codes are needed")),
            };
            ensure(zero, "a zero point that is no code")?;
            ensure(inputs[1].element == F32, "a scale that is no number")?;
            let wanted = match axis {
                Some(axis) => x.get(*axis..=*axis).ok_or_else(|| Refused::new("no such dimension"))?,
                None => &[],
            };
            ensure(inputs[1].shape == wanted, "not one scale per element of the axis")?;
            Ok(vec![(x.to_vec(), F32)])
        }
        Op::ConvCodes { attrs, layer } => {
            let shape = conv(attrs, x, &inputs[1].shape)?;
            code_layer(layer, inputs, &shape, shape[1])
        }
        Op::LinearCodes { layer } => {
            let [Dim::Fixed(depth), Dim::Fixed(columns)] = inputs[1].shape[..] else {
                return Err(Refused::new("the weight is not a matrix"));
            };
            ensure(x.last() == Some(&Dim::Fixed(depth)), "the weight does not fit the input")?;
            let mut shape = x.to_vec();
            shape[rank - 1] = Dim::Fixed(columns);
            code_layer(layer, inputs, &shape, Dim::Fixed(columns))
        }
        Op::AddCodes(sum) => {
            ensure(sum.is_sound(), "codes that are none")?;
            ensure(kind == ElementType::U8 && inputs[1].element == kind, "codes are needed")?;
            ensure(inputs[1].shape == x, "operands of different shapes")?;
            one(x.to_vec())
        }
        Op::MulCodes(product) => {
            ensure(product.is_sound(), "codes that are none")?;
            ensure(kind == ElementType::U8 && inputs[1].element == kind, "codes are needed")?;
            let y = &inputs[1].shape;
            let gate = |a: &[Dim], b: &[Dim]| {
                a.len() == 4 && b.len() == 4 && a[..2] == b[..2] && b[2..] == [Dim::Fixed(1), Dim::Fixed(1)]
            };
            ensure(x == &y[..] || gate(x, y) || gate(y, x), "operands of different shapes")?;
            one(if gate(y, x) { y.clone() } else { x.to_vec() })
        }
        Op::MeanCodes { mean, keep_dims } => {
            ensure(mean.is_sound(), "codes that are none")?;
            ensure(kind == ElementType::U8 && rank == 4, "codes of a map are needed")?;
            fixed(x[2])?;
            fixed(x[3])?;
            let mut shape = x[..2].to_vec();
            if *keep_dims {
                shape.extend([Dim::Fixed(1); 2]);
            }
            one(shape)
        }
        Op::TableCodes => {
            let all = [kind, inputs[1].element] == [ElementType::U8; 2];
            ensure(all && inputs[1].shape == [Dim::Fixed(256)], "codes and a table of 256 are needed")?;
            one(x.to_vec())
        }
        Op::BatchNorm { .. } => {
            ensure(rank >= 2, "there are no channels")?;
            ensure(inputs[1..].iter().all(|value| value.shape == x[1..2]), "not one number per channel")?;
            one(x.to_vec())
        }
        Op::LayerNorm { .. } => {
            ensure(rank >= 1, "there is no dimension")?;
            let last = &x[rank - 1..];
            ensure(inputs[1..].iter().all(|value| value.shape == last), "not one number per element")?;
            one(x.to_vec())
        }
        Op::GroupNorm { groups, .. } => {
            ensure(rank >= 3, "there are no channels")?;
            let channels = fixed(x[1])?;
            ensure(*groups > 0 && channels.is_multiple_of(*groups), "the groups do not divide the channels")?;
            ensure(inputs[1..].iter().all(|value| value.shape == x[1..2]), "not one number per channel")?;
            one(x.to_vec())
        }
        Op::Unary { function } => {
            check_activation(Some(*function))?;
            ensure((kind == Bool) == (*function == Unary::Not), "a function of another type")?;
            one(x.to_vec())
        }
        Op::Binary { function } => {
            ensure(kind == inputs[1].element, "operands of different types")?;
            let logic = matches!(function, Binary::And | Binary::Or);
            ensure(!logic || kind == Bool, "truth values are needed")?;
            ensure(kind != Bool || logic || *function == Binary::Equal, "numbers are needed")?;
            let shape = broadcast(x, &inputs[1].shape);
            let shape = shape.ok_or_else(|| Refused::new("the operands' shapes do not fit together"))?;
            Ok(vec![(shape, if function.is_comparison() { Bool } else { kind })])
        }
        Op::Where => {
            ensure(kind == Bool, "the condition is not a truth value")?;
            ensure(inputs[1].element == inputs[2].element, "choices of different types")?;
            let shape = broadcast(x, &inputs[1].shape).and_then(|shape| broadcast(&shape, &inputs[2].shape));
            let shape = shape.ok_or_else(|| Refused::new("the operands' shapes do not fit together"))?;
            Ok(vec![(shape, inputs[1].element)])
        }
        Op::Softmax { axis } | Op::LogSoftmax { axis } => {
            below(*axis, rank)?;
            one(x.to_vec())
        }
        Op::Reduce { axes, keep_dims, .. } => {
            ensure(kind != Bool, "numbers are needed")?;
            ensure(!axes.is_empty() && axes.is_sorted_by(|a, b| a < b), "the dimensions are not ascending")?;
            below(axes[axes.len() - 1], rank)?;
            let keep =
                |d: &usize| if axes.contains(d) { keep_dims.then_some(Dim::Fixed(1)) } else { Some(x[*d]) };
            one((0..rank).filter_map(|d| keep(&d)).collect())
        }
        Op::ArgExtreme { axis, .. } => {
            below(*axis, rank)?;
            let mut shape = x.to_vec();
            shape[*axis] = Dim::Fixed(1);
            Ok(vec![(shape, I64)])
        }
        Op::TopK { axis, k, .. } => {
            below(*axis, rank)?;
            let (Dim::Fixed(extent) | Dim::Batch(extent)) = x[*axis];
            ensure((1..=extent).contains(k), format!("{k} of {extent} elements"))?;
            let mut shape = x.to_vec();
            shape[*axis] = Dim::Fixed(*k);
            Ok(vec![(shape.clone(), kind), (shape, I64)])
        }
        Op::MaxPool(attrs) => {
            ensure(matches!(kind, F32 | ElementType::U8), "numbers or codes are needed")?;
            one(pool(attrs, x)?)
        }
        Op::AvgPool { pool: attrs, .. } => one(pool(attrs, x)?),
        Op::AdaptiveAvgPool | Op::Resize { .. } => {
            let to = &recorded[0].shape;
            ensure(rank == 4 && to.len() == 4 && x[..2] == to[..2], "maps of other channels")?;
            for dim in x[2..].iter().chain(&to[2..]) {
                fixed(*dim)?;
            }
            one(to.clone())
        }
        Op::Reshape => {
            let to = &recorded[0].shape;
            ensure(elements(x)? == elements(to)?, "another number of elements")?;
            one(to.clone())
        }
        Op::Transpose { permutation } => {
            let mut seen = vec![false; rank];
            ensure(permutation.len() == rank, "a permutation of another length")?;
            for &d in permutation {
                below(d, rank)?;
                ensure(!std::mem::replace(&mut seen[d], true), "not a permutation")?;
            }
            one(permutation.iter().map(|&d| x[d]).collect())
        }
        Op::Expand => {
            let to = &recorded[0].shape;
            ensure(to.len() >= rank, "fewer dimensions")?;
            let tail = &to[to.len() - rank..];
            ensure(x.iter().zip(tail).all(|(a, b)| a == b || *a == Dim::Fixed(1)), "not an expansion")?;
            one(to.clone())
        }
        Op::Slice { starts, ends, steps } => one(slice(x, starts, ends, steps)?),
        Op::Flip { axes } => {
            ensure(!axes.is_empty(), "no dimension is named")?;
            for (i, &axis) in axes.iter().enumerate() {
                below(axis, rank)?;
                ensure(!axes[..i].contains(&axis), "a dimension is named twice")?;
            }
            one(x.to_vec())
        }
        Op::Concat { axis } => {
            below(*axis, rank)?;
            let mut shape = x.to_vec();
            for value in &inputs[1..] {
                let own = &value.shape;
                ensure(value.element == kind && own.len() == rank, "parts of different kinds")?;
                ensure(
                    (0..rank).all(|d| d == *axis || own[d] == x[d]),
                    "the parts' other dimensions differ",
                )?;
                shape[*axis] = add(shape[*axis], own[*axis])?;
            }
            one(shape)
        }
        Op::Pad { mode, before, after } => one(pad(x, *mode, before, after)?),
        Op::Gather { axis } => {
            below(*axis, rank)?;
            ensure(inputs[1].element == I64, "the indices are not integers")?;
            let [count] = inputs[1].shape[..] else { return Err(Refused::new("the indices are not a row")) };
            let mut shape = x.to_vec();
            shape[*axis] = count;
            one(shape)
        }
        Op::GatherElements { axis } => {
            below(*axis, rank)?;
            ensure(inputs[1].element == I64, "the indices are not integers")?;
            let to = &inputs[1].shape;
            ensure(to.len() == rank, "indices of other dimensions")?;
            let inside = |d: usize| match (to[d], x[d]) {
                (Dim::Fixed(a), Dim::Fixed(b) | Dim::Batch(b)) | (Dim::Batch(a), Dim::Batch(b)) => a <= b,
                (Dim::Batch(_), Dim::Fixed(_)) => false,
            };
            ensure((0..rank).all(|d| d == *axis || inside(d)), "more indices than elements")?;
            one(to.clone())
        }
        Op::Cast => Ok(vec![(x.to_vec(), recorded[0].element)]),
        Op::Full { value } => {
            ensure(!value.is_nan(), "filled with what is no number")?;
            Ok(vec![(recorded[0].shape.clone(), recorded[0].element)])
        }
        Op::DynamicConv { attrs, kernel, bias, activation } => {
            check_activation(*activation)?;
            let [Dim::Fixed(experts), Dim::Fixed(numbers)] = inputs[1].shape[..] else {
                return Err(Refused::new("the experts are not a matrix"));
            };
            ensure(rank == 4 && recorded[0].shape.len() == 4, "maps are needed")?;
            ensure(inputs[2].shape == [x[0], Dim::Fixed(experts)], "not one share per picture and expert")?;
            let (channels, out) = (fixed(x[1])?, fixed(recorded[0].shape[1])?);
            ensure(
                attrs.groups > 0 && channels.is_multiple_of(attrs.groups),
                "channels and groups do not fit",
            )?;
            let weight = [out, channels / attrs.groups, kernel[0], kernel[1]];
            let fits = weight.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent));
            ensure(fits == Some(numbers), "the experts do not fit the kernel")?;
            let shape = conv(attrs, x, &weight.map(Dim::Fixed))?;
            if *bias {
                ensure(inputs[3].shape == shape[1..2], "not one bias per channel")?;
            }
            one(shape)
        }
        Op::BinaryConv(own) => {
            ensure(rank == 4 && recorded[0].shape.len() == 4, "maps are needed")?;
            let attrs = &own.attrs;
            let (channels, out) = (fixed(x[1])?, fixed(recorded[0].shape[1])?);
            ensure(
                attrs.groups > 0 && channels.is_multiple_of(attrs.groups),
                "channels and groups do not fit",
            )?;
            let weight = [out, channels / attrs.groups, own.kernel[0], own.kernel[1]];
            let wanted = weight.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent));
            let mut numbers = Some(1usize);
            for &dim in &inputs[1].shape {
                numbers = numbers.zip(Some(fixed(dim)?)).and_then(|(a, b)| a.checked_mul(b));
            }
            ensure(wanted.is_some() && wanted == numbers, "the weights do not fit the kernel")?;
            let shape = conv(attrs, x, &weight.map(Dim::Fixed))?;
            for part in Part::ALL {
                let Ok(place) = own.place(part) else { continue };
                let wanted = match part {
                    Part::Shift => &x[1..2],
                    Part::Residual => &shape[..],
                    _ => &shape[1..2],
                };
                ensure(inputs[place].shape == wanted, format!("{part:?} of another shape"))?;
            }
            one(shape)
        }
        Op::AdderConv(own) => {
            check_activation(own.activation)?;
            let weight = if own.codes.is_some() { ElementType::I8 } else { F32 };
            let typed = inputs
                .iter()
                .enumerate()
                .all(|(place, value)| value.element == if place == 1 { weight } else { F32 });
            ensure(typed, "operands of other types")?;
            ensure(own.attrs.groups == 1, "groups of channels")?;
            let shape = conv(&own.attrs, x, &inputs[1].shape)?;
            ensure(rank == 4, "a map of two dimensions is needed")?;
            if let Some(codes) = &own.codes {
                ensure(codes.is_sound(fixed(shape[1])?), "codes that are none")?;
            }
            if own.affine {
                let fits = inputs[2..4].iter().all(|value| value.shape == shape[1..2]);
                ensure(fits, "not one number per channel")?;
            }
            ensure(!own.residual || inputs[inputs.len() - 1].shape == shape, "a residual of another shape")?;
            one(shape)
        }
        Op::Neighbours { k, dilation, positions } => {
            let y = &inputs[1].shape;
            ensure(rank == 4 && y.len() == 4 && x[..2] == y[..2], "maps of other channels")?;
            let (nodes, targets) = (area(x)?, area(y)?);
            let ranked = k.checked_mul(*dilation).filter(|ranked| (1..=targets).contains(ranked));
            ensure(ranked.is_some(), format!("{k} x {dilation} neighbours of {targets} nodes"))?;
            if *positions {
                let wanted = [1, nodes, targets].map(Dim::Fixed);
                ensure(inputs[2].shape == wanted, "positions of other nodes")?;
            }
            Ok(vec![(vec![x[0], Dim::Fixed(nodes), Dim::Fixed(*k)], I64)])
        }
        Op::MaxRelative => {
            let (y, lists) = (&inputs[1].shape, &inputs[2].shape);
            ensure(inputs[0].element == F32 && inputs[1].element == F32, "floating point maps are needed")?;
            ensure(inputs[2].element == I64, "the neighbours are not integers")?;
            ensure(rank == 4 && y.len() == 4 && x[..2] == y[..2], "maps of other channels")?;
            area(y)?;
            ensure(lists.len() == 3 && lists[..2] == [x[0], Dim::Fixed(area(x)?)], "lists of other nodes")?;
            fixed(lists[2])?;
            let channels = fixed(x[1])?.checked_mul(2).ok_or_else(|| Refused::new("too many channels"))?;
            one(vec![x[0], Dim::Fixed(channels), x[2], x[3]])
        }
        Op::Custom { .. } => Ok(recorded.iter().map(|v| (v.shape.clone(), v.element)).collect()),
    }
}

fn ensure(holds: bool, problem: impl Into<String>) -> Result<(), Refused> {
    if holds { Ok(()) } else { Err(Refused::new(problem)) }
}

fn below(axis: usize, rank: usize) -> Result<(), Refused> {
    ensure(axis < rank, format!("dimension {axis} of {rank}"))
}

fn fixed(dim: Dim) -> Result<usize, Refused> {
    match dim {
        Dim::Fixed(extent) => Ok(extent),
        Dim::Batch(_) => Err(Refused::new("an extent that must not follow the batch")),
    }
}

/// Pixels of a map.
fn area(map: &[Dim]) -> Result<usize, Refused> {
    fixed(map[2])?.checked_mul(fixed(map[3])?).ok_or_else(|| Refused::new("too many pixels"))
}

fn add(a: Dim, b: Dim) -> Result<Dim, Refused> {
    let sum = match (a, b) {
        (Dim::Fixed(a), Dim::Fixed(b)) => a.checked_add(b).map(Dim::Fixed),
        (Dim::Batch(a), Dim::Batch(b)) => a.checked_add(b).map(Dim::Batch),
        _ => None,
    };
    sum.ok_or_else(|| Refused::new("extents that cannot be added"))
}

/// How many inputs an operation takes: at least, at most.
fn input_count(op: &Op) -> (usize, usize) {
    let exactly = |count| (count, count);
    match op {
        Op::Conv { bias, residual, .. } | Op::Linear { bias, residual, .. } => {
            exactly(2 + usize::from(*bias) + usize::from(*residual))
        }
        Op::ConvTranspose { bias, .. } => exactly(2 + usize::from(*bias)),
        Op::Attention { mask, .. } => exactly(3 + usize::from(*mask)),
        Op::BatchNorm { .. } => exactly(5),
        Op::LayerNorm { shift, .. } => exactly(2 + usize::from(*shift)),
        Op::GroupNorm { .. } | Op::Where | Op::MaxRelative => exactly(3),
        Op::AdderConv(own) => exactly(own.inputs()),
        Op::DynamicConv { bias, .. } => exactly(3 + usize::from(*bias)),
        Op::BinaryConv(own) => exactly(own.inputs()),
        Op::Neighbours { positions, .. } => exactly(2 + usize::from(*positions)),
        Op::ConvCodes { .. } | Op::LinearCodes { .. } => (4, 5),
        Op::AddCodes(_) | Op::MulCodes(_) | Op::TableCodes => exactly(2),
        Op::MatMul
        | Op::Dequantize { .. }
        | Op::Binary { .. }
        | Op::Gather { .. }
        | Op::GatherElements { .. } => exactly(2),
        Op::Concat { .. } => (1, usize::MAX),
        Op::Custom { .. } => (0, usize::MAX),
        Op::Full { .. } => exactly(0),
        _ => exactly(1),
    }
}

fn check_activation(activation: Option<Unary>) -> Result<(), Refused> {
    match activation {
        // Also refuses what is no number.
        Some(Unary::Clamp { min, max }) => ensure(min <= max, "bounds that exclude each other"),
        Some(Unary::LeakyRelu { slope }) => ensure(slope.is_finite(), "an endless slope"),
        Some(Unary::HardSigmoid { alpha, beta }) => {
            ensure(alpha.is_finite() && beta.is_finite(), "an endless slope")
        }
        _ => Ok(()),
    }
}

/// Types and extents of a layer on codes whose result is `shape`.
fn code_layer(
    layer: &CodeLayer,
    inputs: &[&Value],
    shape: &[Dim],
    channels: Dim,
) -> Result<Vec<(Shape, ElementType)>, Refused> {
    use ElementType::{F32, I8, I32, U8};
    ensure(layer.is_sound(), "codes that are none")?;
    ensure(inputs.len() == 4 + usize::from(layer.sum.is_some()), "a residual too much or too few")?;
    let kinds: Vec<ElementType> = inputs.iter().map(|value| value.element).collect();
    ensure(kinds[..4] == [U8, I8, F32, I32], "operands of other types")?;
    ensure(inputs[2..4].iter().all(|value| value.shape == [channels]), "not one number per channel")?;
    if layer.sum.is_some() {
        ensure(kinds[4] == U8 && inputs[4].shape == shape, "a residual of another shape or type")?;
    }
    Ok(vec![(shape.to_vec(), if layer.output.is_some() { U8 } else { F32 })])
}

/// Bias and residual of a layer whose result is `shape`.
fn check_epilogue(
    shape: &[Dim],
    channels: Dim,
    bias: bool,
    residual: bool,
    inputs: &[&Value],
) -> Result<(), Refused> {
    if bias {
        ensure(inputs[2].shape == [channels], "not one bias per channel")?;
    }
    if residual {
        ensure(inputs[inputs.len() - 1].shape == shape, "a residual of another shape")?;
    }
    Ok(())
}

fn spatial(attrs: &ConvAttrs, x: &[Dim], weight: &[Dim]) -> Result<usize, Refused> {
    let spatial = x.len().wrapping_sub(2);
    ensure(
        (1..=3).contains(&spatial) && weight.len() == x.len(),
        "one to three spatial dimensions are needed",
    )?;
    let lists = [&attrs.stride, &attrs.pad_begin, &attrs.pad_end, &attrs.dilation];
    ensure(lists.iter().all(|list| list.len() == spatial), "geometry of other dimensions")?;
    ensure(attrs.groups > 0, "no groups")?;
    for dim in x[1..].iter().chain(weight) {
        fixed(*dim)?;
    }
    Ok(spatial)
}

fn conv(attrs: &ConvAttrs, x: &[Dim], weight: &[Dim]) -> Result<Shape, Refused> {
    let spatial = spatial(attrs, x, weight)?;
    let (channels, depth, out) = (fixed(x[1])?, fixed(weight[1])?, fixed(weight[0])?);
    ensure(
        depth.checked_mul(attrs.groups) == Some(channels) && out.is_multiple_of(attrs.groups),
        "channels and groups do not fit",
    )?;
    let mut shape = vec![x[0], Dim::Fixed(out)];
    let mut padded = vec![x[0], x[1]];
    for d in 0..spatial {
        let extent = fixed(x[2 + d])?;
        shape.push(Dim::Fixed(conv_extent(extent, fixed(weight[2 + d])?, attrs, d)?));
        padded.push(Dim::Fixed(extent + attrs.pad_begin[d] + attrs.pad_end[d]));
    }
    // Executors may copy the input with its border.
    elements(&padded)?;
    Ok(shape)
}

fn conv_transpose(
    attrs: &ConvAttrs,
    output_padding: &[usize],
    x: &[Dim],
    weight: &[Dim],
) -> Result<Shape, Refused> {
    let spatial = spatial(attrs, x, weight)?;
    ensure(output_padding.len() == spatial, "geometry of other dimensions")?;
    let channels = fixed(x[1])?;
    ensure(
        fixed(weight[0])? == channels && channels.is_multiple_of(attrs.groups),
        "channels and groups do not fit",
    )?;
    let out = fixed(weight[1])?.checked_mul(attrs.groups);
    let mut shape = vec![x[0], Dim::Fixed(out.ok_or_else(|| Refused::new("too many channels"))?)];
    for d in 0..spatial {
        let (extent, kernel) = (fixed(x[2 + d])?, fixed(weight[2 + d])?);
        shape.push(Dim::Fixed(transposed_extent(extent, kernel, attrs, output_padding[d], d)?));
    }
    Ok(shape)
}

fn pool(attrs: &PoolAttrs, x: &[Dim]) -> Result<Shape, Refused> {
    ensure(x.len() == 4, "a map of two dimensions is needed")?;
    let mut shape = x[..2].to_vec();
    for d in 0..2 {
        shape.push(Dim::Fixed(pool_extent(fixed(x[2 + d])?, attrs, d)?));
    }
    Ok(shape)
}

fn matmul(a: &[Dim], b: &[Dim]) -> Result<Shape, Refused> {
    let (i, j) = (a.len(), b.len());
    ensure(i >= 2 && j >= 2, "matrices are needed")?;
    ensure(a[i - 1] == b[j - 2], "the matrices do not fit")?;
    let lead = broadcast(&a[..i - 2], &b[..j - 2]);
    let mut shape = lead.ok_or_else(|| Refused::new("the leading dimensions do not fit together"))?;
    shape.extend([a[i - 2], b[j - 1]]);
    Ok(shape)
}

fn slice(x: &[Dim], starts: &[usize], ends: &[Option<usize>], steps: &[usize]) -> Result<Shape, Refused> {
    let rank = x.len();
    ensure([starts.len(), ends.len(), steps.len()] == [rank; 3], "bounds of other dimensions")?;
    (0..rank)
        .map(|d| {
            let (start, end, step) = (starts[d], ends[d], steps[d]);
            ensure(step >= 1, "a step of 0")?;
            let (Dim::Fixed(extent) | Dim::Batch(extent)) = x[d];
            let count = |end: usize| (end - start).div_ceil(step);
            match (x[d], end) {
                (_, Some(end)) => {
                    ensure(start < end && end <= extent, format!("elements {start} to {end} of {extent}"))?;
                    Ok(Dim::Fixed(count(end)))
                }
                (Dim::Fixed(_), None) => {
                    ensure(start < extent, format!("elements from {start} of {extent}"))?;
                    Ok(Dim::Fixed(count(extent)))
                }
                (Dim::Batch(_), None) => {
                    ensure(start == 0 && extent.is_multiple_of(step), "a part of the batch")?;
                    Ok(Dim::Batch(extent / step))
                }
            }
        })
        .collect()
}

fn pad(x: &[Dim], mode: PadMode, before: &[usize], after: &[usize]) -> Result<Shape, Refused> {
    ensure([before.len(), after.len()] == [x.len(); 2], "borders of other dimensions")?;
    x.iter()
        .zip(before.iter().zip(after))
        .map(|(&dim, (&before, &after))| {
            if before == 0 && after == 0 {
                return Ok(dim);
            }
            let extent = fixed(dim)?;
            ensure(mode != PadMode::Reflect || before.max(after) < extent, "a border wider than the map")?;
            let padded = extent.checked_add(before).and_then(|n| n.checked_add(after));
            padded.map(Dim::Fixed).ok_or_else(|| Refused::new("too wide a border"))
        })
        .collect()
}

/// Most elements of a value, for a batch of one.
pub(super) const MOST_ELEMENTS: usize = 1 << 31;

/// Elements per batch to the power of the second number.
pub(super) fn elements(shape: &[Dim]) -> Result<(usize, usize), Refused> {
    let mut count = (1usize, 0);
    for dim in shape {
        let (Dim::Fixed(extent) | Dim::Batch(extent)) = *dim;
        count.0 = count.0.checked_mul(extent).filter(|&n| n <= MOST_ELEMENTS).ok_or_else(|| {
            Refused::new(format!("a shape of more than {MOST_ELEMENTS} elements: {shape:?}"))
        })?;
        count.1 += usize::from(matches!(dim, Dim::Batch(_)));
    }
    Ok(count)
}

/// The common shape of two operands.
pub(crate) fn broadcast(a: &[Dim], b: &[Dim]) -> Option<Shape> {
    let rank = a.len().max(b.len());
    let at =
        |shape: &[Dim], d: usize| (d + shape.len()).checked_sub(rank).map_or(Dim::Fixed(1), |d| shape[d]);
    (0..rank)
        .map(|d| match (at(a, d), at(b, d)) {
            (a, b) if a == b => Some(a),
            (Dim::Fixed(1), other) | (other, Dim::Fixed(1)) => Some(other),
            _ => None,
        })
        .collect()
}
