//! Fully connected layers over rows: the product with the weights and its two ways back.
//!
//! Weights are `[features_out, features_in]`, as PyTorch stores them. Each of the three products packs the smaller operand
//! of a pass into panels and reads the other row by row; of the gradient of the weights, the output's gradient is
//! transposed block by block while it is in cache, which gives the bias's gradient on the way.

use crate::Isa;
use crate::gemm::{Epilogue, PANEL, Product, packed_len, panels, product, split};
use crate::rows;
use crate::train::pack::{Right, SIDE, turn};
use crate::train::parallel::{Shared, buffer, each};

/// Extents of a fully connected layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearShape {
    /// Rows of the input: the product of all dimensions but the last.
    pub rows: usize,
    /// Elements of an input row.
    pub features_in: usize,
    /// Elements of an output row.
    pub features_out: usize,
}

impl LinearShape {
    /// Elements of the input.
    pub fn input_len(&self) -> usize {
        self.rows * self.features_in
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        self.rows * self.features_out
    }

    /// Elements of the weights.
    pub fn weights_len(&self) -> usize {
        self.features_out * self.features_in
    }
}

/// Elements of the panels that are packed at once: half of a second-level cache of a megabyte or two.
const GROUP: usize = 1 << 18;

/// Rows a task takes at least, and multiply-accumulates it should be worth.
const ROWS: usize = 96;
const WORTH: usize = 1 << 20;

/// Rows summed per pass of the weights' gradient.
const PASS: usize = 1024;

/// Pieces the weights' gradient is cut into at least, where it is large enough.
const PIECES: usize = 8;

/// Most elements of partial sums.
const PARTIAL: usize = 1 << 20;

/// `x · weightᵀ + bias`: `[rows, features_in]` → `[rows, features_out]`.
///
/// # Panics
/// If a slice does not have the extent `shape` says.
pub fn forward(isa: Isa, shape: LinearShape, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let LinearShape { rows, features_in, features_out } = shape;
    assert!(x.len() == shape.input_len() && weight.len() == shape.weights_len(), "{shape:?}");
    assert!(bias.is_none_or(|bias| bias.len() == features_out), "{shape:?}");
    let right = Right::Turned(weight.as_ptr(), features_in);
    // SAFETY: the weights have `features_in` rows and `features_out` columns, turned.
    unsafe { multiply(isa, x, [rows, features_in, features_out], right, bias) }
}

/// Gradient of the input: `grad · weight`, `[rows, features_in]`.
///
/// # Panics
/// As [`forward`].
pub fn backward_input(isa: Isa, shape: LinearShape, grad: &[f32], weight: &[f32]) -> Vec<f32> {
    let LinearShape { rows, features_in, features_out } = shape;
    assert!(grad.len() == shape.output_len() && weight.len() == shape.weights_len(), "{shape:?}");
    let right = Right::Straight(weight.as_ptr(), features_in);
    // SAFETY: the weights have `features_out` rows and `features_in` columns.
    unsafe { multiply(isa, grad, [rows, features_out, features_in], right, None) }
}

/// `left · right + bias`, the left operand `[rows][depth]`.
///
/// # Safety
/// The right operand must have `depth` rows and `columns` columns.
unsafe fn multiply(
    isa: Isa,
    left: &[f32],
    [rows, depth, columns]: [usize; 3],
    right: Right,
    bias: Option<&[f32]>,
) -> Vec<f32> {
    let mut out = buffer(rows * columns);
    if depth == 0 {
        for row in out.chunks_exact_mut(columns.max(1)) {
            match bias {
                Some(bias) => row.copy_from_slice(bias),
                None => row.fill(0.0),
            }
        }
        return out;
    }
    // Tiles read whole panels of it.
    let bias = bias.map(|bias| {
        let mut whole = vec![0.0; panels(columns) * PANEL];
        whole[..columns].copy_from_slice(bias);
        whole
    });
    let most = (GROUP / (depth * PANEL)).next_multiple_of(4).max(4);
    let operand = Operand(right);
    let shared = Shared::new(&mut out);
    for (first, count) in split(panels(columns), most) {
        let here = (columns - first * PANEL).min(count * PANEL);
        let mut packed = buffer(packed_len(depth, here));
        {
            let packed = Shared::new(&mut packed);
            each(count.div_ceil(SIDE), 4 * depth * here, |task| {
                let panel = task * SIDE;
                let width = (here - panel * PANEL).min(SIDE * PANEL);
                // SAFETY: the columns exist, and the panels are this task's own.
                unsafe {
                    let out = packed.at(panel * depth * PANEL);
                    operand.right().starting_at((first + panel) * PANEL).pack(isa, depth, width, out);
                }
            });
        }
        let per = (WORTH / (depth * here)).div_ceil(ROWS).max(1) * ROWS;
        let parts: Vec<_> = split(rows, per).collect();
        each(parts.len(), rows * depth * here, |part| {
            let (row, n) = parts[part];
            // SAFETY: rows and panels lie in the operands; the rows of the result are this task's own.
            unsafe {
                let epilogue = match &bias {
                    Some(bias) => Epilogue { bias: bias[first * PANEL..].as_ptr(), ..Epilogue::NONE },
                    None => Epilogue::NONE,
                };
                let own = Product {
                    a: left.as_ptr(),
                    a_stride: depth,
                    b: packed.as_ptr(),
                    depth,
                    columns: here,
                    c: shared.at(first * PANEL),
                    c_stride: columns,
                    accumulate: false,
                    epilogue,
                };
                product(isa, &own, row..row + n, 0..count);
            }
        });
    }
    out
}

/// A matrix that tasks read.
#[derive(Clone, Copy)]
struct Operand(Right);

// SAFETY: it is only read, and outlives the tasks.
unsafe impl Sync for Operand {}

impl Operand {
    fn right(&self) -> Right {
        self.0
    }
}

/// Gradients of the weights, `gradᵀ · x` as `[features_out, features_in]`, and of the bias `[features_out]`.
///
/// # Panics
/// As [`forward`].
pub fn backward_weights(isa: Isa, shape: LinearShape, x: &[f32], grad: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let LinearShape { rows, features_in, features_out } = shape;
    assert!(x.len() == shape.input_len() && grad.len() == shape.output_len(), "{shape:?}");
    let len = shape.weights_len();
    let (mut weights, mut bias) = (buffer(len), buffer(features_out));
    if rows == 0 {
        weights.fill(0.0);
        bias.fill(0.0);
        return (weights, bias);
    }
    let width = panels(features_in) * PANEL;
    let passes: Vec<_> = split(rows, PASS).collect();
    let mut packed = buffer(rows * width);
    {
        let packed = Shared::new(&mut packed);
        let strips = panels(features_in).div_ceil(SIDE);
        each(passes.len() * strips, 4 * rows * width, |task| {
            let ((row, n), panel) = (passes[task / strips], task % strips * SIDE);
            let columns = (features_in - panel * PANEL).min(SIDE * PANEL);
            // SAFETY: the rows and columns exist; the panels are this task's own.
            unsafe {
                let from = x[row * features_in + panel * PANEL..].as_ptr();
                let out = packed.at(row * width + panel * n * PANEL);
                Right::Straight(from, features_in).pack(isa, n, columns, out);
            }
        });
    }
    let blocks: Vec<_> = split(features_out, ROWS).collect();
    let wanted = PIECES.div_ceil(blocks.len().max(1)).min(PARTIAL / len.max(1)).clamp(1, passes.len());
    let shares: Vec<_> = split(passes.len(), passes.len().div_ceil(wanted)).collect();
    let mut partial = buffer((shares.len() - 1) * (len + features_out));
    {
        let (weights, bias) = (Shared::new(&mut weights), Shared::new(&mut bias));
        let others = Shared::new(&mut partial);
        each(shares.len() * blocks.len(), rows * len, |task| {
            let (share, (first, height)) = (task / blocks.len(), blocks[task % blocks.len()]);
            let (pass, count) = shares[share];
            // SAFETY: the rows of this block, and their sums, are this task's own.
            let (to_weights, to_bias) = unsafe {
                if share == 0 {
                    (weights.at(0), bias.at(0))
                } else {
                    let start = (share - 1) * (len + features_out);
                    (others.at(start), others.at(start + len))
                }
            };
            let passes = &passes[pass..pass + count];
            // Rows a power of two apart would all fall into the same few lines of the cache.
            let stride = passes.iter().map(|pass| pass.1).max().unwrap_or(0).next_multiple_of(PANEL) + PANEL;
            let mut turned = buffer(height * stride);
            for (index, &(row, n)) in passes.iter().enumerate() {
                // SAFETY: the operands are as large as described; the results are as above.
                unsafe {
                    let from = grad[row * features_out + first..].as_ptr();
                    turn(isa, from, features_out, n, height, turned.as_mut_ptr(), stride);
                    for i in 0..height {
                        let sum = rows::sum(isa, turned[i * stride..].as_ptr(), n);
                        let to = to_bias.add(first + i);
                        *to = if index == 0 { sum } else { *to + sum };
                    }
                    let own = Product {
                        a: turned.as_ptr(),
                        a_stride: stride,
                        b: packed[row * width..].as_ptr(),
                        depth: n,
                        columns: features_in,
                        c: to_weights.add(first * features_in),
                        c_stride: features_in,
                        accumulate: index > 0,
                        epilogue: Epilogue::NONE,
                    };
                    product(isa, &own, 0..height, 0..panels(features_in));
                }
            }
        });
    }
    for share in partial.chunks_exact((len + features_out).max(1)) {
        for (sum, x) in weights.iter_mut().chain(&mut bias).zip(share) {
            *sum += x;
        }
    }
    (weights, bias)
}
