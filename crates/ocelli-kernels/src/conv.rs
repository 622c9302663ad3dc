//! Convolution over maps in channels-last order: an implicit matrix product, pixels × (taps · channels) × channels.
//!
//! A pixel of a map is `channels` consecutive elements, pixels of a row are `pixel` apart, rows `row`, pictures
//! `picture`. The tile's rows are output pixels; their pointers go to the input pixels under each tap, or to
//! zeros beyond the edge, so nothing is copied or padded.

use core::mem::MaybeUninit;
use core::ops::Range;

use crate::Isa;
use crate::gemm::{
    self, Epilogue, MAX_ROWS, Next, PANEL, Product, Tile, TileKernel, product_by, split, strips, tile,
    tile_panels, tile_rows,
};

/// Extent of the pixels taken through all panels before the next.
const BLOCK: usize = 96;

/// Most taps of a kernel window that is handled (a 15×15 kernel has 225).
pub const MAX_TAPS: usize = 256;

/// Pointers in a block's table: enough for one tile of the largest window.
const TABLE: usize = MAX_ROWS * MAX_TAPS;

/// A channels-last map: where it starts and how far apart its parts are, in elements.
#[derive(Clone, Copy, Debug)]
pub struct MapIn {
    /// The first element.
    pub data: *const f32,
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

/// A window moving over a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Extent `[height, width]`.
    pub kernel: [usize; 2],
    /// Step.
    pub stride: [usize; 2],
    /// Zeros above and to the left.
    pub pad: [usize; 2],
    /// Distance of the taps.
    pub dilation: [usize; 2],
}

impl Window {
    /// First coordinate under tap `tap` for output coordinate `at` along `axis`, perhaps outside of the map.
    #[inline(always)]
    pub fn source(&self, axis: usize, at: usize, tap: usize) -> isize {
        (at * self.stride[axis] + tap * self.dilation[axis]) as isize - self.pad[axis] as isize
    }

    /// Whether every output pixel reads the one input pixel in its place.
    pub fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.pad == [0, 0]
    }
}

/// One group of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct Conv {
    /// The input, at the group's first channel.
    pub input: MapIn,
    /// The window.
    pub window: Window,
    /// Input channels of the group, consecutive at a pixel.
    pub depth: usize,
    /// `depth` zeros.
    pub zeros: *const f32,
    /// Packed weights (see [`gemm::pack`](crate::gemm::pack)): rows `(tap, channel)`, columns output channels.
    pub weights: *const f32,
    /// Output channels of the group.
    pub columns: usize,
    /// The output at the group's first channel; pixels are `output_stride` apart throughout the batch.
    pub output: *mut f32,
    /// Elements from one output pixel to the next.
    pub output_stride: usize,
    /// Output extent `[height, width]`.
    pub output_size: [usize; 2],
    /// Applied before writing.
    pub epilogue: Epilogue,
}

/// Computes output pixels `pixels` (counted through the batch) of the channels in panels `panels`.
///
/// # Safety
/// The maps must be as described, the epilogue's pointers cover the output; several threads may compute different
/// ranges. `kernel[0] * kernel[1]` is at most [`MAX_TAPS`].
pub unsafe fn conv(isa: Isa, x: &Conv, pixels: Range<usize>, panels: Range<usize>) {
    // SAFETY: the caller's promise.
    unsafe { conv_by(isa, x, pixels, panels, tile) }
}

/// As [`conv`], with the tiles of `kernel`.
///
/// # Safety
/// As for [`conv`].
#[inline(always)]
pub(crate) unsafe fn conv_by(
    isa: Isa,
    x: &Conv,
    pixels: Range<usize>,
    panels: Range<usize>,
    kernel: TileKernel,
) {
    let [kernel_height, kernel_width] = x.window.kernel;
    let taps = kernel_height * kernel_width;
    assert!(taps <= MAX_TAPS, "a window of {taps} taps");
    if x.window.is_pointwise()
        && x.output_size == [x.input.height, x.input.width]
        && x.input.row == x.input.width * x.input.pixel
        && x.input.picture == x.input.height * x.input.row
    {
        let matrix = Product {
            a: x.input.data,
            a_stride: x.input.pixel,
            b: x.weights,
            depth: x.depth,
            columns: x.columns,
            c: x.output,
            c_stride: x.output_stride,
            accumulate: false,
            epilogue: x.epilogue,
        };
        // SAFETY: the same rows and columns, without the table.
        unsafe { product_by(isa, &matrix, pixels, panels, kernel) };
        return;
    }
    let at_once = tile_panels(isa, pixels.len());
    let panel_stride = taps * x.depth * PANEL;
    // The pointers of a block's tiles, tile by tile and tap by tap.
    let mut table = [const { MaybeUninit::<*const f32>::uninit() }; TABLE];
    for (block, block_pixels) in split(pixels.len(), BLOCK.min(TABLE / taps)) {
        let first = pixels.start + block;
        let mut built = 0;
        for (panel, count) in strips(panels.start, panels.end, at_once) {
            let rows = tile_rows(isa, count);
            if built != rows {
                let mut at = 0;
                for (start, n) in split(block_pixels, rows) {
                    // SAFETY: the pixels lie in the output.
                    unsafe { pointers(x, first + start, n, &mut table[at..at + n * taps]) };
                    at += n * taps;
                }
                built = rows;
            }
            let columns = (x.columns - panel * PANEL).min(count * PANEL);
            let tiles = block_pixels.div_ceil(rows);
            let mut first_chunk = true;
            for (taps_from, taps_here, begin, depth) in chunks(taps, x.depth) {
                let last = taps_from + taps_here == taps && begin + depth == x.depth;
                let summand = taps_from * x.depth + begin;
                let mut at = 0;
                for (tile_index, (start, n)) in split(block_pixels, rows).enumerate() {
                    let pixel = first + start;
                    let next = if tiles > 1 {
                        let from = x.weights.wrapping_add((panel + count) * panel_stride);
                        Next::share(from, count, summand, taps_here * depth, tile_index, tiles)
                    } else {
                        Next::NONE
                    };
                    // SAFETY: the table was made for these pixels; the rest is the caller's promise.
                    unsafe {
                        kernel(
                            isa,
                            &Tile {
                                a: table.as_ptr().add(at + taps_from * n).cast(),
                                a_offset: begin,
                                rows: n,
                                taps: taps_here,
                                depth,
                                b: x.weights.add(panel * panel_stride + summand * PANEL),
                                panel_stride,
                                c: x.output.add(pixel * x.output_stride + panel * PANEL),
                                c_stride: x.output_stride,
                                columns,
                                accumulate: !first_chunk,
                                epilogue: if last {
                                    x.epilogue.at(pixel, panel * PANEL)
                                } else {
                                    Epilogue::NONE
                                },
                                next,
                            },
                        );
                    }
                    at += n * taps;
                }
                first_chunk = false;
            }
        }
    }
}

/// Cuts the summands of a window into chunks of whole taps, or of parts of one: `(first tap, taps, first channel,
/// channels)`.
fn chunks(taps: usize, depth: usize) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    let whole = gemm::chunks(taps * depth).count();
    let (at_once, parts) =
        if whole <= taps { (taps.div_ceil(whole.max(1)), 1) } else { (1, whole.div_ceil(taps)) };
    split(taps, at_once).flat_map(move |(tap, n)| {
        split(depth, depth.div_ceil(parts)).map(move |(begin, depth)| (tap, n, begin, depth))
    })
}

/// Fills `table` (`taps × n`) with the input pixels under the taps for output pixels `first..first + n`.
///
/// # Safety
/// The output pixels must exist.
unsafe fn pointers(x: &Conv, first: usize, n: usize, table: &mut [MaybeUninit<*const f32>]) {
    let [output_height, output_width] = x.output_size;
    let [kernel_height, kernel_width] = x.window.kernel;
    let (height, width) = (x.input.height as isize, x.input.width as isize);
    let area = output_height * output_width;
    let (mut picture, rest) = (first / area, first % area);
    let (mut oy, mut ox) = (rest / output_width, rest % output_width);
    for m in 0..n {
        let mut tap = m;
        let base = x.input.data.wrapping_add(picture * x.input.picture);
        for ky in 0..kernel_height {
            let y = x.window.source(0, oy, ky);
            let inside = y >= 0 && y < height;
            let row = base.wrapping_offset(y * x.input.row as isize);
            for kx in 0..kernel_width {
                let column = x.window.source(1, ox, kx);
                table[tap].write(if inside && column >= 0 && column < width {
                    row.wrapping_offset(column * x.input.pixel as isize)
                } else {
                    x.zeros
                });
                tap += n;
            }
        }
        ox += 1;
        if ox == output_width {
            (ox, oy) = (0, oy + 1);
            if oy == output_height {
                (oy, picture) = (0, picture + 1);
            }
        }
    }
}

/// Packs weights `[columns, depth, kernel_height, kernel_width]` (one group) for [`conv`].
pub fn pack_weights(weights: &[f32], columns: usize, depth: usize, [kh, kw]: [usize; 2]) -> Vec<f32> {
    let taps = kh * kw;
    let mut packed = vec![0.0; gemm::packed_len(taps * depth, columns)];
    for (column, own) in weights.chunks_exact((taps * depth).max(1)).enumerate().take(columns) {
        let panel = &mut packed[column / PANEL * PANEL * taps * depth..][..PANEL * taps * depth];
        let place = column % PANEL;
        for (channel, own) in own.chunks_exact(taps).enumerate() {
            for (tap, &weight) in own.iter().enumerate() {
                panel[(tap * depth + channel) * PANEL + place] = weight;
            }
        }
    }
    packed
}
