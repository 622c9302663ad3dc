//! 3×3 convolutions of stride 1 on codes by Winograd's F(2×2, 3×3): 16 products instead of 36 for four results.
//!
//! Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016), in integers: with filters
//! transformed by twice the usual matrix every number is whole, codes and filters fit into 16 bits, and the sums come
//! out four times too large, so that the results are exact. Faster than the implicit product where codes are
//! multiplied in 16 bits anyway, that is on x86 without VNNI.

use core::ops::Range;

use super::conv::MapIn;
use super::dot::Kernel;
use super::epilogue::{Epilogue, Sums, finish};
use super::gemm::{Tile, tile};
use super::{Isa, scratch};
use crate::gemm::{PANEL, panels};
use crate::simd::Simd;

/// Products per tile.
const POINTS: usize = 16;

/// Results per tile and direction.
pub const TILE: usize = 2;

/// Most input channels: four times the largest sum, `4 · 9 · 255 · 128`, of so many stays below 2^31.
pub const MAX_DEPTH: usize = 1824;

/// Bytes of transformed codes that are worked on together: they stay in the second-level cache.
const TRANSFORMED: usize = 384 << 10;

/// Most tiles of a product.
const MAX_TILES: usize = super::gemm::MAX_ROWS;

/// Channels transformed at once.
const CHANNELS: usize = 16;

/// Transformed filters, `[panels][16 points][groups of four channels]` of 16-bit numbers as the kernel wants them.
#[derive(Clone, Debug)]
pub struct Filters {
    data: Vec<[i16; 64]>,
    groups: usize,
}

impl Filters {
    /// Transforms the filters of a convolution of `depth` channels, given by `(column, channel, tap)`, where `isa` takes
    /// them: without VNNI, with at most [`MAX_DEPTH`] channels in whole groups of four.
    pub fn new(
        isa: Isa,
        columns: usize,
        depth: usize,
        weight: impl Fn(usize, usize, usize) -> i8,
    ) -> Option<Self> {
        let lanes = match isa {
            Isa::Avx2 => 8,
            Isa::Avx512 => 16,
            _ => return None,
        };
        if !depth.is_multiple_of(4) || depth > MAX_DEPTH {
            return None;
        }
        let groups = depth / 4;
        let mut data = vec![[0i16; 64]; panels(columns) * POINTS * groups];
        for (panel, points) in data.chunks_exact_mut((POINTS * groups).max(1)).enumerate() {
            for (group, column) in (0..groups).flat_map(|group| (0..PANEL).map(move |column| (group, column)))
            {
                if panel * PANEL + column >= columns {
                    continue;
                }
                // A vector's columns: pairs of the first two channels, then pairs of the others.
                let place = column / lanes * lanes * 4 + column % lanes * 2;
                for k in 0..4 {
                    let g = core::array::from_fn(|tap| {
                        i16::from(weight(panel * PANEL + column, group * 4 + k, tap))
                    });
                    let place = place + k / 2 * lanes * 2 + k % 2;
                    for (point, u) in filter(g).into_iter().enumerate() {
                        points[point * groups + group][place] = u;
                    }
                }
            }
        }
        Some(Self { data, groups })
    }

    fn at(&self, panel: usize, point: usize) -> *const i8 {
        self.data[(panel * POINTS + point) * self.groups..].as_ptr().cast()
    }
}

/// `2G g (2G)ᵀ`, row by row.
fn filter(g: [i16; 9]) -> [i16; POINTS] {
    let line = |a: i16, b: i16, c: i16| [2 * a, a + b + c, a - b + c, 2 * c];
    let columns: [[i16; 4]; 3] = core::array::from_fn(|x| line(g[x], g[3 + x], g[6 + x]));
    let mut u = [0; POINTS];
    for y in 0..4 {
        u[y * 4..][..4].copy_from_slice(&line(columns[0][y], columns[1][y], columns[2][y]));
    }
    u
}

/// A 3×3 convolution of stride 1.
#[derive(Clone, Copy, Debug)]
pub struct Winograd<'a> {
    /// The input. As of [`Conv`](super::Conv), some bytes after a pixel's channels are read.
    pub input: MapIn,
    /// Rows above and pixels to the left that lie beyond the edges.
    pub pad: [usize; 2],
    /// Input channels, as the filters were made for.
    pub depth: usize,
    /// The code beyond the edges.
    pub zero: u8,
    /// The filters.
    pub filters: &'a Filters,
    /// Output channels.
    pub columns: usize,
    /// Output extent `[height, width]`.
    pub output_size: [usize; 2],
    /// What becomes of the sums, as of [`Conv`](super::Conv).
    pub epilogue: Epilogue<'a>,
}

impl Winograd<'_> {
    /// Tiles per picture `[down, across]`.
    pub fn tiles(&self) -> [usize; 2] {
        self.output_size.map(|extent| extent.div_ceil(TILE))
    }
}

type Codes = [i16; CHANNELS];

#[inline(always)]
fn map2<T: Copy, const N: usize>(a: [T; N], b: [T; N], f: impl Fn(T, T) -> T) -> [T; N] {
    core::array::from_fn(|i| f(a[i], b[i]))
}

/// `Bᵀ d`: one line of four.
#[inline(always)]
fn line(d: [Codes; 4]) -> [Codes; 4] {
    let (add, sub) = (|a: Codes, b| map2(a, b, |a, b| a + b), |a: Codes, b| map2(a, b, |a, b| a - b));
    [sub(d[0], d[2]), add(d[1], d[2]), sub(d[2], d[1]), sub(d[1], d[3])]
}

/// Transforms input tiles `first..first + n` to `[16 points][block][depth]`.
#[inline(always)]
unsafe fn forward_of<S: Simd>(x: &Winograd, first: usize, n: usize, block: usize, to: *mut i16) {
    const { assert!(CHANNELS.is_multiple_of(S::LANES)) };
    let [down, across] = x.tiles();
    let (height, width) = (x.input.height as isize, x.input.width as isize);
    for tile in 0..n {
        let (picture, rest) = ((first + tile) / (down * across), (first + tile) % (down * across));
        let y0 = (rest / across * TILE) as isize - x.pad[0] as isize;
        let x0 = (rest % across * TILE) as isize - x.pad[1] as isize;
        let base = x.input.data.wrapping_add(picture * x.input.picture);
        let mut c = 0;
        while c < x.depth {
            let count = (x.depth - c).min(CHANNELS);
            let mut columns = [[[0i16; CHANNELS]; 4]; 4];
            for j in 0..4 {
                let mut d = [[i16::from(x.zero); CHANNELS]; 4];
                let column = x0 + j as isize;
                for i in 0..4 {
                    let row = y0 + i as isize;
                    if row >= 0 && row < height && column >= 0 && column < width {
                        let at = row * x.input.row as isize + column * x.input.pixel as isize;
                        let from = base.wrapping_offset(at).wrapping_add(c);
                        // SAFETY: a pixel inside of the map.
                        unsafe {
                            if count == CHANNELS {
                                let codes = from.cast::<[u8; CHANNELS]>().read_unaligned();
                                d[i] = codes.map(i16::from);
                            } else {
                                for k in 0..count {
                                    d[i][k] = i16::from(*from.add(k));
                                }
                            }
                        }
                    }
                }
                columns[j] = line(d);
            }
            for i in 0..4 {
                let row = line([columns[0][i], columns[1][i], columns[2][i], columns[3][i]]);
                for (j, v) in row.into_iter().enumerate() {
                    let place = to.wrapping_add(((i * 4 + j) * block + tile) * x.depth + c);
                    // SAFETY: the caller's room holds all points of `block` tiles.
                    unsafe {
                        if count == CHANNELS {
                            place.cast::<Codes>().write_unaligned(v);
                        } else {
                            core::ptr::copy_nonoverlapping(v.as_ptr(), place, count);
                        }
                    }
                }
            }
            c += count;
        }
    }
}

crate::dispatch! {
    /// See [`forward_of`].
    fn forward(x: &Winograd, first: usize, n: usize, block: usize, to: *mut i16) = forward_of;
}

type Products = [i32; PANEL];

/// Rows of products of one point.
type Points = [[Products; MAX_TILES]; POINTS];

/// Two rows of results, with room for vectors that reach over the last.
type Results = [[Products; TILE * MAX_TILES + 4]; TILE];

/// The sums of a product, for one after the other.
struct Room {
    points: Points,
    results: Results,
}

/// `Aᵀ m A / 4` of `n` tiles.
#[inline(always)]
unsafe fn backward_of<S: Simd>(points: &Points, n: usize, results: &mut Results) {
    const { assert!(PANEL.is_multiple_of(S::LANES)) };
    let add = |a: Products, b| map2(a, b, i32::wrapping_add);
    let sub = |a: Products, b| map2(a, b, i32::wrapping_sub);
    for tile in 0..n {
        let m = |i: usize, j: usize| points[i * 4 + j][tile];
        let mut half = [[[0i32; PANEL]; 4]; 2];
        for j in 0..4 {
            half[0][j] = add(add(m(0, j), m(1, j)), m(2, j));
            half[1][j] = sub(sub(m(1, j), m(2, j)), m(3, j));
        }
        for (row, half) in results.iter_mut().zip(half) {
            // The sum is a multiple of four.
            row[TILE * tile] = add(add(half[0], half[1]), half[2]).map(|v| v >> 2);
            row[TILE * tile + 1] = sub(sub(half[1], half[2]), half[3]).map(|v| v >> 2);
        }
    }
}

crate::dispatch! {
    /// See [`backward_of`].
    fn backward(points: &Points, n: usize, results: &mut Results) = backward_of;
}

/// Computes the results of tiles `tiles` (counted through the batch) of the channels in panels `panels` of 16.
///
/// # Safety
/// `isa` must be available and the filters made for it, the maps as described, the epilogue's pointers and parameters
/// cover the output; several threads may compute different ranges.
pub unsafe fn winograd(isa: Isa, x: &Winograd, tiles: Range<usize>, panels: Range<usize>) {
    let kernel = Kernel::of(isa, false);
    let rows = kernel.tile_rows(1).min(MAX_TILES);
    let bytes_per_tile = POINTS * x.depth * 2;
    let block = (TRANSFORMED / bytes_per_tile).next_multiple_of(rows).min(tiles.len().next_multiple_of(rows));
    let mut sums = Room {
        points: [[[0; PANEL]; MAX_TILES]; POINTS],
        results: [[[0; PANEL]; TILE * MAX_TILES + 4]; TILE],
    };
    scratch::with(block * bytes_per_tile, |room| {
        let room = room.cast::<i16>();
        for first in tiles.clone().step_by(block.max(1)) {
            let n = (tiles.end - first).min(block);
            // SAFETY: the room holds a block; the rest is the caller's promise.
            unsafe {
                forward(isa.lanes(), x, first, n, block, room);
                for panel in panels.clone() {
                    for at in (0..n).step_by(rows) {
                        let own = room.add(at * x.depth);
                        products(isa, kernel, x, own, first + at, rows.min(n - at), block, panel, &mut sums);
                    }
                }
            }
        }
    });
}

/// The results of `n` tiles from `first` on, whose transformed codes begin at `codes`, for a panel.
unsafe fn products(
    isa: Isa,
    kernel: Kernel,
    x: &Winograd,
    codes: *const i16,
    first: usize,
    n: usize,
    block: usize,
    panel: usize,
    Room { points, results }: &mut Room,
) {
    for (point, sums) in points.iter_mut().enumerate() {
        let a: [*const u8; MAX_TILES] =
            core::array::from_fn(|m| codes.wrapping_add((point * block + m.min(n - 1)) * x.depth).cast());
        let product = Tile {
            a: a.as_ptr(),
            rows: n,
            runs: 1,
            groups: x.filters.groups,
            b: x.filters.at(panel, point),
            column_sums: core::ptr::null(),
            panels: 1,
            sums: sums.as_mut_ptr().cast(),
            stride: PANEL,
            excess: None,
        };
        // SAFETY: rows and filters hold `groups` groups each.
        unsafe { tile(kernel, &product) };
    }
    // SAFETY: the instruction set is the caller's promise.
    unsafe { backward(isa.lanes(), points, n, results) };
    let [down, across] = x.tiles();
    let [height, width] = x.output_size;
    let column = panel * PANEL;
    let mut done = 0;
    while done < n {
        let (picture, rest) = ((first + done) / (down * across), (first + done) % (down * across));
        let (ty, tx) = (rest / across, rest % across);
        let run = (across - tx).min(n - done);
        for (i, row) in results.iter().enumerate().take((height - ty * TILE).min(TILE)) {
            let s = Sums {
                data: row[TILE * done..].as_ptr().cast(),
                stride: PANEL,
                row: (picture * height + ty * TILE + i) * width + tx * TILE,
                rows: (run * TILE).min(width - tx * TILE),
                column,
                columns: (x.columns - column).min(PANEL),
            };
            // SAFETY: the caller's promise.
            unsafe { finish(isa.lanes(), &x.epilogue, &s) };
        }
        done += run;
    }
}
