//! Integer arithmetic on codes: what layers, sums and means of quantised networks compute, exactly.
//!
//! A number is `(code - zero_point) * scale`. Weights are signed codes around zero with a scale per output channel, sums of
//! products `i32`. Source: the integer-only scheme of Jacob et al., "Quantization and Training of Neural Networks for Efficient
//! Integer-Arithmetic-Only Inference" (2018), rounding half up in fixed point, half to even in floating point.

use serde::{Deserialize, Serialize};

/// How numbers of a tensor are written as unsigned codes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Codes {
    /// What one step of the codes stands for.
    pub scale: f32,
    /// The code of zero.
    pub zero_point: i32,
    /// Bits of a code, at most 8.
    pub bits: u8,
}

impl Codes {
    /// The largest code.
    pub fn highest(self) -> i32 {
        (1i32 << self.bits.min(8)) - 1
    }

    /// The code of `x`.
    pub fn code(self, x: f32) -> u8 {
        // What is no number is taken for zero.
        let steps = (x / self.scale).round_ties_even();
        let code = if steps.is_nan() { 0.0 } else { steps } + self.zero_point as f32;
        code.clamp(0.0, self.highest() as f32) as u8
    }

    /// What `code` stands for.
    pub fn number(self, code: u8) -> f32 {
        (i32::from(code) - self.zero_point) as f32 * self.scale
    }

    /// Whether these are codes at all.
    pub fn is_sound(self) -> bool {
        let one = self.scale.is_finite() && self.scale > 0.0;
        one && (1..=8).contains(&self.bits) && (0..=self.highest()).contains(&self.zero_point)
    }
}

/// How a sum of products becomes a code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rounding {
    /// By a whole number and a shift, half up: the same bits on every machine.
    #[default]
    Fixed,
    /// By an `f32` factor, half to even: as ONNX Runtime does.
    Float,
}

/// A positive factor as `mantissa * 2^-shift`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Multiplier {
    /// 31 bits, the highest set; 0 for a factor of nothing.
    pub mantissa: i64,
    /// Bits to shift right by.
    pub shift: u32,
}

impl Multiplier {
    /// The nearest of its kind to `factor`, which is neither negative nor endless; factors beyond 2^30 and below 2^-31 are cut off.
    pub fn new(factor: f64) -> Self {
        if !(factor > 0.0 && factor.is_finite()) {
            return Self { mantissa: 0, shift: 1 };
        }
        let mut exponent = factor.log2().floor() as i32 + 1;
        // The logarithm may be off by one near a power of two.
        while factor * 2f64.powi(-exponent) >= 1.0 {
            exponent += 1;
        }
        while factor * 2f64.powi(-exponent) < 0.5 {
            exponent -= 1;
        }
        let mut mantissa = (factor * 2f64.powi(31 - exponent)).round_ties_even() as i64;
        if mantissa == 1 << 31 {
            mantissa >>= 1;
            exponent += 1;
        }
        match 31 - exponent {
            shift @ 1..=62 => Self { mantissa, shift: shift as u32 },
            ..=0 => Self { mantissa: (1 << 31) - 1, shift: 1 },
            _ => Self { mantissa: 0, shift: 1 },
        }
    }

    /// `sum * factor`, rounded half up.
    pub fn apply(self, sum: i64) -> i64 {
        (sum * self.mantissa + (1 << (self.shift - 1))) >> self.shift
    }
}

/// Bits behind the point of the factors of a [`CodeSum`].
const SUM_SHIFT: u32 = 24;

/// A layer on codes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CodeLayer {
    /// Codes of the input.
    pub input: Codes,
    /// Codes of the output; none: it gives numbers.
    pub output: Option<Codes>,
    /// Bounds of the output's codes: an activation.
    pub bounds: [u8; 2],
    /// How sums become codes.
    pub rounding: Rounding,
    /// A residual is added afterwards.
    pub sum: Option<CodeSum>,
}

impl CodeLayer {
    /// The code of the sum of products `sum`, of a channel whose weights have `scale`.
    pub fn code(&self, sum: i32, scale: f32) -> u8 {
        let Some(output) = self.output else { return 0 };
        let [low, high] = self.bounds.map(i64::from);
        let steps = match self.rounding {
            Rounding::Fixed => {
                let factor = f64::from(self.input.scale) * f64::from(scale) / f64::from(output.scale);
                Multiplier::new(factor).apply(i64::from(sum))
            }
            Rounding::Float => {
                (sum as f32 * (self.input.scale * scale / output.scale)).round_ties_even() as i64
            }
        };
        (steps + i64::from(output.zero_point)).clamp(low, high.max(low)) as u8
    }

    /// What the sum of products `sum` stands for.
    pub fn number(&self, sum: i32, scale: f32) -> f32 {
        sum as f32 * (self.input.scale * scale)
    }

    /// Whether all codes are such and the bounds lie among them.
    pub fn is_sound(&self) -> bool {
        let output = self.output.is_none_or(|codes| codes.is_sound() && bounded(self.bounds, codes));
        self.input.is_sound() && output && self.sum.is_none_or(|sum| self.output.is_some() && sum.is_sound())
    }
}

fn bounded([low, high]: [u8; 2], codes: Codes) -> bool {
    low <= high && i32::from(high) <= codes.highest()
}

/// The sum of two tensors of codes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CodeSum {
    /// Codes of the first operand; in a layer, its own.
    pub own: Codes,
    /// Codes of the second operand.
    pub other: Codes,
    /// Codes of the sum.
    pub output: Codes,
    /// Bounds of its codes: an activation.
    pub bounds: [u8; 2],
}

impl CodeSum {
    /// Both operands' scales in units of the sum's, in 24 bits behind the point.
    pub fn factors(&self) -> [i64; 2] {
        [self.own, self.other].map(|codes| {
            let ratio = f64::from(codes.scale) / f64::from(self.output.scale);
            (ratio * f64::from(1u32 << SUM_SHIFT)).round_ties_even().min(f64::from(i32::MAX)) as i64
        })
    }

    /// The code of the sum of `a` and `b`.
    pub fn code(&self, a: u8, b: u8) -> u8 {
        let [of_a, of_b] = self.factors();
        let sum = (i64::from(a) - i64::from(self.own.zero_point)) * of_a
            + (i64::from(b) - i64::from(self.other.zero_point)) * of_b;
        let steps = (sum + (1 << (SUM_SHIFT - 1))) >> SUM_SHIFT;
        let [low, high] = self.bounds.map(i64::from);
        (steps + i64::from(self.output.zero_point)).clamp(low, high.max(low)) as u8
    }

    /// Whether all codes are such and the bounds lie among them.
    pub fn is_sound(&self) -> bool {
        [self.own, self.other, self.output].iter().all(|codes| codes.is_sound())
            && bounded(self.bounds, self.output)
    }
}

/// The product of two tensors of codes, element by element, or of a map and a factor per channel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CodeProduct {
    /// Codes of the first operand.
    pub own: Codes,
    /// Codes of the second operand.
    pub other: Codes,
    /// Codes of the product.
    pub output: Codes,
    /// How products become codes.
    #[serde(default)]
    pub rounding: Rounding,
}

impl CodeProduct {
    /// The product of the scales in units of the output's.
    pub fn multiplier(&self) -> Multiplier {
        Multiplier::new(
            f64::from(self.own.scale) * f64::from(self.other.scale) / f64::from(self.output.scale),
        )
    }

    /// The code of the product of `a` and `b`.
    pub fn code(&self, a: u8, b: u8) -> u8 {
        if self.rounding == Rounding::Float {
            return self.output.code(self.own.number(a) * self.other.number(b));
        }
        let product = (i64::from(a) - i64::from(self.own.zero_point))
            * (i64::from(b) - i64::from(self.other.zero_point));
        let code = self.multiplier().apply(product) + i64::from(self.output.zero_point);
        code.clamp(0, i64::from(self.output.highest())) as u8
    }

    /// Whether all codes are such.
    pub fn is_sound(&self) -> bool {
        [self.own, self.other, self.output].iter().all(|codes| codes.is_sound())
    }
}

/// The mean over height and width.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CodeMean {
    /// Codes of the input.
    pub input: Codes,
    /// Codes of the mean.
    pub output: Codes,
}

impl CodeMean {
    /// The factor for means of `count` codes.
    pub fn multiplier(&self, count: usize) -> Multiplier {
        Multiplier::new(f64::from(self.input.scale) / (f64::from(self.output.scale) * count as f64))
    }

    /// The code of the mean of `count` codes that sum to `sum`.
    pub fn code(&self, sum: i64, count: usize) -> u8 {
        let centred = sum - i64::from(self.input.zero_point) * count as i64;
        let code = self.multiplier(count).apply(centred) + i64::from(self.output.zero_point);
        code.clamp(0, i64::from(self.output.highest())) as u8
    }

    /// Whether both are codes.
    pub fn is_sound(&self) -> bool {
        self.input.is_sound() && self.output.is_sound()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_exact_to_31_bits() {
        for factor in [1.0, 0.5, 0.3, 1.0 / 3.0, 7e-5, 12.25, 1e-9] {
            let m = Multiplier::new(factor);
            assert!((1 << 30..1 << 31).contains(&m.mantissa), "{factor}: {m:?}");
            let own = m.mantissa as f64 / 2f64.powi(m.shift as i32);
            assert!((own / factor - 1.0).abs() < 1e-9, "{factor}: {own}");
        }
        assert_eq!(Multiplier::new(1.0), Multiplier { mantissa: 1 << 30, shift: 30 });
        assert_eq!(Multiplier::new(f64::NAN).apply(1 << 30), 0);
        // Halves go up, on both sides of zero.
        assert_eq!([3, -3, 5, -5].map(|v| Multiplier::new(0.5).apply(v)), [2, -1, 3, -2]);
    }

    #[test]
    fn what_is_no_number_has_a_code() {
        let codes = Codes { scale: 0.1, zero_point: 7, bits: 8 };
        assert_eq!([f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0].map(|x| codes.code(x)), [7, 255, 0, 7]);
    }
}
