//! Plain twins of the training kernels, as their definitions read.

use crate::elementwise::Function;
use crate::train::conv::ConvShape;
use crate::train::linear::LinearShape;
use crate::train::versatile::VersatileShape;

/// Calls `visit(output, input, weight)` with the places of all products of a convolution.
fn visit(shape: &ConvShape, mut visit: impl FnMut(usize, usize, usize)) {
    let [out_height, out_width] = shape.output();
    let (channels, rows) = (shape.channels_in / shape.groups, shape.channels_out / shape.groups);
    for n in 0..shape.batch {
        for o in 0..shape.channels_out {
            for (oy, ox) in (0..out_height).flat_map(|y| (0..out_width).map(move |x| (y, x))) {
                let out = ((n * shape.channels_out + o) * out_height + oy) * out_width + ox;
                for c in 0..channels {
                    for (ky, kx) in
                        (0..shape.kernel[0]).flat_map(|y| (0..shape.kernel[1]).map(move |x| (y, x)))
                    {
                        let y = oy * shape.stride[0] + ky * shape.dilation[0];
                        let x = ox * shape.stride[1] + kx * shape.dilation[1];
                        let (Some(y), Some(x)) =
                            (y.checked_sub(shape.padding[0]), x.checked_sub(shape.padding[1]))
                        else {
                            continue;
                        };
                        if y < shape.size[0] && x < shape.size[1] {
                            let channel = o / rows * channels + c;
                            let input =
                                ((n * shape.channels_in + channel) * shape.size[0] + y) * shape.size[1] + x;
                            let weight = ((o * channels + c) * shape.kernel[0] + ky) * shape.kernel[1] + kx;
                            visit(out, input, weight);
                        }
                    }
                }
            }
        }
    }
}

/// Convolution.
pub fn conv(shape: &ConvShape, input: &[f32], weights: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; shape.output_len()];
    visit(shape, |o, i, w| out[o] += input[i] * weights[w]);
    out
}

/// The places of all terms of an adder convolution: output, input (nothing beyond the edges) and weight.
fn visit_padded(shape: &ConvShape, mut visit: impl FnMut(usize, Option<usize>, usize)) {
    let mut inside = std::collections::HashMap::new();
    self::visit(shape, |o, i, w| {
        inside.insert((o, w), i);
    });
    let [height, width] = shape.output();
    let filter = shape.weights_len() / shape.channels_out;
    for o in 0..shape.output_len() {
        for tap in 0..filter {
            let w = o / (height * width) % shape.channels_out * filter + tap;
            visit(o, inside.get(&(o, w)).copied(), w);
        }
    }
}

/// Adder convolution.
pub fn adder(shape: &ConvShape, input: &[f32], weights: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; shape.output_len()];
    visit_padded(shape, |o, i, w| out[o] -= (weights[w] - i.map_or(0.0, |i| input[i])).abs());
    out
}

/// Gradient of an adder convolution's input.
pub fn adder_backward_data(shape: &ConvShape, input: &[f32], weights: &[f32], grad: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; shape.input_len()];
    visit(shape, |o, i, w| out[i] += (weights[w] - input[i]).clamp(-1.0, 1.0) * grad[o]);
    out
}

/// Gradient of an adder convolution's weights, not yet scaled.
pub fn adder_backward_weights(shape: &ConvShape, input: &[f32], weights: &[f32], grad: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; weights.len()];
    visit_padded(shape, |o, i, w| out[w] += (i.map_or(0.0, |i| input[i]) - weights[w]) * grad[o]);
    out
}

/// Convolution with versatile filters: one with every secondary filter written out, zeros where its masks are zero.
pub fn versatile(shape: &VersatileShape, input: &[f32], weights: &[f32]) -> Vec<f32> {
    let conv = &shape.conv;
    let [height, width] = conv.kernel;
    let (channels, taps) = (conv.channels_in / conv.groups, height * width);
    let filters = conv.channels_out;
    let [out_height, out_width] = conv.output();
    let plane = out_height * out_width;
    let mut out = vec![0.0; conv.batch * shape.maps() * plane];
    for (block, nest, window) in
        (0..shape.nests * shape.windows()).map(|b| (b, b / shape.windows(), b % shape.windows()))
    {
        let mut masked = vec![0.0; filters * channels * taps];
        for (at, weight) in masked.iter_mut().enumerate() {
            let (filter, channel, tap) = (at / (channels * taps), at / taps % channels, at % taps);
            let (y, x) = (tap / width, tap % width);
            let core = (nest..height - nest).contains(&y) && (nest..width - nest).contains(&x);
            let start = window * shape.step;
            let seen = (start..start + channels - shape.delta).contains(&channel);
            if core && seen {
                let from = if shape.mask { channel } else { channel - start };
                *weight = weights[(filter * channels + from) * taps + tap];
            }
        }
        let maps = self::conv(conv, input, &masked);
        for n in 0..conv.batch {
            let len = filters * plane;
            out[(n * shape.nests * shape.windows() + block) * len..][..len]
                .copy_from_slice(&maps[n * len..][..len]);
        }
    }
    out
}

/// Gradient of a convolution's input.
pub fn conv_backward_data(shape: &ConvShape, grad: &[f32], weights: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; shape.input_len()];
    visit(shape, |o, i, w| out[i] += grad[o] * weights[w]);
    out
}

/// Gradient of a convolution's weights.
pub fn conv_backward_weights(shape: &ConvShape, input: &[f32], grad: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; shape.weights_len()];
    visit(shape, |o, i, w| out[w] += grad[o] * input[i]);
    out
}

/// Fully connected layer, without its bias.
pub fn linear(shape: &LinearShape, x: &[f32], weights: &[f32]) -> Vec<f32> {
    let LinearShape { rows, features_in, features_out } = *shape;
    let mut out = Vec::with_capacity(rows * features_out);
    for row in 0..rows {
        for o in 0..features_out {
            let term = |i| f64::from(x[row * features_in + i]) * f64::from(weights[o * features_in + i]);
            out.push((0..features_in).map(term).sum::<f64>() as f32);
        }
    }
    out
}

/// Gradient of a fully connected layer's input.
pub fn linear_backward_input(shape: &LinearShape, grad: &[f32], weights: &[f32]) -> Vec<f32> {
    let LinearShape { rows, features_in, features_out } = *shape;
    let mut out = Vec::with_capacity(rows * features_in);
    for row in 0..rows {
        for i in 0..features_in {
            let term = |o| f64::from(grad[row * features_out + o]) * f64::from(weights[o * features_in + i]);
            out.push((0..features_out).map(term).sum::<f64>() as f32);
        }
    }
    out
}

/// Gradient of a fully connected layer's weights.
pub fn linear_backward_weights(shape: &LinearShape, x: &[f32], grad: &[f32]) -> Vec<f32> {
    let LinearShape { rows, features_in, features_out } = *shape;
    let mut out = Vec::with_capacity(features_out * features_in);
    for o in 0..features_out {
        for i in 0..features_in {
            let term = |row| f64::from(grad[row * features_out + o]) * f64::from(x[row * features_in + i]);
            out.push((0..rows).map(term).sum::<f64>() as f32);
        }
    }
    out
}

/// Layer norm of rows as long as `gain`.
pub fn layer_norm(x: &[f32], gain: &[f32], shift: &[f32], epsilon: f64) -> Vec<f32> {
    let hats = x.chunks_exact(gain.len()).flat_map(|row| standard(row, epsilon).0);
    hats.enumerate()
        .map(|(i, hat)| {
            let i = i % gain.len();
            (hat * f64::from(gain[i]) + f64::from(shift[i])) as f32
        })
        .collect()
}

/// Gradients of a layer norm's input, gain and shift.
pub fn layer_norm_backward(x: &[f32], gain: &[f32], epsilon: f64, grad: &[f32]) -> [Vec<f32>; 3] {
    let n = gain.len();
    let (mut input, mut of_gain, mut of_shift) = (Vec::new(), vec![0.0f64; n], vec![0.0f64; n]);
    for (row, grad) in x.chunks_exact(n).zip(grad.chunks_exact(n)) {
        let (hats, inverse) = standard(row, epsilon);
        let scaled: Vec<f64> = grad.iter().zip(gain).map(|(g, w)| f64::from(*g) * f64::from(*w)).collect();
        let mean = scaled.iter().sum::<f64>() / n as f64;
        let along = scaled.iter().zip(&hats).map(|(g, hat)| g * hat).sum::<f64>() / n as f64;
        for i in 0..n {
            input.push(((scaled[i] - mean - hats[i] * along) * inverse) as f32);
            of_gain[i] += f64::from(grad[i]) * hats[i];
            of_shift[i] += f64::from(grad[i]);
        }
    }
    let single = |sums: Vec<f64>| sums.into_iter().map(|sum| sum as f32).collect();
    [input, single(of_gain), single(of_shift)]
}

/// A row with mean 0 and variance 1, and what it was multiplied by.
fn standard(row: &[f32], epsilon: f64) -> (Vec<f64>, f64) {
    let n = row.len() as f64;
    let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let variance = row.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n;
    let inverse = 1.0 / (variance + epsilon).sqrt();
    (row.iter().map(|&x| (f64::from(x) - mean) * inverse).collect(), inverse)
}

/// GELU and its derivative.
pub fn gelu(x: f32) -> [f32; 2] {
    let (erf, x) = (f64::from(Function::Erf.apply((f64::from(x) / f64::sqrt(2.0)) as f32)), f64::from(x));
    let below = 0.5 * (1.0 + erf);
    let density = (-0.5 * x * x).exp() / (2.0 * core::f64::consts::PI).sqrt();
    [(x * below) as f32, (below + x * density) as f32]
}

/// Attention of one head: the output of `q`, `k` and `v`, rows of `dim` (values: `width`) elements, and the gradients of the
/// three for that of the output.
pub fn attention(
    [q, k, v]: [&[f32]; 3],
    [dim, width]: [usize; 2],
    scale: f64,
    grad: &[f32],
) -> (Vec<f32>, [Vec<f32>; 3]) {
    let wide = |list: &[f32]| -> Vec<f64> { list.iter().map(|&x| f64::from(x)).collect() };
    let (q, k, v, grad) = (wide(q), wide(k), wide(v), wide(grad));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut out = vec![0.0f64; q.len() / dim * width];
    let (mut of_q, mut of_k, mut of_v) =
        (vec![0.0f64; q.len()], vec![0.0f64; k.len()], vec![0.0f64; v.len()]);
    let add = |to: &mut [f64], from: &[f64], factor: f64| {
        to.iter_mut().zip(from).for_each(|(to, from)| *to += factor * from);
    };
    for (i, query) in q.chunks_exact(dim).enumerate() {
        let scores: Vec<f64> = k.chunks_exact(dim).map(|key| scale * dot(query, key)).collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
        let shares: Vec<f64> = scores.iter().map(|score| (score - largest).exp() / sum).collect();
        let grad = &grad[i * width..(i + 1) * width];
        let slopes: Vec<f64> = v.chunks_exact(width).map(|value| dot(grad, value)).collect();
        let along = dot(&shares, &slopes);
        for (j, share) in shares.iter().enumerate() {
            let slope = scale * share * (slopes[j] - along);
            add(&mut out[i * width..(i + 1) * width], &v[j * width..(j + 1) * width], *share);
            add(&mut of_v[j * width..(j + 1) * width], grad, *share);
            add(&mut of_q[i * dim..(i + 1) * dim], &k[j * dim..(j + 1) * dim], slope);
            add(&mut of_k[j * dim..(j + 1) * dim], query, slope);
        }
    }
    let single = |list: Vec<f64>| list.into_iter().map(|x| x as f32).collect();
    (single(out), [of_q, of_k, of_v].map(single))
}
