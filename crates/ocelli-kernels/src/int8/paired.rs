//! Depthwise convolution where codes are multiplied in 16 bits: rows of the input by pairs.
//!
//! Of two neighbouring rows, the codes above one another become a pair of 16-bit numbers once, for a few channels
//! and all columns; `madd` then takes two taps at a time, straight from memory and with the weights in registers. A
//! window of three rows takes the pairs of rows 0 and 2, one of five those of rows 0, 2 and 4 (the last row is paired with one
//! whose weight is zero).

use core::marker::PhantomData;
use core::ops::Range;

use super::depthwise::{Depthwise, PASS, padded};
use super::epilogue::{Epilogue, Output, Sums, finish_of};
use super::lanes::Lanes;
use super::scratch;

/// Pixels that are finished together.
const PIXELS: usize = 48;

/// Computes output rows `rows` of the given channels; windows are 3×3 or 5×5, 1 or 2 apart.
///
/// # Safety
/// As for [`depthwise`](super::depthwise()).
pub(super) unsafe fn depthwise(isa: crate::Isa, x: &Depthwise, rows: Range<usize>, channels: Range<usize>) {
    let size = x.window.kernel[0];
    let columns = (x.output_size[1].max(1) - 1) * x.window.stride[1] + size;
    let ring = size.next_power_of_two() * columns * MOST;
    scratch::with((ring + PIXELS * MOST + 64) * 4, |room| {
        let room = Room { columns, ring: room.cast(), sums: room.cast::<i32>().wrapping_add(ring) };
        // SAFETY: the room holds the ring and the sums; the rest is the caller's promise.
        unsafe { rows_on(isa, x, rows, channels, &room) };
    });
}

/// Channels of the largest block.
const MOST: usize = 32;

/// Where a block is worked on.
struct Room {
    /// Of the padded input that windows cover.
    columns: usize,
    /// Pairs `[rows][vectors][columns]`.
    ring: *mut i32,
    /// `[PIXELS][vectors]`
    sums: *mut i32,
}

crate::dispatch! {
    fn rows_on(x: &Depthwise, rows: Range<usize>, channels: Range<usize>, room: &Room) = rows_of;
}

#[inline(always)]
unsafe fn rows_of<L: Lanes>(x: &Depthwise, rows: Range<usize>, channels: Range<usize>, room: &Room) {
    // SAFETY: the caller's promise.
    unsafe {
        match (x.window.kernel[0], x.window.stride[0]) {
            (3, 1) => run::<L, 3, 2, 1>(x, rows, channels, room),
            (3, _) => run::<L, 3, 2, 2>(x, rows, channels, room),
            (5, 1) => run::<L, 5, 3, 1>(x, rows, channels, room),
            _ => run::<L, 5, 3, 2>(x, rows, channels, room),
        }
    }
}

#[inline(always)]
unsafe fn run<L: Lanes, const SIZE: usize, const PAIRS: usize, const STRIDE: usize>(
    x: &Depthwise,
    rows: Range<usize>,
    channels: Range<usize>,
    room: &Room,
) {
    let block = 2 * L::LANES;
    let per_row = x.input.width * x.input.pixel * STRIDE;
    let at_once = (PASS / per_row.max(1)).max(1);
    // SAFETY: the caller's promise.
    unsafe {
        // Columns beyond the edges stay as they are.
        let outside = L::splat(i32::from(x.zero) * 0x1_0001);
        for i in 0..SIZE.next_power_of_two() * room.columns * 2 {
            L::store(room.ring.add(i * L::LANES), outside);
        }
        let mut start = rows.start;
        while start < rows.end {
            let end = (start + at_once).min(rows.end);
            let mut next = channels.start;
            while next < channels.end {
                let left = channels.end - next;
                // Whole vectors where there are as many channels: the last may overlap those before.
                let whole = if left > L::LANES { block } else { L::LANES };
                let (channel, n) = if channels.len() >= whole {
                    (next.min(channels.end - whole), whole)
                } else {
                    (next, left)
                };
                let own = Block::<L> { x, channel, n, room, lanes: PhantomData };
                own.run::<SIZE, PAIRS, STRIDE>(start..end);
                next = channel + n;
            }
            start = end;
        }
    }
}

/// Some channels.
struct Block<'a, L: Lanes> {
    x: &'a Depthwise<'a>,
    channel: usize,
    /// At most two vectors.
    n: usize,
    room: &'a Room,
    lanes: PhantomData<L>,
}

impl<L: Lanes> Block<'_, L> {
    #[inline(always)]
    unsafe fn run<const SIZE: usize, const PAIRS: usize, const STRIDE: usize>(&self, rows: Range<usize>) {
        let (x, sums) = (self.x, self.room.sums);
        let [height, width] = x.output_size;
        let vectors = self.n.div_ceil(L::LANES);
        let mask = SIZE.next_power_of_two() - 1;
        let row_len = 2 * L::LANES * self.room.columns;
        let mut held = [None; 8];
        let (mut waiting, end) = (0, rows.end);
        // SAFETY: the caller's promise.
        unsafe {
            let mut weights = [[[L::splat(0); PAIRS]; SIZE]; 2];
            for v in 0..vectors {
                for kx in 0..SIZE {
                    weights[v][kx] = self.weights::<SIZE, PAIRS>(kx, v);
                }
            }
            for row in rows {
                let (picture, oy) = (row / height, row % height);
                // Counted from the first row of padding.
                let top = oy * STRIDE;
                for pair in 0..PAIRS {
                    let y = top + 2 * pair;
                    let key = Some((picture, y));
                    if held[y & mask] != key {
                        self.pair(picture, y, self.room.ring.add((y & mask) * row_len), vectors);
                        held[y & mask] = key;
                    }
                }
                let lines: [*const i32; PAIRS] = core::array::from_fn(|pair| {
                    self.room.ring.wrapping_add(((top + 2 * pair) & mask) * row_len).cast_const()
                });
                let mut first = 0;
                while first < width {
                    let pixels = (width - first).min(PIXELS - waiting);
                    for v in 0..vectors {
                        let to = sums.add((waiting * 2 + v) * L::LANES);
                        self.line::<SIZE, PAIRS, STRIDE>(&lines, v, first, pixels, &weights[v], to);
                    }
                    (first, waiting) = (first + pixels, waiting + pixels);
                    if waiting == PIXELS {
                        self.finish(row * width + first - waiting, waiting);
                        waiting = 0;
                    }
                }
            }
            self.finish(end * width - waiting, waiting);
        }
    }

    /// The sums of `n` pixels from `first` on.
    #[inline(always)]
    unsafe fn line<const SIZE: usize, const PAIRS: usize, const STRIDE: usize>(
        &self,
        lines: &[*const i32; PAIRS],
        v: usize,
        first: usize,
        n: usize,
        weights: &[[L::V; PAIRS]; SIZE],
        to: *mut i32,
    ) {
        for i in 0..n {
            // SAFETY: windows lie in the lines.
            unsafe {
                let mut sum = L::splat(0);
                for kx in 0..SIZE {
                    let at = (v * self.room.columns + (first + i) * STRIDE + kx) * L::LANES;
                    for pair in 0..PAIRS {
                        let codes = L::load(lines[pair].add(at));
                        sum = L::add(sum, L::madd(codes, weights[kx][pair]));
                    }
                }
                L::store(to.add(i * 2 * L::LANES), sum);
            }
        }
    }

    /// Writes the results of `n` pixels from `first` on, counted through the batch.
    #[inline(always)]
    unsafe fn finish(&self, first: usize, n: usize) {
        if n == 0 {
            return;
        }
        let x = self.x;
        let output = Output::Codes { data: x.output, stride: x.output_stride };
        let e = Epilogue { requantiser: x.requantiser, column: 0, output, residual: None };
        let s = Sums {
            data: self.room.sums,
            stride: 2 * L::LANES,
            row: first,
            rows: n,
            column: self.channel,
            columns: self.n,
        };
        // SAFETY: the caller's promise.
        unsafe { finish_of::<L>(&e, &s) };
    }

    /// The weights of a column of the window as pairs of rows, for vector `v`.
    #[inline(always)]
    unsafe fn weights<const SIZE: usize, const PAIRS: usize>(&self, kx: usize, v: usize) -> [L::V; PAIRS] {
        // SAFETY: filters are padded.
        unsafe {
            let mut pairs = [L::splat(0); PAIRS];
            for (pair, place) in pairs.iter_mut().enumerate() {
                let at = (pair / 2 * SIZE + kx) * padded(self.x.channels) + self.channel + v * L::LANES;
                let four = L::load(self.x.filters.cast::<i32>().add(at));
                let (low, high) = if pair % 2 == 0 {
                    (byte::<L>(four, 0), byte::<L>(four, 1))
                } else {
                    (byte::<L>(four, 2), byte::<L>(four, 3))
                };
                // A low half below zero takes one from the high half.
                *place = L::add(low, L::shl(L::sub(high, L::sar::<31>(low)), L::splat(16)));
            }
            pairs
        }
    }

    /// Pairs row `y` (counted from the first row of padding) with the next.
    #[inline(always)]
    unsafe fn pair(&self, picture: usize, y: usize, to: *mut i32, vectors: usize) {
        let x = self.x;
        let outside = [x.zero; 64];
        let base = x.input.data.wrapping_add(picture * x.input.picture + self.channel);
        let line = |y: usize| match y.checked_sub(x.window.pad[0]) {
            Some(y) if y < x.input.height => (base.wrapping_add(y * x.input.row), x.input.pixel),
            _ => (outside.as_ptr(), 0),
        };
        let ((upper, step), (lower, lower_step)) = (line(y), line(y + 1));
        let left = x.window.pad[1];
        let width = x.input.width.min(self.room.columns.saturating_sub(left));
        for v in 0..vectors {
            let n = (self.n - v * L::LANES).min(L::LANES);
            // SAFETY: the ring holds `columns` pixels of every vector; the rows are those of the map, or padding.
            unsafe {
                let to = to.add((v * self.room.columns + left) * L::LANES);
                for column in 0..width {
                    let a = upper.add(column * step + v * L::LANES);
                    let b = lower.add(column * lower_step + v * L::LANES);
                    let pair = if n == L::LANES {
                        L::pair_codes(a, b)
                    } else {
                        L::add(some_codes::<L>(a, n), L::shl(some_codes::<L>(b, n), L::splat(16)))
                    };
                    L::store(to.add(column * L::LANES), pair);
                }
            }
        }
    }
}

/// Byte `n` of every lane, with its sign.
#[inline(always)]
unsafe fn byte<L: Lanes>(v: L::V, n: i32) -> L::V {
    // SAFETY: the instruction set is the caller's promise.
    unsafe { L::sar::<24>(L::shl(v, L::splat(24 - 8 * n))) }
}

/// The first `n` codes, zeros after them.
#[inline(always)]
unsafe fn some_codes<L: Lanes>(p: *const u8, n: usize) -> L::V {
    let mut codes = [0u8; 16];
    // SAFETY: the caller's promise.
    unsafe {
        if n >= 4 {
            // Two words that may overlap, or four.
            for at in (0..n - 3).step_by(4).chain([n - 4]) {
                codes[at..at + 4].copy_from_slice(&p.add(at).cast::<[u8; 4]>().read_unaligned());
            }
        } else {
            for (i, code) in codes.iter_mut().enumerate().take(n) {
                *code = *p.add(i);
            }
        }
        L::load_codes(codes.as_ptr())
    }
}
