//! Deployment in integers alone: activations between layers are a stream of 16-bit numbers `code · scale`.
//!
//! Everything is multiplied by whole numbers and shifted; the same bits on every machine.

/// Codes of a stream that its largest number gets: room for a factor of two.
pub const STREAM: f64 = 16384.0;

/// The largest number of a stream.
const HIGHEST: i64 = 32767;

/// `(v · mantissa + add + 2^(shift - 1)) >> shift`: a factor, an offset, rounded half up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// The factor's 31 bits, with its sign; 0 for none.
    pub mantissa: i64,
    /// Bits to shift right by.
    pub shift: u32,
    /// The offset, already shifted left.
    pub add: i64,
}

impl Fixed {
    /// The nearest of its kind to `factor`; beyond 2^30 it is cut off there, and vanishes below 2^-63.
    pub fn new(factor: f64) -> Self {
        let none = Self { mantissa: 0, shift: 1, add: 0 };
        let size = factor.abs();
        if !(size > 0.0 && size.is_finite()) {
            return none;
        }
        let mut exponent = size.log2().floor() as i32 + 1;
        // The logarithm may be off by one near a power of two.
        while size * 2f64.powi(-exponent) >= 1.0 {
            exponent += 1;
        }
        while size * 2f64.powi(-exponent) < 0.5 {
            exponent -= 1;
        }
        let mut mantissa = (size * 2f64.powi(-exponent) * 2f64.powi(31)).round_ties_even() as i64;
        if mantissa == 1 << 31 {
            mantissa >>= 1;
            exponent += 1;
        }
        let (mantissa, shift) = match 31 - exponent {
            shift @ 1..=94 => (mantissa, shift as u32),
            ..=0 => ((1 << 31) - 1, 1),
            _ => return none,
        };
        Self { mantissa: if factor < 0.0 { -mantissa } else { mantissa }, shift, add: 0 }
    }

    /// With an offset, in units of the result.
    pub fn plus(self, offset: f64) -> Self {
        // Beyond 64 bits it is as good as endless.
        Self { add: (offset * 2f64.powi(self.shift as i32)).round_ties_even() as i64, ..self }
    }

    /// The result for `v`.
    pub fn apply(self, v: i64) -> i64 {
        let wide =
            i128::from(v) * i128::from(self.mantissa) + i128::from(self.add) + (1i128 << (self.shift - 1));
        (wide >> self.shift).clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }
}

/// A stream's number of scale `stream` as a code of a group of scale `group`, of `bits` bits.
pub fn to_code(stream: f64, group: f32, bits: u8) -> Fixed {
    let levels = f64::from((1u32 << bits) - 1);
    Fixed::new(stream * levels / f64::from(group))
}

/// The code of the stream's number `v`.
pub fn code(fixed: Fixed, v: i64, bits: u8) -> u8 {
    fixed.apply(v).clamp(0, (1 << bits) - 1) as u8
}

/// What becomes of a filter's sum of distances of codes in a group of scale `group`: the norm of `-step · sum + extra`, in units of
/// `output`.
#[derive(Clone, Copy, Debug)]
pub struct Norm {
    /// Gain.
    pub weight: f32,
    /// Shift.
    pub bias: f32,
    /// Mean.
    pub mean: f32,
    /// Variance.
    pub variance: f32,
    /// Added to the variance.
    pub epsilon: f64,
}

/// See [`Norm`].
pub fn epilogue(norm: Norm, group: f32, bits: u8, extra: f32, output: f64) -> Fixed {
    let levels = f64::from((1u32 << bits) - 1);
    let k = f64::from(norm.weight) / (f64::from(norm.variance) + norm.epsilon).sqrt();
    let factor = -k * (f64::from(group) / levels) / output;
    let offset = (k * (f64::from(extra) - f64::from(norm.mean)) + f64::from(norm.bias)) / output;
    Fixed::new(factor).plus(offset)
}

/// An activation inside of a block: a number of a stream that is not below zero.
pub fn rectified(v: i64) -> i16 {
    v.clamp(0, HIGHEST) as i16
}

/// Numbers as a stream of scale `scale`.
pub fn stream(x: &[f32], scale: f32) -> Vec<i16> {
    x.iter().map(|x| (x / scale).round_ties_even().clamp(0.0, HIGHEST as f32) as i16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_exact_to_31_bits() {
        for factor in [1.0, 0.5, -0.3, 1.0 / 3.0, 7e-5, 12.25, -1e-9] {
            let m = Fixed::new(factor);
            let own = m.mantissa as f64 / 2f64.powi(m.shift as i32);
            assert!((own / factor - 1.0).abs() < 1e-9, "{factor}: {own}");
        }
        assert_eq!([3, -3, 5].map(|v| Fixed::new(0.5).apply(v)), [2, -1, 3]);
        assert_eq!(Fixed::new(0.0).plus(2.5), Fixed { mantissa: 0, shift: 1, add: 5 });
        assert_eq!(Fixed::new(0.0).plus(2.5).apply(77), 3);
        assert_eq!(Fixed::new(f64::NAN).apply(5), 0);
    }
}
