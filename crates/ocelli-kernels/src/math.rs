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

/// Gauss's error function to 1.5e-7 absolute (Abramowitz and Stegun, 7.1.26).
///
/// # Safety
/// The processor must have `S`.
#[inline(always)]
pub unsafe fn erf<S: Simd>(x: S::V) -> S::V {
    // SAFETY: as above.
    unsafe {
        let (one, zero) = (S::splat(1.0), S::splat(0.0));
        let positive = S::max(x, S::sub(zero, x));
        let t = S::div(one, S::fma(S::splat(0.327_591_1), positive, one));
        let mut p = S::splat(1.061_405_4);
        for c in [-1.453_152_1, 1.421_413_8, -0.284_496_72, 0.254_829_6] {
            p = S::fma(p, t, S::splat(c));
        }
        let tail = S::mul(S::mul(p, t), exp::<S>(S::sub(zero, S::mul(x, x))));
        let magnitude = S::sub(one, tail);
        // The sign of x, and 0 at 0: clamp x * huge into -1..1.
        let sign = S::min(one, S::max(S::splat(-1.0), S::mul(x, S::splat(1e30))));
        S::mul(magnitude, sign)
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
