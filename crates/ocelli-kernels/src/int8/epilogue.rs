//! What happens to sums before they are written: bias, requantisation, bounds, residual.

use super::arithmetic::{Add, Fixed, Target};
use super::lanes::Lanes;

/// Elements beyond the last column that vectors may read of parameters.
const SLACK: usize = 64;

/// What becomes of the sums of every column.
#[derive(Clone, Debug)]
pub struct Requantiser {
    bias: Vec<i32>,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// `((clamp(sum, !limit, limit) << early) · multiplier >> 32 >> shift + 1) >> 1`: the shift of at least 33 in two
    /// steps. Columns with a smaller one are shifted left before; whatever does not fit then lies far out of the
    /// codes. `early` says whether there are any.
    Fixed { multiplier: Vec<i32>, shift: Vec<i32>, limit: Vec<i32>, early: Vec<i32>, any_early: bool, target: Target },
    /// The multipliers' bits.
    Float { multiplier: Vec<i32>, target: Target },
    /// The scales' bits.
    Scale { scale: Vec<i32> },
    Sum,
}

impl Fixed {
    /// How far a sum is shifted left so that 33 or more are left to shift right, and the limit of sums that are: its
    /// product is 2^10 or more, the multiplier being at least `2^(30 - shift)`.
    fn early(self) -> (i32, i32) {
        match 33 - self.shift.min(33) as i32 {
            0 => (i32::MAX, 0),
            early => (1 << (13 - early).max(0), early),
        }
    }
}

fn padded(values: impl Iterator<Item = i32>) -> Vec<i32> {
    values.chain(core::iter::repeat_n(0, SLACK)).collect()
}

impl Requantiser {
    /// Codes by fixed-point multipliers, one per column, like the bias; see
    /// [`requantise_fixed`](super::arithmetic::requantise_fixed).
    pub fn fixed(bias: &[i32], by: &[Fixed], target: Target) -> Self {
        assert_eq!(bias.len(), by.len(), "a multiplier for every bias");
        Self {
            bias: padded(bias.iter().copied()),
            kind: Kind::Fixed {
                multiplier: padded(by.iter().map(|f| f.multiplier)),
                shift: padded(by.iter().map(|f| f.shift as i32 + f.early().1 - 33)),
                limit: padded(by.iter().map(|f| f.early().0)),
                early: padded(by.iter().map(|f| f.early().1)),
                any_early: by.iter().any(|f| f.early().1 > 0),
                target,
            },
        }
    }

    /// Codes by float32 multipliers; see [`requantise_float`](super::arithmetic::requantise_float).
    pub fn float(bias: &[i32], by: &[f32], target: Target) -> Self {
        assert_eq!(bias.len(), by.len(), "a multiplier for every bias");
        Self {
            bias: padded(bias.iter().copied()),
            kind: Kind::Float { multiplier: padded(by.iter().map(|m| m.to_bits() as i32)), target },
        }
    }

    /// Real numbers `f32(sum) · scale`.
    pub fn real(bias: &[i32], scale: &[f32]) -> Self {
        assert_eq!(bias.len(), scale.len(), "a scale for every bias");
        Self {
            bias: padded(bias.iter().copied()),
            kind: Kind::Scale { scale: padded(scale.iter().map(|s| s.to_bits() as i32)) },
        }
    }

    /// The sums themselves, with the bias.
    pub fn sums(bias: &[i32]) -> Self {
        Self { bias: padded(bias.iter().copied()), kind: Kind::Sum }
    }

    /// Columns.
    pub fn columns(&self) -> usize {
        self.bias.len() - SLACK
    }
}

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

/// The zero point and bounds of a [`Target`].
#[derive(Clone, Copy)]
pub(crate) struct Bounds<L: Lanes> {
    pub zero: i16,
    low: L::B,
    high: L::B,
}

impl<L: Lanes> Bounds<L> {
    /// # Safety
    /// The instruction set of `L`.
    #[inline(always)]
    pub unsafe fn new(target: Target) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            Self {
                zero: i16::from(target.zero),
                low: L::splat_bytes(target.low),
                high: L::splat_bytes(target.high),
            }
        }
    }

    /// # Safety
    /// The instruction set of `L`.
    #[inline(always)]
    pub unsafe fn apply(&self, b: L::B) -> L::B {
        // SAFETY: the caller's promise.
        unsafe { L::min_bytes(self.high, L::max_bytes(self.low, b)) }
    }
}

impl<L: Lanes> Adder<L> {
    /// # Safety
    /// The instruction set of `L`.
    #[inline(always)]
    pub unsafe fn new(add: Add) -> Self {
        let [a, b] = add.multipliers;
        let constant = (1i64 << 23)
            - i64::from(add.zeros[0]) * i64::from(a)
            - i64::from(add.zeros[1]) * i64::from(b);
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

/// Modes of [`Parameters`].
pub(crate) const FIXED: u8 = 0;
pub(crate) const FLOAT: u8 = 1;

/// Parameters of a vector of bytes' columns.
#[derive(Clone, Copy)]
pub(crate) struct Parameters<L: Lanes, const MODE: u8> {
    pub bias: [L::V; 4],
    multiplier: [L::V; 4],
    odd: [L::V; 4],
    shift: [L::V; 4],
    limit: [L::V; 4],
    early: [L::V; 4],
    any_early: bool,
}

/// Four vectors from `column` on. No closure: those lose the instruction set of their caller.
#[inline(always)]
unsafe fn four<L: Lanes, const BLOCKS: bool>(from: &[i32], column: usize) -> [L::V; 4] {
    // SAFETY: parameters are padded by a whole vector of bytes.
    unsafe {
        let p = from.as_ptr().add(column);
        let v = [
            L::load(p),
            L::load(p.add(L::LANES)),
            L::load(p.add(2 * L::LANES)),
            L::load(p.add(3 * L::LANES)),
        ];
        if BLOCKS { L::arrange(v) } else { v }
    }
}

#[inline(always)]
unsafe fn odd<L: Lanes>(mut m: [L::V; 4]) -> [L::V; 4] {
    for v in &mut m {
        // SAFETY: the instruction set is the caller's promise.
        *v = unsafe { L::odd(*v) };
    }
    m
}

impl<L: Lanes, const MODE: u8> Parameters<L, MODE> {
    /// Parameters from `column` on, in channel order or (`BLOCKS`) in block order.
    ///
    /// # Safety
    /// The instruction set of `L`; `column` exists; `MODE` is that of the requantiser.
    #[inline(always)]
    pub unsafe fn load<const BLOCKS: bool>(r: &Requantiser, column: usize) -> Self {
        // SAFETY: parameters are padded by a whole vector.
        unsafe {
            let none = [L::splat(0); 4];
            let bias = four::<L, BLOCKS>(&r.bias, column);
            match &r.kind {
                Kind::Fixed { multiplier, shift, limit, early, any_early, .. } => Self {
                    bias,
                    multiplier: four::<L, BLOCKS>(multiplier, column),
                    odd: odd::<L>(four::<L, BLOCKS>(multiplier, column)),
                    shift: four::<L, BLOCKS>(shift, column),
                    limit: four::<L, BLOCKS>(limit, column),
                    early: four::<L, BLOCKS>(early, column),
                    any_early: *any_early,
                },
                Kind::Float { multiplier: m, .. } | Kind::Scale { scale: m } => Self {
                    bias,
                    multiplier: four::<L, BLOCKS>(m, column),
                    odd: none,
                    shift: none,
                    limit: none,
                    early: none,
                    any_early: false,
                },
                Kind::Sum => unreachable!("sums have no codes"),
            }
        }
    }

    /// The first `n` vectors again and again, `n` being 1 or 2.
    #[inline(always)]
    pub fn repeat(mut self, n: usize) -> Self {
        for i in n..4 {
            self.bias[i] = self.bias[i % n];
            self.multiplier[i] = self.multiplier[i % n];
            self.odd[i] = self.odd[i % n];
            self.shift[i] = self.shift[i % n];
            self.limit[i] = self.limit[i % n];
            self.early[i] = self.early[i % n];
        }
        self
    }

    /// The same multiplier for all columns, without a bias.
    ///
    /// # Safety
    /// The instruction set of `L`; `MODE` is [`FIXED`].
    #[inline(always)]
    pub unsafe fn uniform(by: Fixed) -> Self {
        let (limit, early) = by.early();
        // SAFETY: the caller's promise.
        unsafe {
            Self {
                bias: [L::splat(0); 4],
                multiplier: [L::splat(by.multiplier); 4],
                odd: [L::odd(L::splat(by.multiplier)); 4],
                shift: [L::splat(by.shift as i32 + early - 33); 4],
                limit: [L::splat(limit); 4],
                early: [L::splat(early); 4],
                any_early: early > 0,
            }
        }
    }

    /// The codes (unbounded) of sums that hold their bias.
    ///
    /// # Safety
    /// The instruction set of `L`.
    #[inline(always)]
    pub unsafe fn codes(&self, mut v: [L::V; 4], zero: i16) -> L::B {
        // SAFETY: the caller's promise.
        unsafe {
            if MODE == FLOAT {
                for i in 0..4 {
                    v[i] = L::round(L::scale(v[i], self.multiplier[i]));
                }
                return L::narrow(v, zero);
            }
            if self.any_early {
                for i in 0..4 {
                    let low = L::sub(L::splat(-1), self.limit[i]);
                    v[i] = L::shl(L::min(self.limit[i], L::max(low, v[i])), self.early[i]);
                }
            }
            for i in 0..4 {
                v[i] = L::fixed(v[i], self.multiplier[i], self.odd[i], self.shift[i]);
            }
            L::halve(v, 1 + 2 * zero)
        }
    }
}

/// Runs `$run::<MODE>(target)` with the mode of a requantiser that makes codes, `$other` otherwise.
macro_rules! by_mode {
    ($requantiser:expr, |$target:ident, $mode:ident| $run:expr, else $other:expr) => {
        match $requantiser.mode() {
            Some(($target, $crate::int8::epilogue::FIXED)) => {
                const $mode: u8 = $crate::int8::epilogue::FIXED;
                $run
            }
            Some(($target, _)) => {
                const $mode: u8 = $crate::int8::epilogue::FLOAT;
                $run
            }
            None => $other,
        }
    };
}
pub(crate) use by_mode;

impl Requantiser {
    /// The codes made and the mode, where codes are made.
    #[inline(always)]
    pub(crate) fn mode(&self) -> Option<(Target, u8)> {
        match &self.kind {
            Kind::Fixed { target, .. } => Some((*target, FIXED)),
            Kind::Float { target, .. } => Some((*target, FLOAT)),
            _ => None,
        }
    }

    fn is_real(&self) -> bool {
        matches!(self.kind, Kind::Scale { .. })
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
unsafe fn finish_of<L: Lanes>(e: &Epilogue, s: &Sums) {
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
                assert!(r.is_real(), "real numbers without scales");
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
        let residual = match &e.residual {
            Some(r) => Some((
                r.data.wrapping_add(s.row * r.stride + s.column),
                r.stride,
                Adder::<L>::new(r.add),
            )),
            None => None,
        };
        if residual.is_none() && (s.columns == L::LANES || s.columns == 2 * L::LANES) {
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

/// One or two vectors of columns: several rows fill a vector of bytes.
#[inline(always)]
unsafe fn narrow_of<L: Lanes, const MODE: u8>(
    e: &Epilogue,
    s: &Sums,
    bounds: &Bounds<L>,
    to: *mut u8,
    stride: usize,
) {
    let per_row = s.columns / L::LANES;
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
                let (from, to) = (bytes.as_ptr().add(i * s.columns), to.add((m + i) * stride));
                match s.columns {
                    32 => to.cast::<[u8; 32]>().write_unaligned(from.cast::<[u8; 32]>().read_unaligned()),
                    16 => to.cast::<u128>().write_unaligned(from.cast::<u128>().read_unaligned()),
                    8 => to.cast::<u64>().write_unaligned(from.cast::<u64>().read_unaligned()),
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
                if n == L::LANES { L::store(to, v) } else { L::store_n(to, v, n) }
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
