//! The plain twins of the fast kernels: slices, loops, nothing else. Tests compare against them.

/// `c[m][n] = Σ_k a[m][k] b[k][n]`, all row-major and dense, summed in float64.
pub fn product(a: &[f32], b: &[f32], [m, k, n]: [usize; 3]) -> Vec<f32> {
    let mut c = vec![0.0; m * n];
    for i in 0..m {
        for j in 0..n {
            let sum: f64 = (0..k).map(|x| f64::from(a[i * k + x]) * f64::from(b[x * n + j])).sum();
            c[i * n + j] = sum as f32;
        }
    }
    c
}

/// A convolution's extents: picture count, input `[channels, height, width]`, output channels, window, groups.
#[derive(Clone, Debug)]
pub struct ConvShape {
    /// Pictures.
    pub batch: usize,
    /// Input `[channels, height, width]`.
    pub input: [usize; 3],
    /// Output channels.
    pub channels_out: usize,
    /// The window.
    pub window: crate::conv::Window,
    /// Zeros below and to the right.
    pub pad_end: [usize; 2],
    /// Channel groups.
    pub groups: usize,
}

impl ConvShape {
    /// Output `[height, width]`.
    pub fn output_size(&self) -> [usize; 2] {
        core::array::from_fn(|axis| {
            let reach = (self.window.kernel[axis] - 1) * self.window.dilation[axis] + 1;
            let extent = self.input[1 + axis] + self.window.pad[axis] + self.pad_end[axis];
            (extent - reach) / self.window.stride[axis] + 1
        })
    }
}

/// Convolution of channels-last maps `[n, h, w, c]` with weights `[out, c / groups, kh, kw]`, summed in float64.
pub fn conv(x: &[f32], weights: &[f32], shape: &ConvShape) -> Vec<f32> {
    let [channels, height, width] = shape.input;
    let [oh, ow] = shape.output_size();
    let [kh, kw] = shape.window.kernel;
    let (depth, per_group) = (channels / shape.groups, shape.channels_out / shape.groups);
    let mut y = Vec::with_capacity(shape.batch * oh * ow * shape.channels_out);
    for n in 0..shape.batch {
        for oy in 0..oh {
            for ox in 0..ow {
                for out in 0..shape.channels_out {
                    let mut sum = 0.0f64;
                    for c in 0..depth {
                        for ky in 0..kh {
                            for kx in 0..kw {
                                let (iy, ix) =
                                    (shape.window.source(0, oy, ky), shape.window.source(1, ox, kx));
                                if iy < 0 || ix < 0 || iy >= height as isize || ix >= width as isize {
                                    continue;
                                }
                                let pixel = (n * height + iy as usize) * width + ix as usize;
                                let v = x[pixel * channels + out / per_group * depth + c];
                                let w = weights[((out * depth + c) * kh + ky) * kw + kx];
                                sum += f64::from(v) * f64::from(w);
                            }
                        }
                    }
                    y.push(sum as f32);
                }
            }
        }
    }
    y
}

/// Convolution of the signs (-1 below zero, else +1) of channels-last maps with those of weights `[out, c, kh, kw]`; beyond the edge
/// lies `beyond`.
pub fn binary_conv(x: &[f32], weights: &[f32], shape: &ConvShape, beyond: i32) -> Vec<i32> {
    let [channels, height, width] = shape.input;
    let [oh, ow] = shape.output_size();
    let [kh, kw] = shape.window.kernel;
    let sign = |v: f32| if v < 0.0 { -1 } else { 1 };
    let mut y = Vec::with_capacity(shape.batch * oh * ow * shape.channels_out);
    for (n, oy, ox) in (0..shape.batch * oh * ow).map(|i| (i / (oh * ow), i / ow % oh, i % ow)) {
        for out in 0..shape.channels_out {
            let mut sum = 0;
            for (c, ky, kx) in (0..channels * kh * kw).map(|i| (i / (kh * kw), i / kw % kh, i % kw)) {
                let (iy, ix) = (shape.window.source(0, oy, ky), shape.window.source(1, ox, kx));
                let inside = iy >= 0 && ix >= 0 && iy < height as isize && ix < width as isize;
                let v = match inside {
                    true => sign(x[((n * height + iy as usize) * width + ix as usize) * channels + c]),
                    false => beyond,
                };
                sum += v * sign(weights[((out * channels + c) * kh + ky) * kw + kx]);
            }
            y.push(sum);
        }
    }
    y
}

/// `softmax(scale · x)`
pub fn softmax(x: &[f32], scale: f32) -> Vec<f32> {
    let largest = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let e: Vec<f64> = x.iter().map(|v| (f64::from(v - largest) * f64::from(scale)).exp()).collect();
    let sum: f64 = e.iter().sum();
    e.into_iter().map(|v| (v / sum) as f32).collect()
}

/// `(x - mean) / sqrt(variance + epsilon) · scale + shift`
pub fn layer_norm(x: &[f32], scale: &[f32], shift: &[f32], epsilon: f32) -> Vec<f32> {
    let n = x.len() as f64;
    let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let variance = x.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
    let inverse = 1.0 / (variance + f64::from(epsilon)).sqrt();
    let normal = |(i, &v): (usize, &f32)| {
        ((f64::from(v) - mean) * inverse * f64::from(scale[i]) + f64::from(shift[i])) as f32
    };
    x.iter().enumerate().map(normal).collect()
}

/// Pooling of channels-last maps `[n, h, w, c]`: see [`crate::pool::Pooling`].
pub fn pool(x: &[f32], shape: &ConvShape, kind: crate::pool::Kind) -> Vec<f32> {
    use crate::pool::Kind;
    let [channels, height, width] = shape.input;
    let [oh, ow] = shape.output_size();
    let [kh, kw] = shape.window.kernel;
    let mut y = Vec::new();
    for n in 0..shape.batch {
        for oy in 0..oh {
            for ox in 0..ow {
                for c in 0..channels {
                    let mut inside = Vec::new();
                    for ky in 0..kh {
                        for kx in 0..kw {
                            let (iy, ix) = (shape.window.source(0, oy, ky), shape.window.source(1, ox, kx));
                            if iy >= 0 && ix >= 0 && iy < height as isize && ix < width as isize {
                                let pixel = (n * height + iy as usize) * width + ix as usize;
                                inside.push(x[pixel * channels + c]);
                            }
                        }
                    }
                    let count = match kind {
                        Kind::Mean { count_padding: true } => kh * kw,
                        _ => inside.len(),
                    };
                    y.push(match kind {
                        Kind::Max => inside.into_iter().fold(f32::NEG_INFINITY, f32::max),
                        Kind::Mean { .. } => {
                            (inside.into_iter().map(f64::from).sum::<f64>() / count as f64) as f32
                        }
                    });
                }
            }
        }
    }
    y
}

/// Squared distances of the unit vectors of `nodes` and `targets` (rows of `channels`), plus `positions`, in float64.
pub fn distances(nodes: &[f32], targets: &[f32], channels: usize, positions: Option<&[f32]>) -> Vec<f64> {
    let unit = |row: &[f32]| -> Vec<f64> {
        let length = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt().max(1e-12);
        row.iter().map(|&v| f64::from(v) / length).collect()
    };
    let targets: Vec<Vec<f64>> = targets.chunks_exact(channels).map(unit).collect();
    let mut all = Vec::new();
    for (n, node) in nodes.chunks_exact(channels).map(unit).enumerate() {
        for (m, target) in targets.iter().enumerate() {
            let square = node.iter().zip(target).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
            all.push(square + positions.map_or(0.0, |table| f64::from(table[n * targets.len() + m])));
        }
    }
    all
}

/// Every `dilation`-th of the `k · dilation` nearest targets of one node: a full sort, equals by index.
pub fn nearest(distances: &[f64], k: usize, dilation: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..distances.len()).collect();
    order.sort_by(|&a, &b| distances[a].total_cmp(&distances[b]));
    order.into_iter().take(k * dilation).step_by(dilation).collect()
}
