//! Matrix products: tiles of `rows x 16·panels` results held in registers.
//!
//! The right operand is packed into *panels* of 16 columns, `[depth][16]` each, the last one filled up with
//! zeros; the layout does not depend on the instruction set, so packed weights can be stored. The rows of the left
//! operand are given by pointers, one per row and *tap*: a convolution's tile points at the pixels under each
//! tap of its kernel, a plain product at its rows. Every result is summed in the same order whatever the tile, so
//! results do not depend on how the work is shared out.
//!
//! What is summed is the product of the operands' elements ([`tile`]), or their distance ([`adder_tile`], see [`crate::adder`]).

mod tables;

use crate::Isa;
use crate::simd::Simd;

/// Columns of a panel.
pub const PANEL: usize = 16;

/// Most rows of a tile on any instruction set.
pub const MAX_ROWS: usize = 14;

/// Number of panels that hold `columns` columns.
pub const fn panels(columns: usize) -> usize {
    columns.div_ceil(PANEL)
}

/// Elements of a packed operand of `depth` rows and `columns` columns.
pub const fn packed_len(depth: usize, columns: usize) -> usize {
    panels(columns) * PANEL * depth
}

/// Packs the right operand; `element(row, column)` gives its elements.
pub fn pack(depth: usize, columns: usize, element: impl Fn(usize, usize) -> f32) -> Vec<f32> {
    let mut packed = vec![0.0; packed_len(depth, columns)];
    for (p, panel) in packed.chunks_exact_mut(PANEL * depth.max(1)).enumerate() {
        for (k, row) in panel.chunks_exact_mut(PANEL).enumerate() {
            for (j, place) in row.iter_mut().enumerate().take(columns - p * PANEL) {
                *place = element(k, p * PANEL + j);
            }
        }
    }
    packed
}

/// What is done with a tile before it is written: `clamp(product + bias + residual, low, high)`.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue {
    /// One number per column (readable for whole panels), or null.
    pub bias: *const f32,
    /// Added to the result, laid out like it, or null.
    pub residual: *const f32,
    /// Distance of the residual's rows.
    pub residual_stride: usize,
    /// Lower bound; `-inf` for none.
    pub low: f32,
    /// Upper bound; `inf` for none.
    pub high: f32,
}

impl Epilogue {
    /// Nothing is done.
    pub const NONE: Self = Self {
        bias: core::ptr::null(),
        residual: core::ptr::null(),
        residual_stride: 0,
        low: f32::NEG_INFINITY,
        high: f32::INFINITY,
    };

    /// The epilogue for the columns from `column` on and the rows from `row` on.
    ///
    /// # Safety
    /// Both must lie within what the pointers cover.
    pub unsafe fn at(&self, row: usize, column: usize) -> Self {
        let mut moved = *self;
        // SAFETY: within the buffers by the caller's promise.
        unsafe {
            if !moved.bias.is_null() {
                moved.bias = moved.bias.add(column);
            }
            if !moved.residual.is_null() {
                moved.residual = moved.residual.add(row * self.residual_stride + column);
            }
        }
        moved
    }
}

/// The operands of one tile: `c[m][j] (+)= Σ_tap Σ_k a[tap][m][k] · b[tap · depth + k][j]`.
#[derive(Clone, Copy, Debug)]
pub struct Tile {
    /// `taps × rows` pointers, tap by tap, each to `depth` elements.
    pub a: *const *const f32,
    /// Elements added to each of the pointers.
    pub a_offset: usize,
    /// Rows of the tile, at most what [`tile_rows`] says.
    pub rows: usize,
    /// Taps.
    pub taps: usize,
    /// Elements summed per tap.
    pub depth: usize,
    /// The first panel.
    pub b: *const f32,
    /// Elements from one panel to the next.
    pub panel_stride: usize,
    /// The first result.
    pub c: *mut f32,
    /// Distance of the result's rows.
    pub c_stride: usize,
    /// Columns, at most `16 · panels`.
    pub columns: usize,
    /// Adds to what `c` holds instead of overwriting it.
    pub accumulate: bool,
    /// Applied before writing.
    pub epilogue: Epilogue,
    /// What will be needed next is brought near while the tile is computed.
    pub next: Next,
}

/// Memory that will be needed soon: `step` elements of it are asked for with every summand.
#[derive(Clone, Copy, Debug)]
pub struct Next {
    /// Where it begins.
    pub from: *const f32,
    /// Elements per summand; a line holds 16.
    pub step: usize,
}

impl Next {
    /// Nothing.
    pub const NONE: Self = Self { from: core::ptr::null(), step: 0 };

    /// The share of tile `index` of `tiles` in fetching the `panels` panels at `from` while it computes `depth`
    /// summands from `begin` on.
    pub fn share(
        from: *const f32,
        panels: usize,
        begin: usize,
        depth: usize,
        index: usize,
        tiles: usize,
    ) -> Self {
        let step = (PANEL * panels).div_ceil(tiles);
        Self { from: from.wrapping_add(step * (begin * tiles + index * depth)), step }
    }
}

/// Most rows of a tile of 1, 2 or 4 panels on `isa`.
pub fn tile_rows(isa: Isa, panels: usize) -> usize {
    let rows = match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => crate::simd::avx512::Avx512::ROWS,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => crate::simd::avx2::Avx2::ROWS,
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => crate::simd::neon::Neon::ROWS,
        _ => crate::simd::portable::Portable::ROWS,
    };
    rows[match panels {
        1 => 0,
        2 => 1,
        _ => 2,
    }]
}

/// Panels worth taking at once for tiles of `rows` rows: thin tiles take more, to have enough independent sums.
pub fn tile_panels(isa: Isa, rows: usize) -> usize {
    match isa {
        Isa::Avx512 if rows > tile_rows(isa, 4) => 2,
        Isa::Avx512 => 4,
        _ if rows == 1 => 4,
        _ if rows <= tile_rows(isa, 2) => 2,
        _ => 1,
    }
}

/// Vectors of one panel on the narrowest instruction set.
const VECTORS: usize = 4;

/// `acc + x · w`, or `acc + |x - w|` where `DISTANCE`.
#[inline(always)]
unsafe fn term<S: Simd, const DISTANCE: bool>(x: S::V, w: S::V, acc: S::V) -> S::V {
    // SAFETY: the caller runs on the instruction set.
    unsafe { if DISTANCE { S::add(acc, S::abs(S::sub(x, w))) } else { S::fma(x, w, acc) } }
}

#[inline(always)]
unsafe fn tile_of<S: Simd, const DISTANCE: bool, const ROWS: usize, const PANELS: usize>(t: &Tile) {
    let vectors = PANEL / S::LANES;
    // SAFETY: the caller of `tile` promises valid operands; all offsets follow the documented layout.
    unsafe {
        let mut acc = [[[S::splat(0.0); VECTORS]; PANELS]; ROWS];
        let mut b = t.b;
        // Nothing to fetch: the same harmless line again and again.
        let mut next = if t.next.step == 0 { t.b } else { t.next.from };
        for tap in 0..t.taps {
            let mut a = [core::ptr::null::<f32>(); ROWS];
            for m in 0..ROWS {
                a[m] = (*t.a.add(tap * ROWS + m)).add(t.a_offset);
            }
            for k in 0..t.depth {
                let mut row = [[S::splat(0.0); VECTORS]; PANELS];
                for p in 0..PANELS {
                    for v in 0..vectors {
                        row[p][v] = S::load(b.add(p * t.panel_stride + v * S::LANES));
                    }
                }
                b = b.add(PANEL);
                S::prefetch(next);
                next = next.wrapping_add(t.next.step);
                for m in 0..ROWS {
                    let x = S::splat(*a[m].add(k));
                    for p in 0..PANELS {
                        for v in 0..vectors {
                            acc[m][p][v] = term::<S, DISTANCE>(x, row[p][v], acc[m][p][v]);
                        }
                    }
                }
            }
        }
        let e = &t.epilogue;
        let full = t.columns == PANELS * PANEL;
        // Simple loops without exits: they unroll wholly, and the sums never leave the registers.
        if !e.bias.is_null() {
            for p in 0..PANELS {
                for v in 0..vectors {
                    let bias = S::load(e.bias.add(p * PANEL + v * S::LANES));
                    for m in 0..ROWS {
                        acc[m][p][v] = S::add(acc[m][p][v], bias);
                    }
                }
            }
        }
        if full {
            finish::<S, ROWS, PANELS, true>(t, &mut acc);
        } else {
            finish::<S, ROWS, PANELS, false>(t, &mut acc);
        }
    }
}

/// Adds what is to be added, bounds and writes; without `FULL` the last panel is partly filled.
#[inline(always)]
unsafe fn finish<S: Simd, const ROWS: usize, const PANELS: usize, const FULL: bool>(
    t: &Tile,
    acc: &mut [[[S::V; VECTORS]; PANELS]; ROWS],
) {
    let e = &t.epilogue;
    // SAFETY: the results and what is added to them cover the columns by the caller's promise.
    unsafe {
        if t.accumulate {
            add_rows::<S, ROWS, PANELS, FULL>(acc, t.c, t.c_stride, t.columns);
        }
        if !e.residual.is_null() {
            add_rows::<S, ROWS, PANELS, FULL>(acc, e.residual, e.residual_stride, t.columns);
        }
        let (low, high) = (S::splat(e.low), S::splat(e.high));
        for m in 0..ROWS {
            for p in 0..PANELS {
                for v in 0..PANEL / S::LANES {
                    let column = p * PANEL + v * S::LANES;
                    let x = S::min(high, S::max(low, acc[m][p][v]));
                    let c = t.c.wrapping_add(m * t.c_stride + column);
                    if FULL {
                        S::store(c, x);
                    } else {
                        S::store_n(c, x, t.columns.saturating_sub(column).min(S::LANES));
                    }
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn add_rows<S: Simd, const ROWS: usize, const PANELS: usize, const FULL: bool>(
    acc: &mut [[[S::V; VECTORS]; PANELS]; ROWS],
    rows: *const f32,
    stride: usize,
    columns: usize,
) {
    for m in 0..ROWS {
        for p in 0..PANELS {
            for v in 0..PANEL / S::LANES {
                let column = p * PANEL + v * S::LANES;
                let row = rows.wrapping_add(m * stride + column);
                // SAFETY: the rows cover the columns, as the caller has checked.
                unsafe {
                    let row = if FULL {
                        S::load(row)
                    } else {
                        S::load_n(row, columns.saturating_sub(column).min(S::LANES))
                    };
                    acc[m][p][v] = S::add(acc[m][p][v], row);
                }
            }
        }
    }
}

/// How tiles are computed: [`tile`] or [`adder_tile`].
pub type TileKernel = unsafe fn(Isa, &Tile);

/// Computes one tile; its columns fill 1, 2 or 4 panels (the last perhaps partly).
///
/// # Safety
/// `isa` must be available; `a`, `b`, `c` and the epilogue's pointers must be valid for the extents given,
/// `rows` at most [`tile_rows`], and no other thread may touch the results meanwhile.
#[inline(always)]
pub unsafe fn tile(isa: Isa, t: &Tile) {
    // SAFETY: the caller's promise.
    unsafe { tables::run::<false>(isa, t) }
}

/// As [`tile`], with `|a - b|` in the place of `a · b`.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
pub unsafe fn adder_tile(isa: Isa, t: &Tile) {
    // SAFETY: the caller's promise.
    unsafe { tables::run::<true>(isa, t) }
}

/// Splits `total` rows into the fewest tiles of at most `most` rows, as even as can be; yields `(start, rows)`.
pub fn split(total: usize, most: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
    let tiles = total.div_ceil(most).max(1);
    let (rows, longer) = (total / tiles, total % tiles);
    (0..tiles)
        .map(move |i| (i * rows + i.min(longer), rows + usize::from(i < longer)))
        .filter(|(_, n)| *n > 0)
}

/// Splits panels `begin..end` into strips of `at_once`, then smaller ones; yields `(panel, count)`.
pub fn strips(begin: usize, end: usize, at_once: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut next = begin;
    core::iter::from_fn(move || {
        let left = end - next;
        let take = match left {
            0 => return None,
            3 => 2,
            n => at_once.min(if n >= 4 { 4 } else { n }),
        }
        .min(at_once);
        next += take;
        Some((next - take, take))
    })
}

/// A plain product `c = a · b` with a packed right operand.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// The left operand, row-major.
    pub a: *const f32,
    /// Distance of its rows.
    pub a_stride: usize,
    /// The packed right operand.
    pub b: *const f32,
    /// Its rows.
    pub depth: usize,
    /// Its columns.
    pub columns: usize,
    /// The result.
    pub c: *mut f32,
    /// Distance of its rows.
    pub c_stride: usize,
    /// Adds to what `c` holds.
    pub accumulate: bool,
    /// Applied before writing.
    pub epilogue: Epilogue,
}

/// Rows of the left operand that are gone through for one strip of panels before the next strip.
const BLOCK: usize = 96;

/// Summands that are gone through for all tiles of a block before the next: two panels of them stay in the
/// first-level cache.
const CHUNK: usize = 256;

/// Cuts `depth` summands into even chunks. They depend on nothing else, so that neither do the sums.
pub(crate) fn chunks(depth: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
    // A little more than fits beats two halves, which cost a pass over the results.
    split(depth, if depth <= CHUNK + CHUNK / 2 { depth.max(1) } else { CHUNK })
}

/// Computes rows `rows` of the columns in panels `range` of a product.
///
/// # Safety
/// As for [`tile`]; several threads may compute different ranges of one product.
pub unsafe fn product(isa: Isa, x: &Product, rows: core::ops::Range<usize>, range: core::ops::Range<usize>) {
    // SAFETY: the caller's promise.
    unsafe { product_by(isa, x, rows, range, tile) }
}

/// As [`product`], with the tiles of `kernel`.
///
/// # Safety
/// As for [`product`].
#[inline(always)]
pub(crate) unsafe fn product_by(
    isa: Isa,
    x: &Product,
    rows: core::ops::Range<usize>,
    range: core::ops::Range<usize>,
    kernel: TileKernel,
) {
    let total = rows.len();
    let at_once = tile_panels(isa, total);
    let panel_stride = x.depth * PANEL;
    for (block, block_rows) in split(total, BLOCK) {
        for (panel, count) in strips(range.start, range.end, at_once) {
            let columns = (x.columns - panel * PANEL).min(count * PANEL);
            let most = tile_rows(isa, count);
            let tiles = block_rows.div_ceil(most);
            for (begin, depth) in chunks(x.depth) {
                let last = begin + depth == x.depth;
                for (tile_index, (start, n)) in split(block_rows, most).enumerate() {
                    let row = rows.start + block + start;
                    // While the first strip is computed, the next rows come; later, the next strip's weights.
                    let next = if panel == range.start && total > block_rows && depth == x.depth {
                        Next { from: x.a.wrapping_add((row + n) * x.a_stride), step: n }
                    } else if tiles > 1 {
                        let from = x.b.wrapping_add((panel + count) * panel_stride);
                        Next::share(from, count, begin, depth, tile_index, tiles)
                    } else {
                        Next::NONE
                    };
                    let mut a = [core::ptr::null::<f32>(); MAX_ROWS];
                    // SAFETY: rows and panels lie in the operands by the caller's promise.
                    unsafe {
                        for (m, p) in a.iter_mut().enumerate().take(n) {
                            *p = x.a.add((row + m) * x.a_stride);
                        }
                        kernel(
                            isa,
                            &Tile {
                                a: a.as_ptr(),
                                a_offset: begin,
                                rows: n,
                                taps: 1,
                                depth,
                                b: x.b.add(panel * panel_stride + begin * PANEL),
                                panel_stride,
                                c: x.c.add(row * x.c_stride + panel * PANEL),
                                c_stride: x.c_stride,
                                columns,
                                accumulate: x.accumulate || begin > 0,
                                epilogue: if last {
                                    x.epilogue.at(row, panel * PANEL)
                                } else {
                                    Epilogue::NONE
                                },
                                next,
                            },
                        );
                    }
                }
            }
        }
    }
}
