//! Kernels mixed per picture and graphs of nodes, in ONNX's vocabulary: products and movement, for any batch.

use super::OnnxError;
use super::builder::Scope;
use super::lower::{activate, scalar};
use super::model::Attr;
use crate::ir::{Dim, ElementType};
use crate::op::{ConvAttrs, Unary};

fn axis(axis: i64) -> (&'static str, Attr) {
    ("axis", Attr::Int(axis))
}

pub(super) fn cut(
    s: &mut Scope<'_, '_>,
    x: &str,
    axes: &[i64],
    from: &[i64],
    to: &[i64],
    by: &[i64],
) -> String {
    let from = s.ints("starts", from.to_vec());
    let to = s.ints("ends", to.to_vec());
    let axes = s.ints("axes", axes.to_vec());
    let by = s.ints("steps", by.to_vec());
    s.push("Slice", &[x, &from, &to, &axes, &by], vec![])
}

/// `[n, ...]` in the shape `[n, rest...]`.
pub(super) fn reshaped(s: &mut Scope<'_, '_>, x: &str, rest: &[usize]) -> String {
    // 0 takes the input's extent, the batch.
    let shape = s.ints("shape", std::iter::once(0).chain(rest.iter().map(|&extent| extent as i64)).collect());
    s.push("Reshape", &[x, &shape], vec![])
}

fn transposed(s: &mut Scope<'_, '_>, x: &str, order: &[i64]) -> String {
    s.push("Transpose", &[x], vec![("perm", Attr::Ints(order.to_vec()))])
}

/// The windows of x as columns, `[n, taps · c, pixels]`, tap by tap; the picture itself where there is one tap alone.
fn columns(
    s: &mut Scope<'_, '_>,
    x: &str,
    attrs: &ConvAttrs,
    kernel: [usize; 2],
    [channels, height, width]: [usize; 3],
    pixels: [usize; 2],
) -> String {
    let [kh, kw] = kernel;
    let plain =
        kh * kw == 1 && attrs.stride == [1, 1] && attrs.pad_begin == [0, 0] && attrs.pad_end == [0, 0];
    if plain {
        return reshaped(s, x, &[channels, height * width]);
    }
    let taps = taps(s, x, attrs, kernel, pixels);
    let all = match taps.as_slice() {
        [only] => only.clone(),
        taps => {
            let taps: Vec<&str> = taps.iter().map(String::as_str).collect();
            s.push("Concat", &taps, vec![axis(1)])
        }
    };
    reshaped(s, &all, &[kh * kw * channels, pixels[0] * pixels[1]])
}

/// The pixels under each tap, `[n, c, h', w']`.
pub(super) fn taps(
    s: &mut Scope<'_, '_>,
    x: &str,
    attrs: &ConvAttrs,
    [kh, kw]: [usize; 2],
    [oh, ow]: [usize; 2],
) -> Vec<String> {
    let border: Vec<i64> =
        [0, 0, attrs.pad_begin[0], attrs.pad_begin[1], 0, 0, attrs.pad_end[0], attrs.pad_end[1]]
            .iter()
            .map(|&count| count as i64)
            .collect();
    let padded = if border.iter().any(|&count| count > 0) {
        let border = s.ints("pads", border);
        let zero = scalar(s, "zero", 0.0, ElementType::F32);
        s.push("Pad", &[x, &border, &zero], vec![("mode", Attr::Text("constant"))])
    } else {
        x.to_string()
    };
    let (stride, dilation) = (&attrs.stride, &attrs.dilation);
    let mut found = Vec::new();
    for (y, x) in (0..kh * kw).map(|tap| (tap / kw, tap % kw)) {
        let begin = [y * dilation[0], x * dilation[1]];
        let end = [begin[0] + (oh - 1) * stride[0] + 1, begin[1] + (ow - 1) * stride[1] + 1];
        let [begin, end, step] =
            [begin, end, [stride[0], stride[1]]].map(|pair| pair.map(|value| value as i64));
        found.push(cut(s, &padded, &[2, 3], &begin, &end, &step));
    }
    found
}

pub(super) fn dynamic_conv(
    s: &mut Scope<'_, '_>,
    attrs: &ConvAttrs,
    kernel: [usize; 2],
    bias: bool,
    activation: Option<Unary>,
) -> Result<String, OnnxError> {
    let (x, experts, shares) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let from = s.fixed(&s.input_value(0)?.shape[1..])?;
    let to = s.fixed(&s.output_value()?.shape[1..])?;
    let ([channels, height, width], [out, oh, ow]) = (three(s, &from)?, three(s, &to)?);
    let (groups, taps_count) = (attrs.groups, kernel[0] * kernel[1]);
    let (depth, per_group) = (channels / groups, out / groups);
    let mixed = s.push("MatMul", &[&shares, &experts], vec![]);
    let mut y = if depth == 1 && per_group == 1 {
        // Depthwise: a factor per channel and tap.
        let weights = reshaped(s, &mixed, &[out, taps_count, 1]);
        let mut sum: Option<String> = None;
        for (tap, map) in taps(s, &x, attrs, kernel, [oh, ow]).into_iter().enumerate() {
            let own = cut(s, &weights, &[2], &[tap as i64], &[tap as i64 + 1], &[1]);
            let part = s.push("Mul", &[&map, &own], vec![]);
            sum = Some(match sum {
                Some(sum) => s.push("Add", &[&sum, &part], vec![]),
                None => part,
            });
        }
        sum.ok_or_else(|| s.malformed("a kernel without taps"))?
    } else {
        let columns = columns(s, &x, attrs, kernel, [channels, height, width], [oh, ow]);
        let pixels = oh * ow;
        let (left, right) = if groups == 1 {
            let weights = match taps_count {
                1 => reshaped(s, &mixed, &[out, depth]),
                _ => {
                    let weights = reshaped(s, &mixed, &[out, depth, taps_count]);
                    let weights = transposed(s, &weights, &[0, 1, 3, 2]);
                    reshaped(s, &weights, &[out, taps_count * depth])
                }
            };
            (weights, columns)
        } else {
            let weights = reshaped(s, &mixed, &[groups, per_group, depth, taps_count]);
            let weights = transposed(s, &weights, &[0, 1, 2, 4, 3]);
            let weights = reshaped(s, &weights, &[groups, per_group, taps_count * depth]);
            let columns = reshaped(s, &columns, &[taps_count, groups, depth, pixels]);
            let columns = transposed(s, &columns, &[0, 2, 1, 3, 4]);
            (weights, reshaped(s, &columns, &[groups, taps_count * depth, pixels]))
        };
        let y = s.push("MatMul", &[&left, &right], vec![]);
        reshaped(s, &y, &[out, oh, ow])
    };
    if bias {
        let bias = s.input(3)?;
        let shape = s.ints("bias_shape", vec![1, out as i64, 1, 1]);
        let bias = s.push("Reshape", &[&bias, &shape], vec![]);
        y = s.push("Add", &[&y, &bias], vec![]);
    }
    Ok(activate(s, activation, y))
}

fn three(s: &Scope<'_, '_>, extents: &[usize]) -> Result<[usize; 3], OnnxError> {
    extents.try_into().map_err(|_| s.malformed("a map has three extents beside the batch"))
}

/// Height and width of input `place`, multiplied; and its channels.
fn map(s: &Scope<'_, '_>, place: usize) -> Result<(usize, usize), OnnxError> {
    let own = s.fixed(&s.input_value(place)?.shape[1..])?;
    let [channels, height, width] = three(s, &own)?;
    Ok((channels, height * width))
}

/// `[n, c, nodes]`, every node of length 1.
fn unit(s: &mut Scope<'_, '_>, place: usize) -> Result<String, OnnxError> {
    let (x, (channels, nodes)) = (s.input(place)?, map(s, place)?);
    let x = reshaped(s, &x, &[channels, nodes]);
    let axes = s.ints("axes", vec![1]);
    let length = s.push("ReduceL2", &[&x, &axes], vec![("keepdims", Attr::Int(1))]);
    let least = scalar(s, "least", 1e-12, ElementType::F32);
    let length = s.push("Max", &[&length, &least], vec![]);
    Ok(s.push("Div", &[&x, &length], vec![]))
}

pub(super) fn neighbours(
    s: &mut Scope<'_, '_>,
    k: usize,
    dilation: usize,
    positions: bool,
) -> Result<String, OnnxError> {
    let (u, v) = (unit(s, 0)?, unit(s, 1)?);
    let u = transposed(s, &u, &[0, 2, 1]);
    let products = s.push("MatMul", &[&u, &v], vec![]);
    let factor = scalar(s, "factor", -2.0, ElementType::F32);
    let mut distances = s.push("Mul", &[&products, &factor], vec![]);
    // The node's own square changes no order.
    let axes = s.ints("square_axes", vec![1]);
    let squares = s.push("ReduceSumSquare", &[&v, &axes], vec![("keepdims", Attr::Int(1))]);
    distances = s.push("Add", &[&distances, &squares], vec![]);
    if positions {
        let positions = s.input(2)?;
        distances = s.push("Add", &[&distances, &positions], vec![]);
    }
    let count = s.ints("k", vec![(k * dilation) as i64]);
    let [_, indices] = s.push_two("TopK", &[&distances, &count], vec![axis(2), ("largest", Attr::Int(0))]);
    if dilation == 1 {
        return Ok(indices);
    }
    Ok(cut(s, &indices, &[2], &[0], &[i64::MAX], &[dilation as i64]))
}

pub(super) fn max_relative(s: &mut Scope<'_, '_>) -> Result<String, OnnxError> {
    let (x, y, lists) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let ((channels, nodes), (_, targets)) = (map(s, 0)?, map(s, 1)?);
    let Dim::Fixed(k) = s.input_value(2)?.shape[2] else {
        return Err(s.malformed("a number of neighbours that depends on the batch"));
    };
    let to = s.fixed(&s.output_value()?.shape[1..])?;
    let [_, height, width] = three(s, &to)?;
    let index = reshaped(s, &lists, &[1, nodes * k]);
    // ONNX broadcasts both ways: a 1 leaves the batch as it is.
    let shape = s.ints("index_shape", vec![1, channels as i64, 1]);
    let index = s.push("Expand", &[&index, &shape], vec![]);
    let y = reshaped(s, &y, &[channels, targets]);
    let near = s.push("GatherElements", &[&y, &index], vec![axis(2)]);
    let near = reshaped(s, &near, &[channels, nodes, k]);
    let axes = s.ints("axes", vec![3]);
    let most = s.push("ReduceMax", &[&near, &axes], vec![("keepdims", Attr::Int(0))]);
    let own = reshaped(s, &x, &[channels, nodes]);
    let most = s.push("Sub", &[&most, &own], vec![]);
    let [own, most] = [own, most].map(|part| reshaped(s, &part, &[channels, 1, nodes]));
    let both = s.push("Concat", &[&own, &most], vec![axis(2)]);
    Ok(reshaped(s, &both, &[2 * channels, height, width]))
}
