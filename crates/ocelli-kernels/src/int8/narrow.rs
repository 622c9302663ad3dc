//! Depthwise convolution of few channels: several pixels in one vector.
//!
//! A vector of bytes holds the channels of as many neighbouring pixels as fit, so that few channels fill it. For that, input
//! rows are copied close together, with their padding; a stride parts columns by their remainder. Weights and parameters
//! are repeated for every pixel of a vector.

use core::ops::Range;

use super::depthwise::{Depthwise, padded};
use super::dot::{Dot, V};
use super::lanes::Lanes;
use super::requantiser::{Bounds, Parameters, Requantiser, by_mode};

/// Rows that are at hand: those of two rows of windows of five.
const RING: usize = 8;

/// Whether a layer's windows are known here.
pub(super) fn serves(x: &Depthwise) -> bool {
    let square = matches!(x.window.kernel, [3, 3] | [5, 5]);
    square && x.window.dilation == [1, 1] && matches!(x.window.stride, [1, 1] | [2, 2])
}

#[inline(always)]
pub(super) unsafe fn rows_of<D: Dot>(x: &Depthwise, rows: Range<usize>) {
    let pixels = D::L::BYTES / x.channels;
    let requantiser = x.requantiser.repeated(x.channels, pixels);
    // SAFETY: the caller's promise.
    unsafe {
        by_mode!(requantiser, |target, MODE| {
            let block = Narrow::<D, MODE>::new(x, &requantiser, pixels, Bounds::new(target));
            match (x.window.kernel, x.window.stride) {
                ([3, 3], [1, 1]) => block.run::<3, 1, 1>(rows),
                ([3, 3], [2, 2]) => block.run::<3, 1, 2>(rows),
                ([5, 5], [1, 1]) => block.run::<5, 2, 1>(rows),
                _ => block.run::<5, 2, 2>(rows),
            }
        }, else unreachable!("codes without a requantisation"));
    }
}

struct Narrow<'a, D: Dot, const MODE: u8> {
    x: &'a Depthwise<'a>,
    /// Pixels of a vector.
    pixels: usize,
    bounds: Bounds<D::L>,
    parameters: Parameters<D::L, MODE>,
    /// The bias, and what the kernel's offset leaves out.
    start: [V<D>; 4],
    /// Weights of four rows and a column, for every lane.
    weights: Vec<[V<D>; 4]>,
}

/// Copies the `n` bytes of a pixel, in words where they are whole ones: a call for every pixel would cost more.
#[inline(always)]
unsafe fn copy_pixel(from: *const u8, to: *mut u8, n: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if n.is_multiple_of(8) {
            for i in 0..n / 8 {
                to.cast::<u64>().add(i).write_unaligned(from.cast::<u64>().add(i).read_unaligned());
            }
        } else if n.is_multiple_of(4) {
            for i in 0..n / 4 {
                to.cast::<u32>().add(i).write_unaligned(from.cast::<u32>().add(i).read_unaligned());
            }
        } else {
            core::ptr::copy_nonoverlapping(from, to, n);
        }
    }
}

impl<'a, D: Dot, const MODE: u8> Narrow<'a, D, MODE> {
    #[inline(always)]
    unsafe fn new(
        x: &'a Depthwise<'a>,
        requantiser: &Requantiser,
        pixels: usize,
        bounds: Bounds<D::L>,
    ) -> Self {
        let [height, width] = x.window.kernel;
        let step = D::L::LANES;
        // SAFETY: parameters are padded; filters hold whole rows of channels.
        unsafe {
            let parameters = Parameters::<D::L, MODE>::load::<true>(requantiser, 0);
            let mut start = parameters.bias;
            let mut weights = Vec::with_capacity(height.div_ceil(4) * width);
            let none = D::each(D::L::splat(0));
            let mut lanes = [0i32; 64];
            for at in 0..height.div_ceil(4) * width {
                let own = x.filters.cast::<i32>().add(at * padded(x.channels));
                for (lane, place) in lanes.iter_mut().enumerate().take(pixels * x.channels) {
                    *place = own.add(lane % x.channels).read_unaligned();
                }
                let p = lanes.as_ptr();
                let own = D::L::arrange([
                    D::L::load(p),
                    D::L::load(p.add(step)),
                    D::L::load(p.add(2 * step)),
                    D::L::load(p.add(3 * step)),
                ]);
                if D::OFFSET > 0 {
                    for q in 0..4 {
                        let less = D::dot(D::L::splat(0), none, D::weights(own[q]));
                        start[q] = D::L::sub(start[q], less);
                    }
                }
                weights.push(own);
            }
            Self { x, pixels, bounds, parameters, start, weights }
        }
    }

    /// Columns of a copied row that have the same remainder, and bytes of such a row.
    fn extents<const SIZE: usize, const STRIDE: usize>(&self) -> (usize, usize) {
        let windows = self.x.output_size[1].next_multiple_of(self.pixels);
        let columns = ((windows - 1) * STRIDE + SIZE).max(self.x.input.width + self.x.window.pad[1]);
        let part = columns.div_ceil(STRIDE) * self.x.channels;
        (part, STRIDE * part + D::L::BYTES)
    }

    /// Copies input row `y` of a picture.
    #[inline(always)]
    unsafe fn copy<const STRIDE: usize>(&self, picture: usize, y: usize, part: usize, to: *mut u8) {
        let x = self.x;
        let (channels, pad) = (x.channels, x.window.pad[1]);
        // SAFETY: the row exists, and a copied row holds all of its columns.
        unsafe {
            let from = x.input.data.add(picture * x.input.picture + y * x.input.row);
            if STRIDE == 1 && x.input.pixel == channels {
                core::ptr::copy_nonoverlapping(from, to.add(pad * channels), x.input.width * channels);
                return;
            }
            for column in 0..x.input.width {
                let place = (column + pad) % STRIDE * part + (column + pad) / STRIDE * channels;
                copy_pixel(from.add(column * x.input.pixel), to.add(place), channels);
            }
        }
    }

    #[inline(always)]
    unsafe fn run<const SIZE: usize, const FOURS: usize, const STRIDE: usize>(&self, rows: Range<usize>) {
        let x = self.x;
        let (part, row_bytes) = self.extents::<SIZE, STRIDE>();
        let mut memory = vec![x.zero; (RING + 1) * row_bytes];
        let (ring, outside) = memory.split_at_mut(RING * row_bytes);
        let mut held = [None; RING];
        let height = x.output_size[0];
        // SAFETY: the caller's promise.
        unsafe {
            let none = D::weights(D::L::splat(0));
            let mut weights = [[[[none; 4]; FOURS]; SIZE]; 2];
            for kx in 0..SIZE {
                let mut carried = [D::L::splat(0); 4];
                for four in 0..FOURS {
                    let own = self.weights[four * SIZE + kx];
                    for q in 0..4 {
                        weights[0][kx][four][q] = D::weights(own[q]);
                        // One row lower; the fourth row becomes the fifth.
                        let lower = D::L::add(D::L::shl(own[q], D::L::splat(8)), carried[q]);
                        weights[1][kx][four][q] = D::weights(lower);
                        carried[q] = D::L::shr24(own[q]);
                    }
                }
            }
            let mut row = rows.start;
            while row < rows.end {
                let (picture, oy) = (row / height, row % height);
                let pair = STRIDE == 1 && row + 1 < rows.end && oy + 1 < height;
                let count = if pair { SIZE + 1 } else { SIZE };
                let mut lines = [outside.as_ptr(); RING];
                for (ky, line) in lines.iter_mut().enumerate().take(count) {
                    let y = x.window.source(0, oy, 0) + ky as isize;
                    if y < 0 || y >= x.input.height as isize {
                        continue;
                    }
                    let place = y as usize % RING;
                    let to = ring.as_mut_ptr().add(place * row_bytes);
                    if held[place] != Some((picture, y as usize)) {
                        self.copy::<STRIDE>(picture, y as usize, part, to);
                        held[place] = Some((picture, y as usize));
                    }
                    *line = to.cast_const();
                }
                if pair {
                    self.line::<SIZE, FOURS, STRIDE, 2>(row, &lines, part, &weights);
                    row += 2;
                } else {
                    self.line::<SIZE, FOURS, STRIDE, 1>(row, &lines, part, &weights);
                    row += 1;
                }
            }
        }
    }

    /// `ROWS` rows of windows from `row` on.
    #[inline(always)]
    unsafe fn line<const SIZE: usize, const FOURS: usize, const STRIDE: usize, const ROWS: usize>(
        &self,
        row: usize,
        lines: &[*const u8; RING],
        part: usize,
        weights: &[[[[D::W; 4]; FOURS]; SIZE]; 2],
    ) {
        let (width, channels) = (self.x.output_size[1], self.x.channels);
        let count = SIZE + ROWS - 1;
        let mut ox = 0;
        // SAFETY: copied rows hold whole vectors of windows.
        unsafe {
            while ox < width {
                let mut sums = [self.start; ROWS];
                for kx in 0..SIZE {
                    let at = kx % STRIDE * part + (ox + kx / STRIDE) * channels;
                    for four in 0..FOURS {
                        let mut rows = [D::L::splat_bytes(0); 4];
                        for i in 0..4 {
                            if 4 * four + i < count {
                                rows[i] = D::L::load_bytes(lines[4 * four + i].add(at));
                            }
                        }
                        let v = D::L::quads(rows);
                        for q in 0..4 {
                            let own = D::each(v[q]);
                            for r in 0..ROWS {
                                sums[r][q] = D::dot(sums[r][q], own, weights[r][kx][four][q]);
                            }
                        }
                    }
                }
                let n = self.pixels.min(width - ox);
                for r in 0..ROWS {
                    self.put((row + r) * width + ox, n, sums[r]);
                }
                ox += self.pixels;
            }
        }
    }

    /// Writes `n` pixels.
    #[inline(always)]
    unsafe fn put(&self, pixel: usize, n: usize, sums: [V<D>; 4]) {
        let (channels, stride) = (self.x.channels, self.x.output_stride);
        // SAFETY: the pixels lie in the output.
        unsafe {
            let b = self.bounds.apply(self.parameters.codes(sums, self.bounds.zero));
            let p = self.x.output.add(pixel * stride);
            if stride == channels {
                D::L::store_bytes_n(p, b, n * channels);
                return;
            }
            let mut whole = [0u8; 64];
            D::L::store_bytes(whole.as_mut_ptr(), b);
            for i in 0..n {
                copy_pixel(whole.as_ptr().add(i * channels), p.add(i * stride), channels);
            }
        }
    }
}
