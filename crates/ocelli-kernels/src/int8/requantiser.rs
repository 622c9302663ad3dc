//! From sums to codes or real numbers: the parameters of every column.

use super::arithmetic::{Fixed, Target};
use super::lanes::Lanes;

/// Elements beyond the last column that vectors may read of parameters.
const SLACK: usize = 64;

/// What becomes of the sums of every column.
#[derive(Clone, Debug)]
pub struct Requantiser {
    pub(crate) bias: Vec<i32>,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// `((clamp(sum, !limit, limit) << early) · multiplier >> 32 >> shift + 1) >> 1`: the shift of at least 33 in two
    /// steps. Columns with a smaller one are shifted left before; whatever does not fit then lies far out of the
    /// codes. `early` says whether there are any.
    Fixed {
        multiplier: Vec<i32>,
        shift: Vec<i32>,
        limit: Vec<i32>,
        early: Vec<i32>,
        any_early: bool,
        target: Target,
    },
    /// The multipliers' bits.
    Float {
        multiplier: Vec<i32>,
        target: Target,
    },
    /// The scales' bits.
    Scale {
        scale: Vec<i32>,
    },
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

    /// The first `columns` columns, `times` over.
    pub(crate) fn repeated(&self, columns: usize, times: usize) -> Self {
        let over = |list: &[i32]| padded((0..columns * times).map(|i| list[i % columns.max(1)]));
        let kind = match &self.kind {
            Kind::Fixed { multiplier, shift, limit, early, any_early, target } => Kind::Fixed {
                multiplier: over(multiplier),
                shift: over(shift),
                limit: over(limit),
                early: over(early),
                any_early: *any_early,
                target: *target,
            },
            Kind::Float { multiplier, target } => {
                Kind::Float { multiplier: over(multiplier), target: *target }
            }
            Kind::Scale { scale } => Kind::Scale { scale: over(scale) },
            Kind::Sum => Kind::Sum,
        };
        Self { bias: over(&self.bias), kind }
    }

    /// Columns.
    pub fn columns(&self) -> usize {
        self.bias.len() - SLACK
    }
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
            Some(($target, $crate::int8::requantiser::FIXED)) => {
                const $mode: u8 = $crate::int8::requantiser::FIXED;
                $run
            }
            Some(($target, _)) => {
                const $mode: u8 = $crate::int8::requantiser::FLOAT;
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
}
