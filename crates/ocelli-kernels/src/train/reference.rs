//! Plain twins of the training kernels, as their definitions read.

use crate::train::conv::ConvShape;

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
