//! What operations cost: picojoules in 45 nm (Horowitz, "Computing's Energy Problem", ISSCC 2014).
//!
//! A multiply-accumulate is a product and a sum; a distance is two sums. Below 8 bits sums are taken to cost in proportion to their
//! bits, products to the square.

use serde::Serialize;

/// What a layer computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Arithmetic {
    /// 32-bit floating point.
    Float32,
    /// 16-bit floating point.
    Float16,
    /// 32-bit integers.
    Int32,
    /// Integers of this many bits, at most 8.
    Int(u8),
}

impl Arithmetic {
    /// Picojoules of a sum.
    pub fn add(self) -> f64 {
        match self {
            Self::Float32 => 0.9,
            Self::Float16 => 0.4,
            Self::Int32 => 0.1,
            Self::Int(bits) => 0.03 * f64::from(bits.min(8)) / 8.0,
        }
    }

    /// Picojoules of a product.
    pub fn multiply(self) -> f64 {
        match self {
            Self::Float32 => 3.7,
            Self::Float16 => 1.1,
            Self::Int32 => 3.1,
            Self::Int(bits) => 0.2 * (f64::from(bits.min(8)) / 8.0).powi(2),
        }
    }
}

/// Operations of a network for one picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Operations {
    /// Multiply-accumulates.
    pub macs: u64,
    /// Distances that are accumulated.
    pub distances: u64,
}

impl Operations {
    /// Microjoules of one picture.
    pub fn microjoules(self, arithmetic: Arithmetic) -> f64 {
        let mac = arithmetic.multiply() + arithmetic.add();
        1e-6 * (self.macs as f64 * mac + self.distances as f64 * 2.0 * arithmetic.add())
    }

    /// The same network with products in the place of distances.
    pub fn as_products(self) -> Self {
        Self { macs: self.macs + self.distances, distances: 0 }
    }
}

/// Share of operations that scales of groups add to a layer of `channels` input channels with a 3x3 window, `1 / (6 c + 1)` (the
/// paper's estimate, as third parties quote it).
pub fn group_overhead(channels: usize) -> f64 {
    1.0 / (6.0 * channels as f64 + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adder_resnet20_costs_a_third() {
        let own = Operations { macs: 443_008, distances: 40_370_176 };
        let close = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 1e-3, "{a} is not {b}");
        close(own.microjoules(Arithmetic::Float32), 74.704);
        close(own.as_products().microjoules(Arithmetic::Float32), 187.741);
        close(own.microjoules(Arithmetic::Int(8)), 2.5241);
        close(own.as_products().microjoules(Arithmetic::Int(8)), 9.3870);
        assert!(own.microjoules(Arithmetic::Int(4)) < 0.6 * own.microjoules(Arithmetic::Int(8)));
    }
}
