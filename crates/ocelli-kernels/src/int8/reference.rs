//! The plain twins of the 8-bit kernels: slices, loops, nothing else. Tests compare against them, to the bit.

use crate::pool::Kind;
use crate::reference::ConvShape;

/// Calls `visit(output index, input index or none beyond the edges, tap)` for every pixel under every window.
fn windows(shape: &ConvShape, mut visit: impl FnMut(usize, Option<usize>, usize)) {
    let [_, height, width] = shape.input;
    let [oh, ow] = shape.output_size();
    let [kh, kw] = shape.window.kernel;
    for n in 0..shape.batch {
        for oy in 0..oh {
            for ox in 0..ow {
                for tap in 0..kh * kw {
                    let iy = shape.window.source(0, oy, tap / kw);
                    let ix = shape.window.source(1, ox, tap % kw);
                    let inside = iy >= 0 && ix >= 0 && iy < height as isize && ix < width as isize;
                    let pixel = inside.then(|| (n * height + iy as usize) * width + ix as usize);
                    visit((n * oh + oy) * ow + ox, pixel, tap);
                }
            }
        }
    }
}

/// Sums `Σ (q - zero) · w + bias` of channels-last maps `[n, h, w, c]` and weights `[out, c / groups, kh, kw]`;
/// nothing lies beyond the edges.
pub fn conv(x: &[u8], zero: u8, weights: &[i8], bias: &[i32], shape: &ConvShape) -> Vec<i32> {
    let (channels, out) = (shape.input[0], shape.channels_out);
    let (depth, per_group) = (channels / shape.groups, out / shape.groups);
    let [oh, ow] = shape.output_size();
    let taps = shape.window.kernel[0] * shape.window.kernel[1];
    let mut sums: Vec<i32> = (0..shape.batch * oh * ow).flat_map(|_| bias.iter().copied()).collect();
    windows(shape, |to, pixel, tap| {
        let Some(pixel) = pixel else { return };
        for o in 0..out {
            for c in 0..depth {
                let q = i32::from(x[pixel * channels + o / per_group * depth + c]) - i32::from(zero);
                let sum = &mut sums[to * out + o];
                *sum = sum.wrapping_add(q * i32::from(weights[(o * depth + c) * taps + tap]));
            }
        }
    });
    sums
}

/// Per channel and window: the largest code, the sum of the codes, and how many pixels there were; the channels of a
/// pixel are consecutive. For a mean that counts padding the number is the window's.
pub fn pool(x: &[u8], shape: &ConvShape, kind: Kind) -> Vec<(u8, i32, usize)> {
    let channels = shape.input[0];
    let [oh, ow] = shape.output_size();
    let mut all = vec![(0, 0, 0); shape.batch * oh * ow * channels];
    windows(shape, |to, pixel, _| {
        for c in 0..channels {
            let (largest, sum, count) = &mut all[to * channels + c];
            if let Some(pixel) = pixel {
                let q = x[pixel * channels + c];
                *largest = q.max(*largest);
                *sum += i32::from(q);
            }
            if pixel.is_some() || kind == (Kind::Mean { count_padding: true }) {
                *count += 1;
            }
        }
    });
    all
}
