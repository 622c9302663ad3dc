//! The product of weights and packed pixels, written into a map.

use crate::Isa;
use crate::gemm::{
    Epilogue, MAX_ROWS, Next, PANEL, Tile, TileKernel, packed_len, split, strips, tile, tile_panels,
    tile_rows,
};
use crate::train::lattice::Lattice;
use crate::train::parallel::{Shared, buffer, each};

/// Where the columns of a product go in the map that is written.
pub struct Target {
    /// Extent of the map `[height, width]`.
    pub size: [usize; 2],
    /// Step between neighbouring columns, in pixels.
    pub stride: [usize; 2],
    /// Pixel of the first column.
    pub offset: [usize; 2],
    /// Elements from one picture to the next.
    pub picture: usize,
}

/// The left operand of a product.
#[derive(Clone, Copy)]
pub enum Left<'a> {
    /// `[rows][channels · taps]`
    Straight(&'a [f32]),
    /// `[channels][rows][taps]`
    Turned(&'a [f32]),
}

/// `out[row][column] = Σ left[row][channel, tap] · map[channel][pixel under tap and column]`
pub struct Product<'a> {
    /// Which pixels the columns and taps are.
    pub lattice: &'a Lattice,
    /// Where the columns go.
    pub target: &'a Target,
    /// The map, from the first channel on.
    pub map: &'a [f32],
    /// Channels that are summed.
    pub channels: usize,
    /// Pictures.
    pub batch: usize,
    /// The left operand.
    pub left: Left<'a>,
    /// Its rows.
    pub rows: usize,
    /// The map that is written.
    pub out: Shared<'a>,
    /// Where its first row starts; rows are a plane of the target apart.
    pub out_start: usize,
    /// Whether the product is added to what is there.
    pub accumulate: bool,
}

/// Terms summed per pass: a tile's rows and panels of this depth stay in the first-level cache.
const DEPTH: usize = 320;

/// Panels packed at once: with `DEPTH` terms they fill a good part of the second-level cache.
const STRIP: usize = 24;

/// Pieces a product is cut into at least, where it is large enough.
const PIECES: usize = 8;

/// Widest group of panels.
const WIDEST: usize = 4;

/// Panels that are computed together, and where they are written.
struct Group {
    panel: usize,
    count: usize,
    place: Place,
}

enum Place {
    /// Consecutive from here on.
    Straight(usize),
    /// Into sums at this place, and in the end one by one into the map; `usize::MAX` is nowhere.
    Scattered(usize, Box<[usize; WIDEST * PANEL]>),
}

/// A range of rows and panels.
#[derive(Clone, Copy)]
struct Piece {
    first: usize,
    last: usize,
    row: usize,
    rows: usize,
}

impl Product<'_> {
    /// Computes the product.
    pub fn run(&self, isa: Isa) {
        self.run_by(isa, tile);
    }

    /// Computes what takes the product's place with the tiles of `kernel`.
    pub fn run_by(&self, isa: Isa, kernel: TileKernel) {
        let columns = self.batch * self.lattice.area();
        let panels = columns.div_ceil(PANEL);
        let strip = panels.div_ceil(PIECES).next_multiple_of(4).min(STRIP);
        let strips = panels.div_ceil(strip);
        let parts = PIECES.div_ceil(strips).min(self.rows / 64).max(1);
        let parts: Vec<_> = split(self.rows, self.rows.div_ceil(parts)).collect();
        let depth = self.channels * self.lattice.taps.len();
        let work = columns * self.rows * depth;
        // Where several pieces share their columns, these are packed once, before all pieces.
        let whole = (parts.len() > 1).then(|| {
            let mut packed = buffer(packed_len(depth, columns));
            let shared = Shared::new(&mut packed);
            let blocks: Vec<_> = self.blocks().collect();
            each(blocks.len() * strips, 8 * columns * depth, |task| {
                let ((channel, some), first) = (blocks[task / strips], task % strips * strip);
                let last = (first + strip).min(panels);
                let (skipped, some) = (channel * self.lattice.taps.len(), some * self.lattice.taps.len());
                let start = (skipped * panels + some * first) * PANEL;
                // SAFETY: every task packs panels of its own.
                let out = unsafe { shared.slice(start, some * (last - first) * PANEL) };
                self.pack(isa, channel, first, last, out);
            });
            packed
        });
        each(strips * parts.len(), work, |task| {
            let (first, (row, rows)) = (task / parts.len() * strip, parts[task % parts.len()]);
            let piece = Piece { first, last: (first + strip).min(panels), row, rows };
            self.piece(isa, piece, whole.as_deref(), kernel);
        });
    }

    /// Ranges of channels that are summed in one pass: the first and their number.
    fn blocks(&self) -> impl Iterator<Item = (usize, usize)> {
        split(self.channels, (DEPTH / self.lattice.taps.len()).max(1))
    }

    /// Packs panels `first..last` of the channels from `channel` on, as many as `out` holds.
    fn pack(&self, isa: Isa, channel: usize, first: usize, last: usize, out: &mut [f32]) {
        let columns = self.batch * self.lattice.area();
        let place = out.len() / (last - first);
        let some = place / PANEL / self.lattice.taps.len();
        for (panel, out) in (first..last).zip(out.chunks_exact_mut(place)) {
            let range = panel * PANEL..((panel + 1) * PANEL).min(columns);
            // SAFETY: the columns and channels exist, and the place holds all their rows.
            unsafe {
                let map = self.map.as_ptr();
                self.lattice.pack(isa, map, channel..channel + some, range, out.as_mut_ptr(), PANEL);
            }
        }
    }

    /// Computes a piece; `whole` holds all panels packed, block by block, else they are packed here.
    fn piece(&self, isa: Isa, piece: Piece, whole: Option<&[f32]>, kernel: TileKernel) {
        let taps = self.lattice.taps.len();
        let columns = self.batch * self.lattice.area();
        let (panels, here) = (columns.div_ceil(PANEL), piece.last - piece.first);
        let longest = self.blocks().map(|(_, some)| some * taps).max().unwrap_or(0);
        let mut own = buffer(if whole.is_some() { 0 } else { packed_len(longest, here * PANEL) });
        let at_once = tile_panels(isa, piece.rows).min(WIDEST);
        let mut scattered = 0;
        let groups: Vec<_> = strips(piece.first, piece.last, at_once)
            .map(|(panel, count)| {
                let place = self.place(panel, count, scattered);
                if matches!(place, Place::Scattered(..)) {
                    scattered += piece.rows * count * PANEL;
                }
                Group { panel, count, place }
            })
            .collect();
        let mut sums = buffer(scattered);
        let plane = self.target.size[0] * self.target.size[1];
        let mut pointers = Vec::new();
        for (channel, some) in self.blocks() {
            let depth = some * taps;
            let packed: &[f32] = match whole {
                Some(whole) => &whole[(channel * taps * panels + depth * piece.first) * PANEL..],
                None => {
                    self.pack(isa, channel, piece.first, piece.last, &mut own[..depth * here * PANEL]);
                    &own
                }
            };
            // Groups of different widths take different heights of tiles.
            for count in [1, 2, 4] {
                let of_width = || groups.iter().filter(move |group| group.count == count);
                if of_width().next().is_none() {
                    continue;
                }
                for (start, n) in split(piece.rows, tile_rows(isa, count).min(MAX_ROWS)) {
                    let tile_taps = self.pointers(piece.row + start, n, channel, some, &mut pointers);
                    for group in of_width() {
                        let width = count * PANEL;
                        let (c, c_stride) = match &group.place {
                            Place::Straight(at) => {
                                let at = self.out_start + (piece.row + start) * plane + at;
                                // SAFETY: the place lies in the map and is this piece's own.
                                (unsafe { self.out.at(at) }, plane)
                            }
                            Place::Scattered(at, _) => (sums[at + start * width..].as_mut_ptr(), width),
                        };
                        let straight = matches!(group.place, Place::Straight(_));
                        let t = Tile {
                            a: pointers.as_ptr(),
                            a_offset: 0,
                            rows: n,
                            taps: tile_taps,
                            depth: depth / tile_taps,
                            b: packed[(group.panel - piece.first) * depth * PANEL..].as_ptr(),
                            panel_stride: depth * PANEL,
                            c,
                            c_stride,
                            columns: if straight { width.min(columns - group.panel * PANEL) } else { width },
                            // Scattered sums are added in the end.
                            accumulate: channel > 0 || self.accumulate && straight,
                            epilogue: Epilogue::NONE,
                            next: Next::NONE,
                        };
                        // SAFETY: the operands were made above; the results are this piece's own.
                        unsafe { kernel(isa, &t) };
                    }
                }
            }
        }
        for group in &groups {
            if let Place::Scattered(at, places) = &group.place {
                let width = group.count * PANEL;
                let sums = sums[*at..][..piece.rows * width].chunks_exact(width);
                for (row, sums) in sums.enumerate() {
                    let base = self.out_start + (piece.row + row) * plane;
                    for (&place, &sum) in places.iter().zip(sums) {
                        if place != usize::MAX {
                            // SAFETY: as above.
                            let out = unsafe { &mut *self.out.at(base + place) };
                            *out = if self.accumulate { *out + sum } else { sum };
                        }
                    }
                }
            }
        }
    }

    /// Lists where the rows of a tile start, tap by tap; gives the number of taps of the tile.
    fn pointers(
        &self,
        row: usize,
        rows: usize,
        channel: usize,
        some: usize,
        pointers: &mut Vec<*const f32>,
    ) -> usize {
        let taps = self.lattice.taps.len();
        pointers.clear();
        match self.left {
            Left::Straight(left) => {
                let at = |m| (row + m) * self.channels * taps + channel * taps;
                pointers.extend((0..rows).map(|m| left[at(m)..].as_ptr()));
                1
            }
            Left::Turned(left) => {
                for c in channel..channel + some {
                    let at = |m| (c * self.rows + row + m) * taps;
                    pointers.extend((0..rows).map(|m| left[at(m)..].as_ptr()));
                }
                some
            }
        }
    }

    /// Where the columns of `count` panels from `panel` on are written; `sums` is the next free place for sums.
    fn place(&self, panel: usize, count: usize, sums: usize) -> Place {
        let (area, columns) = (self.lattice.area(), self.batch * self.lattice.area());
        let first = panel * PANEL;
        let end = (first + count * PANEL).min(columns);
        let straight = self.target.stride == [1, 1] && self.target.size == self.lattice.grid;
        if straight && first / area == (end - 1) / area {
            return Place::Straight(first / area * self.target.picture + first % area);
        }
        let mut places = Box::new([usize::MAX; WIDEST * PANEL]);
        for (place, q) in places.iter_mut().zip(first..end) {
            let (picture, rest) = (q / area, q % area);
            let y = rest / self.lattice.grid[1] * self.target.stride[0] + self.target.offset[0];
            let x = rest % self.lattice.grid[1] * self.target.stride[1] + self.target.offset[1];
            *place = picture * self.target.picture + y * self.target.size[1] + x;
        }
        Place::Scattered(sums, places)
    }
}
