//! Depthwise convolution of codes: channels in lanes, rows of the window in groups of four.
//!
//! The codes of four rows at one column are interleaved to groups once; every window that covers the column takes
//! them from registers, and with stride 1 so does the next row of windows, whose weights sit one row lower.

use core::ops::Range;

use super::Isa;
use super::conv::MapIn;
use super::dot::{Dot, Kernel, V, dispatch_dot};
use super::lanes::Lanes;
use super::narrow;
#[cfg(target_arch = "x86_64")]
use super::paired;
use super::requantiser::{Bounds, Parameters, Requantiser, by_mode};
use super::weights::Group;
use crate::conv::Window;

/// Channels beyond the last that vectors may read of filters.
const SLACK: usize = 64;

/// Filters packed for every instruction set: `[rows / 4][columns][channels][4]`, the last being four rows of the
/// window (zeros beyond it); channels are filled up with zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filters {
    /// The weights.
    pub groups: Vec<Group>,
    /// Sum of the weights of every channel.
    pub sums: Vec<i32>,
}

impl Filters {
    /// Packs filters `[channels, 1, height, width]`.
    pub fn new(weights: &[i8], channels: usize, [height, width]: [usize; 2]) -> Self {
        let row = padded(channels);
        let mut groups = vec![Group([0; 64]); height.div_ceil(4) * width * row / 16];
        let mut sums = vec![0; channels];
        for (c, own) in weights.chunks_exact((height * width).max(1)).enumerate().take(channels) {
            for (tap, &weight) in own.iter().enumerate() {
                let (y, x) = (tap / width, tap % width);
                let place = (y / 4 * width + x) * row + c;
                groups[place / 16].0[place % 16 * 4 + y % 4] = weight;
                sums[c] += i32::from(weight);
            }
        }
        Self { groups, sums }
    }

    /// The weights as the kernel takes them.
    pub fn data(&self) -> *const i8 {
        self.groups.as_ptr().cast()
    }
}

/// Channels of packed filters, with those that are filled up.
pub const fn padded(channels: usize) -> usize {
    channels.next_multiple_of(64) + SLACK
}

/// A depthwise convolution.
#[derive(Clone, Copy, Debug)]
pub struct Depthwise<'a> {
    /// The input.
    pub input: MapIn,
    /// The window.
    pub window: Window,
    /// Channels.
    pub channels: usize,
    /// The input's zero point, which lies beyond the edges.
    pub zero: u8,
    /// Packed [`Filters`] of all channels.
    pub filters: *const i8,
    /// A promise that all weights are in `-63..=63`.
    pub seven_bits: bool,
    /// Output extent `[height, width]`.
    pub output_size: [usize; 2],
    /// How sums become codes; the bias holds the input's zero point (see
    /// [`fold_zero`](super::weights::fold_zero)).
    pub requantiser: &'a Requantiser,
    /// The output; pixels are `output_stride` apart throughout the batch.
    pub output: *mut u8,
    /// Codes from one output pixel to the next.
    pub output_stride: usize,
}

/// Bytes of the input that one pass over the channels may touch: more would leave the second-level cache before the
/// next vector of channels comes by.
pub(super) const PASS: usize = 256 << 10;

#[inline(always)]
unsafe fn rows_of<D: Dot>(x: &Depthwise, rows: Range<usize>, channels: Range<usize>) {
    let per_row = x.input.width * x.input.pixel * x.window.stride[0];
    // Even, as rows go in pairs.
    let at_once = (PASS / per_row.max(1)).max(1).next_multiple_of(2);
    let mut start = rows.start;
    while start < rows.end {
        let some = start..(start + at_once).min(rows.end);
        let mut c = channels.start;
        while c < channels.end {
            // Whole vectors where there are any: the last may overlap the one before.
            if channels.len() >= D::L::BYTES {
                c = c.min(channels.end - D::L::BYTES);
            }
            let n = (channels.end - c).min(D::L::BYTES);
            // SAFETY: the caller's promise.
            unsafe {
                by_mode!(x.requantiser, |target, MODE| {
                    let block = Block::<D, MODE>::new(x, c, n, Bounds::new(target));
                    match (x.window.kernel, x.window.stride, x.window.dilation) {
                        ([3, 3], [1, 1], [1, 1]) => block.run::<3, 1, 1>(&some),
                        ([3, 3], [2, 2], [1, 1]) => block.run::<3, 1, 2>(&some),
                        ([5, 5], [1, 1], [1, 1]) => block.run::<5, 2, 1>(&some),
                        ([5, 5], [2, 2], [1, 1]) => block.run::<5, 2, 2>(&some),
                        _ => block.any_window(&some),
                    }
                }, else unreachable!("codes without a requantisation"));
            }
            c += n;
        }
        start = some.end;
    }
}

/// A vector of channels.
#[derive(Clone, Copy)]
struct Block<'a, D: Dot, const MODE: u8> {
    x: &'a Depthwise<'a>,
    channel: usize,
    n: usize,
    bounds: Bounds<D::L>,
    parameters: Parameters<D::L, MODE>,
    /// The bias, and what the kernel's offset leaves out.
    start: [V<D>; 4],
}

impl<'a, D: Dot, const MODE: u8> Block<'a, D, MODE> {
    #[inline(always)]
    unsafe fn new(x: &'a Depthwise<'a>, channel: usize, n: usize, bounds: Bounds<D::L>) -> Self {
        // SAFETY: parameters and filters are padded.
        unsafe {
            let parameters = Parameters::<D::L, MODE>::load::<true>(x.requantiser, channel);
            let mut block = Self { x, channel, n, bounds, parameters, start: parameters.bias };
            if D::OFFSET > 0 {
                let none = D::each(D::L::splat(0));
                let [height, width] = x.window.kernel;
                for i in 0..height.div_ceil(4) * width {
                    let weights = block.weights(i);
                    for q in 0..4 {
                        // Zeros less the offset.
                        let less = D::dot(D::L::splat(0), none, D::weights(weights[q]));
                        block.start[q] = D::L::sub(block.start[q], less);
                    }
                }
            }
            block
        }
    }

    /// Weights of four rows and a column, in block order.
    #[inline(always)]
    unsafe fn weights(&self, at: usize) -> [V<D>; 4] {
        // SAFETY: filters are padded.
        unsafe {
            let p = self.x.filters.cast::<i32>().add(at * padded(self.x.channels) + self.channel);
            let step = D::L::LANES;
            D::L::arrange([
                D::L::load(p),
                D::L::load(p.add(step)),
                D::L::load(p.add(2 * step)),
                D::L::load(p.add(3 * step)),
            ])
        }
    }

    #[inline(always)]
    unsafe fn read(&self, p: *const u8) -> <D::L as Lanes>::B {
        // SAFETY: the caller's promise.
        unsafe { if self.n == D::L::BYTES { D::L::load_bytes(p) } else { D::L::load_bytes_n(p, self.n) } }
    }

    #[inline(always)]
    unsafe fn put(&self, pixel: usize, sums: [V<D>; 4]) {
        // SAFETY: the pixel lies in the output.
        unsafe {
            let b = self.bounds.apply(self.parameters.codes(sums, self.bounds.zero));
            let p = self.x.output.add(pixel * self.x.output_stride + self.channel);
            if self.n == D::L::BYTES { D::L::store_bytes(p, b) } else { D::L::store_bytes_n(p, b, self.n) }
        }
    }

    /// Where the rows under a window begin, and how far apart their pixels are: 0 for rows beyond the edges.
    #[inline(always)]
    fn lines(&self, row: usize, padding: *const u8, count: usize) -> [(*const u8, usize); 8] {
        let x = self.x;
        let (picture, oy) = (row / x.output_size[0], row % x.output_size[0]);
        let base = x.input.data.wrapping_add(picture * x.input.picture + self.channel);
        core::array::from_fn(|ky| {
            let y = x.window.source(0, oy, 0) + ky as isize;
            if ky < count && y >= 0 && y < x.input.height as isize {
                (base.wrapping_add(y as usize * x.input.row), x.input.pixel)
            } else {
                (padding, 0)
            }
        })
    }

    /// Windows of `SIZE × SIZE`, undilated, `STRIDE` apart: two rows at once with stride 1. `FOURS` is the number of
    /// fours of rows.
    #[inline(always)]
    unsafe fn run<const SIZE: usize, const FOURS: usize, const STRIDE: usize>(&self, rows: &Range<usize>) {
        // SAFETY: the caller's promise.
        unsafe {
            let none = D::weights(D::L::splat(0));
            let mut weights = [[[[none; 4]; FOURS]; SIZE]; 2];
            for kx in 0..SIZE {
                let mut carried = [D::L::splat(0); 4];
                for four in 0..FOURS {
                    let own = self.weights(four * SIZE + kx);
                    for q in 0..4 {
                        weights[0][kx][four][q] = D::weights(own[q]);
                        // One row lower; the fourth row becomes the fifth.
                        let lower = D::L::add(D::L::shl(own[q], D::L::splat(8)), carried[q]);
                        weights[1][kx][four][q] = D::weights(lower);
                        carried[q] = D::L::shr24(own[q]);
                    }
                }
            }
            let height = self.x.output_size[0];
            let mut row = rows.start;
            while row < rows.end {
                if STRIDE == 1 && row + 1 < rows.end && row % height + 1 < height {
                    self.line::<SIZE, FOURS, STRIDE, 2>(row, &weights);
                    row += 2;
                } else {
                    self.line::<SIZE, FOURS, STRIDE, 1>(row, &weights);
                    row += 1;
                }
            }
        }
    }

    /// Interleaves the rows at column `at`; `outside` where there is none.
    #[inline(always)]
    unsafe fn column<const FOURS: usize>(
        &self,
        lines: &[(*const u8, usize); 8],
        count: usize,
        at: isize,
        outside: D::A,
    ) -> [[D::A; 4]; FOURS] {
        let mut groups = [[outside; 4]; FOURS];
        if at < 0 || at >= self.x.input.width as isize {
            return groups;
        }
        // SAFETY: the column exists.
        unsafe {
            for four in 0..FOURS {
                let mut rows = [D::L::splat_bytes(0); 4];
                for i in 0..4 {
                    if 4 * four + i < count {
                        let (start, step) = lines[4 * four + i];
                        rows[i] = self.read(start.add(at as usize * step));
                    }
                }
                let v = D::L::quads(rows);
                for q in 0..4 {
                    groups[four][q] = D::each(v[q]);
                }
            }
        }
        groups
    }

    /// `ROWS` rows of windows from `row` on.
    #[inline(always)]
    unsafe fn line<const SIZE: usize, const FOURS: usize, const STRIDE: usize, const ROWS: usize>(
        &self,
        row: usize,
        weights: &[[[[D::W; 4]; FOURS]; SIZE]; 2],
    ) {
        let x = self.x;
        let padding = [x.zero; 64];
        let count = SIZE + ROWS - 1;
        let lines = self.lines(row, padding.as_ptr(), count);
        let pad = x.window.pad[1] as isize;
        // SAFETY: columns beyond the edges are not read.
        unsafe {
            let outside = D::each(D::L::splat(i32::from_le_bytes([x.zero; 4])));
            let mut ring = [[[outside; 4]; FOURS]; SIZE];
            for k in 0..SIZE - STRIDE {
                ring[k] = self.column(&lines, count, k as isize - pad, outside);
            }
            for ox in 0..x.output_size[1] {
                for k in SIZE - STRIDE..SIZE {
                    ring[k] = self.column(&lines, count, (ox * STRIDE + k) as isize - pad, outside);
                }
                let mut sums = [self.start; ROWS];
                for kx in 0..SIZE {
                    for four in 0..FOURS {
                        for q in 0..4 {
                            for r in 0..ROWS {
                                sums[r][q] = D::dot(sums[r][q], ring[kx][four][q], weights[r][kx][four][q]);
                            }
                        }
                    }
                }
                for r in 0..ROWS {
                    self.put((row + r) * x.output_size[1] + ox, sums[r]);
                }
                for k in 0..SIZE - STRIDE {
                    ring[k] = ring[k + STRIDE];
                }
            }
        }
    }

    /// Any window, one after the other.
    #[inline(always)]
    unsafe fn any_window(&self, rows: &Range<usize>) {
        let x = self.x;
        let [height, width] = x.window.kernel;
        let [output_height, output_width] = x.output_size;
        // SAFETY: taps are read only where the window meets the map.
        unsafe {
            let outside = D::L::splat_bytes(x.zero);
            for row in rows.clone() {
                let (picture, oy) = (row / output_height, row % output_height);
                let base = x.input.data.wrapping_add(picture * x.input.picture + self.channel);
                for ox in 0..output_width {
                    let mut sums = self.start;
                    for band in 0..height.div_ceil(4) {
                        for kx in 0..width {
                            let at = x.window.source(1, ox, kx);
                            let mut four = [outside; 4];
                            for i in 0..4 {
                                let y = x.window.source(0, oy, 4 * band + i);
                                let inside = 4 * band + i < height
                                    && y >= 0
                                    && y < x.input.height as isize
                                    && at >= 0
                                    && at < x.input.width as isize;
                                if inside {
                                    let place = y as usize * x.input.row + at as usize * x.input.pixel;
                                    four[i] = self.read(base.wrapping_add(place));
                                }
                            }
                            let (weights, v) = (self.weights(band * width + kx), D::L::quads(four));
                            for q in 0..4 {
                                sums[q] = D::dot(sums[q], D::each(v[q]), D::weights(weights[q]));
                            }
                        }
                    }
                    self.put(row * output_width + ox, sums);
                }
            }
        }
    }
}

dispatch_dot! {
    fn rows_on(x: &Depthwise, rows: Range<usize>, channels: Range<usize>) = rows_of;
}
dispatch_dot! {
    fn narrow_on(x: &Depthwise, rows: Range<usize>) = narrow_rows_of;
}

#[inline(always)]
unsafe fn narrow_rows_of<D: Dot>(x: &Depthwise, rows: Range<usize>) {
    // SAFETY: the caller's promise.
    unsafe {
        if 2 * x.channels <= D::L::BYTES {
            narrow::rows_of::<D>(x, rows)
        } else {
            rows_of::<D>(x, rows, 0..x.channels)
        }
    }
}

/// Most channels that share a vector with other pixels.
const FEW: usize = 32;

/// Whether pairs of rows in vectors of 8 channels are faster than groups of four rows in vectors of 32, on AVX2: they are for
/// windows of five, and where the larger vectors would stay rather empty (`cargo run --release --example int8 avx2 g`).
#[cfg(target_arch = "x86_64")]
fn paired_pays(x: &Depthwise, channels: usize) -> bool {
    let filled = |vector: usize| channels as f64 / channels.next_multiple_of(vector).max(1) as f64;
    let shared = 32 / channels.max(1) * channels;
    let wide = if channels <= 16 { shared as f64 / 32.0 } else { filled(32) };
    x.window.kernel[0] == 5 || filled(8) > 1.2 * wide
}

/// Computes output rows `rows` (counted through the batch) of the given channels.
///
/// # Safety
/// `isa` must be available and the maps as described; several threads may compute different ranges.
pub unsafe fn depthwise(isa: Isa, x: &Depthwise, rows: Range<usize>, channels: Range<usize>) {
    let kernel = Kernel::of(isa, x.seven_bits);
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if kernel == Kernel::Madd256 && narrow::serves(x) && paired_pays(x, channels.len()) {
            paired::depthwise(isa.lanes(), x, rows, channels);
            return;
        }
        if x.channels <= FEW && channels == (0..x.channels) && x.channels > 0 && narrow::serves(x) {
            narrow_on(kernel, x, rows);
            return;
        }
        #[cfg(target_arch = "x86_64")]
        if kernel == Kernel::Vnni512 {
            // What is left of the vectors often fits into a half.
            let whole = channels.start + channels.len() / 64 * 64;
            if channels.end - whole <= 32 {
                rows_on(kernel, x, rows.clone(), channels.start..whole);
                rows_on(Kernel::HalfVnni, x, rows, whole..channels.end);
                return;
            }
        }
        rows_on(kernel, x, rows, channels);
    }
}
