//! Nearest neighbours among nodes, and what a node takes from them: the graph of Vision GNN (arXiv 2206.00272).
//!
//! Nodes are rows of channels. Distances come from tiles of products ([`gemm`](crate::gemm)), a block of rows at a time,
//! and are forgotten once the smallest of a row are picked: memory grows with `rows × targets` of a block only. Rows are
//! never sorted as a whole: a bound from a few minima leaves little more than the neighbours to sort.

use crate::Isa;
use crate::gemm::{self, Epilogue, PANEL, Product, product};
use crate::simd::Simd;

/// What a search looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Search {
    /// Channels of a node.
    pub channels: usize,
    /// Nodes to choose from.
    pub targets: usize,
    /// Neighbours per node.
    pub k: usize,
    /// Of the nearest `k · dilation` every `dilation`-th is a neighbour, the nearest first.
    pub dilation: usize,
}

impl Search {
    /// Nodes that are ranked.
    pub fn ranked(&self) -> usize {
        self.k * self.dilation
    }

    /// Whether there are enough nodes to choose from.
    pub fn is_possible(&self) -> bool {
        self.k > 0 && self.dilation > 0 && self.ranked() <= self.targets && self.targets < u32::MAX as usize
    }
}

/// Rows of a block: their distances stay in the second-level cache.
pub const BLOCK: usize = 28;

/// Elements of the scratch a block needs.
pub fn scratch_len(search: &Search) -> usize {
    BLOCK * search.targets
}

/// `x` times this is of length 1 (or 0); lengths below 1e-12 count as 1e-12, as in PyTorch's `normalize`.
fn inverse_length(square: f32) -> f32 {
    1.0 / square.sqrt().max(1e-12)
}

#[inline(always)]
unsafe fn unit_of<S: Simd>(x: *const f32, y: *mut f32, n: usize, scale: f32) -> f32 {
    // SAFETY: `n` elements on both sides by the caller's promise.
    unsafe {
        let mut sums = S::splat(0.0);
        let mut i = 0;
        while i < n {
            let v = S::load_n(x.add(i), (n - i).min(S::LANES));
            sums = S::fma(v, v, sums);
            i += S::LANES;
        }
        let factor = inverse_length(S::sum(sums));
        let wide = S::splat(factor * scale);
        i = 0;
        while i < n {
            let left = (n - i).min(S::LANES);
            S::store_n(y.add(i), S::mul(S::load_n(x.add(i), left), wide), left);
            i += left;
        }
        factor * factor * S::sum(sums)
    }
}

crate::dispatch! {
    /// `y = scale · x / |x|` over `n` elements; gives the square of the length of `x / |x|`, 1 or 0.
    ///
    /// # Safety
    /// `isa` must be available; `x` and `y` hold `n` elements and are the same or apart.
    pub fn unit(x: *const f32, y: *mut f32, n: usize, scale: f32) -> f32 = unit_of;
}

/// The targets of a search, made ready.
#[derive(Clone, Copy, Debug)]
pub struct Targets {
    /// Their unit vectors as the right operand of a product, packed.
    pub packed: *const f32,
    /// Squares of their lengths (readable for whole panels).
    pub squares: *const f32,
}

/// What is added to the distances: one row per node, or nothing.
#[derive(Clone, Copy, Debug)]
pub struct Positions {
    /// The first row, or null.
    pub table: *const f32,
    /// Distance of the rows.
    pub stride: usize,
}

impl Positions {
    /// Nothing is added.
    pub const NONE: Self = Self { table: core::ptr::null(), stride: 0 };
}

/// Finds the neighbours of the nodes `nodes` (rows of `-2 · unit vectors`, `stride` apart) among `targets`: writes
/// `k` indices per node to `out`. Nearest first; of equal distances the lower index first; what is not a number comes last.
///
/// # Safety
/// `isa` must be available; all nodes, `positions` and `out` must be valid for `nodes`, `scratch` for [`scratch_len`]
/// elements; the search must be possible.
pub unsafe fn search(
    isa: Isa,
    own: &Search,
    (first, stride): (*const f32, usize),
    targets: Targets,
    positions: Positions,
    nodes: core::ops::Range<usize>,
    scratch: *mut f32,
    out: *mut u32,
) {
    let mut begin = nodes.start;
    let mut few = [0u32; 128];
    let mut many = Vec::new();
    let best = match few.get_mut(..own.ranked()) {
        Some(few) => few,
        None => {
            many.resize(own.ranked(), 0);
            &mut many
        }
    };
    while begin < nodes.end {
        let rows = (nodes.end - begin).min(BLOCK);
        // SAFETY: the caller's promise.
        unsafe {
            let epilogue = Epilogue {
                bias: targets.squares,
                residual: if positions.table.is_null() {
                    positions.table
                } else {
                    positions.table.add(begin * positions.stride)
                },
                residual_stride: positions.stride,
                ..Epilogue::NONE
            };
            let distances = Product {
                a: first.add(begin * stride),
                a_stride: stride,
                b: targets.packed,
                depth: own.channels,
                columns: own.targets,
                c: scratch,
                c_stride: own.targets,
                accumulate: false,
                epilogue,
            };
            product(isa, &distances, 0..rows, 0..gemm::panels(own.targets));
            for row in 0..rows {
                smallest(isa, scratch.add(row * own.targets), own.targets, best.len(), best.as_mut_ptr());
                let out = core::slice::from_raw_parts_mut(out.add((begin + row) * own.k), own.k);
                for (place, index) in out.iter_mut().zip(best.iter().step_by(own.dilation)) {
                    *place = *index;
                }
            }
        }
        begin += rows;
    }
}

/// Room for candidates: twice as many as nodes are ranked in the published networks, and more.
const CANDIDATES: usize = 256;

/// Bits that order as the numbers do; what is not a number comes last.
fn key(value: f32, index: usize) -> u64 {
    let bits = if value.is_nan() { f32::INFINITY.to_bits() } else { (value + 0.0).to_bits() };
    let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    u64::from(ordered) << 32 | index as u64
}

#[inline(always)]
unsafe fn smallest_of<S: Simd>(x: *const f32, n: usize, keep: usize, best: *mut u32) {
    // SAFETY: `n >= keep > 0` elements of `x` and `keep` of `best` by the caller's promise.
    unsafe {
        let best = core::slice::from_raw_parts_mut(best, keep);
        let mut candidates = [0u64; CANDIDATES];
        let found = match bound::<S>(x, n, keep) {
            Some(bound) => collect::<S>(x, n, bound, &mut candidates),
            None => None,
        };
        match found.filter(|&found| found >= keep) {
            Some(found) => {
                candidates[..found].sort_unstable();
                for (place, candidate) in best.iter_mut().zip(&candidates) {
                    *place = *candidate as u32;
                }
            }
            // Few nodes, many equal ones, or numbers missing.
            None => {
                let mut all: Vec<u64> = (0..n).map(|i| key(*x.add(i), i)).collect();
                all.select_nth_unstable(keep - 1);
                all[..keep].sort_unstable();
                for (place, candidate) in best.iter_mut().zip(&all) {
                    *place = *candidate as u32;
                }
            }
        }
    }
}

/// A number that at least `keep` elements do not exceed, and few more: the `keep`-th smallest of the minima of twice as many
/// classes of elements.
#[inline(always)]
unsafe fn bound<S: Simd>(x: *const f32, n: usize, keep: usize) -> Option<f32> {
    const MOST: usize = 128;
    let vectors = (2 * keep).div_ceil(S::LANES);
    let classes = vectors * S::LANES;
    if classes > MOST || n < classes {
        return None;
    }
    // SAFETY: inside of `x`; `classes` elements of `minima`.
    unsafe {
        let mut minima = [f32::INFINITY; MOST];
        let mut i = 0;
        while i + classes <= n {
            for v in 0..vectors {
                let place = minima.as_mut_ptr().add(v * S::LANES);
                S::store(place, S::min(S::load(x.add(i + v * S::LANES)), S::load(place)));
            }
            i += classes;
        }
        for (place, j) in minima.iter_mut().zip(i..n) {
            let value = *x.add(j);
            if value < *place {
                *place = value;
            }
        }
        let (_, bound, _) = minima[..classes].select_nth_unstable_by(keep - 1, f32::total_cmp);
        bound.is_finite().then_some(*bound)
    }
}

/// Keys of the elements that do not exceed `bound`, in order; nothing if there are too many.
#[inline(always)]
unsafe fn collect<S: Simd>(x: *const f32, n: usize, bound: f32, to: &mut [u64; CANDIDATES]) -> Option<usize> {
    // SAFETY: inside of `x`.
    unsafe {
        let wide = S::splat(bound);
        let (mut found, mut i) = (0, 0);
        while i < n {
            let mut below = if i + S::LANES <= n {
                S::not_above(S::load(x.add(i)), wide)
            } else {
                (0..n - i).filter(|j| *x.add(i + j) <= bound).fold(0, |bits, j| bits | 1 << j)
            };
            if found + S::LANES > CANDIDATES {
                return None;
            }
            while below != 0 {
                let j = i + below.trailing_zeros() as usize;
                to[found] = key(*x.add(j), j);
                found += 1;
                below &= below - 1;
            }
            i += S::LANES;
        }
        Some(found)
    }
}

crate::dispatch! {
    /// The indices of the `keep` smallest of `n` elements, ascending; of equals the lower index first.
    ///
    /// # Safety
    /// `isa` must be available; `x` holds `n` elements, `best` `keep`, and `n >= keep > 0`.
    fn smallest(x: *const f32, n: usize, keep: usize, best: *mut u32) = smallest_of;
}

#[inline(always)]
unsafe fn max_relative_of<S: Simd>(
    own: *const f32,
    targets: *const f32,
    stride: usize,
    neighbours: *const u32,
    k: usize,
    channels: usize,
    out: *mut f32,
) {
    let mut pair = [0.0f32; 2 * PANEL];
    // SAFETY: the caller's promise; a vector has at most `PANEL` lanes.
    unsafe {
        let mut c = 0;
        while c < channels {
            let left = (channels - c).min(S::LANES);
            let mut most = S::load_n(targets.add(*neighbours as usize * stride + c), left);
            for j in 1..k {
                most = S::max(most, S::load_n(targets.add(*neighbours.add(j) as usize * stride + c), left));
            }
            let own = S::load_n(own.add(c), left);
            S::store(pair.as_mut_ptr(), own);
            S::store(pair.as_mut_ptr().add(PANEL), S::sub(most, own));
            let out = core::slice::from_raw_parts_mut(out.add(2 * c), 2 * left);
            for (i, place) in out.chunks_exact_mut(2).enumerate() {
                place[0] = pair[i];
                place[1] = pair[PANEL + i];
            }
            c += left;
        }
    }
}

crate::dispatch! {
    /// Of one node: its channels, each followed by the most that a neighbour has more of it,
    /// `own[0], max_j y_j[0] - own[0], own[1], ...`. Rounding is monotone, so that the maximum may be taken first.
    ///
    /// # Safety
    /// `isa` must be available; `own` holds `channels` elements, `out` twice as many; the `k > 0` `neighbours` name rows
    /// of `targets`, `stride` apart.
    pub fn max_relative(
        own: *const f32,
        targets: *const f32,
        stride: usize,
        neighbours: *const u32,
        k: usize,
        channels: usize,
        out: *mut f32,
    ) = max_relative_of;
}
