//! 3×3 convolutions of stride 1 by Winograd's F(4×4, 3×3): 36 products instead of 144 for 16 results.
//!
//! Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016). Input tiles of 6×6 are
//! transformed (`Bᵀ d B`), 36 matrix products tiles × channels × channels follow, and each result tile is
//! transformed back (`Aᵀ m A`). The points are 0, ±1, ±2, ∞; in float32 the largest error stays below 2e-5 of the
//! largest result (5.5e-6 at 32 channels is typical), which the tests bound.

use core::ops::Range;

use crate::Isa;
use crate::conv::MapIn;
use crate::gemm::{Epilogue, PANEL, Product, product};
use crate::simd::Simd;

/// Products per tile.
pub const POINTS: usize = 36;
/// Results per tile and direction.
pub const TILE: usize = 4;

/// A 3×3 convolution of stride 1, padded by `pad`.
#[derive(Clone, Copy, Debug)]
pub struct Winograd {
    /// The input.
    pub input: MapIn,
    /// Zeros above and to the left.
    pub pad: [usize; 2],
    /// Input channels.
    pub depth: usize,
    /// Weights made by [`pack_weights`].
    pub weights: *const f32,
    /// Output channels.
    pub columns: usize,
    /// The output; pixels are `output_stride` apart throughout the batch.
    pub output: *mut f32,
    /// Elements from one output pixel to the next.
    pub output_stride: usize,
    /// Output extent `[height, width]`.
    pub output_size: [usize; 2],
    /// Applied before writing.
    pub epilogue: Epilogue,
    /// Room for `36 × block × depth` transformed inputs.
    pub transformed: *mut f32,
    /// Room for `36 × block × columns` products.
    pub products: *mut f32,
    /// Tiles that are worked on together.
    pub block: usize,
}

impl Winograd {
    /// Tiles per picture `[down, across]`.
    pub fn tiles(&self) -> [usize; 2] {
        self.output_size.map(|extent| extent.div_ceil(TILE))
    }
}

/// `Bᵀ d`: one column of six.
#[inline(always)]
unsafe fn input_column<S: Simd>(d: [S::V; 6]) -> [S::V; 6] {
    // SAFETY: arithmetic on vectors of the caller's instruction set.
    unsafe {
        let (two, four, five) = (S::splat(2.0), S::splat(4.0), S::splat(-5.0));
        let minus = S::splat(-4.0);
        let even = S::fma(minus, d[2], d[4]); // d4 - 4 d2
        let odd = S::fma(minus, d[1], d[3]); // d3 - 4 d1
        let even2 = S::sub(d[4], d[2]); // d4 - d2
        let odd2 = S::mul(two, S::sub(d[3], d[1])); // 2 (d3 - d1)
        [
            S::fma(four, d[0], S::fma(five, d[2], d[4])),
            S::add(even, odd),
            S::sub(even, odd),
            S::add(even2, odd2),
            S::sub(even2, odd2),
            S::fma(four, d[1], S::fma(five, d[3], d[5])),
        ]
    }
}

/// `Aᵀ m`: four results of six.
#[inline(always)]
unsafe fn output_column<S: Simd>(m: [S::V; 6]) -> [S::V; 4] {
    // SAFETY: arithmetic on vectors of the caller's instruction set.
    unsafe {
        let (two, four, eight) = (S::splat(2.0), S::splat(4.0), S::splat(8.0));
        let (s1, d1) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
        let (s2, d2) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
        [
            S::add(m[0], S::add(s1, s2)),
            S::fma(two, d2, d1),
            S::fma(four, s2, s1),
            S::add(m[5], S::fma(eight, d2, d1)),
        ]
    }
}

#[inline(always)]
unsafe fn load_some<S: Simd>(p: *const f32, n: usize) -> S::V {
    // SAFETY: the caller's promise.
    unsafe { if n == S::LANES { S::load(p) } else { S::load_n(p, n) } }
}

#[inline(always)]
unsafe fn forward_of<S: Simd>(x: &Winograd, first: usize, tiles: Range<usize>) {
    let [down, across] = x.tiles();
    for tile in tiles {
        let (picture, rest) = ((first + tile) / (down * across), (first + tile) % (down * across));
        let (ty, tx) = (rest / across, rest % across);
        let y0 = (ty * TILE) as isize - x.pad[0] as isize;
        let x0 = (tx * TILE) as isize - x.pad[1] as isize;
        let (h, w) = (x.input.height as isize, x.input.width as isize);
        let inside = y0 >= 0 && x0 >= 0 && y0 + 6 <= h && x0 + 6 <= w;
        let base = x.input.data.wrapping_add(picture * x.input.picture);
        let mut c = 0;
        while c < x.depth {
            let n = (x.depth - c).min(S::LANES);
            // SAFETY: pixels are read only inside of the map; the room was made for `block` tiles.
            unsafe {
                let zero = S::splat(0.0);
                let mut columns = [[zero; 6]; 6];
                for j in 0..6 {
                    let mut d = [zero; 6];
                    let column = x0 + j as isize;
                    for i in 0..6 {
                        let row = y0 + i as isize;
                        if inside || (row >= 0 && row < h && column >= 0 && column < w) {
                            let at = row * x.input.row as isize + column * x.input.pixel as isize;
                            d[i] = load_some::<S>(base.wrapping_offset(at).wrapping_add(c), n);
                        }
                    }
                    columns[j] = input_column::<S>(d);
                }
                for i in 0..6 {
                    let row = [
                        columns[0][i],
                        columns[1][i],
                        columns[2][i],
                        columns[3][i],
                        columns[4][i],
                        columns[5][i],
                    ];
                    let v = input_column::<S>(row);
                    for (j, v) in v.into_iter().enumerate() {
                        let at = ((i * 6 + j) * x.block + tile) * x.depth + c;
                        let place = x.transformed.add(at);
                        if n == S::LANES { S::store(place, v) } else { S::store_n(place, v, n) }
                    }
                }
            }
            c += n;
        }
    }
}

#[inline(always)]
unsafe fn backward_of<S: Simd>(x: &Winograd, first: usize, tiles: Range<usize>) {
    let [down, across] = x.tiles();
    let [height, width] = x.output_size;
    let e = &x.epilogue;
    for tile in tiles {
        let (picture, rest) = ((first + tile) / (down * across), (first + tile) % (down * across));
        let (y0, x0) = (rest / across * TILE, rest % across * TILE);
        let (rows, columns) = ((height - y0).min(TILE), (width - x0).min(TILE));
        let mut c = 0;
        while c < x.columns {
            let n = (x.columns - c).min(S::LANES);
            // SAFETY: the room holds `block` tiles; results are written only inside of the map.
            unsafe {
                let zero = S::splat(0.0);
                let mut half = [[zero; 4]; 6];
                for j in 0..6 {
                    let mut m = [zero; 6];
                    for i in 0..6 {
                        let at = ((i * 6 + j) * x.block + tile) * x.columns + c;
                        m[i] = load_some::<S>(x.products.add(at), n);
                    }
                    half[j] = output_column::<S>(m);
                }
                let bias = if e.bias.is_null() { zero } else { load_some::<S>(e.bias.add(c), n) };
                let (low, high) = (S::splat(e.low), S::splat(e.high));
                for i in 0..4 {
                    let row = [half[0][i], half[1][i], half[2][i], half[3][i], half[4][i], half[5][i]];
                    let results = output_column::<S>(row);
                    for j in 0..4 {
                        if i < rows && j < columns {
                            let pixel = (picture * height + y0 + i) * width + x0 + j;
                            let mut v = S::add(results[j], bias);
                            if !e.residual.is_null() {
                                let residual = e.residual.add(pixel * e.residual_stride + c);
                                v = S::add(v, load_some::<S>(residual, n));
                            }
                            let v = S::min(high, S::max(low, v));
                            let place = x.output.add(pixel * x.output_stride + c);
                            if n == S::LANES { S::store(place, v) } else { S::store_n(place, v, n) }
                        }
                    }
                }
            }
            c += n;
        }
    }
}

crate::dispatch! {
    /// Transforms input tiles `first + tiles` into places `tiles` of the block.
    ///
    /// # Safety
    /// The maps must be as described; several threads may take different tiles.
    pub fn transform_input(x: &Winograd, first: usize, tiles: Range<usize>) = forward_of;
}

crate::dispatch! {
    /// Transforms the products in places `tiles` of the block back to output tiles `first + tiles`.
    ///
    /// # Safety
    /// As for [`transform_input`], and the products must be complete.
    pub fn transform_output(x: &Winograd, first: usize, tiles: Range<usize>) = backward_of;
}

/// The products at `point` for the first `tiles` tiles of the block and the channels in `panels`.
///
/// # Safety
/// As for [`transform_input`], whose results must be complete.
pub unsafe fn multiply(isa: Isa, x: &Winograd, tiles: usize, point: usize, panels: Range<usize>) {
    let per_point = crate::gemm::packed_len(x.depth, x.columns);
    // SAFETY: the rooms hold 36 matrices of `block` rows.
    unsafe {
        let matrix = Product {
            a: x.transformed.add(point * x.block * x.depth),
            a_stride: x.depth,
            b: x.weights.add(point * per_point),
            depth: x.depth,
            columns: x.columns,
            c: x.products.add(point * x.block * x.columns),
            c_stride: x.columns,
            accumulate: false,
            epilogue: Epilogue::NONE,
        };
        product(isa, &matrix, 0..tiles, panels);
    }
}

/// `G g Gᵀ` for every pair of channels of `[columns, depth, 3, 3]`, packed point by point.
pub fn pack_weights(weights: &[f32], columns: usize, depth: usize) -> Vec<f32> {
    const G: [[f64; 3]; 6] = [
        [1.0 / 4.0, 0.0, 0.0],
        [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
        [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
        [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
        [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
        [0.0, 0.0, 1.0],
    ];
    let per_point = crate::gemm::packed_len(depth, columns);
    let mut packed = vec![0.0; POINTS * per_point];
    for column in 0..columns {
        for channel in 0..depth {
            let g = &weights[(column * depth + channel) * 9..][..9];
            let mut half = [[0.0f64; 3]; 6];
            for (i, row) in G.iter().enumerate() {
                for (j, place) in half[i].iter_mut().enumerate() {
                    *place = (0..3).map(|k| row[k] * f64::from(g[k * 3 + j])).sum();
                }
            }
            for i in 0..6 {
                for (j, row) in G.iter().enumerate() {
                    let u: f64 = (0..3).map(|k| half[i][k] * row[k]).sum();
                    let at = (column / PANEL) * PANEL * depth + channel * PANEL + column % PANEL;
                    packed[(i * 6 + j) * per_point + at] = u as f32;
                }
            }
        }
    }
    packed
}
