//! The exact GELU, `x · Φ(x)` with the normal distribution function `Φ(x) = (1 + erf(x / √2)) / 2`, and its way back.

use crate::Isa;
use crate::math;
use crate::simd::Simd;
use crate::train::parallel::{Shared, buffer, each};

/// Elements of a task.
const SHARE: usize = 1 << 14;

/// Operations an element is worth.
const WORK: usize = 16;

/// `x · Φ(x)`
pub fn forward(isa: Isa, x: &[f32]) -> Vec<f32> {
    let mut output = buffer(x.len());
    let out = Shared::new(&mut output);
    each(x.len().div_ceil(SHARE), WORK * x.len(), |task| {
        let at = task * SHARE;
        // SAFETY: the elements exist and are this task's own.
        unsafe { forward_any(isa, x[at..].as_ptr(), SHARE.min(x.len() - at), out.at(at)) };
    });
    output
}

/// `grad · (Φ(x) + x · φ(x))` with the normal density `φ`.
///
/// # Panics
/// If the slices are not of one length.
pub fn backward(isa: Isa, x: &[f32], grad: &[f32]) -> Vec<f32> {
    assert_eq!(x.len(), grad.len(), "a gradient for every element");
    let mut output = buffer(x.len());
    let out = Shared::new(&mut output);
    each(x.len().div_ceil(SHARE), WORK * x.len(), |task| {
        let at = task * SHARE;
        let n = SHARE.min(x.len() - at);
        // SAFETY: as above.
        unsafe { backward_any(isa, x[at..].as_ptr(), grad[at..].as_ptr(), n, out.at(at)) };
    });
    output
}

#[inline(always)]
unsafe fn forward_of<S: Simd>(x: *const f32, len: usize, out: *mut f32) {
    // SAFETY: `len` elements on both sides by the caller's promise.
    unsafe {
        let mut i = 0;
        while i + S::LANES <= len {
            S::store(out.add(i), math::gelu::<S>(S::load(x.add(i))));
            i += S::LANES;
        }
        if i < len {
            S::store_n(out.add(i), math::gelu::<S>(S::load_n(x.add(i), len - i)), len - i);
        }
    }
}

#[inline(always)]
unsafe fn backward_of<S: Simd>(x: *const f32, grad: *const f32, len: usize, out: *mut f32) {
    // SAFETY: `len` elements everywhere by the caller's promise.
    unsafe {
        let mut i = 0;
        while i + S::LANES <= len {
            let slope = math::gelu_slope::<S>(S::load(x.add(i)));
            S::store(out.add(i), S::mul(S::load(grad.add(i)), slope));
            i += S::LANES;
        }
        if i < len {
            let n = len - i;
            let slope = math::gelu_slope::<S>(S::load_n(x.add(i), n));
            S::store_n(out.add(i), S::mul(S::load_n(grad.add(i), n), slope), n);
        }
    }
}

crate::dispatch! {
    fn forward_any(x: *const f32, len: usize, out: *mut f32) = forward_of;
}
crate::dispatch! {
    fn backward_any(x: *const f32, grad: *const f32, len: usize, out: *mut f32) = backward_of;
}
