//! Gradient of a convolution's weights: the product of the output's gradient and the unfolded input, summed over
//! pixels.
//!
//! One operand is read row by row where it lies, the other is packed with its pixels as rows. The smaller
//! effort decides which is which; the order of all sums depends on the shape alone.

use core::ops::Range;

use crate::Isa;
use crate::gemm::{Epilogue, MAX_ROWS, Next, PANEL, Tile, split, strips, tile, tile_panels, tile_rows};
use crate::train::conv::ConvShape;
use crate::train::lattice::Lattice;
use crate::train::parallel::{Shared, buffer, each};
use crate::train::transpose;

/// Pixels summed per pass, and columns of a block: both operands of a block fit into the second-level cache.
const PIXELS: usize = 384;

/// Columns of a block.
const COLUMNS: usize = 384;

/// Pieces the work is cut into at least, where it is large enough.
const PIECES: usize = 8;

/// Most elements of partial sums, when the pixels are shared out too.
const PARTIAL: usize = 1 << 20;

/// Maps with fewer pixels are gathered before they are read as rows.
const SMALL: usize = 32;

/// `[channels_out, channels_in / groups, kernel height, kernel width]`
pub fn gradient(isa: Isa, shape: &ConvShape, input: &[f32], grad: &[f32]) -> Vec<f32> {
    let mut out = buffer(shape.weights_len());
    let [height, width] = shape.output();
    if shape.batch * height * width == 0 {
        out.fill(0.0);
        return out;
    }
    let window = shape.lattice();
    let plain = Lattice::identity([height, width], shape.channels_out * height * width);
    let (channels_in, channels_out) = (shape.channels_in / shape.groups, shape.channels_out / shape.groups);
    let depth = channels_in * shape.taps();
    let shared = Shared::new(&mut out);
    let pixels = shape.batch * height * width;
    // Packing with pixels as rows costs about twice a plain one; turning the result costs by its size.
    let effort_input = 6 * depth * pixels;
    let gather = if window.is_identity() { 0 } else { 3 * depth };
    let effort_grad = (6 * channels_out + gather) * pixels + 16 * depth * channels_out;
    each(shape.groups, shape.groups * channels_out * depth * pixels, |group| {
        let of_grad = Operand {
            map: &grad[group * channels_out * height * width..],
            lattice: &plain,
            channels: channels_out,
        };
        let of_input = Operand {
            map: &input[group * channels_in * shape.size[0] * shape.size[1]..],
            lattice: &window,
            channels: channels_in,
        };
        // SAFETY: every group has a part of its own.
        let out = unsafe { shared.slice(group * channels_out * depth, channels_out * depth) };
        if effort_input <= effort_grad {
            product(isa, shape.batch, &of_grad, &of_input, out);
        } else {
            let mut turned = buffer(out.len());
            product(isa, shape.batch, &of_input, &of_grad, &mut turned);
            transpose::matrix(isa, &turned, channels_out, depth, channels_out, out, depth);
        }
    });
    out
}

/// Channels (times taps) of a map, over the pixels of a lattice.
struct Operand<'a> {
    map: &'a [f32],
    lattice: &'a Lattice,
    channels: usize,
}

impl Operand<'_> {
    fn len(&self) -> usize {
        self.channels * self.lattice.taps.len()
    }
}

/// Pixels taken in one pass: `pictures` of them, `pixels` each from `start` on.
#[derive(Clone, Copy, Debug)]
struct Pass {
    picture: usize,
    pictures: usize,
    start: usize,
    pixels: usize,
}

/// `out[r][c] = Σ_pixel rows[r][pixel] · columns[c][pixel]`
fn product(isa: Isa, batch: usize, rows: &Operand, columns: &Operand, out: &mut [f32]) {
    let area = rows.lattice.area();
    let direct = rows.lattice.is_identity() && area >= SMALL;
    let mut passes = Vec::new();
    if direct && area >= PIXELS {
        for picture in 0..batch {
            let most = area.div_ceil(area.div_ceil(PIXELS)).next_multiple_of(PANEL);
            for start in (0..area).step_by(most) {
                passes.push(Pass { picture, pictures: 1, start, pixels: most.min(area - start) });
            }
        }
    } else if direct {
        for (picture, pictures) in split(batch, (PIXELS / area).max(1)) {
            passes.push(Pass { picture, pictures, start: 0, pixels: area });
        }
    } else {
        let total = batch * area;
        for start in (0..total).step_by(PIXELS) {
            passes.push(Pass { picture: 0, pictures: 1, start, pixels: PIXELS.min(total - start) });
        }
    }
    let blocks: Vec<_> = split(columns.channels, (COLUMNS / columns.lattice.taps.len()).max(1)).collect();
    let wanted = PIECES.div_ceil(blocks.len());
    let shares = wanted.min(passes.len()).min((PARTIAL / out.len()).max(1));
    let row_parts = PIECES.div_ceil(blocks.len() * shares).min(rows.len() / 256).max(1);
    let row_blocks: Vec<_> = split(rows.channels, rows.channels.div_ceil(row_parts)).collect();
    let shares: Vec<_> = split(passes.len(), passes.len().div_ceil(shares)).collect();
    let (len, width) = (out.len(), columns.len());
    let mut partial = buffer(len * (shares.len() - 1));
    let work = rows.len() * columns.len() * batch * area;
    {
        let (first, others) = (Shared::new(out), Shared::new(&mut partial));
        each(shares.len() * blocks.len() * row_blocks.len(), work, |task| {
            let (share, rest) =
                (task / (blocks.len() * row_blocks.len()), task % (blocks.len() * row_blocks.len()));
            let (channel, some) = blocks[rest / row_blocks.len()];
            let (row, some_rows) = row_blocks[rest % row_blocks.len()];
            let (pass, count) = shares[share];
            let (target, start) = if share == 0 { (first, 0) } else { (others, (share - 1) * len) };
            let block = Block {
                rows,
                columns,
                row_channels: row..row + some_rows,
                channels: channel..channel + some,
                out: target,
                start,
                width,
                direct,
            };
            block.run(isa, &passes[pass..pass + count]);
        });
    }
    if shares.len() > 1 {
        const CHUNK: usize = 1 << 12;
        let out = Shared::new(out);
        each(len.div_ceil(CHUNK), len * shares.len(), |i| {
            let at = i * CHUNK;
            let n = CHUNK.min(len - at);
            // SAFETY: every task has a range of its own.
            let sum = unsafe { out.slice(at, n) };
            for share in partial.chunks_exact(len) {
                for (sum, x) in sum.iter_mut().zip(&share[at..at + n]) {
                    *sum += x;
                }
            }
        });
    }
}

/// A part of the rows and columns, over some passes.
struct Block<'a> {
    rows: &'a Operand<'a>,
    columns: &'a Operand<'a>,
    row_channels: Range<usize>,
    channels: Range<usize>,
    out: Shared<'a>,
    start: usize,
    width: usize,
    /// The rows are read where they lie.
    direct: bool,
}

impl Block<'_> {
    fn run(&self, isa: Isa, passes: &[Pass]) {
        let taps = self.columns.lattice.taps.len();
        let row_taps = self.rows.lattice.taps.len();
        let width = self.channels.len() * taps;
        let panels = width.div_ceil(PANEL);
        let first_row = self.row_channels.start * row_taps;
        let height = self.row_channels.len() * row_taps;
        let most = passes.iter().map(|pass| pass.pictures * pass.pixels).max().unwrap_or(0);
        let area = self.rows.lattice.area();
        let plane = self.rows.lattice.size[0] * self.rows.lattice.size[1];
        // Rows a power of two apart would all fall into the same few lines of the cache.
        let row_stride = most.next_multiple_of(PANEL) + PANEL;
        let mut gathered = buffer(if self.direct { 0 } else { height * row_stride });
        let mut scratch = vec![0.0; panels * PANEL * PANEL];
        let mut packed = buffer(panels * PANEL * most.next_multiple_of(PANEL));
        let mut pointers: Vec<*const f32> = Vec::new();
        for (index, pass) in passes.iter().enumerate() {
            let pixels = pass.pictures * pass.pixels;
            let panel_stride = pixels * PANEL;
            let first = pass.picture * area + pass.start;
            for at in (0..pixels).step_by(PANEL) {
                let n = PANEL.min(pixels - at);
                let range = first + at..first + at + n;
                // SAFETY: the pixels and channels exist; scratch and targets have room for whole panels.
                unsafe {
                    let map = self.columns.map.as_ptr();
                    self.columns.lattice.pack(
                        isa,
                        map,
                        self.channels.clone(),
                        range.clone(),
                        scratch.as_mut_ptr(),
                        PANEL,
                    );
                    for panel in 0..panels {
                        let from = scratch.as_ptr().add(panel * PANEL * PANEL);
                        let to = packed.as_mut_ptr().add(panel * panel_stride + at * PANEL);
                        transpose::block(isa, from, PANEL, to, PANEL, n);
                    }
                    if !self.direct {
                        let to = gathered.as_mut_ptr().add(at);
                        let map = self.rows.map.as_ptr();
                        self.rows.lattice.pack(isa, map, self.row_channels.clone(), range, to, row_stride);
                    }
                }
            }
            let tile_taps = if self.direct { pass.pictures } else { 1 };
            let at_once = tile_panels(isa, height);
            for count in [1, 2, 4] {
                let of_width = || strips(0, panels, at_once).filter(move |group| group.1 == count);
                if of_width().next().is_none() {
                    continue;
                }
                for (row, n) in split(height, tile_rows(isa, count).min(MAX_ROWS)) {
                    pointers.clear();
                    for tap in 0..tile_taps {
                        for m in 0..n {
                            pointers.push(if self.direct {
                                let channel = self.row_channels.start + row + m;
                                let picture = (pass.picture + tap) * self.rows.lattice.picture;
                                self.rows.map[picture + channel * plane + pass.start..].as_ptr()
                            } else {
                                gathered[(row + m) * row_stride..].as_ptr()
                            });
                        }
                    }
                    for (panel, count) in of_width() {
                        let column = self.channels.start * taps + panel * PANEL;
                        // SAFETY: the operands were made above; the results are this block's own.
                        unsafe {
                            let c = self.out.at(self.start + (first_row + row) * self.width + column);
                            tile(
                                isa,
                                &Tile {
                                    a: pointers.as_ptr(),
                                    a_offset: 0,
                                    rows: n,
                                    taps: tile_taps,
                                    depth: pixels / tile_taps,
                                    b: packed.as_ptr().add(panel * panel_stride),
                                    panel_stride,
                                    c,
                                    c_stride: self.width,
                                    columns: (width - panel * PANEL).min(count * PANEL),
                                    accumulate: index > 0,
                                    epilogue: Epilogue::NONE,
                                    next: Next::NONE,
                                },
                            );
                        }
                    }
                }
            }
        }
    }
}
