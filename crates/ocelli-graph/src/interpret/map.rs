//! Convolutions, pooling, resizing.

use super::elementwise::activate;
use super::{Call, Tensor};
use crate::op::{ConvAttrs, PoolAttrs, ResizeMode, Unary};

/// Spatial values as three of them, filled up in front.
fn three(values: &[usize], fill: usize) -> [usize; 3] {
    let mut all = [fill; 3];
    all[3 - values.len()..].copy_from_slice(values);
    all
}

pub(super) fn conv(
    call: &Call<'_>,
    attrs: &ConvAttrs,
    bias: bool,
    residual: bool,
    activation: Option<Unary>,
) -> Vec<Tensor> {
    let (x, w) = (call.floats(0), call.floats(1));
    let (shape, weight, output) = (call.shape(0), call.shape(1), call.output());
    let (from, kernel, to) = (three(&shape[2..], 1), three(&weight[2..], 1), three(&output[2..], 1));
    let (stride, pad, dilation) =
        (three(&attrs.stride, 1), three(&attrs.pad_begin, 0), three(&attrs.dilation, 1));
    let (area_in, area_out, taps) =
        (from.iter().product::<usize>(), to.iter().product::<usize>(), kernel.iter().product::<usize>());
    let (channels, depth, columns) = (shape[1], weight[1], output[1]);
    let per_group = columns / attrs.groups;
    let mut y = vec![0.0f32; output.iter().product()];
    let biases = if bias { call.floats(2) } else { vec![0.0; columns] };
    for (plane, out) in y.chunks_exact_mut(area_out).enumerate() {
        let (n, k) = (plane / columns, plane % columns);
        out.fill(biases[k]);
        for c in 0..depth {
            let channel = k / per_group * depth + c;
            let map = &x[(n * channels + channel) * area_in..][..area_in];
            let own = &w[(k * depth + c) * taps..][..taps];
            for (tap, &factor) in own.iter().enumerate() {
                let at = [tap / (kernel[1] * kernel[2]), tap / kernel[2] % kernel[1], tap % kernel[2]];
                let source = |d: usize, i: usize| {
                    (i * stride[d] + at[d] * dilation[d]).checked_sub(pad[d]).filter(|&s| s < from[d])
                };
                for a in 0..to[0] {
                    let Some(sa) = source(0, a) else { continue };
                    for b in 0..to[1] {
                        let Some(sb) = source(1, b) else { continue };
                        let row = &map[(sa * from[1] + sb) * from[2]..][..from[2]];
                        let out = &mut out[(a * to[1] + b) * to[2]..][..to[2]];
                        // The outputs whose source lies inside of the row.
                        let shift = at[2] * dilation[2];
                        let first = pad[2].saturating_sub(shift).div_ceil(stride[2]);
                        let last = (from[2] + pad[2]).saturating_sub(shift).div_ceil(stride[2]).min(to[2]);
                        if first >= last {
                            continue;
                        }
                        let begin = first * stride[2] + shift - pad[2];
                        let sources = row[begin..].iter().step_by(stride[2]);
                        for (sum, value) in out[first..last].iter_mut().zip(sources) {
                            *sum += factor * value;
                        }
                    }
                }
            }
        }
    }
    if residual {
        let added = call.floats(call.inputs.len() - 1);
        y.iter_mut().zip(added).for_each(|(y, r)| *y += r);
    }
    activate(activation, &mut y);
    call.done(y)
}

pub(super) fn conv_transpose(call: &Call<'_>, attrs: &ConvAttrs, bias: bool) -> Vec<Tensor> {
    let (x, w) = (call.floats(0), call.floats(1));
    let (shape, weight, output) = (call.shape(0), call.shape(1), call.output());
    let (from, kernel, to) = (three(&shape[2..], 1), three(&weight[2..], 1), three(&output[2..], 1));
    let (stride, pad, dilation) =
        (three(&attrs.stride, 1), three(&attrs.pad_begin, 0), three(&attrs.dilation, 1));
    let (area_in, area_out, taps) =
        (from.iter().product::<usize>(), to.iter().product::<usize>(), kernel.iter().product::<usize>());
    let (channels, per_group, columns) = (shape[1], weight[1], output[1]);
    let mut y = vec![0.0f32; output.iter().product()];
    for n in 0..shape[0] {
        for c in 0..channels {
            for own in 0..per_group {
                let k = c / (channels / attrs.groups) * per_group + own;
                let out = &mut y[(n * columns + k) * area_out..][..area_out];
                for i in 0..area_in {
                    let value = x[(n * channels + c) * area_in + i];
                    let at = [i / (from[1] * from[2]), i / from[2] % from[1], i % from[2]];
                    for tap in 0..taps {
                        let t = [tap / (kernel[1] * kernel[2]), tap / kernel[2] % kernel[1], tap % kernel[2]];
                        let place: Option<Vec<usize>> = (0..3)
                            .map(|d| {
                                (at[d] * stride[d] + t[d] * dilation[d])
                                    .checked_sub(pad[d])
                                    .filter(|&p| p < to[d])
                            })
                            .collect();
                        if let Some(p) = place {
                            out[(p[0] * to[1] + p[1]) * to[2] + p[2]] +=
                                value * w[(c * per_group + own) * taps + tap];
                        }
                    }
                }
            }
        }
    }
    if bias {
        let biases = call.floats(2);
        for (plane, out) in y.chunks_exact_mut(area_out).enumerate() {
            out.iter_mut().for_each(|v| *v += biases[plane % columns]);
        }
    }
    call.done(y)
}

/// The largest element (`count_padding` is nothing) or the mean of each window.
pub(super) fn pool(call: &Call<'_>, pool: &PoolAttrs, count_padding: Option<bool>) -> Vec<Tensor> {
    let x = call.floats(0);
    let (h, w) = (call.shape(0)[2], call.shape(0)[3]);
    let (oh, ow) = (call.output()[2], call.output()[3]);
    let mut y = Vec::with_capacity(call.output().iter().product());
    for map in x.chunks_exact(h * w) {
        for i in 0..oh {
            for j in 0..ow {
                let (mut largest, mut sum, mut inside, mut within) =
                    (f32::NEG_INFINITY, 0.0f64, 0usize, 0usize);
                for a in 0..pool.kernel[0] {
                    for b in 0..pool.kernel[1] {
                        let at = [
                            i * pool.stride[0] + a * pool.dilation[0],
                            j * pool.stride[1] + b * pool.dilation[1],
                        ];
                        // Windows may reach beyond the padding, which never counts.
                        let padded = [h, w]
                            .iter()
                            .enumerate()
                            .all(|(d, extent)| at[d] < extent + pool.pad_begin[d] + pool.pad_end[d]);
                        within += usize::from(padded);
                        let (Some(r), Some(c)) =
                            (at[0].checked_sub(pool.pad_begin[0]), at[1].checked_sub(pool.pad_begin[1]))
                        else {
                            continue;
                        };
                        if r < h && c < w {
                            largest = largest.max(map[r * w + c]);
                            sum += f64::from(map[r * w + c]);
                            inside += 1;
                        }
                    }
                }
                y.push(match count_padding {
                    None => largest,
                    Some(true) => (sum / within as f64) as f32,
                    Some(false) => (sum / inside as f64) as f32,
                });
            }
        }
    }
    call.convert(y.into_iter().map(f64::from).collect())
}

pub(super) fn adaptive(call: &Call<'_>) -> Vec<Tensor> {
    let x = call.floats(0);
    let (h, w) = (call.shape(0)[2], call.shape(0)[3]);
    let (oh, ow) = (call.output()[2], call.output()[3]);
    let part = |i: usize, from: usize, to: usize| i * from / to..((i + 1) * from).div_ceil(to);
    let mut y = Vec::with_capacity(call.output().iter().product());
    for map in x.chunks_exact(h * w) {
        for i in 0..oh {
            for j in 0..ow {
                let (rows, columns) = (part(i, h, oh), part(j, w, ow));
                let count = rows.len() * columns.len();
                let sum: f64 =
                    rows.flat_map(|r| map[r * w..][columns.clone()].iter()).map(|&v| f64::from(v)).sum();
                y.push((sum / count as f64) as f32);
            }
        }
    }
    call.done(y)
}

/// Where element `i` of `to` is taken from, and with which weights.
fn taps(mode: ResizeMode, align: bool, i: usize, from: usize, to: usize) -> Vec<(usize, f64)> {
    let clamp = |v: f64| v.clamp(0.0, from as f64 - 1.0) as usize;
    let source = match align {
        true if to > 1 => i as f64 * (from as f64 - 1.0) / (to as f64 - 1.0),
        true => 0.0,
        // In float32, as frameworks do: places round alike in large maps.
        false => f64::from(from as f32 / to as f32 * (i as f32 + 0.5) - 0.5),
    };
    match mode {
        ResizeMode::Nearest => vec![((i * from / to).min(from - 1), 1.0)],
        ResizeMode::Bilinear => {
            let source = source.max(0.0);
            let part = source - source.floor();
            vec![(clamp(source.floor()), 1.0 - part), (clamp(source.floor() + 1.0), part)]
        }
        ResizeMode::Bicubic => {
            const A: f64 = -0.75;
            let weight = |t: f64| {
                let t = t.abs();
                if t <= 1.0 {
                    ((A + 2.0) * t - (A + 3.0)) * t * t + 1.0
                } else {
                    ((A * t - 5.0 * A) * t + 8.0 * A) * t - 4.0 * A
                }
            };
            let low = source.floor();
            (-1..3).map(|d| (clamp(low + f64::from(d)), weight(source - low - f64::from(d)))).collect()
        }
    }
}

pub(super) fn resize(call: &Call<'_>, mode: ResizeMode, align: bool) -> Vec<Tensor> {
    let x = call.floats(0);
    let (h, w) = (call.shape(0)[2], call.shape(0)[3]);
    let (oh, ow) = (call.output()[2], call.output()[3]);
    let rows: Vec<_> = (0..oh).map(|i| taps(mode, align, i, h, oh)).collect();
    let columns: Vec<_> = (0..ow).map(|j| taps(mode, align, j, w, ow)).collect();
    let mut y = Vec::with_capacity(call.output().iter().product());
    for map in x.chunks_exact(h * w) {
        for row in &rows {
            for column in &columns {
                let mut sum = 0.0;
                for (r, a) in row {
                    for (c, b) in column {
                        sum += a * b * f64::from(map[r * w + c]);
                    }
                }
                y.push(sum as f32);
            }
        }
    }
    call.done(y)
}
