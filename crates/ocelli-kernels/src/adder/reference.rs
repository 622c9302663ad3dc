//! Plain twins: loops, nothing else. Tests compare against them, to the bit where there are integers.

use crate::reference::ConvShape;

/// Calls `visit(output, input or nothing beyond the edges, weight)` for all terms on channels-last maps.
fn terms(shape: &ConvShape, mut visit: impl FnMut(usize, Option<usize>, usize)) {
    let [channels, height, width] = shape.input;
    let [oh, ow] = shape.output_size();
    let [kh, kw] = shape.window.kernel;
    for pixel in 0..shape.batch * oh * ow {
        let (n, oy, ox) = (pixel / (oh * ow), pixel / ow % oh, pixel % ow);
        for o in 0..shape.channels_out {
            for c in 0..channels {
                for tap in 0..kh * kw {
                    let (y, x) = (shape.window.source(0, oy, tap / kw), shape.window.source(1, ox, tap % kw));
                    let inside = y >= 0 && x >= 0 && y < height as isize && x < width as isize;
                    let at = inside.then(|| ((n * height + y as usize) * width + x as usize) * channels + c);
                    visit(pixel * shape.channels_out + o, at, (o * channels + c) * kh * kw + tap);
                }
            }
        }
    }
}

/// `Σ |x - w|` (positive) of channels-last maps `[n, h, w, c]` and weights `[out, c, kh, kw]`, summed in float64.
pub fn conv(x: &[f32], weights: &[f32], shape: &ConvShape) -> Vec<f32> {
    let [oh, ow] = shape.output_size();
    let mut sums = vec![0.0f64; shape.batch * oh * ow * shape.channels_out];
    terms(shape, |o, i, w| sums[o] += f64::from((i.map_or(0.0, |i| x[i]) - weights[w]).abs()));
    sums.into_iter().map(|sum| sum as f32).collect()
}

/// `Σ |a - k w|` of codes: activations per group of filters, `[groups][n, h, w, c]`, weights `[out, c, kh, kw]`, the group of every
/// filter; `k` is 2, or 1 for signed activations.
pub fn sad(codes: &[Vec<i16>], weights: &[i8], labels: &[u8], signed: bool, shape: &ConvShape) -> Vec<i32> {
    let [oh, ow] = shape.output_size();
    let mut sums = vec![0i32; shape.batch * oh * ow * shape.channels_out];
    let factor = if signed { 1 } else { 2 };
    terms(shape, |o, i, w| {
        let codes = &codes[usize::from(labels[o % shape.channels_out])];
        let a = i.map_or(0, |i| i32::from(codes[i]));
        sums[o] += (a - factor * i32::from(weights[w])).abs();
    });
    sums
}
