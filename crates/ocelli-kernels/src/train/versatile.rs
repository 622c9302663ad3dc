//! Convolution with versatile filters: all maps of nested kernels for the price of the largest.
//!
//! The cores of a filter are parts of it. Summed from the inside out, its sum is that of the smallest core after the
//! first taps, of the next larger one after one more ring, and so on: `k²` products per filter and channel instead of
//! `k² + (k-2)² + ...`.

use crate::Isa;
use crate::train::conv::{ConvShape, add_bias};
use crate::train::parallel::{Shared, buffer, each};
use crate::train::product::{Left, Product, Target};

/// Extents of a convolution with versatile filters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersatileShape {
    /// The convolution with the whole stored filters, of which it has `channels_out`.
    pub conv: ConvShape,
    /// Nested kernels, the whole one included.
    pub nests: usize,
    /// Channels that a channel window leaves out; none in a grouped convolution.
    pub delta: usize,
    /// Channels from one window to the next.
    pub step: usize,
    /// Whether a window meets the filter's channels of the same numbers, rather than always its first ones.
    pub mask: bool,
}

impl VersatileShape {
    /// Channel windows.
    pub fn windows(&self) -> usize {
        self.delta / self.step.max(1) + 1
    }

    /// Maps of the output: a block of as many as there are stored filters for every kernel, the largest first, and every
    /// window.
    pub fn maps(&self) -> usize {
        self.conv.channels_out * self.nests * self.windows()
    }

    fn check(&self) {
        self.conv.check();
        let smallest = self.conv.kernel[0].min(self.conv.kernel[1]);
        assert!(
            self.nests > 0 && 2 * (self.nests - 1) < smallest,
            "{} nested kernels in {smallest}",
            self.nests
        );
        assert!(self.delta == 0 || self.conv.groups == 1, "channel windows in groups");
        assert!(
            self.delta < self.conv.channels_in,
            "windows without any of {} channels",
            self.conv.channels_in
        );
    }

    /// The taps that kernel `nest` has beyond the next smaller one.
    fn ring(&self, nest: usize) -> Vec<usize> {
        let [height, width] = self.conv.kernel;
        let inside = |nest: usize, y: usize, x: usize| {
            (nest..height - nest).contains(&y) && (nest..width - nest).contains(&x)
        };
        let last = nest + 1 == self.nests;
        (0..height * width)
            .filter(|tap| {
                let (y, x) = (tap / width, tap % width);
                inside(nest, y, x) && (last || !inside(nest + 1, y, x))
            })
            .collect()
    }
}

/// `[batch, channels_in, height, width]` → `[batch, maps, height', width']`; `bias` is `[maps]`.
///
/// # Panics
/// If a slice does not have the extent `shape` says.
pub fn forward(
    isa: Isa,
    shape: &VersatileShape,
    input: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
) -> Vec<f32> {
    shape.check();
    let conv = &shape.conv;
    assert_eq!(input.len(), conv.input_len(), "input of {shape:?}");
    assert_eq!(weights.len(), conv.weights_len(), "weights of {shape:?}");
    let [height, width] = conv.output();
    let (area, plane) = (height * width, conv.size[0] * conv.size[1]);
    let (block, picture) = (conv.channels_out * area, shape.maps() * area);
    let mut output = buffer(conv.batch * picture);
    if output.is_empty() {
        return output;
    }
    let (rows, channels) = (conv.channels_out / conv.groups, conv.channels_in / conv.groups);
    let depth = channels - shape.delta;
    let target = Target { size: [height, width], stride: [1, 1], offset: [0, 0], picture };
    let shared = Shared::new(&mut output);
    for nest in (0..shape.nests).rev() {
        let ring = shape.ring(nest);
        let mut lattice = conv.lattice();
        lattice.taps = ring.iter().map(|&tap| lattice.taps[tap]).collect();
        let of_ring = |first| ring_weights(conv, weights, first, depth, &ring);
        let mut left = of_ring(0);
        for window in 0..shape.windows() {
            let at = window * shape.step;
            if shape.mask && window > 0 {
                left = of_ring(at);
            }
            let start = (nest * shape.windows() + window) * block;
            let inner = nest + 1 < shape.nests;
            if inner {
                copy_blocks(conv.batch, picture, start + shape.windows() * block, start, block, shared);
            }
            let group_len = rows * depth * ring.len();
            each(conv.groups, conv.batch * area * group_len * conv.groups, |group| {
                let product = Product {
                    lattice: &lattice,
                    target: &target,
                    map: &input[(group * channels + at) * plane..],
                    channels: depth,
                    batch: conv.batch,
                    left: Left::Straight(&left[group * group_len..][..group_len]),
                    rows,
                    out: shared,
                    out_start: start + group * rows * area,
                    accumulate: inner,
                };
                product.run(isa);
            });
        }
    }
    if let Some(bias) = bias {
        assert_eq!(bias.len(), shape.maps());
        add_bias(&mut output, bias, area);
    }
    output
}

/// `[filters][depth][ring]`: the weights under the taps `ring` of `depth` channels from `first` on.
fn ring_weights(conv: &ConvShape, weights: &[f32], first: usize, depth: usize, ring: &[usize]) -> Vec<f32> {
    let taps = conv.taps();
    let row = conv.channels_in / conv.groups * taps;
    let mut out = buffer(conv.channels_out * depth * ring.len());
    let shared = Shared::new(&mut out);
    let len = depth * ring.len();
    each(conv.channels_out, conv.channels_out * len, |filter| {
        // SAFETY: every task writes the weights of one filter.
        let out = unsafe { shared.slice(filter * len, len) };
        let filter = &weights[filter * row + first * taps..][..depth * taps];
        for (out, filter) in out.chunks_exact_mut(ring.len()).zip(filter.chunks_exact(taps)) {
            for (out, &tap) in out.iter_mut().zip(ring) {
                *out = filter[tap];
            }
        }
    });
    out
}

/// Copies `len` elements from `from` to `to` in every picture; the two do not overlap.
fn copy_blocks(pictures: usize, picture: usize, from: usize, to: usize, len: usize, map: Shared) {
    const PIECE: usize = 1 << 14;
    let pieces = len.div_ceil(PIECE);
    each(pictures * pieces, pictures * len, |task| {
        let (start, at) = (task / pieces * picture, task % pieces * PIECE);
        let n = PIECE.min(len - at);
        // SAFETY: every task writes a range of its own and reads one that nobody writes.
        unsafe {
            let (from, to) = (map.at(start + from + at), map.at(start + to + at));
            core::ptr::copy_nonoverlapping(from, to, n);
        }
    });
}
