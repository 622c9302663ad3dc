//! The integer arithmetic of quantised networks, number by number: the twin of every vector kernel.
//!
//! A real number `x` has the code `q = clamp(rne(x / s) + z, 0, 255)` (`rne` rounds half to even) and comes back as
//! `(q - z) · s`. Weights are `i8` around zero, sums `i32`. A sum goes to the codes of the output either by a
//! 31-bit multiplier and a shift ([`Fixed`], the same bits everywhere, half rounded up) or by a float32 multiplier
//! (what ONNX Runtime does, half rounded to even).

/// The codes of an output: its zero point, and the bounds that an activation leaves (`zero..=255` after a ReLU).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The code of 0.
    pub zero: u8,
    /// The least code.
    pub low: u8,
    /// The largest code.
    pub high: u8,
}

impl Target {
    /// All codes.
    pub const fn all(zero: u8) -> Self {
        Self { zero, low: 0, high: 255 }
    }

    fn clamp(self, v: i64) -> u8 {
        let (low, high) = (i64::from(self.low), i64::from(self.high));
        (v + i64::from(self.zero)).max(low).min(high) as u8
    }
}

/// `m` as fraction and exponent: `m = f · 2^e` with `0.5 <= |f| < 1`, or `(0, 0)`.
fn frexp(m: f64) -> (f64, i32) {
    if m == 0.0 || !m.is_finite() {
        return (m, 0);
    }
    let bits = m.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32;
    if exponent == 0 {
        // Subnormal.
        let (f, e) = frexp(m * 2f64.powi(64));
        return (f, e - 64);
    }
    (f64::from_bits(bits & !(0x7ff << 52) | (1022 << 52)), exponent - 1022)
}

/// A multiplier `M · 2^-n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// `M`, 0 or in `2^30..2^31`.
    pub multiplier: i32,
    /// `n`, in `7..=62`.
    pub shift: u32,
}

impl Fixed {
    /// The multiplier next to `m`: `M = rne(f · 2^31)`, `n = 31 - e` for `m = f · 2^e`. What is too small to move
    /// any sum is 0. `None` unless `0 <= m < 2^24`.
    pub fn new(m: f64) -> Option<Self> {
        if !(0.0..16_777_216.0).contains(&m) {
            return None;
        }
        let (f, mut e) = frexp(m);
        let mut multiplier = (f * 2f64.powi(31)).round_ties_even() as i64;
        if multiplier == 1 << 31 {
            (multiplier, e) = (1 << 30, e + 1);
        }
        let shift = 31 - e;
        // Beyond 62 the half that is added exceeds every product.
        if multiplier == 0 || shift > 62 {
            return Some(Self { multiplier: 0, shift: 62 });
        }
        (shift >= 7).then_some(Self { multiplier: multiplier as i32, shift: shift as u32 })
    }

    /// `(sum · M + 2^(n-1)) >> n`
    pub fn apply(self, sum: i32) -> i64 {
        (i64::from(sum) * i64::from(self.multiplier) + (1 << (self.shift - 1))) >> self.shift
    }
}

/// `clamp(((sum · M + 2^(n-1)) >> n) + z)`
pub fn requantise_fixed(sum: i32, by: Fixed, target: Target) -> u8 {
    target.clamp(by.apply(sum))
}

/// The multiplier of [`requantise_float`]: `s_x · s_w / s_y` in float32.
pub fn float_multiplier(input: f32, weight: f32, output: f32) -> f32 {
    input * weight / output
}

/// The multiplier of [`Fixed::new`]: `s_x · s_w / s_y` in float64.
pub fn multiplier(input: f32, weight: f32, output: f32) -> f64 {
    f64::from(input) * f64::from(weight) / f64::from(output)
}

/// `clamp(rne(f32(sum) · m) + z)`
pub fn requantise_float(sum: i32, m: f32, target: Target) -> u8 {
    // A float beyond 64 bits becomes the largest integer, which is clamped like it.
    let v = (sum as f32 * m).round_ties_even() as i64;
    target.clamp(v.clamp(-1 << 40, 1 << 40))
}

/// The sum of two maps of codes: `clamp(((a - z_a) · M_a + (b - z_b) · M_b + 2^23) >> 24) + z)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Add {
    /// `rne(s_a / s_y · 2^24)` and `rne(s_b / s_y · 2^24)`.
    pub multipliers: [i32; 2],
    /// Zero points of the summands.
    pub zeros: [u8; 2],
    /// The codes of the sum.
    pub target: Target,
}

impl Add {
    /// From the scales `[s_a, s_b]` and `s_y`; `None` unless both ratios are in `0..128`.
    pub fn new(scales: [f32; 2], zeros: [u8; 2], output: f32, target: Target) -> Option<Self> {
        let ratio = |s: f32| {
            let m = (f64::from(s) / f64::from(output) * 16_777_216.0).round_ties_even();
            (0.0..2_147_483_648.0).contains(&m).then_some(m as i32)
        };
        Some(Self { multipliers: [ratio(scales[0])?, ratio(scales[1])?], zeros, target })
    }

    /// The sum's code.
    pub fn apply(&self, a: u8, b: u8) -> u8 {
        let part =
            |i: usize, q: u8| (i64::from(q) - i64::from(self.zeros[i])) * i64::from(self.multipliers[i]);
        self.target.clamp((part(0, a) + part(1, b) + (1 << 23)) >> 24)
    }
}

/// The multiplier of a mean over `count` codes: `s_x / (s_y · count)`. See [`Fixed::new`].
pub fn mean_multiplier(input: f32, output: f32, count: usize) -> Option<Fixed> {
    Fixed::new(f64::from(input) / (f64::from(output) * count as f64))
}

/// The code of a mean from the sum of `count` codes.
pub fn mean(sum: i32, count: usize, zero: u8, by: Fixed, target: Target) -> u8 {
    requantise_fixed(sum - count as i32 * i32::from(zero), by, target)
}

/// The code of a product of two codes: `clamp(fixed((a - z_a) · (b - z_b)) + z)`, `m = s_a · s_b / s_y`.
pub fn multiply(a: u8, b: u8, zeros: [u8; 2], by: Fixed, target: Target) -> u8 {
    let product = (i32::from(a) - i32::from(zeros[0])) * (i32::from(b) - i32::from(zeros[1]));
    requantise_fixed(product, by, target)
}

/// How a product of two codes becomes one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Product {
    /// By the multiplier `s_a · s_b / s_y`; see [`multiply`].
    Fixed(Fixed),
    /// As ONNX Runtime does, by way of numbers, with the scales `[s_a, s_b, s_y]`; see [`multiply_float`].
    Float([f32; 3]),
}

impl Product {
    /// The product's code.
    pub fn apply(self, a: u8, b: u8, zeros: [u8; 2], target: Target) -> u8 {
        match self {
            Self::Fixed(by) => multiply(a, b, zeros, by, target),
            Self::Float(scales) => multiply_float(a, b, zeros, scales, target),
        }
    }
}

/// The code of the product of the numbers that two codes stand for: `clamp(rne(x_a · x_b / s_y) + z)` in float32.
pub fn multiply_float(a: u8, b: u8, zeros: [u8; 2], [of_a, of_b, of_y]: [f32; 3], target: Target) -> u8 {
    let product = dequantise(a, of_a, zeros[0]) * dequantise(b, of_b, zeros[1]);
    let code = (product / of_y).round_ties_even() + f32::from(target.zero);
    code.max(f32::from(target.low)).min(f32::from(target.high)) as u8
}

/// `clamp(rne(x / scale) + zero, 0, 255)`; what is not a number becomes `zero`.
pub fn quantise(x: f32, scale: f32, zero: u8) -> u8 {
    // Out of the range of integers the cast saturates, as the clamp would.
    let q = (x / scale).round_ties_even() as i32;
    q.saturating_add(i32::from(zero)).clamp(0, 255) as u8
}

/// `(code - zero) · scale`
pub fn dequantise(code: u8, scale: f32, zero: u8) -> f32 {
    (i32::from(code) - i32::from(zero)) as f32 * scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multipliers() {
        assert_eq!(Fixed::new(0.5), Some(Fixed { multiplier: 1 << 30, shift: 31 }));
        assert_eq!(Fixed::new(0.75), Some(Fixed { multiplier: 3 << 29, shift: 31 }));
        assert_eq!(Fixed::new(1.0 - 1e-12), Some(Fixed { multiplier: 1 << 30, shift: 30 }));
        assert_eq!(Fixed::new(0.0), Some(Fixed { multiplier: 0, shift: 62 }));
        assert_eq!(Fixed::new(f64::MIN_POSITIVE / 8.0), Some(Fixed { multiplier: 0, shift: 62 }));
        for m in [-1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert_eq!(Fixed::new(m), None);
        }
    }

    #[test]
    fn fractions() {
        for m in [1.0, 0.3, 1e-5, 7.5e8, f64::MIN_POSITIVE, f64::MIN_POSITIVE / 1024.0] {
            let (f, e) = frexp(m);
            assert!((0.5..1.0).contains(&f));
            assert_eq!(f * 2f64.powi(e / 2) * 2f64.powi(e - e / 2), m);
        }
    }

    #[test]
    fn halves_go_up_in_fixed_point_and_to_even_in_floats() {
        let half = Fixed::new(0.5).unwrap();
        let floats: Vec<u8> = (-3..4).map(|v| requantise_float(v, 0.5, Target::all(100))).collect();
        let fixed: Vec<u8> = (-3..4).map(|v| requantise_fixed(v, half, Target::all(100))).collect();
        assert_eq!(floats, [98, 99, 100, 100, 100, 101, 102]);
        assert_eq!(fixed, [99, 99, 100, 100, 101, 101, 102]);
    }

    #[test]
    fn codes() {
        assert_eq!(quantise(0.25, 0.1, 3), 5);
        assert_eq!(quantise(f32::INFINITY, 0.1, 3), 255);
        assert_eq!(quantise(-1e30, 0.1, 3), 0);
        assert_eq!(quantise(f32::NAN, 0.1, 3), 3);
        assert_eq!(dequantise(5, 0.5, 3), 1.0);
    }
}
