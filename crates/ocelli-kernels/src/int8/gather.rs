//! Copies windows together, row of the product by row: for odd channels, for kernels that need codes spread to 16
//! bits, and for tiles of AMX, whose rows have to be equally far apart.

use super::conv::{Conv, Place};
use super::dot::spread;
use super::lanes::Lanes;
use super::weights::Layout;

/// What is copied and how: rows are `stride` bytes apart.
#[derive(Clone, Copy)]
pub(crate) struct Gather<'a> {
    pub conv: &'a Conv<'a>,
    pub layout: Layout,
    pub stride: usize,
    /// Whether codes are spread to 16 bits (see [`spread`]).
    pub spread: bool,
}

impl Gather<'_> {
    /// Whether the taps of a row of the window are consecutive bytes, in the map as in a row of the product.
    #[inline(always)]
    pub(crate) fn joined(&self) -> bool {
        let x = self.conv;
        (self.layout.merged || x.depth.is_multiple_of(4))
            && x.input.pixel == x.depth
            && x.window.dilation[1] == 1
    }

    /// The first code under the window, where all of it lies inside of the map.
    #[inline(always)]
    pub(crate) fn inside(&self, place: &Place) -> Option<*const u8> {
        let x = self.conv;
        let w = &x.window;
        let (top, left) = (w.source(0, place.y, 0), w.source(1, place.x, 0));
        let bottom = top + ((w.kernel[0] - 1) * w.dilation[0]) as isize;
        let right = left + ((w.kernel[1] - 1) * w.dilation[1]) as isize;
        let inside =
            top >= 0 && left >= 0 && bottom < x.input.height as isize && right < x.input.width as isize;
        inside.then(|| {
            let row = place.picture * x.input.picture + top as usize * x.input.row;
            x.input.data.wrapping_add(row + left as usize * x.input.pixel)
        })
    }
}

/// Copies `n` bytes, neither reading nor writing more.
#[inline(always)]
unsafe fn copy<L: Lanes>(from: *const u8, to: *mut u8, n: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut i = 0;
        while i + L::BYTES <= n {
            L::store_bytes(to.add(i), L::load_bytes(from.add(i)));
            i += L::BYTES;
        }
        let left = n - i;
        if left == 0 {
            return;
        }
        let (from, to) = (from.add(i), to.add(i));
        if (16..=32).contains(&left) {
            ends::<u128>(from, to, left);
        } else if L::LANES == 16 && left > 32 {
            // One masked move.
            L::store_bytes_n(to, L::load_bytes_n(from, left), left);
        } else if left >= 8 {
            ends::<u64>(from, to, left);
        } else if left >= 4 {
            ends::<u32>(from, to, left);
        } else {
            for k in 0..left {
                *to.add(k) = *from.add(k);
            }
        }
    }
}

/// Copies `n` bytes, of which there are one to two `T`, as two that overlap.
#[inline(always)]
unsafe fn ends<T>(from: *const u8, to: *mut u8, n: usize) {
    let last = n - size_of::<T>();
    // SAFETY: the caller's promise.
    unsafe {
        let two = (from.cast::<T>().read_unaligned(), from.add(last).cast::<T>().read_unaligned());
        to.cast::<T>().write_unaligned(two.0);
        to.add(last).cast::<T>().write_unaligned(two.1);
    }
}

#[inline(always)]
unsafe fn gather_of<L: Lanes>(g: &Gather, first: usize, n: usize, to: *mut u8) {
    let x = g.conv;
    // SAFETY: the caller's promise.
    unsafe {
        if let Some(pixel) = x.flat() {
            for m in 0..n {
                run::<L>(
                    g,
                    x.input.data.wrapping_add((first + m) * pixel),
                    to.add(m * g.stride),
                    g.layout.len,
                );
            }
            return;
        }
        let [kernel_height, kernel_width] = x.window.kernel;
        let (height, width) = (x.input.height as isize, x.input.width as isize);
        let step = if g.spread { 8 } else { 4 };
        let joined = g.joined();
        let joined_len = kernel_width * x.depth;
        let joined_bytes = joined_len.div_ceil(4) * step;
        let row_step = x.window.dilation[0] * x.input.row;
        let mut joint = [0u8; MERGED];
        let mut place = Place::new(first, x.output_size);
        for m in 0..n {
            let mut to = to.add(m * g.stride);
            let base = x.input.data.wrapping_add(place.picture * x.input.picture);
            let whole = if joined { g.inside(&place) } else { None };
            if let Some(mut from) = whole {
                for _ in 0..kernel_height {
                    run::<L>(g, from, to, joined_len);
                    from = from.wrapping_add(row_step);
                    to = to.add(joined_bytes);
                }
            } else {
                for ky in 0..kernel_height {
                    let y = x.window.source(0, place.y, ky);
                    let inside = y >= 0 && y < height;
                    let line = base.wrapping_offset(y * x.input.row as isize);
                    for kx in 0..kernel_width {
                        let column = x.window.source(1, place.x, kx);
                        let from = if inside && column >= 0 && column < width {
                            line.wrapping_offset(column * x.input.pixel as isize)
                        } else {
                            x.padding
                        };
                        if g.layout.merged {
                            for c in 0..x.depth {
                                joint[kx * x.depth + c] = *from.add(c);
                            }
                        } else {
                            run::<L>(g, from, to, x.depth);
                            to = to.add(g.layout.groups() * step);
                        }
                    }
                    if g.layout.merged {
                        run::<L>(g, joint.as_ptr(), to, g.layout.len);
                        to = to.add(g.layout.groups() * step);
                    }
                }
            }
            place.step(x.output_size);
        }
    }
}

/// Most bytes of a merged run, filled up: 15 channels under 256 taps.
const MERGED: usize = 15 * crate::conv::MAX_TAPS + 4;

#[inline(always)]
unsafe fn run<L: Lanes>(g: &Gather, from: *const u8, to: *mut u8, n: usize) {
    // SAFETY: the caller's promise.
    unsafe { if g.spread { spread(from, to, n.div_ceil(4)) } else { copy::<L>(from, to, n) } }
}

crate::dispatch! {
    /// Copies the windows of output pixels `first..first + n` to `to`.
    ///
    /// # Safety
    /// `isa` must be available, the convolution as described, `to` hold `n` rows.
    pub(crate) fn gather(g: &Gather, first: usize, n: usize, to: *mut u8) = gather_of;
}
