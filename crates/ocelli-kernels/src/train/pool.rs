//! Max pooling, global average pooling, and scaling of whole channels, with their backward passes.

use crate::Isa;
use crate::train::depthwise::SHARE;
use crate::train::parallel::{Shared, buffer, each};
use crate::train::phases::Phases;

/// Windows over `planes` planes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolShape {
    /// Batch times channels.
    pub planes: usize,
    /// Extent of the input `[height, width]`.
    pub size: [usize; 2],
    /// Extent of the window, at most 255 taps.
    pub kernel: [usize; 2],
    /// Step of the window.
    pub stride: [usize; 2],
    /// Border above and to the left, which never wins.
    pub padding: [usize; 2],
    /// Extent of the output; windows may run over the end.
    pub output: [usize; 2],
}

impl PoolShape {
    fn area_in(&self) -> usize {
        self.size[0] * self.size[1]
    }

    fn area_out(&self) -> usize {
        self.output[0] * self.output[1]
    }
}

/// Largest pixel of every window, and the tap it was found under (the first of equals).
///
/// # Panics
/// If `x` does not have the extent `shape` says or the window more than 255 taps.
pub fn max_forward(isa: Isa, shape: &PoolShape, x: &[f32]) -> (Vec<f32>, Vec<u8>) {
    let (area_in, area_out) = (shape.area_in(), shape.area_out());
    assert_eq!(x.len(), shape.planes * area_in, "input of {shape:?}");
    assert!(shape.kernel[0] * shape.kernel[1] <= 255, "a window of {shape:?}");
    let mut output = buffer(shape.planes * area_out);
    let mut taps = vec![0u8; shape.planes * area_out];
    if output.is_empty() {
        return (output, taps);
    }
    let phases = Phases::new(shape.size, shape.kernel, shape.stride, shape.padding, [1, 1], shape.output);
    let distances = phases.distances();
    let (out, places) = (Shared::new(&mut output), Shared::new(&mut taps));
    let per = (SHARE / area_in.max(1)).clamp(1, shape.planes);
    each(shape.planes.div_ceil(per), x.len() * distances.len(), |task| {
        let mut scratch = vec![f32::NEG_INFINITY; phases.len()];
        let mut best = buffer(phases.span);
        let mut found = vec![0u32; phases.span];
        for plane in task * per..((task + 1) * per).min(shape.planes) {
            phases.split(isa, &x[plane * area_in..][..area_in], &mut scratch);
            best.fill(f32::NEG_INFINITY);
            found.fill(0);
            for (tap, &distance) in (0u32..).zip(&distances) {
                let values = &scratch[distance..][..phases.span];
                for ((best, found), &value) in best.iter_mut().zip(&mut found).zip(values) {
                    // Whatever is not a number wins, as in PyTorch.
                    // Masks, because compilers make branches of conditional stores.
                    let mask = 0u32.wrapping_sub(u32::from((value > *best) | value.is_nan()));
                    *best = f32::from_bits((value.to_bits() & mask) | (best.to_bits() & !mask));
                    *found = (tap & mask) | (*found & !mask);
                }
            }
            // SAFETY: every plane is written by one task.
            let (out, places) =
                unsafe { (out.slice(plane * area_out, area_out), places.slice(plane * area_out, area_out)) };
            let rows = best.chunks(phases.width).zip(found.chunks(phases.width));
            let targets = out.chunks_exact_mut(shape.output[1]).zip(places.chunks_exact_mut(shape.output[1]));
            for ((best, found), (out, places)) in rows.zip(targets) {
                out.copy_from_slice(&best[..out.len()]);
                for (place, &found) in places.iter_mut().zip(found) {
                    *place = found as u8;
                }
            }
        }
    });
    (output, taps)
}

/// Gradient of [`max_forward`]'s input; `taps` is what it returned.
///
/// # Panics
/// If a slice does not have the extent `shape` says.
pub fn max_backward(shape: &PoolShape, taps: &[u8], grad: &[f32]) -> Vec<f32> {
    let (area_in, area_out) = (shape.area_in(), shape.area_out());
    assert!(taps.len() == shape.planes * area_out && grad.len() == taps.len(), "gradient of {shape:?}");
    let mut input = buffer(shape.planes * area_in);
    let shared = Shared::new(&mut input);
    let per = (SHARE / area_in.max(1)).clamp(1, shape.planes.max(1));
    each(shape.planes.div_ceil(per), shape.planes * area_in, |task| {
        for plane in task * per..((task + 1) * per).min(shape.planes) {
            // SAFETY: every plane is written by one task.
            let out = unsafe { shared.slice(plane * area_in, area_in) };
            out.fill(0.0);
            let mut at = plane * area_out;
            for oy in 0..shape.output[0] {
                for ox in 0..shape.output[1] {
                    let tap = usize::from(taps[at]);
                    let y = oy * shape.stride[0] + tap / shape.kernel[1];
                    let x = ox * shape.stride[1] + tap % shape.kernel[1];
                    let (y, x) = (y.wrapping_sub(shape.padding[0]), x.wrapping_sub(shape.padding[1]));
                    if y < shape.size[0] && x < shape.size[1] {
                        out[y * shape.size[1] + x] += grad[at];
                    }
                    at += 1;
                }
            }
        }
    });
    input
}

/// Mean of every plane of `area` elements.
pub fn mean_forward(x: &[f32], area: usize) -> Vec<f32> {
    let mut means = buffer(x.len() / area.max(1));
    let share = 1 + SHARE / area.max(1);
    let out = Shared::new(&mut means);
    each((x.len() / area.max(1)).div_ceil(share), x.len(), |task| {
        let planes = x.chunks_exact(area).enumerate().skip(task * share).take(share);
        for (plane, values) in planes {
            // SAFETY: every plane has one task.
            unsafe { *out.at(plane) = sum(values, values, |x, _| x) / area as f32 };
        }
    });
    means
}

/// Gradient of [`mean_forward`]'s input.
pub fn mean_backward(grad: &[f32], area: usize) -> Vec<f32> {
    let mut input = buffer(grad.len() * area);
    let share = 1 + SHARE / area.max(1);
    let out = Shared::new(&mut input);
    each(grad.len().div_ceil(share), grad.len() * area, |task| {
        for plane in task * share..((task + 1) * share).min(grad.len()) {
            // SAFETY: every plane has one task.
            unsafe { out.slice(plane * area, area) }.fill(grad[plane] / area as f32);
        }
    });
    input
}

/// Every plane of `x` times its factor: `scale[plane] · x[plane][·]`.
///
/// # Panics
/// If `x` is not as many planes as there are factors.
pub fn scale_forward(x: &[f32], scale: &[f32]) -> Vec<f32> {
    let area = x.len() / scale.len().max(1);
    assert_eq!(x.len(), area * scale.len(), "planes and factors");
    let mut output = buffer(x.len());
    let share = 1 + SHARE / area.max(1);
    let out = Shared::new(&mut output);
    each(scale.len().div_ceil(share), x.len(), |task| {
        for plane in task * share..((task + 1) * share).min(scale.len()) {
            // SAFETY: every plane has one task.
            let out = unsafe { out.slice(plane * area, area) };
            for (out, x) in out.iter_mut().zip(&x[plane * area..]) {
                *out = x * scale[plane];
            }
        }
    });
    output
}

/// Gradients of [`scale_forward`]'s input and factors.
///
/// # Panics
/// As [`scale_forward`].
pub fn scale_backward(x: &[f32], scale: &[f32], grad: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let area = x.len() / scale.len().max(1);
    assert!(x.len() == area * scale.len() && grad.len() == x.len(), "planes and factors");
    let (mut of_x, mut of_scale) = (buffer(x.len()), buffer(scale.len()));
    let share = 1 + SHARE / area.max(1);
    let (inputs, factors) = (Shared::new(&mut of_x), Shared::new(&mut of_scale));
    each(scale.len().div_ceil(share), 2 * x.len(), |task| {
        for plane in task * share..((task + 1) * share).min(scale.len()) {
            let (x, grad) = (&x[plane * area..][..area], &grad[plane * area..][..area]);
            // SAFETY: every plane has one task.
            let out = unsafe { inputs.slice(plane * area, area) };
            for (out, grad) in out.iter_mut().zip(grad) {
                *out = grad * scale[plane];
            }
            // SAFETY: as above.
            unsafe { *factors.at(plane) = sum(x, grad, |x, grad| x * grad) };
        }
    });
    (of_x, of_scale)
}

/// `Σ term(x[i], y[i])` in sixteen lanes, an order that compilers can vectorise.
fn sum(x: &[f32], y: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; 16];
    let (xs, ys) = (x.chunks_exact(16), y.chunks_exact(16));
    let rest: f32 = xs.remainder().iter().zip(ys.remainder()).map(|(&x, &y)| term(x, y)).sum();
    for (x, y) in xs.zip(ys) {
        for (lane, (&x, &y)) in lanes.iter_mut().zip(x.iter().zip(y)) {
            *lane += term(x, y);
        }
    }
    lanes.iter().sum::<f32>() + rest
}
