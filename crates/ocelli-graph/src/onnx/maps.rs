//! Pooling and resizing of maps `[n, c, h, w]`.

use super::OnnxError;
use super::builder::Scope;
use super::model::Attr;
use crate::op::{PoolAttrs, ResizeMode};

/// Height and width of the input and the output.
fn extents(s: &Scope<'_, '_>) -> Result<([usize; 2], [usize; 2]), OnnxError> {
    let side = |shape: &[crate::ir::Dim]| -> Result<[usize; 2], OnnxError> {
        let fixed = s.fixed(shape.get(2..).unwrap_or_default())?;
        <[usize; 2]>::try_from(fixed).map_err(|_| s.malformed("expected [n, c, h, w]"))
    };
    let (from, to) = (side(&s.input_value(0)?.shape)?, side(&s.output_value()?.shape)?);
    if from.contains(&0) || to.contains(&0) {
        return Err(s.malformed("a map without pixels"));
    }
    Ok((from, to))
}

/// Rows and columns that the last windows need beyond the padding.
///
/// With them written out there is no need for ONNX's `ceil_mode`, whose rounding runtimes disagree about.
fn beyond(s: &Scope<'_, '_>, pool: &PoolAttrs) -> Result<[usize; 2], OnnxError> {
    let (from, to) = extents(s)?;
    if pool.kernel.contains(&0) || pool.stride.contains(&0) || pool.dilation.contains(&0) {
        return Err(s.malformed("a pooling window without extent, step or distance"));
    }
    Ok([0, 1].map(|d| {
        let needed = (to[d] - 1) * pool.stride[d] + (pool.kernel[d] - 1) * pool.dilation[d] + 1;
        needed.saturating_sub(from[d] + pool.pad_begin[d] + pool.pad_end[d])
    }))
}

fn pair(values: [usize; 2]) -> Attr {
    Attr::Ints(values.map(|value| value as i64).to_vec())
}

fn window(pool: &PoolAttrs, begin: [usize; 2], end: [usize; 2]) -> Vec<(&'static str, Attr)> {
    vec![
        ("kernel_shape", pair(pool.kernel)),
        ("strides", pair(pool.stride)),
        ("pads", Attr::Ints([begin, end].concat().into_iter().map(|value| value as i64).collect())),
        ("dilations", pair(pool.dilation)),
    ]
}

pub(super) fn max_pool(s: &mut Scope<'_, '_>, pool: &PoolAttrs) -> Result<String, OnnxError> {
    let x = s.input(0)?;
    let beyond = beyond(s, pool)?;
    let end = [0, 1].map(|d| pool.pad_end[d] + beyond[d]);
    Ok(s.push("MaxPool", &[&x], window(pool, pool.pad_begin, end)))
}

pub(super) fn avg_pool(
    s: &mut Scope<'_, '_>,
    pool: &PoolAttrs,
    count_include_pad: bool,
) -> Result<String, OnnxError> {
    let mut x = s.input(0)?;
    let beyond = beyond(s, pool)?;
    let padded = pool.pad_begin != [0, 0] || pool.pad_end != [0, 0];
    if count_include_pad && padded && beyond != [0, 0] {
        // The padding counts, what lies beyond it does not: the former becomes part of the map.
        let pads = [[0; 2], pool.pad_begin, [0; 2], pool.pad_end].concat();
        let pads = s.ints("pads", pads.into_iter().map(|count| count as i64).collect());
        x = s.push("Pad", &[&x, &pads], vec![]);
        return Ok(s.push("AveragePool", &[&x], window(pool, [0, 0], beyond)));
    }
    let end = [0, 1].map(|d| pool.pad_end[d] + beyond[d]);
    let mut attributes = window(pool, pool.pad_begin, end);
    attributes.push(("count_include_pad", Attr::Int(i64::from(count_include_pad && padded))));
    Ok(s.push("AveragePool", &[&x], attributes))
}

pub(super) fn adaptive_avg_pool(s: &mut Scope<'_, '_>) -> Result<String, OnnxError> {
    let x = s.input(0)?;
    let (from, to) = extents(s)?;
    if to == [1, 1] {
        return Ok(s.push("GlobalAveragePool", &[&x], vec![]));
    }
    if from[0].is_multiple_of(to[0]) && from[1].is_multiple_of(to[1]) {
        let kernel = [from[0] / to[0], from[1] / to[1]];
        let attributes = vec![("kernel_shape", pair(kernel)), ("strides", pair(kernel))];
        return Ok(s.push("AveragePool", &[&x], attributes));
    }
    // Windows of unequal extents: a product with a matrix of shares per direction.
    let columns = s.floats("columns", &[from[1], to[1]], transposed(&shares(from[1], to[1]), from[1]));
    let rows = s.floats("rows", &[to[0], from[0]], shares(from[0], to[0]));
    let x = s.push("MatMul", &[&x, &columns], vec![]);
    Ok(s.push("MatMul", &[&rows, &x], vec![]))
}

/// `[to, from]`: the share that each of `from` elements has in each of `to` means.
fn shares(from: usize, to: usize) -> Vec<f32> {
    let mut shares = vec![0.0; to * from];
    for (i, row) in shares.chunks_mut(from).enumerate() {
        let (start, end) = (i * from / to, ((i + 1) * from).div_ceil(to));
        row[start..end].fill(1.0 / (end - start) as f32);
    }
    shares
}

fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| matrix.iter().skip(column).step_by(columns).copied()).collect()
}

pub(super) fn resize(
    s: &mut Scope<'_, '_>,
    mode: ResizeMode,
    align_corners: bool,
) -> Result<String, OnnxError> {
    let mut x = s.input(0)?;
    let (from, to) = extents(s)?;
    let whole = [0, 1].iter().all(|&d| to[d].is_multiple_of(from[d]));
    if mode == ResizeMode::Nearest && !whole {
        // `Resize` divides by a rounded factor and can miss a pixel by one.
        for d in [0, 1] {
            let pixels = (0..to[d]).map(|i| (i * from[d] / to[d]) as i64).collect();
            let pixels = s.ints(["rows", "columns"][d], pixels);
            x = s.push("Gather", &[&x, &pixels], vec![("axis", Attr::Int(d as i64 + 2))]);
        }
        return Ok(x);
    }
    let sizes = s.ints("sizes", to.iter().map(|&extent| extent as i64).collect());
    let place = match (mode, align_corners) {
        (ResizeMode::Nearest, _) => "asymmetric",
        (_, true) => "align_corners",
        (_, false) => "half_pixel",
    };
    let mut attributes = vec![
        ("axes", Attr::Ints(vec![2, 3])),
        ("coordinate_transformation_mode", Attr::Text(place)),
        (
            "mode",
            Attr::Text(match mode {
                ResizeMode::Nearest => "nearest",
                ResizeMode::Bilinear => "linear",
                ResizeMode::Bicubic => "cubic",
            }),
        ),
    ];
    match mode {
        ResizeMode::Nearest => attributes.push(("nearest_mode", Attr::Text("floor"))),
        ResizeMode::Bicubic => attributes.push(("cubic_coeff_a", Attr::Float(-0.75))),
        ResizeMode::Bilinear => {}
    }
    Ok(s.push("Resize", &[&x, "", "", &sizes], attributes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_every_element() {
        assert_eq!(shares(4, 2), [0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5]);
        assert_eq!(shares(3, 2), [0.5, 0.5, 0.0, 0.0, 0.5, 0.5]);
        assert_eq!(shares(1, 2), [1.0, 1.0]);
        assert_eq!(transposed(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }
}
