//! The plain twins of the fast kernels: slices, loops, nothing else. Tests compare against them.

/// `c[m][n] = Σ_k a[m][k] b[k][n]`, all row-major and dense.
pub fn product(a: &[f32], b: &[f32], [m, k, n]: [usize; 3]) -> Vec<f32> {
    let mut c = vec![0.0; m * n];
    for i in 0..m {
        for j in 0..n {
            c[i * n + j] = (0..k).map(|x| a[i * k + x] * b[x * n + j]).sum();
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
