//! Convolution and its way back to the input, as matrix products over packed pixels.
//!
//! `output[row][pixel] = Σ_k weights[row][k] · packed[k][pixel]`, where `k` runs over channels and taps. The pixels
//! are packed block by block while they are in cache; nothing of the size of an unfolded map is ever stored. The
//! way back through a stride splits the input into phases, each of which meets a part of the taps.

use crate::Isa;
use crate::train::lattice::Lattice;
use crate::train::parallel::{Shared, buffer, each};
use crate::train::product::{Left, Product, Target};
use crate::train::{transpose, weights};

/// Extents of a convolution of `[batch, channels_in, height, width]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Pictures.
    pub batch: usize,
    /// Channels of the input.
    pub channels_in: usize,
    /// Channels of the output.
    pub channels_out: usize,
    /// Extent of the input `[height, width]`.
    pub size: [usize; 2],
    /// Extent of the window.
    pub kernel: [usize; 2],
    /// Step of the window.
    pub stride: [usize; 2],
    /// Zeros on every side.
    pub padding: [usize; 2],
    /// Distance of the taps.
    pub dilation: [usize; 2],
    /// Groups of channels; divides both channel counts.
    pub groups: usize,
}

impl ConvShape {
    /// Extent of the output `[height, width]`; zero where the window does not fit.
    pub fn output(&self) -> [usize; 2] {
        [0, 1].map(|axis| {
            let reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
            let padded = self.size[axis] + 2 * self.padding[axis];
            if padded < reach { 0 } else { (padded - reach) / self.stride[axis] + 1 }
        })
    }

    /// Elements of the input.
    pub fn input_len(&self) -> usize {
        self.batch * self.channels_in * self.size[0] * self.size[1]
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        let [height, width] = self.output();
        self.batch * self.channels_out * height * width
    }

    /// Elements of the weights `[channels_out, channels_in / groups, kernel height, kernel width]`.
    pub fn weights_len(&self) -> usize {
        self.channels_out * self.channels_in / self.groups * self.taps()
    }

    /// Whether every channel has its own filters.
    pub fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.channels_in && self.channels_out == self.channels_in
    }

    /// Taps of the window.
    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    pub(crate) fn check(&self) {
        assert!(
            self.groups > 0
                && self.channels_in.is_multiple_of(self.groups)
                && self.channels_out.is_multiple_of(self.groups),
            "{} groups do not divide {} -> {} channels",
            self.groups,
            self.channels_in,
            self.channels_out
        );
    }

    /// Input pixels under the taps for every output pixel.
    pub(crate) fn lattice(&self) -> Lattice {
        let tap = |axis: usize, k: usize| (k * self.dilation[axis]) as isize - self.padding[axis] as isize;
        let taps =
            (0..self.taps()).map(|t| [tap(0, t / self.kernel[1]), tap(1, t % self.kernel[1])]).collect();
        Lattice {
            grid: self.output(),
            stride: self.stride,
            taps,
            size: self.size,
            picture: self.channels_in * self.size[0] * self.size[1],
        }
    }
}

/// `output = weights ∗ input`: `[batch, channels_in, height, width]` → `[batch, channels_out, height', width']`;
/// `bias` is `[channels_out]`.
///
/// # Panics
/// If a slice does not have the extent `shape` says.
pub fn forward(
    isa: Isa,
    shape: &ConvShape,
    input: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
) -> Vec<f32> {
    shape.check();
    assert_eq!(input.len(), shape.input_len(), "input of {shape:?}");
    assert_eq!(weights.len(), shape.weights_len(), "weights of {shape:?}");
    let mut output = buffer(shape.output_len());
    if output.is_empty() {
        return output;
    }
    let lattice = shape.lattice();
    let [height, width] = shape.output();
    let (channels, rows) = (shape.channels_in / shape.groups, shape.channels_out / shape.groups);
    let target = Target {
        size: [height, width],
        stride: [1, 1],
        offset: [0, 0],
        picture: shape.channels_out * height * width,
    };
    let shared = Shared::new(&mut output);
    let depth = channels * shape.taps();
    let work = shape.output_len() * depth;
    each(shape.groups, work, |group| {
        let product = Product {
            lattice: &lattice,
            target: &target,
            map: &input[group * channels * shape.size[0] * shape.size[1]..],
            channels,
            batch: shape.batch,
            left: Left::Straight(&weights[group * rows * depth..][..rows * depth]),
            rows,
            out: shared,
            out_start: group * rows * height * width,
            accumulate: false,
        };
        product.run(isa);
    });
    if let Some(bias) = bias {
        assert_eq!(bias.len(), shape.channels_out);
        add_bias(&mut output, bias, height * width);
    }
    output
}

pub(super) fn add_bias(output: &mut [f32], bias: &[f32], area: usize) {
    for picture in output.chunks_exact_mut(bias.len() * area) {
        for (plane, bias) in picture.chunks_exact_mut(area).zip(bias) {
            plane.iter_mut().for_each(|x| *x += bias);
        }
    }
}

/// Gradient of the bias: the sum of `grad` (`[batch, channels, area]`) per channel.
pub fn backward_bias(grad: &[f32], channels: usize, area: usize) -> Vec<f32> {
    let mut sums = vec![0.0; channels];
    for picture in grad.chunks_exact((channels * area).max(1)) {
        for (sum, plane) in sums.iter_mut().zip(picture.chunks_exact(area)) {
            *sum += lanes_sum(plane);
        }
    }
    sums
}

/// Sum in eight lanes, an order that compilers can vectorise.
fn lanes_sum(data: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let chunks = data.chunks_exact(8);
    let rest: f32 = chunks.remainder().iter().sum();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += x;
        }
    }
    lanes.iter().sum::<f32>() + rest
}

/// Up to so many pixels the weights are not turned for the way back.
const FEW: usize = 512;

/// Gradient of the input from that of the output.
///
/// # Panics
/// If a slice does not have the extent `shape` says.
pub fn backward_data(isa: Isa, shape: &ConvShape, grad: &[f32], weights: &[f32]) -> Vec<f32> {
    shape.check();
    assert_eq!(grad.len(), shape.output_len(), "gradient of {shape:?}");
    assert_eq!(weights.len(), shape.weights_len(), "weights of {shape:?}");
    let mut input_grad = buffer(shape.input_len());
    let [height, width] = shape.output();
    let (rows, channels) = (shape.channels_in / shape.groups, shape.channels_out / shape.groups);
    let (taps, area_in) = (shape.taps(), shape.size[0] * shape.size[1]);
    let phases = phases(shape);
    if grad.is_empty() || phases.iter().any(|phase| phase.taps.is_empty()) {
        let per = rows.max(1) * area_in.max(1);
        let shared = Shared::new(&mut input_grad);
        each(shape.input_len() / per, shape.input_len(), |i| {
            // SAFETY: every task has a range of its own.
            unsafe { shared.slice(i * per, per) }.fill(0.0);
        });
    }
    if grad.is_empty() {
        return input_grad;
    }
    for phase in phases.iter().filter(|phase| !phase.taps.is_empty()) {
        // Where few pixels meet many weights, turning the weights would cost more than reading them as they are.
        let few = shape.batch * phase.grid[0] * phase.grid[1] <= FEW;
        let as_they_are = few && taps > 1 && phase.taps.len() == taps;
        let packed = if as_they_are {
            Vec::new()
        } else {
            turned(isa, weights, shape.groups, channels, rows, taps, &phase.taps)
        };
        let lattice = Lattice {
            grid: phase.grid,
            stride: [1, 1],
            taps: phase.offsets.clone(),
            size: [height, width],
            picture: shape.channels_out * height * width,
        };
        let target = Target {
            size: shape.size,
            stride: shape.stride,
            offset: phase.start,
            picture: shape.channels_in * area_in,
        };
        let shared = Shared::new(&mut input_grad);
        let depth = channels * phase.taps.len();
        let work = shape.batch * rows * shape.groups * phase.grid[0] * phase.grid[1] * depth;
        each(shape.groups, work, |group| {
            let product = Product {
                lattice: &lattice,
                target: &target,
                map: &grad[group * channels * height * width..],
                channels,
                batch: shape.batch,
                left: if as_they_are {
                    Left::Turned(&weights[group * rows * depth..][..rows * depth])
                } else {
                    Left::Straight(&packed[group * rows * depth..][..rows * depth])
                },
                rows,
                out: shared,
                out_start: group * rows * area_in,
                accumulate: false,
            };
            product.run(isa);
        });
    }
    input_grad
}

/// Gradient of the weights from the input and the output's gradient.
///
/// # Panics
/// If a slice does not have the extent `shape` says.
pub fn backward_weights(isa: Isa, shape: &ConvShape, input: &[f32], grad: &[f32]) -> Vec<f32> {
    shape.check();
    assert_eq!(input.len(), shape.input_len(), "input of {shape:?}");
    assert_eq!(grad.len(), shape.output_len(), "gradient of {shape:?}");
    weights::gradient(isa, shape, input, grad)
}

/// Input pixels of one remainder modulo the stride, and the taps that reach them.
pub(super) struct Phase {
    pub start: [usize; 2],
    pub grid: [usize; 2],
    pub taps: Vec<usize>,
    pub offsets: Vec<[isize; 2]>,
}

pub(super) fn phases(shape: &ConvShape) -> Vec<Phase> {
    let along = |axis: usize, start: usize| -> Vec<(usize, isize)> {
        let stride = shape.stride[axis] as isize;
        (0..shape.kernel[axis])
            .filter_map(|k| {
                let at = (start + shape.padding[axis]) as isize - (k * shape.dilation[axis]) as isize;
                (at.rem_euclid(stride) == 0).then_some((k, at.div_euclid(stride)))
            })
            .collect()
    };
    let mut list = Vec::new();
    for y in 0..shape.stride[0].min(shape.size[0]) {
        for x in 0..shape.stride[1].min(shape.size[1]) {
            let (vertical, horizontal) = (along(0, y), along(1, x));
            let pairs = || vertical.iter().flat_map(|v| horizontal.iter().map(move |h| (v, h)));
            list.push(Phase {
                start: [y, x],
                grid: [
                    (shape.size[0] - y).div_ceil(shape.stride[0]),
                    (shape.size[1] - x).div_ceil(shape.stride[1]),
                ],
                taps: pairs().map(|(v, h)| v.0 * shape.kernel[1] + h.0).collect(),
                offsets: pairs().map(|(v, h)| [v.1, h.1]).collect(),
            });
        }
    }
    list
}

/// Weights `[groups][outer][inner][taps]` as `[groups][inner][outer][chosen taps]`.
pub(super) fn turned(
    isa: Isa,
    weights: &[f32],
    groups: usize,
    outer: usize,
    inner: usize,
    taps: usize,
    chosen: &[usize],
) -> Vec<f32> {
    let some = chosen.len();
    let mut out = buffer(groups * outer * inner * some);
    if taps == 1 {
        let pairs = weights.chunks_exact(outer * inner).zip(out.chunks_exact_mut(outer * inner));
        for (weights, out) in pairs {
            transpose::matrix(isa, weights, inner, outer, inner, out, outer);
        }
        return out;
    }
    let turn = match some {
        1 => turn_block::<1>,
        2 => turn_block::<2>,
        4 => turn_block::<4>,
        9 => turn_block::<9>,
        _ => turn_block::<0>,
    };
    assert!(chosen.iter().all(|&tap| tap < taps) && weights.len() == groups * outer * inner * taps);
    let blocks = inner.div_ceil(TURNED);
    let shared = Shared::new(&mut out);
    each(groups * blocks, groups * outer * inner * some, |task| {
        let (group, block) = (task / blocks, task % blocks);
        let from = &weights[group * outer * inner * taps..];
        let first = block * TURNED;
        let rows = TURNED.min(inner - first);
        // SAFETY: every task writes rows of its own.
        let out = unsafe { shared.slice((group * inner + first) * outer * some, rows * outer * some) };
        turn(&from[first * taps..], inner * taps, taps, chosen, outer, rows, out);
    });
    out
}

/// Rows of turned weights that are written side by side.
const TURNED: usize = 16;

/// `out[i][o][·] = from[o · stride + i · taps + chosen[·]]`; `SOME` is the number of chosen taps, or 0 for any.
fn turn_block<const SOME: usize>(
    from: &[f32],
    stride: usize,
    taps: usize,
    chosen: &[usize],
    outer: usize,
    rows: usize,
    out: &mut [f32],
) {
    let some = if SOME == 0 { chosen.len() } else { SOME };
    assert!(chosen.len() == some && out.len() == rows * outer * some);
    for o in 0..outer {
        let from = &from[o * stride..][..rows * taps];
        for i in 0..rows {
            for t in 0..some {
                // SAFETY: `i < rows`, `o < outer` and `t < some` keep within `out`, whose length was checked; the
                // chosen taps are below `taps`, as the caller has checked.
                unsafe {
                    let x = *from.get_unchecked(i * taps + *chosen.get_unchecked(t));
                    *out.get_unchecked_mut((i * outer + o) * some + t) = x;
                }
            }
        }
    }
}
