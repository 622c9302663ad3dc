//! Convolution of channels-last maps of codes: an implicit matrix product, as [`crate::conv`].

use core::mem::MaybeUninit;
use core::ops::Range;

use super::Isa;
use super::dot::{Kernel, spread_weights};
use super::epilogue::{Epilogue, Sums, finish};
use super::excess::Excess;
use super::gather::{self, Gather};
use super::gemm::{MAX_ROWS, Tile, tile};
use super::scratch;
use super::weights::{Layout, Weights};
use crate::conv::{MAX_TAPS, Window};
use crate::gemm::{PANEL, split, strips};

/// Extent of the pixels taken through all panels before the next.
const BLOCK: usize = 96;

/// Bytes of rows that are copied together at once: they stay in the second-level cache.
const GATHERED: usize = 256 << 10;

/// Sums that are finished together: they stay in the first-level cache.
const SUMS: usize = 1280;

/// Pointers in a block's table: enough for one tile of the largest window.
const TABLE: usize = MAX_ROWS * MAX_TAPS;

/// A channels-last map of codes: where it starts and how far apart its parts are, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct MapIn {
    /// The first code.
    pub data: *const u8,
    /// From one picture to the next.
    pub picture: usize,
    /// From one row to the next.
    pub row: usize,
    /// From one pixel to the next.
    pub pixel: usize,
    /// Rows.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
}

impl MapIn {
    /// A dense map `[pictures, height, width, channels]`.
    pub fn dense(data: *const u8, [height, width, channels]: [usize; 3]) -> Self {
        Self {
            data,
            picture: height * width * channels,
            row: width * channels,
            pixel: channels,
            height,
            width,
        }
    }
}

/// One group of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct Conv<'a> {
    /// The input, at the group's first channel. Up to 3 bytes after a pixel's channels are read (and multiplied by
    /// zero), so that many have to be readable after the last pixel.
    pub input: MapIn,
    /// The window.
    pub window: Window,
    /// Input channels of the group, consecutive at a pixel.
    pub depth: usize,
    /// What lies beyond the edges: the input's zero point, `depth` times rounded up to a multiple of 4.
    pub padding: *const u8,
    /// Weights packed for `depth` and the window (see [`Packed`](super::weights::Packed)).
    pub weights: Weights<'a>,
    /// Output channels of the group.
    pub columns: usize,
    /// Output extent `[height, width]`.
    pub output_size: [usize; 2],
    /// What becomes of the sums; its output begins at the group's first channel, its rows are pixels throughout the
    /// batch. The bias holds the input's zero point (see [`fold_zero`](super::weights::fold_zero)).
    pub epilogue: Epilogue<'a>,
}

impl Conv<'_> {
    /// Distance of the pixels, where output pixels read consecutive input pixels and nothing else.
    pub(crate) fn flat(&self) -> Option<usize> {
        let i = &self.input;
        (self.window.is_pointwise()
            && self.output_size == [i.height, i.width]
            && i.row == i.width * i.pixel
            && i.picture == i.height * i.row)
            .then_some(i.pixel)
    }
}

/// Computes output pixels `pixels` (counted through the batch) of the channels in panels `panels` of 16.
///
/// # Safety
/// `isa` must be available, the maps as described, the epilogue's pointers and parameters cover the output; several
/// threads may compute different ranges. `kernel[0] * kernel[1]` is at most [`MAX_TAPS`].
pub unsafe fn conv(isa: Isa, x: &Conv, pixels: Range<usize>, panels: Range<usize>) {
    let taps = x.window.kernel[0] * x.window.kernel[1];
    assert!(taps <= MAX_TAPS, "a window of {taps} taps");
    if pixels.is_empty() || panels.is_empty() {
        return;
    }
    let layout = Layout::new(x.depth, x.window.kernel);
    #[cfg(target_arch = "x86_64")]
    if super::gemm::by_tiles(isa) && super::amx::pays(x, &layout, pixels.len(), panels.len()) {
        // SAFETY: the caller's promise.
        unsafe { super::amx::conv(isa, x, &layout, pixels, panels) };
        return;
    }
    let kernel = Kernel::of(isa, x.weights.seven_bits || x.weights.excess.is_some());
    if kernel.spread() || layout.merged {
        let stride = layout.row_bytes() * if kernel.spread() { 2 } else { 1 };
        let at_once = BLOCK.min(GATHERED / stride.max(1)).max(kernel.tile_rows(1));
        let job = Gather { conv: x, layout, stride, spread: kernel.spread() };
        let spread_bytes = if kernel.spread() { 4 * layout.panel_groups() * 128 } else { 0 };
        scratch::with((at_once * stride).next_multiple_of(64) + spread_bytes, |rows| {
            let weights = rows.wrapping_add((at_once * stride).next_multiple_of(64)).cast::<i8>();
            for (block, n) in split(pixels.len(), at_once) {
                let first = pixels.start + block;
                let whole = Layout { runs: 1, len: layout.row_bytes(), merged: false };
                // SAFETY: the rows fit into the scratch memory; the rest is the caller's promise.
                unsafe {
                    if job.joined() && !kernel.spread() {
                        let table =
                            |first: usize, at: usize, n: usize, table: &mut [MaybeUninit<*const u8>]| {
                                runs(isa, &job, first, at, n, rows, table);
                            };
                        block_of(isa, kernel, x, &layout, first, n, panels.clone(), weights, table);
                        continue;
                    }
                    gather::gather(isa.lanes(), &job, first, n, rows);
                    let table = |_: usize, at: usize, n: usize, table: &mut [MaybeUninit<*const u8>]| {
                        for m in 0..n {
                            table[m].write(rows.add((at + m) * stride));
                        }
                    };
                    block_of(isa, kernel, x, &whole, first, n, panels.clone(), weights, table);
                }
            }
        });
        return;
    }
    let flat = x.flat();
    for (block, n) in split(pixels.len(), BLOCK.min(TABLE / taps)) {
        let first = pixels.start + block;
        let table = |first: usize, at: usize, n: usize, table: &mut [MaybeUninit<*const u8>]| match flat {
            Some(pixel) => {
                for m in 0..n {
                    table[m].write(x.input.data.wrapping_add((first + at + m) * pixel));
                }
            }
            None => pointers(x, first + at, n, table),
        };
        // SAFETY: the caller's promise.
        unsafe { block_of(isa, kernel, x, &layout, first, n, panels.clone(), core::ptr::null_mut(), table) };
    }
}

/// Computes the block of `n` pixels from `first` on; `fill(first, at, rows, table)` gives the pointers of the tile that
/// begins `at` pixels into the block. Kernels that want spread weights find room for four panels of them at `spread`.
unsafe fn block_of(
    isa: Isa,
    kernel: Kernel,
    x: &Conv,
    layout: &Layout,
    first: usize,
    n: usize,
    panels: Range<usize>,
    spread: *mut i8,
    fill: impl Fn(usize, usize, usize, &mut [MaybeUninit<*const u8>]),
) {
    let at_once = kernel.tile_panels(n);
    let panel_bytes = layout.panel_groups() * 64;
    let mut table = [const { MaybeUninit::<*const u8>::uninit() }; TABLE];
    // Vectors may reach beyond the last row.
    let mut sums = [0i32; SUMS + 64];
    let mut built = 0;
    for (panel, count) in strips(panels.start, panels.end, at_once) {
        let most = kernel.tile_rows(count);
        if built != most {
            let mut at = 0;
            for (start, rows) in split(n, most) {
                fill(first, start, rows, &mut table[at..at + rows * layout.runs]);
                at += rows * layout.runs;
            }
            built = most;
        }
        let columns = (x.columns - panel * PANEL).min(count * PANEL);
        let data = x.weights.excess.map_or(x.weights.data, Excess::data);
        let mut b = data.wrapping_add(panel * panel_bytes);
        if kernel.spread() {
            // SAFETY: there is room for these panels.
            unsafe { spread_weights(kernel, b, spread, count * layout.panel_groups()) };
            b = spread;
        }
        // Tiles are finished together: the columns' parameters are loaded once.
        let stride = count * PANEL;
        let (mut at, mut waiting) = (0, 0);
        for (start, rows) in split(n, most) {
            // SAFETY: the table was made for these pixels; the rest is the caller's promise.
            unsafe {
                tile(
                    kernel,
                    &Tile {
                        a: table.as_ptr().add(at).cast(),
                        rows,
                        runs: layout.runs,
                        groups: layout.groups(),
                        b,
                        column_sums: x.weights.sums.add(panel * PANEL),
                        panels: count,
                        sums: sums.as_mut_ptr().add(waiting * stride),
                        stride,
                        excess: x.weights.excess.map(|excess| (excess, panel)),
                    },
                );
                waiting += rows;
                if start + rows == n || (waiting + most) * stride > SUMS {
                    let s = Sums {
                        data: sums.as_ptr(),
                        stride,
                        row: first + start + rows - waiting,
                        rows: waiting,
                        column: panel * PANEL,
                        columns,
                    };
                    finish(isa.lanes(), &x.epilogue, &s);
                    waiting = 0;
                }
            }
            at += rows * layout.runs;
        }
    }
}

/// Where an output pixel lies.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub picture: usize,
    pub y: usize,
    pub x: usize,
}

impl Place {
    /// Of pixel `index` of a batch of maps of this extent.
    #[inline(always)]
    pub(crate) fn new(index: usize, [height, width]: [usize; 2]) -> Self {
        let (picture, rest) = (index / (height * width), index % (height * width));
        Self { picture, y: rest / width, x: rest % width }
    }

    /// The next pixel.
    #[inline(always)]
    pub(crate) fn step(&mut self, [height, width]: [usize; 2]) {
        self.x += 1;
        if self.x == width {
            (self.x, self.y) = (0, self.y + 1);
            if self.y == height {
                (self.y, self.picture) = (0, self.picture + 1);
            }
        }
    }
}

/// Fills `table` (`runs × n`) with the joined runs of output pixels `first + at..first + at + n`: in place where the
/// window lies inside of the map, else copied to their places in `rows`.
unsafe fn runs(
    isa: Isa,
    job: &Gather,
    first: usize,
    at: usize,
    n: usize,
    rows: *mut u8,
    table: &mut [MaybeUninit<*const u8>],
) {
    let x = job.conv;
    let mut place = Place::new(first + at, x.output_size);
    for m in 0..n {
        let (from, step) = match job.inside(&place) {
            Some(from) => (from, x.window.dilation[0] * x.input.row),
            None => {
                let copy = rows.wrapping_add((at + m) * job.stride);
                // SAFETY: the pixel has its place among the rows; the rest is the caller's promise.
                unsafe { gather::gather(isa.lanes(), job, first + at + m, 1, copy) };
                (copy.cast_const(), job.layout.groups() * 4)
            }
        };
        for run in 0..job.layout.runs {
            table[run * n + m].write(from.wrapping_add(run * step));
        }
        place.step(x.output_size);
    }
}

/// Fills `table` (`taps × n`) with the input pixels under the taps for output pixels `first..first + n`.
fn pointers(x: &Conv, first: usize, n: usize, table: &mut [MaybeUninit<*const u8>]) {
    let [kernel_height, kernel_width] = x.window.kernel;
    let (height, width) = (x.input.height as isize, x.input.width as isize);
    let mut place = Place::new(first, x.output_size);
    for m in 0..n {
        let mut tap = m;
        let base = x.input.data.wrapping_add(place.picture * x.input.picture);
        for ky in 0..kernel_height {
            let y = x.window.source(0, place.y, ky);
            let inside = y >= 0 && y < height;
            let row = base.wrapping_offset(y * x.input.row as isize);
            for kx in 0..kernel_width {
                let column = x.window.source(1, place.x, kx);
                table[tap].write(if inside && column >= 0 && column < width {
                    row.wrapping_offset(column * x.input.pixel as isize)
                } else {
                    x.padding
                });
                tap += n;
            }
        }
        place.step(x.output_size);
    }
}
