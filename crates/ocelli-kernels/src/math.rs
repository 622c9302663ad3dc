//! Exponential and what is made of it, on vectors.

use crate::simd::Simd;

/// `e^x` to about 1e-7 relative; arguments beyond ±87.3 saturate.
///
/// # Safety
/// The processor must have `S`.
#[inline(always)]
pub unsafe fn exp<S: Simd>(x: S::V) -> S::V {
    // SAFETY: arithmetic on vectors of the caller's instruction set.
    unsafe {
        let x = S::min(S::splat(87.3), S::max(S::splat(-87.3), x));
        let n = S::round(S::mul(x, S::splat(core::f32::consts::LOG2_E)));
        // ln 2 in two parts, the first with few bits so that n times it is exact.
        let r = S::fma(n, S::splat(-0.693_359_4), x);
        let r = S::fma(n, S::splat(2.121_944_4e-4), r);
        // Taylor to the seventh power: |r| <= ln 2 / 2.
        let mut p = S::splat(1.0 / 5040.0);
        for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            p = S::fma(p, r, S::splat(c));
        }
        S::mul(p, S::pow2(n))
    }
}

/// `1 / (1 + e^-x)`
///
/// # Safety
/// The processor must have `S`.
#[inline(always)]
pub unsafe fn sigmoid<S: Simd>(x: S::V) -> S::V {
    // SAFETY: as above.
    unsafe {
        let one = S::splat(1.0);
        S::div(one, S::add(one, exp::<S>(S::sub(S::splat(0.0), x))))
    }
}

/// Hyperbolic tangent, to about 1e-7 absolute.
///
/// # Safety
/// The processor must have `S`.
#[inline(always)]
pub unsafe fn tanh<S: Simd>(x: S::V) -> S::V {
    // SAFETY: as above.
    unsafe {
        let one = S::splat(1.0);
        let e = exp::<S>(S::add(x, x));
        S::sub(one, S::div(S::splat(2.0), S::add(e, one)))
    }
}

/// Gauss's error function: an odd rational function of degree 13 over 8, exact to a few units in the last place
/// (the minimax coefficients that XLA and Eigen use); 1 beyond 4.
///
/// # Safety
/// The processor must have `S`.
#[inline(always)]
pub unsafe fn erf<S: Simd>(x: S::V) -> S::V {
    const UP: [f32; 7] = [
        -2.726_142_3e-10,
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_4e-5,
        -7.349_906_3e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ];
    const DOWN: [f32; 5] =
        [-1.456_607_2e-5, -2.133_740_5e-4, -1.682_827e-3, -7.373_329_2e-3, -1.426_473_9e-2];
    // SAFETY: as above.
    unsafe {
        let x = S::min(S::splat(4.0), S::max(S::splat(-4.0), x));
        let square = S::mul(x, x);
        let polynomial = |coefficients: &[f32]| {
            let mut p = S::splat(coefficients[0]);
            for &c in &coefficients[1..] {
                p = S::fma(p, square, S::splat(c));
            }
            p
        };
        S::div(S::mul(x, polynomial(&UP)), polynomial(&DOWN))
    }
}

/// `x / 2 · (1 + erf(x / √2))`
///
/// # Safety
/// The processor must have `S`.
#[inline(always)]
pub unsafe fn gelu<S: Simd>(x: S::V) -> S::V {
    // SAFETY: as above.
    unsafe {
        let e = erf::<S>(S::mul(x, S::splat(core::f32::consts::FRAC_1_SQRT_2)));
        let half = S::mul(x, S::splat(0.5));
        S::fma(half, e, half)
    }
}

/// The derivative of [`gelu`]: `Φ(x) + x · φ(x)` with the normal distribution's function and density.
///
/// # Safety
/// The processor must have `S`.
#[inline(always)]
pub unsafe fn gelu_slope<S: Simd>(x: S::V) -> S::V {
    // SAFETY: as above.
    unsafe {
        let half = S::splat(0.5);
        let below = S::fma(erf::<S>(S::mul(x, S::splat(core::f32::consts::FRAC_1_SQRT_2))), half, half);
        let density = exp::<S>(S::mul(S::mul(x, x), S::splat(-0.5)));
        // 1 / √(2π)
        S::fma(S::mul(x, S::splat(0.398_942_3)), density, below)
    }
}
