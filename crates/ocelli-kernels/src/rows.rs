//! Soft-max, normalisation and sums over rows of memory, and sums over the pixels of channels-last maps.

use crate::math;
use crate::simd::Simd;

#[inline(always)]
unsafe fn at<S: Simd>(p: *const f32, n: usize) -> S::V {
    // SAFETY: the caller's promise.
    unsafe { if n == S::LANES { S::load(p) } else { S::load_n(p, n) } }
}

#[inline(always)]
unsafe fn put<S: Simd>(p: *mut f32, v: S::V, n: usize) {
    // SAFETY: the caller's promise.
    unsafe { if n == S::LANES { S::store(p, v) } else { S::store_n(p, v, n) } }
}

#[inline(always)]
unsafe fn softmax_of<S: Simd>(x: *const f32, y: *mut f32, n: usize, scale: f32) {
    // SAFETY: `n` elements on both sides by the caller's promise.
    unsafe {
        let mut largest = f32::NEG_INFINITY;
        let mut i = 0;
        let mut m = S::splat(f32::NEG_INFINITY);
        while i + S::LANES <= n {
            m = S::max(m, S::load(x.add(i)));
            i += S::LANES;
        }
        if i > 0 {
            largest = S::reduce_max(m);
        }
        for j in i..n {
            largest = largest.max(*x.add(j));
        }
        let (factor, shift) = (S::splat(scale), S::splat(-largest * scale));
        let mut sums = S::splat(0.0);
        i = 0;
        while i + S::LANES <= n {
            let e = math::exp::<S>(S::fma(S::load(x.add(i)), factor, shift));
            S::store(y.add(i), e);
            sums = S::add(sums, e);
            i += S::LANES;
        }
        let mut sum = S::sum(sums);
        if i < n {
            let e = math::exp::<S>(S::fma(S::load_n(x.add(i), n - i), factor, shift));
            S::store_n(y.add(i), e, n - i);
            for j in i..n {
                sum += *y.add(j);
            }
        }
        let inverse = S::splat(1.0 / sum);
        i = 0;
        while i < n {
            let left = (n - i).min(S::LANES);
            put::<S>(y.add(i), S::mul(at::<S>(y.add(i), left), inverse), left);
            i += left;
        }
    }
}

crate::dispatch! {
    /// `y = softmax(scale · x)` over `n` elements; `scale` is positive.
    ///
    /// # Safety
    /// `isa` must be available; `x` and `y` hold `n` elements and are the same or apart.
    pub fn softmax(x: *const f32, y: *mut f32, n: usize, scale: f32) = softmax_of;
}

#[inline(always)]
unsafe fn layer_norm_of<S: Simd>(
    x: *const f32,
    y: *mut f32,
    n: usize,
    scale: *const f32,
    shift: *const f32,
    epsilon: f32,
) {
    // SAFETY: `n` elements everywhere by the caller's promise.
    unsafe {
        let full = n / S::LANES * S::LANES;
        let total = |f: &dyn Fn(f32) -> f32, sums: S::V| {
            let mut sum = S::sum(sums);
            for i in full..n {
                sum += f(*x.add(i));
            }
            sum / n as f32
        };
        let mut sums = S::splat(0.0);
        let mut i = 0;
        while i < full {
            sums = S::add(sums, S::load(x.add(i)));
            i += S::LANES;
        }
        let mean = total(&|v| v, sums);
        // A second pass instead of E[x²] - E[x]²: large means do not cancel.
        let (center, mut sums) = (S::splat(mean), S::splat(0.0));
        i = 0;
        while i < full {
            let d = S::sub(S::load(x.add(i)), center);
            sums = S::fma(d, d, sums);
            i += S::LANES;
        }
        let variance = total(&|v| (v - mean) * (v - mean), sums);
        let inverse = S::splat(1.0 / (variance + epsilon).sqrt());
        i = 0;
        while i < n {
            let left = (n - i).min(S::LANES);
            let mut v = S::mul(S::sub(at::<S>(x.add(i), left), center), inverse);
            if !scale.is_null() {
                v = S::mul(v, at::<S>(scale.add(i), left));
            }
            if !shift.is_null() {
                v = S::add(v, at::<S>(shift.add(i), left));
            }
            put::<S>(y.add(i), v, left);
            i += left;
        }
    }
}

crate::dispatch! {
    /// `y = (x - mean) / sqrt(variance + epsilon) · scale + shift` over `n` elements; scale and shift may be null.
    ///
    /// # Safety
    /// `isa` must be available; all pointers hold `n` elements, `x` and `y` are the same or apart.
    pub fn layer_norm(x: *const f32, y: *mut f32, n: usize, scale: *const f32, shift: *const f32, epsilon: f32) = layer_norm_of;
}

#[inline(always)]
unsafe fn sum_pixels_of<S: Simd>(
    x: *const f32,
    pixel: usize,
    pixels: usize,
    channels: usize,
    factor: f32,
    y: *mut f32,
) {
    // SAFETY: the map is as described by the caller's promise.
    unsafe {
        let mut c = 0;
        while c < channels {
            let left = (channels - c).min(S::LANES);
            // Four sums hide the adder's latency.
            let mut sums = [S::splat(0.0); 4];
            let mut i = 0;
            while i + 4 <= pixels {
                for (k, sum) in sums.iter_mut().enumerate() {
                    *sum = S::add(*sum, at::<S>(x.add((i + k) * pixel + c), left));
                }
                i += 4;
            }
            while i < pixels {
                sums[0] = S::add(sums[0], at::<S>(x.add(i * pixel + c), left));
                i += 1;
            }
            let sum = S::add(S::add(sums[0], sums[1]), S::add(sums[2], sums[3]));
            put::<S>(y.add(c), S::mul(sum, S::splat(factor)), left);
            c += left;
        }
    }
}

crate::dispatch! {
    /// `y[c] = factor · Σ x[i · pixel + c]` over `pixels` pixels.
    ///
    /// # Safety
    /// `isa` must be available; the map must be as described and `y` hold `channels` elements.
    pub fn sum_pixels(x: *const f32, pixel: usize, pixels: usize, channels: usize, factor: f32, y: *mut f32) = sum_pixels_of;
}

#[inline(always)]
unsafe fn sum_of<S: Simd>(x: *const f32, n: usize) -> f32 {
    // SAFETY: `n` elements by the caller's promise.
    unsafe {
        let mut sums = [S::splat(0.0); 4];
        let mut i = 0;
        while i + 4 * S::LANES <= n {
            for (k, sum) in sums.iter_mut().enumerate() {
                *sum = S::add(*sum, S::load(x.add(i + k * S::LANES)));
            }
            i += 4 * S::LANES;
        }
        while i < n {
            let left = (n - i).min(S::LANES);
            sums[0] = S::add(sums[0], at::<S>(x.add(i), left));
            i += left;
        }
        S::sum(S::add(S::add(sums[0], sums[1]), S::add(sums[2], sums[3])))
    }
}

crate::dispatch! {
    /// Sum of `n` elements.
    ///
    /// # Safety
    /// `isa` must be available; `x` holds `n` elements.
    pub fn sum(x: *const f32, n: usize) -> f32 = sum_of;
}

#[inline(always)]
unsafe fn mix_of<S: Simd>(
    rows: *const f32,
    stride: usize,
    shares: *const f32,
    count: usize,
    n: usize,
    y: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut i = 0;
        while i < n {
            let left = (n - i).min(S::LANES);
            let mut sum = S::mul(S::splat(*shares), at::<S>(rows.add(i), left));
            for row in 1..count {
                sum = S::fma(S::splat(*shares.add(row)), at::<S>(rows.add(row * stride + i), left), sum);
            }
            put::<S>(y.add(i), sum, left);
            i += left;
        }
    }
}

crate::dispatch! {
    /// `y = Σ_r shares[r] · rows[r]` over `n` elements of `count` rows, `stride` apart.
    ///
    /// # Safety
    /// `isa` must be available; the rows and `y` hold `n` elements, apart from one another; there is a row.
    pub fn mix(
        rows: *const f32,
        stride: usize,
        shares: *const f32,
        count: usize,
        n: usize,
        y: *mut f32,
    ) = mix_of;
}
