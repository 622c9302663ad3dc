//! Adder convolution: the negative L1 distance of every window to every filter, and its own ways back.
//!
//! Source: Chen et al., "AdderNet: Do We Really Need Multiplications in Deep Learning?" (2020, arXiv 1912.13200). Padding is
//! zeros, which have a distance to the weights like any number. The gradients are the method's, not the derivatives: that of the
//! weights is the difference itself, that of the input the difference held within ±1.
//!
//! Forward and the gradient of the weights have the shape of matrix products, and share their packing and tiles; the gradient of
//! the input meets every tap with every pixel.

use crate::Isa;
use crate::gemm::{PANEL, adder_tile, packed_len, split};
use crate::simd::Simd;
use crate::train::conv::{ConvShape, add_bias, phases, turned};
use crate::train::lattice::Lattice;
use crate::train::parallel::{Shared, buffer, each};
use crate::train::product::{Left, Product, Target};
use crate::train::weights;

fn check(shape: &ConvShape) {
    assert!(shape.groups == 1, "adder convolutions have no groups, not {}", shape.groups);
}

/// `output = -Σ |weights - input|`: `[batch, channels_in, height, width]` → `[batch, channels_out, height', width']`; `bias` is
/// `[channels_out]`.
///
/// # Panics
/// If a slice does not have the extent `shape` says, or there are groups.
pub fn forward(
    isa: Isa,
    shape: &ConvShape,
    input: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
) -> Vec<f32> {
    check(shape);
    assert_eq!(input.len(), shape.input_len(), "input of {shape:?}");
    assert_eq!(weights.len(), shape.weights_len(), "weights of {shape:?}");
    let mut output = buffer(shape.output_len());
    if output.is_empty() {
        return output;
    }
    let lattice = shape.lattice();
    let [height, width] = shape.output();
    let target = Target {
        size: [height, width],
        stride: [1, 1],
        offset: [0, 0],
        picture: shape.channels_out * height * width,
    };
    let product = Product {
        lattice: &lattice,
        target: &target,
        map: input,
        channels: shape.channels_in,
        batch: shape.batch,
        left: Left::Straight(weights),
        rows: shape.channels_out,
        out: Shared::new(&mut output),
        out_start: 0,
        accumulate: false,
    };
    product.run_by(isa, adder_tile);
    let plane = height * width;
    let shared = Shared::new(&mut output);
    each(shape.batch * shape.channels_out, shape.output_len(), |i| {
        // SAFETY: every task has a plane of its own.
        unsafe { shared.slice(i * plane, plane) }.iter_mut().for_each(|y| *y = -*y);
    });
    if let Some(bias) = bias {
        assert_eq!(bias.len(), shape.channels_out);
        add_bias(&mut output, bias, plane);
    }
    output
}

/// Gradient of the weights as the method has it: `Σ (input - weights) · grad` over all windows, not yet scaled.
///
/// # Panics
/// If a slice does not have the extent `shape` says, or there are groups.
pub fn backward_weights(
    isa: Isa,
    shape: &ConvShape,
    input: &[f32],
    weights: &[f32],
    grad: &[f32],
) -> Vec<f32> {
    check(shape);
    assert_eq!(input.len(), shape.input_len(), "input of {shape:?}");
    assert_eq!(weights.len(), shape.weights_len(), "weights of {shape:?}");
    assert_eq!(grad.len(), shape.output_len(), "gradient of {shape:?}");
    // The products with the pixels are an ordinary convolution's; those with the weights are sums of the gradient.
    let mut raw = weights::gradient(isa, shape, input, grad);
    let [height, width] = shape.output();
    let sums = super::conv::backward_bias(grad, shape.channels_out, height * width);
    let filter = (raw.len() / shape.channels_out.max(1)).max(1);
    for ((raw, weights), sum) in raw.chunks_exact_mut(filter).zip(weights.chunks_exact(filter)).zip(sums) {
        for (raw, weight) in raw.iter_mut().zip(weights) {
            *raw -= weight * sum;
        }
    }
    raw
}

/// Scales the raw gradient of a layer's weights to the length `eta · sqrt(elements)`: the method's learning rate of a layer. A gradient
/// of nothing but zeros stays one.
pub fn adapt(raw: &mut [f32], eta: f32) {
    let length = raw.iter().map(|g| f64::from(*g) * f64::from(*g)).sum::<f64>().sqrt();
    let factor = f64::from(eta) * (raw.len() as f64).sqrt() / length.max(1e-12);
    raw.iter_mut().for_each(|g| *g = (f64::from(*g) * factor) as f32);
}

/// Panels of pixels that a task holds.
const PANELS: usize = 4;

/// Pixels that a task holds.
const BLOCK: usize = PANELS * PANEL;

/// Channels of a task.
const ROWS: usize = 64;

/// Terms that are packed at once.
const DEPTH: usize = 320;

/// Gradient of the input: `Σ clamp(weights - input, -1, 1) · grad` over all windows that hold the pixel.
///
/// # Panics
/// If a slice does not have the extent `shape` says, or there are groups.
pub fn backward_data(isa: Isa, shape: &ConvShape, input: &[f32], weights: &[f32], grad: &[f32]) -> Vec<f32> {
    check(shape);
    assert_eq!(input.len(), shape.input_len(), "input of {shape:?}");
    assert_eq!(weights.len(), shape.weights_len(), "weights of {shape:?}");
    assert_eq!(grad.len(), shape.output_len(), "gradient of {shape:?}");
    let mut input_grad = buffer(shape.input_len());
    let [height, width] = shape.output();
    let area_in = shape.size[0] * shape.size[1];
    let phases = phases(shape);
    if grad.is_empty() || phases.iter().any(|phase| phase.taps.is_empty()) {
        input_grad.fill(0.0);
    }
    if grad.is_empty() {
        return input_grad;
    }
    for phase in phases.iter().filter(|phase| !phase.taps.is_empty()) {
        let turned =
            turned(isa, weights, 1, shape.channels_out, shape.channels_in, shape.taps(), &phase.taps);
        let lattice = Lattice {
            grid: phase.grid,
            stride: [1, 1],
            taps: phase.offsets.clone(),
            size: [height, width],
            picture: shape.channels_out * height * width,
        };
        let columns = shape.batch * lattice.area();
        let parts: Vec<_> = split(shape.channels_in, ROWS).collect();
        let depth = shape.channels_out * phase.taps.len();
        let back = Back { shape, lattice: &lattice, start: phase.start, turned: &turned, depth };
        let shared = Shared::new(&mut input_grad);
        each(columns.div_ceil(BLOCK) * parts.len(), columns * depth * shape.channels_in, |task| {
            let (row, rows) = parts[task % parts.len()];
            let first = task / parts.len() * BLOCK;
            back.block(isa, input, grad, [row, rows], first..(first + BLOCK).min(columns), shared, area_in);
        });
    }
    input_grad
}

/// What the blocks of a phase share.
struct Back<'a> {
    shape: &'a ConvShape,
    lattice: &'a Lattice,
    start: [usize; 2],
    /// `[channels_in][depth]`
    turned: &'a [f32],
    depth: usize,
}

impl Back<'_> {
    fn block(
        &self,
        isa: Isa,
        input: &[f32],
        grad: &[f32],
        [row, rows]: [usize; 2],
        columns: core::ops::Range<usize>,
        out: Shared<'_>,
        area_in: usize,
    ) {
        let shape = self.shape;
        // Where the columns are in a plane of the input.
        let area = self.lattice.area();
        let places: Vec<usize> = columns
            .clone()
            .map(|q| {
                let (picture, rest) = (q / area, q % area);
                let y = rest / self.lattice.grid[1] * shape.stride[0] + self.start[0];
                let x = rest % self.lattice.grid[1] * shape.stride[1] + self.start[1];
                picture * shape.channels_in * area_in + y * shape.size[1] + x
            })
            .collect();
        let mut own = vec![0.0f32; rows * BLOCK];
        for (r, own) in own.chunks_exact_mut(BLOCK).enumerate() {
            for (x, place) in own.iter_mut().zip(&places) {
                *x = input[place + (row + r) * area_in];
            }
        }
        let mut sums = vec![0.0f32; rows * BLOCK];
        let taps = self.lattice.taps.len();
        let at_once = (DEPTH / taps).max(1);
        let mut packed = buffer(packed_len(at_once.min(shape.channels_out) * taps, BLOCK));
        let panels = columns.len().div_ceil(PANEL);
        for (channel, some) in split(shape.channels_out, at_once) {
            let depth = some * taps;
            for panel in 0..panels {
                let first = columns.start + panel * PANEL;
                let range = first..(first + PANEL).min(columns.end);
                // SAFETY: the columns and channels exist, and the panel has room for all rows.
                unsafe {
                    let to = packed.as_mut_ptr().add(panel * depth * PANEL);
                    self.lattice.pack(isa, grad.as_ptr(), channel..channel + some, range, to, PANEL);
                }
            }
            let block = Block {
                x: own.as_ptr(),
                sums: sums.as_mut_ptr(),
                w: self.turned[row * self.depth + channel * taps..].as_ptr(),
                w_stride: self.depth,
                g: packed.as_ptr(),
                depth,
                rows,
                panels,
            };
            // SAFETY: all buffers were made for these extents.
            unsafe { clamped(isa, &block) };
        }
        for (r, sums) in sums.chunks_exact(BLOCK).enumerate() {
            for (sum, place) in sums.iter().zip(&places) {
                // SAFETY: inside of the map; every task has pixels and channels of its own.
                unsafe { *out.at(place + (row + r) * area_in) = *sum };
            }
        }
    }
}

/// `sums[r][j] += Σ_k clamp(w[r][k] - x[r][j], -1, 1) · g[k][j]` for rows of `x` and `sums` of [`BLOCK`] numbers, `g` in panels.
#[derive(Clone, Copy)]
struct Block {
    x: *const f32,
    sums: *mut f32,
    w: *const f32,
    w_stride: usize,
    g: *const f32,
    depth: usize,
    rows: usize,
    panels: usize,
}

/// Vectors of one panel on the narrowest instruction set.
const VECTORS: usize = 4;

#[inline(always)]
unsafe fn clamped_tile<S: Simd, const ROWS: usize, const PANELS: usize>(b: &Block, row: usize, panel: usize) {
    let vectors = PANEL / S::LANES;
    // SAFETY: the caller's promise.
    unsafe {
        let (one, minus) = (S::splat(1.0), S::splat(-1.0));
        let mut x = [[[S::splat(0.0); VECTORS]; PANELS]; ROWS];
        let mut acc = [[[S::splat(0.0); VECTORS]; PANELS]; ROWS];
        let at = |m: usize, p: usize, v: usize| (row + m) * BLOCK + (panel + p) * PANEL + v * S::LANES;
        for m in 0..ROWS {
            for p in 0..PANELS {
                for v in 0..vectors {
                    x[m][p][v] = S::load(b.x.add(at(m, p, v)));
                    acc[m][p][v] = S::load(b.sums.add(at(m, p, v)));
                }
            }
        }
        let w = b.w.add(row * b.w_stride);
        for k in 0..b.depth {
            let mut g = [[S::splat(0.0); VECTORS]; PANELS];
            for p in 0..PANELS {
                for v in 0..vectors {
                    g[p][v] = S::load(b.g.add(((panel + p) * b.depth + k) * PANEL + v * S::LANES));
                }
            }
            for m in 0..ROWS {
                let w = S::splat(*w.add(m * b.w_stride + k));
                for p in 0..PANELS {
                    for v in 0..vectors {
                        let d = S::max(minus, S::min(one, S::sub(w, x[m][p][v])));
                        acc[m][p][v] = S::fma(d, g[p][v], acc[m][p][v]);
                    }
                }
            }
        }
        for m in 0..ROWS {
            for p in 0..PANELS {
                for v in 0..vectors {
                    S::store(b.sums.add(at(m, p, v)), acc[m][p][v]);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn clamped_of<S: Simd>(b: &Block) {
    // SAFETY: the caller's promise; tiles cover rows and panels once.
    unsafe {
        if S::LANES == 16 {
            strips::<S, 6, 2>(b);
        } else {
            strips::<S, 2, 1>(b);
        }
    }
}

#[inline(always)]
unsafe fn strips<S: Simd, const ROWS: usize, const PANELS: usize>(b: &Block) {
    let (whole_panels, whole_rows) = (b.panels / PANELS * PANELS, b.rows / ROWS * ROWS);
    // SAFETY: as above.
    unsafe {
        for panel in (0..whole_panels).step_by(PANELS) {
            for row in (0..whole_rows).step_by(ROWS) {
                clamped_tile::<S, ROWS, PANELS>(b, row, panel);
            }
            for row in whole_rows..b.rows {
                clamped_tile::<S, 1, PANELS>(b, row, panel);
            }
        }
        for panel in whole_panels..b.panels {
            for row in (0..whole_rows).step_by(ROWS) {
                clamped_tile::<S, ROWS, 1>(b, row, panel);
            }
            for row in whole_rows..b.rows {
                clamped_tile::<S, 1, 1>(b, row, panel);
            }
        }
    }
}

crate::dispatch! {
    fn clamped(b: &Block) = clamped_of;
}
