//! Depthwise convolution with both backward passes, plane by plane.
//!
//! Split into phases (see [`Phases`]) a plane is one long filter: `out[q] = Σ_tap weight · plane[distance(tap) + q]`.

use crate::Isa;
use crate::simd::Simd;
use crate::train::conv::ConvShape;
use crate::train::parallel::{Shared, buffer, each};
use crate::train::phases::{Phases, SLACK};

fn phases_of(shape: &ConvShape) -> Phases {
    let ConvShape { size, kernel, stride, padding, dilation, .. } = *shape;
    Phases::new(size, kernel, stride, padding, dilation, shape.output())
}

/// Elements a task takes at least, so that waking a thread pays.
pub(crate) const SHARE: usize = 1 << 14;

/// `[batch, channels, height, width]` → `[batch, channels, height', width']`; `weights` is `[channels, 1, kernel
/// height, kernel width]`, `bias` `[channels]`.
///
/// # Panics
/// If a slice does not have the extent `shape` says, or the shape is not depthwise.
pub fn forward(
    isa: Isa,
    shape: &ConvShape,
    input: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
) -> Vec<f32> {
    assert!(shape.is_depthwise() && input.len() == shape.input_len() && weights.len() == shape.weights_len());
    let mut output = buffer(shape.output_len());
    let [out_height, out_width] = shape.output();
    let (area_in, area_out) = (shape.size[0] * shape.size[1], out_height * out_width);
    if output.is_empty() {
        return output;
    }
    let phases = phases_of(shape);
    let distances = phases.distances();
    let planes = shape.batch * shape.channels_in;
    let per = (SHARE / area_in.max(1)).clamp(1, planes);
    let shared = Shared::new(&mut output);
    each(planes.div_ceil(per), planes * area_in * shape.taps(), |task| {
        let mut scratch = vec![0.0; phases.len()];
        let mut wide = buffer(phases.span + SLACK);
        for plane in task * per..((task + 1) * per).min(planes) {
            let channel = plane % shape.channels_in;
            phases.split(isa, &input[plane * area_in..][..area_in], &mut scratch);
            let weights = &weights[channel * shape.taps()..][..shape.taps()];
            let bias = bias.map_or(0.0, |bias| bias[channel]);
            filter(isa, &scratch, &distances, weights, bias, phases.span, &mut wide);
            // SAFETY: every plane is written by one task.
            let out = unsafe { shared.slice(plane * area_out, area_out) };
            for (row, wide) in out.chunks_exact_mut(out_width).zip(wide.chunks(phases.width)) {
                row.copy_from_slice(&wide[..out_width]);
            }
        }
    });
    output
}

/// Gradients of the input (unless not `wanted`) and of the weights.
///
/// # Panics
/// As [`forward`].
pub fn backward(
    isa: Isa,
    shape: &ConvShape,
    input: &[f32],
    weights: &[f32],
    grad: &[f32],
    wanted: bool,
) -> (Vec<f32>, Vec<f32>) {
    assert!(shape.is_depthwise() && input.len() == shape.input_len() && weights.len() == shape.weights_len());
    assert_eq!(grad.len(), shape.output_len());
    let [out_height, out_width] = shape.output();
    let (area_in, area_out) = (shape.size[0] * shape.size[1], out_height * out_width);
    let taps = shape.taps();
    let mut input_grad = buffer(if wanted { input.len() } else { 0 });
    let mut weights_grad = buffer(weights.len());
    if grad.is_empty() {
        input_grad.fill(0.0);
        weights_grad.fill(0.0);
        return (input_grad, weights_grad);
    }
    let phases = phases_of(shape);
    let distances = phases.distances();
    // Zeros before the gradient, as far as a tap can reach back.
    let margin = phases.taps.iter().map(|tap| tap.1).max().unwrap_or(0);
    // For every phase: its taps, and where the gradient starts for them.
    let back: Vec<(Vec<usize>, Vec<usize>)> = (0..phases.count[0] * phases.count[1])
        .map(|phase| {
            let of_phase = phases.taps.iter().enumerate().filter(|(_, tap)| tap.0 == phase);
            of_phase.map(|(t, tap)| (t, margin - tap.1)).unzip()
        })
        .collect();
    let (data, filters) = (Shared::new(&mut input_grad), Shared::new(&mut weights_grad));
    let channels = shape.channels_in;
    let per = (SHARE / (area_in * shape.batch).max(1)).clamp(1, channels);
    each(channels.div_ceil(per), input.len() * taps, |task| {
        let mut scratch = vec![0.0; phases.len()];
        let mut wide = vec![0.0; margin + phases.height * phases.width + 2 * SLACK];
        let mut joined = buffer(if wanted { phases.len() } else { 0 });
        let mut chosen = Vec::with_capacity(taps);
        for channel in task * per..((task + 1) * per).min(channels) {
            // SAFETY: every channel belongs to one task.
            let sums = unsafe { filters.slice(channel * taps, taps) };
            sums.fill(0.0);
            let weights = &weights[channel * taps..][..taps];
            for picture in 0..shape.batch {
                let plane = picture * channels + channel;
                phases.split(isa, &input[plane * area_in..][..area_in], &mut scratch);
                let rows = grad[plane * area_out..][..area_out].chunks_exact(out_width);
                for (row, wide) in rows.zip(wide[margin..].chunks_mut(phases.width)) {
                    wide[..out_width].copy_from_slice(row);
                }
                products(isa, &scratch, &distances, &wide[margin..], phases.span, sums);
                if !wanted {
                    continue;
                }
                let span = phases.height * phases.width;
                for (phase, (taps, starts)) in back.iter().enumerate() {
                    chosen.clear();
                    chosen.extend(taps.iter().map(|&tap| weights[tap]));
                    let out = &mut joined[phase * phases.step..][..span + SLACK];
                    filter(isa, &wide, starts, &chosen, 0.0, span, out);
                }
                // SAFETY: every plane belongs to one channel.
                phases.join(isa, &joined, unsafe { data.slice(plane * area_in, area_in) });
            }
        }
    });
    (input_grad, weights_grad)
}

/// `out[q] = bias + Σ_t weights[t] · plane[distances[t] + q]` for `q < span`; `out` and `plane` have room for
/// vectors that run over the end.
pub(crate) fn filter(
    isa: Isa,
    plane: &[f32],
    distances: &[usize],
    weights: &[f32],
    bias: f32,
    span: usize,
    out: &mut [f32],
) {
    let furthest = distances.iter().max().copied().unwrap_or(0);
    assert!(furthest + span + SLACK <= plane.len() && span + SLACK <= out.len());
    assert_eq!(distances.len(), weights.len());
    // SAFETY: all vectors stay in the slices: they start before `span` and are at most 64 elements together.
    unsafe { filter_any(isa, plane.as_ptr(), distances, weights, bias, span, out.as_mut_ptr()) }
}

/// `sums[t] += Σ_q grad[q] · plane[distances[t] + q]` for `q < span`.
fn products(isa: Isa, plane: &[f32], distances: &[usize], grad: &[f32], span: usize, sums: &mut [f32]) {
    let furthest = distances.iter().max().copied().unwrap_or(0);
    assert!(furthest + span + SLACK <= plane.len() && span <= grad.len());
    assert_eq!(distances.len(), sums.len());
    // SAFETY: as above; the gradient's last vector is cut to its length.
    unsafe { products_any(isa, plane.as_ptr(), distances, grad.as_ptr(), span, sums) }
}

#[inline(always)]
unsafe fn filter_of<S: Simd>(
    plane: *const f32,
    distances: &[usize],
    weights: &[f32],
    bias: f32,
    span: usize,
    out: *mut f32,
) {
    /// Vectors side by side: enough sums to hide the latency of one.
    const SIDE: usize = 4;
    let mut q = 0;
    // SAFETY: see `filter`.
    unsafe {
        while q < span {
            let one = span - q <= S::LANES;
            let mut sums = [S::splat(bias); SIDE];
            if one {
                for (&distance, &weight) in distances.iter().zip(weights) {
                    sums[0] = S::fma(S::splat(weight), S::load(plane.add(distance + q)), sums[0]);
                }
                S::store(out.add(q), sums[0]);
                return;
            }
            for (&distance, &weight) in distances.iter().zip(weights) {
                let weight = S::splat(weight);
                for i in 0..SIDE {
                    sums[i] = S::fma(weight, S::load(plane.add(distance + q + i * S::LANES)), sums[i]);
                }
            }
            for (i, sum) in sums.into_iter().enumerate() {
                S::store(out.add(q + i * S::LANES), sum);
            }
            q += SIDE * S::LANES;
        }
    }
}

#[inline(always)]
unsafe fn products_of<S: Simd>(
    plane: *const f32,
    distances: &[usize],
    grad: *const f32,
    span: usize,
    sums: &mut [f32],
) {
    /// Taps summed in one pass over the gradient.
    const TAPS: usize = 9;
    // SAFETY: see `products`.
    unsafe {
        for (distances, sums) in distances.chunks(TAPS).zip(sums.chunks_mut(TAPS)) {
            if let Ok(distances) = <&[usize; TAPS]>::try_from(distances) {
                let mut lanes = [S::splat(0.0); TAPS];
                let mut q = 0;
                while q < span {
                    let n = (span - q).min(S::LANES);
                    let g = if n == S::LANES { S::load(grad.add(q)) } else { S::load_n(grad.add(q), n) };
                    for t in 0..TAPS {
                        lanes[t] = S::fma(g, S::load(plane.add(distances[t] + q)), lanes[t]);
                    }
                    q += S::LANES;
                }
                for (sum, lanes) in sums.iter_mut().zip(lanes) {
                    *sum += S::sum(lanes);
                }
                continue;
            }
            for (&distance, sum) in distances.iter().zip(sums) {
                let mut lanes = S::splat(0.0);
                let mut q = 0;
                while q < span {
                    let n = (span - q).min(S::LANES);
                    let g = if n == S::LANES { S::load(grad.add(q)) } else { S::load_n(grad.add(q), n) };
                    lanes = S::fma(g, S::load(plane.add(distance + q)), lanes);
                    q += S::LANES;
                }
                *sum += S::sum(lanes);
            }
        }
    }
}

crate::dispatch! {
    /// See [`filter`].
    fn filter_any(
        plane: *const f32,
        distances: &[usize],
        weights: &[f32],
        bias: f32,
        span: usize,
        out: *mut f32,
    ) = filter_of;
}

crate::dispatch! {
    /// See [`products`].
    fn products_any(
        plane: *const f32,
        distances: &[usize],
        grad: *const f32,
        span: usize,
        sums: &mut [f32],
    ) = products_of;
}
