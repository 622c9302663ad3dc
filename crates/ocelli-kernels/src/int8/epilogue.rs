//! What happens to sums before they are written: bias, requantisation, bounds, residual.

use super::arithmetic::{Add, Target};
use super::lanes::Lanes;
use super::requantiser::{Bounds, Kind, Parameters, Requantiser, by_mode};

/// Where results go: rows are `stride` elements apart. Its kind has to be that of the [`Requantiser`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Output {
    /// Codes ([`Requantiser::fixed`], [`Requantiser::float`]).
    Codes { data: *mut u8, stride: usize },
    /// Real numbers ([`Requantiser::real`]).
    Reals { data: *mut f32, stride: usize },
    /// Sums ([`Requantiser::sums`]).
    Sums { data: *mut i32, stride: usize },
}

/// A map of codes that is added to the codes of the product (after these have been bounded).
#[derive(Clone, Copy, Debug)]
pub struct Residual {
    /// Laid out like the output; may be the output itself.
    pub data: *const u8,
    /// Distance of its rows.
    pub stride: usize,
    /// How: the product's codes are the first summand.
    pub add: Add,
}

/// What is done with the sums of a product.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a> {
    /// The columns' parameters.
    pub requantiser: &'a Requantiser,
    /// The column of the parameters that belongs to the first column of the product (of a group).
    pub column: usize,
    /// Where results go.
    pub output: Output,
    /// What is added to codes.
    pub residual: Option<Residual>,
}

/// [`Add`] for vectors: the product with a 24-bit multiplier in two halves that `madd` can take,
/// `(a·A + b·B + c) >> 24 = (a·A1 + b·B1 + c1 + ((a·A0 + b·B0 + c0) >> 12)) >> 12`.
#[derive(Clone, Copy)]
pub(crate) struct Adder<L: Lanes> {
    high: L::V,
    low: L::V,
    constants: [L::V; 2],
    bounds: Bounds<L>,
    add: Add,
    fits: bool,
}

impl<L: Lanes> Adder<L> {
    /// # Safety
    /// The instruction set of `L`.
    #[inline(always)]
    pub unsafe fn new(add: Add) -> Self {
        let [a, b] = add.multipliers;
        let constant =
            (1i64 << 23) - i64::from(add.zeros[0]) * i64::from(a) - i64::from(add.zeros[1]) * i64::from(b);
        let fits = a < 1 << 27 && b < 1 << 27;
        // SAFETY: the caller's promise.
        unsafe {
            Self {
                high: L::splat((a >> 12 & 0x7fff) | (b >> 12 & 0x7fff) << 16),
                low: L::splat((a & 4095) | (b & 4095) << 16),
                constants: [L::splat((constant >> 12) as i32), L::splat((constant & 4095) as i32)],
                bounds: Bounds::new(add.target),
                add,
                fits,
            }
        }
    }

    /// # Safety
    /// The instruction set of `L`.
    #[inline(always)]
    pub unsafe fn apply(&self, a: L::B, b: L::B) -> L::B {
        // SAFETY: the caller's promise.
        unsafe {
            if !self.fits {
                return self.one_by_one(a, b);
            }
            let mut sums = L::pairs(a, b);
            for v in &mut sums {
                let low = L::sar::<12>(L::add(L::madd(*v, self.low), self.constants[1]));
                *v = L::sar::<12>(L::add(L::add(L::madd(*v, self.high), self.constants[0]), low));
            }
            self.bounds.apply(L::narrow(sums, self.bounds.zero))
        }
    }

    /// Ratios of scales beyond 8 do not fit into halves.
    unsafe fn one_by_one(&self, a: L::B, b: L::B) -> L::B {
        let (mut x, mut y) = ([0u8; 64], [0u8; 64]);
        // SAFETY: vectors have at most 64 bytes.
        unsafe {
            L::store_bytes(x.as_mut_ptr(), a);
            L::store_bytes(y.as_mut_ptr(), b);
            for (x, y) in x.iter_mut().zip(y) {
                *x = self.add.apply(*x, y);
            }
            L::load_bytes(x.as_ptr())
        }
    }
}

/// Sums of a tile: `rows × columns` from row `row` and column `column` of the product on. Sums are readable for
/// whole vectors of bytes.
#[derive(Clone, Copy)]
pub(crate) struct Sums {
    pub data: *const i32,
    pub stride: usize,
    pub row: usize,
    pub rows: usize,
    pub column: usize,
    pub columns: usize,
}

impl Sums {
    /// Splits off the first `rows` rows.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn take(&mut self, rows: usize) -> Self {
        let taken = Self { rows, ..*self };
        self.data = self.data.wrapping_add(rows * self.stride);
        self.row += rows;
        self.rows -= rows;
        taken
    }
}

#[inline(always)]
pub(super) unsafe fn finish_of<L: Lanes>(e: &Epilogue, s: &Sums) {
    let r = e.requantiser;
    // SAFETY: the output and what is added cover the product by the caller's promise.
    unsafe {
        match e.output {
            Output::Codes { data, stride } => {
                let to = data.wrapping_add(s.row * stride + s.column);
                by_mode!(r, |target, MODE| codes_of::<L, MODE>(e, s, target, to, stride),
                    else unreachable!("codes without a requantisation"))
            }
            Output::Reals { data, stride } => {
                assert!(matches!(r.kind, Kind::Scale { .. }), "real numbers without scales");
                plain_of::<L, true>(e, s, data.cast::<i32>().wrapping_add(s.row * stride + s.column), stride);
            }
            Output::Sums { data, stride } => {
                assert!(matches!(r.kind, Kind::Sum), "sums are wanted raw");
                plain_of::<L, false>(e, s, data.wrapping_add(s.row * stride + s.column), stride);
            }
        }
    }
}

#[inline(always)]
unsafe fn codes_of<L: Lanes, const MODE: u8>(
    e: &Epilogue,
    s: &Sums,
    target: Target,
    to: *mut u8,
    stride: usize,
) {
    // SAFETY: as for `finish_of`.
    unsafe {
        let bounds = Bounds::<L>::new(target);
        let residual = if let Some(r) = &e.residual {
            let adder = Adder::<L>::new(r.add);
            Some((r.data.wrapping_add(s.row * r.stride + s.column), r.stride, adder))
        } else {
            None
        };
        if residual.is_none() && s.columns <= 2 * L::LANES {
            narrow_of::<L, MODE>(e, s, &bounds, to, stride);
            return;
        }
        let mut c = 0;
        while c < s.columns {
            let n = (s.columns - c).min(L::BYTES);
            let p = Parameters::<L, MODE>::load::<false>(e.requantiser, e.column + s.column + c);
            for m in 0..s.rows {
                let from = s.data.add(m * s.stride + c);
                let mut v = p.bias;
                for i in 0..4 {
                    v[i] = L::add(v[i], L::load(from.add(i * L::LANES)));
                }
                let mut b = bounds.apply(L::order(p.codes(v, bounds.zero)));
                if let Some((data, stride, adder)) = &residual {
                    let q = data.add(m * stride + c);
                    let q = if n == L::BYTES { L::load_bytes(q) } else { L::load_bytes_n(q, n) };
                    b = adder.apply(b, q);
                }
                let to = to.add(m * stride + c);
                if n == L::BYTES { L::store_bytes(to, b) } else { L::store_bytes_n(to, b, n) }
            }
            c += n;
        }
    }
}

/// Up to two vectors of columns: several rows fill a vector of bytes.
#[inline(always)]
unsafe fn narrow_of<L: Lanes, const MODE: u8>(
    e: &Epilogue,
    s: &Sums,
    bounds: &Bounds<L>,
    to: *mut u8,
    stride: usize,
) {
    let per_row = s.columns.div_ceil(L::LANES);
    let at_once = 4 / per_row;
    // SAFETY: as for `finish_of`.
    unsafe {
        let p = Parameters::<L, MODE>::load::<false>(e.requantiser, e.column + s.column).repeat(per_row);
        let mut m = 0;
        while m < s.rows {
            let mut v = p.bias;
            for i in 0..4 {
                // Rows that are missing at the end: the last one again.
                let row = (m + i / per_row).min(s.rows - 1);
                let from = s.data.add(row * s.stride + i % per_row * L::LANES);
                v[i] = L::add(v[i], L::load(from));
            }
            let b = bounds.apply(L::order(p.codes(v, bounds.zero)));
            let mut bytes = [0u8; 64];
            L::store_bytes(bytes.as_mut_ptr(), b);
            for i in 0..at_once.min(s.rows - m) {
                let (from, to) = (bytes.as_ptr().add(i * per_row * L::LANES), to.add((m + i) * stride));
                match s.columns {
                    32 => to.cast::<[u8; 32]>().write_unaligned(from.cast::<[u8; 32]>().read_unaligned()),
                    16 => to.cast::<u128>().write_unaligned(from.cast::<u128>().read_unaligned()),
                    8 => to.cast::<u64>().write_unaligned(from.cast::<u64>().read_unaligned()),
                    n if n.is_multiple_of(4) => {
                        for at in (0..n).step_by(4) {
                            to.add(at)
                                .cast::<u32>()
                                .write_unaligned(from.add(at).cast::<u32>().read_unaligned());
                        }
                    }
                    n => core::ptr::copy_nonoverlapping(from, to, n),
                }
            }
            m += at_once;
        }
    }
}

#[inline(always)]
unsafe fn plain_of<L: Lanes, const REAL: bool>(e: &Epilogue, s: &Sums, to: *mut i32, stride: usize) {
    let r = e.requantiser;
    let from = e.column + s.column;
    // SAFETY: as for `finish_of`; parameters are padded.
    unsafe {
        for m in 0..s.rows {
            let mut c = 0;
            while c < s.columns {
                let n = (s.columns - c).min(L::LANES);
                let mut v =
                    L::add(L::load(r.bias.as_ptr().add(from + c)), L::load(s.data.add(m * s.stride + c)));
                if let (true, Kind::Scale { scale }) = (REAL, &r.kind) {
                    v = L::scale(v, L::load(scale.as_ptr().add(from + c)));
                }
                let to = to.add(m * stride + c);
                if n == L::LANES {
                    L::store(to, v)
                } else {
                    L::store_n(to, v, n)
                }
                c += n;
            }
        }
    }
}

crate::dispatch! {
    /// Writes the results of a tile.
    ///
    /// # Safety
    /// `isa` must be available; output, residual and parameters must cover the tile.
    pub(crate) fn finish(e: &Epilogue, sums: &Sums) = finish_of;
}
