//! Batch norm with batch statistics, the activation after it, and the way back through both.
//!
//! All passes over a channel follow each other while it is in cache. On the way back the activation's argument is
//! computed again rather than read; where a residual was added, the output decides which pixels pass.

use crate::Isa;
use crate::simd::Simd;
use crate::train::parallel::{Shared, buffer, each};

/// Bounds of the activation: `min(max(x, low), high)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clamp {
    /// Lower bound; `-inf` for none.
    pub low: f32,
    /// Upper bound; `inf` for none.
    pub high: f32,
}

impl Clamp {
    /// No activation.
    pub const NONE: Self = Self { low: f32::NEG_INFINITY, high: f32::INFINITY };
    /// `max(x, 0)`
    pub const RELU: Self = Self { low: 0.0, high: f32::INFINITY };
    /// `min(max(x, 0), 6)`
    pub const RELU6: Self = Self { low: 0.0, high: 6.0 };
}

/// Extents of a batch norm's input `[batch, channels, area]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NormShape {
    /// Pictures.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Pixels of a channel.
    pub area: usize,
}

impl NormShape {
    fn len(&self) -> usize {
        self.batch * self.channels * self.area
    }

    /// Values per channel.
    pub fn samples(&self) -> usize {
        self.batch * self.area
    }
}

/// What [`forward`] gives.
#[derive(Clone, Debug)]
pub struct Normalised {
    /// Like the input.
    pub output: Vec<f32>,
    /// Mean of the batch `[channels]`.
    pub mean: Vec<f32>,
    /// Biased variance of the batch `[channels]`.
    pub variance: Vec<f32>,
}

/// Elements a task takes at least.
const SHARE: usize = 1 << 14;

/// `clamp((x - mean) / sqrt(variance + epsilon) · gain + shift + residual)` per channel.
///
/// # Panics
/// If a slice does not have the extent `shape` says.
pub fn forward(
    isa: Isa,
    shape: NormShape,
    x: &[f32],
    gain: &[f32],
    shift: &[f32],
    epsilon: f64,
    residual: Option<&[f32]>,
    clamp: Clamp,
) -> Normalised {
    assert_eq!(x.len(), shape.len(), "input of {shape:?}");
    assert!(gain.len() == shape.channels && shift.len() == shape.channels);
    assert!(residual.is_none_or(|residual| residual.len() == x.len()));
    let (mut output, mut mean, mut variance) =
        (buffer(x.len()), buffer(shape.channels), buffer(shape.channels));
    let (out, means, variances) =
        (Shared::new(&mut output), Shared::new(&mut mean), Shared::new(&mut variance));
    let samples = shape.samples() as f64;
    channels(shape, |channel| {
        let (mut sum, mut squares) = (0.0f64, 0.0f64);
        for at in planes(shape, channel) {
            // SAFETY: the plane lies in the input.
            sum += f64::from(unsafe { sum_any(isa, x[at..].as_ptr(), shape.area) });
        }
        let centre = (sum / samples) as f32;
        for at in planes(shape, channel) {
            // SAFETY: as above.
            squares += f64::from(unsafe { squares_any(isa, x[at..].as_ptr(), centre, shape.area) });
        }
        let spread = (squares / samples) as f32;
        let line = Line::new(centre, spread, epsilon, gain[channel], shift[channel]);
        // SAFETY: planes and statistics of this channel belong to this task.
        unsafe {
            *means.at(channel) = centre;
            *variances.at(channel) = spread;
            for at in planes(shape, channel) {
                let residual = residual.map_or(core::ptr::null(), |residual| residual[at..].as_ptr());
                line_any(isa, x[at..].as_ptr(), residual, line, clamp, shape.area, out.at(at));
            }
        }
    });
    Normalised { output, mean, variance }
}

/// What [`backward`] gives.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// Of the input.
    pub input: Vec<f32>,
    /// Of the gain `[channels]`.
    pub gain: Vec<f32>,
    /// Of the shift `[channels]`.
    pub shift: Vec<f32>,
    /// Of the residual; empty without one.
    pub residual: Vec<f32>,
}

/// Gradients of [`forward`]; `output` is its output where a residual was added, else `None`.
///
/// # Panics
/// If a slice does not have the extent `shape` says.
pub fn backward(
    isa: Isa,
    shape: NormShape,
    x: &[f32],
    gain: &[f32],
    shift: &[f32],
    (mean, variance): (&[f32], &[f32]),
    epsilon: f64,
    output: Option<&[f32]>,
    clamp: Clamp,
    grad: &[f32],
) -> Gradients {
    assert!(x.len() == shape.len() && grad.len() == shape.len(), "input of {shape:?}");
    assert!([gain, shift, mean, variance].iter().all(|list| list.len() == shape.channels));
    assert!(output.is_none_or(|output| output.len() == x.len()));
    let mut gradients = Gradients {
        input: buffer(x.len()),
        gain: buffer(shape.channels),
        shift: buffer(shape.channels),
        residual: buffer(if output.is_some() { x.len() } else { 0 }),
    };
    let input = Shared::new(&mut gradients.input);
    let residual = Shared::new(&mut gradients.residual);
    let (of_gain, of_shift) = (Shared::new(&mut gradients.gain), Shared::new(&mut gradients.shift));
    let samples = shape.samples() as f64;
    channels(shape, |channel| {
        let (centre, spread) = (mean[channel], variance[channel]);
        let line = Line::new(centre, spread, epsilon, gain[channel], shift[channel]);
        let (mut sum, mut product) = (0.0f64, 0.0f64);
        for at in planes(shape, channel) {
            // SAFETY: planes of this channel belong to this task.
            let [a, b] = unsafe {
                let output = output.map_or(core::ptr::null(), |output| output[at..].as_ptr());
                let kept = if output.is_null() { core::ptr::null_mut() } else { residual.at(at) };
                let (x, grad) = (x[at..].as_ptr(), grad[at..].as_ptr());
                sums_any(isa, x, grad, output, kept, line, centre, clamp, shape.area)
            };
            sum += f64::from(a);
            product += f64::from(b);
        }
        let root = 1.0 / (f64::from(spread) + epsilon).sqrt();
        let scale = f64::from(gain[channel]) * root;
        let of_x = -scale * root * root * product / samples;
        let back = Back { scale: scale as f32, of_x: of_x as f32, mean: (sum / samples) as f32, centre };
        // SAFETY: as above.
        unsafe {
            *of_gain.at(channel) = (product * root) as f32;
            *of_shift.at(channel) = sum as f32;
            for at in planes(shape, channel) {
                let out = input.at(at);
                if output.is_some() {
                    let grad = residual.at(at).cast_const();
                    back_any(isa, x[at..].as_ptr(), grad, line, Clamp::NONE, back, shape.area, out);
                } else {
                    let grad = grad[at..].as_ptr();
                    back_any(isa, x[at..].as_ptr(), grad, line, clamp, back, shape.area, out);
                }
            }
        }
    });
    gradients
}

/// Runs `task` for every channel.
fn channels(shape: NormShape, task: impl Fn(usize) + Sync + Send) {
    let per = (SHARE / shape.samples().max(1)).clamp(1, shape.channels.max(1));
    each(shape.channels.div_ceil(per), 8 * shape.len(), |i| {
        (i * per..((i + 1) * per).min(shape.channels)).for_each(&task);
    });
}

/// Where the planes of a channel start.
fn planes(shape: NormShape, channel: usize) -> impl Iterator<Item = usize> {
    (0..shape.batch).map(move |n| (n * shape.channels + channel) * shape.area)
}

/// `scale · x + offset`
#[derive(Clone, Copy, Debug)]
struct Line {
    scale: f32,
    offset: f32,
}

impl Line {
    fn new(mean: f32, variance: f32, epsilon: f64, gain: f32, shift: f32) -> Self {
        let scale = f64::from(gain) / (f64::from(variance) + epsilon).sqrt();
        let offset = f64::from(shift) - f64::from(mean) * scale;
        Self { scale: scale as f32, offset: offset as f32 }
    }
}

/// Choosing lanes, which [`Simd`] does not have.
#[allow(clippy::missing_safety_doc)]
pub trait Choose: Simd {
    /// `a` where `low < x < high`, else 0.
    unsafe fn inside(x: Self::V, low: Self::V, high: Self::V, a: Self::V) -> Self::V;
}

#[cfg(target_arch = "x86_64")]
impl Choose for crate::simd::avx512::Avx512 {
    #[inline(always)]
    unsafe fn inside(x: Self::V, low: Self::V, high: Self::V, a: Self::V) -> Self::V {
        use core::arch::x86_64::*;
        // SAFETY: the trait's contract: AVX-512 is there.
        unsafe {
            let above = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, low);
            _mm512_maskz_mov_ps(_mm512_mask_cmp_ps_mask::<_CMP_LT_OQ>(above, x, high), a)
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Choose for crate::simd::avx2::Avx2 {
    #[inline(always)]
    unsafe fn inside(x: Self::V, low: Self::V, high: Self::V, a: Self::V) -> Self::V {
        use core::arch::x86_64::*;
        // SAFETY: the trait's contract: AVX2 is there.
        unsafe {
            let mask =
                _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(x, low), _mm256_cmp_ps::<_CMP_LT_OQ>(x, high));
            _mm256_and_ps(mask, a)
        }
    }
}

#[cfg(target_arch = "aarch64")]
impl Choose for crate::simd::neon::Neon {
    #[inline(always)]
    unsafe fn inside(x: Self::V, low: Self::V, high: Self::V, a: Self::V) -> Self::V {
        use core::arch::aarch64::*;
        // SAFETY: NEON is always there on aarch64.
        unsafe {
            let mask = vandq_u32(vcgtq_f32(x, low), vcltq_f32(x, high));
            vreinterpretq_f32_u32(vandq_u32(mask, vreinterpretq_u32_f32(a)))
        }
    }
}

impl Choose for crate::simd::portable::Portable {
    #[inline(always)]
    unsafe fn inside(x: Self::V, low: Self::V, high: Self::V, a: Self::V) -> Self::V {
        core::array::from_fn(|i| if x[i] > low[i] && x[i] < high[i] { a[i] } else { 0.0 })
    }
}

/// Vectors summed side by side.
const SIDE: usize = 4;

/// Adds up a term over `len` elements, given its position and vector's length (shorter for the last).
///
/// A macro, not a function of a closure: closures are compiled without the instruction set of their caller.
macro_rules! total {
    ($s:ident, $len:expr, |$i:ident, $n:ident, $j:ident| $term:expr) => {{
        let mut sums = [$s::splat(0.0); SIDE];
        let mut at = 0;
        while at + SIDE * $s::LANES <= $len {
            for $j in 0..SIDE {
                let ($i, $n) = (at + $j * $s::LANES, $s::LANES);
                sums[$j] = $s::add(sums[$j], $term);
            }
            at += SIDE * $s::LANES;
        }
        let $j = 0;
        while at < $len {
            let ($i, $n) = (at, ($len - at).min($s::LANES));
            sums[0] = $s::add(sums[0], $term);
            at += $s::LANES;
        }
        $s::sum($s::add($s::add(sums[0], sums[1]), $s::add(sums[2], sums[3])))
    }};
}

#[inline(always)]
unsafe fn read<S: Simd>(p: *const f32, n: usize) -> S::V {
    // SAFETY: the caller's promise.
    unsafe { if n == S::LANES { S::load(p) } else { S::load_n(p, n) } }
}

#[inline(always)]
unsafe fn write<S: Simd>(p: *mut f32, v: S::V, n: usize) {
    // SAFETY: the caller's promise.
    unsafe { if n == S::LANES { S::store(p, v) } else { S::store_n(p, v, n) } }
}

#[inline(always)]
unsafe fn sum_of<S: Simd>(x: *const f32, len: usize) -> f32 {
    // SAFETY: the caller's promise.
    unsafe { total!(S, len, |i, n, _j| read::<S>(x.add(i), n)) }
}

#[inline(always)]
unsafe fn squares_of<S: Simd>(x: *const f32, centre: f32, len: usize) -> f32 {
    // SAFETY: the caller's promise.
    unsafe {
        let m = S::splat(centre);
        total!(S, len, |i, n, _j| {
            // Lanes beyond the end become the centre, whose distance is zero.
            let d = if n == S::LANES {
                S::sub(S::load(x.add(i)), m)
            } else {
                let mut lanes = [centre; 16];
                core::ptr::copy_nonoverlapping(x.add(i), lanes.as_mut_ptr(), n);
                S::sub(S::load(lanes.as_ptr()), m)
            };
            S::mul(d, d)
        })
    }
}

#[inline(always)]
unsafe fn line_of<S: Simd>(
    x: *const f32,
    residual: *const f32,
    line: Line,
    clamp: Clamp,
    len: usize,
    out: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let (scale, offset) = (S::splat(line.scale), S::splat(line.offset));
        let (low, high) = (S::splat(clamp.low), S::splat(clamp.high));
        let mut i = 0;
        while i < len {
            let n = (len - i).min(S::LANES);
            let mut y = S::fma(read::<S>(x.add(i), n), scale, offset);
            if !residual.is_null() {
                y = S::add(y, read::<S>(residual.add(i), n));
            }
            write::<S>(out.add(i), S::min(high, S::max(low, y)), n);
            i += S::LANES;
        }
    }
}

/// Sums of the gradient behind the activation, and of it times the distance from the mean; keeps that gradient in
/// `kept` unless it is null.
#[inline(always)]
unsafe fn sums_of<S: Choose>(
    x: *const f32,
    grad: *const f32,
    output: *const f32,
    kept: *mut f32,
    line: Line,
    centre: f32,
    clamp: Clamp,
    len: usize,
) -> [f32; 2] {
    // SAFETY: the caller's promise.
    unsafe {
        let (scale, offset) = (S::splat(line.scale), S::splat(line.offset));
        let (low, high) = (S::splat(clamp.low), S::splat(clamp.high));
        let m = S::splat(centre);
        let mut products = [S::splat(0.0); SIDE];
        let sum = total!(S, len, |i, n, j| {
            let values = read::<S>(x.add(i), n);
            // Lanes beyond the end have a zero gradient.
            let mut g = read::<S>(grad.add(i), n);
            if !output.is_null() {
                g = S::inside(read::<S>(output.add(i), n), low, high, g);
                write::<S>(kept.add(i), g, n);
            } else if clamp != Clamp::NONE {
                g = S::inside(S::fma(values, scale, offset), low, high, g);
            }
            products[j] = S::fma(g, S::sub(values, m), products[j]);
            g
        });
        let product = S::add(S::add(products[0], products[1]), S::add(products[2], products[3]));
        [sum, S::sum(product)]
    }
}

/// The line gradients take: `scale · (grad - mean) + of_x · (x - centre)`.
#[derive(Clone, Copy, Debug)]
struct Back {
    scale: f32,
    of_x: f32,
    mean: f32,
    centre: f32,
}

/// The input's gradient, for the gradient behind the activation.
#[inline(always)]
unsafe fn back_of<S: Choose>(
    x: *const f32,
    grad: *const f32,
    line: Line,
    clamp: Clamp,
    back: Back,
    len: usize,
    out: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let (scale, offset) = (S::splat(line.scale), S::splat(line.offset));
        let (low, high) = (S::splat(clamp.low), S::splat(clamp.high));
        let (a, b) = (S::splat(back.scale), S::splat(back.of_x));
        let (mean, centre) = (S::splat(back.mean), S::splat(back.centre));
        let mut i = 0;
        while i < len {
            let n = (len - i).min(S::LANES);
            let values = read::<S>(x.add(i), n);
            let mut g = read::<S>(grad.add(i), n);
            if clamp != Clamp::NONE {
                g = S::inside(S::fma(values, scale, offset), low, high, g);
            }
            let y = S::fma(S::sub(g, mean), a, S::mul(S::sub(values, centre), b));
            write::<S>(out.add(i), y, n);
            i += S::LANES;
        }
    }
}

crate::dispatch! {
    fn sum_any(x: *const f32, len: usize) -> f32 = sum_of;
}
crate::dispatch! {
    fn squares_any(x: *const f32, centre: f32, len: usize) -> f32 = squares_of;
}
crate::dispatch! {
    fn line_any(
        x: *const f32, residual: *const f32, line: Line, clamp: Clamp, len: usize, out: *mut f32,
    ) = line_of;
}
crate::dispatch! {
    fn sums_any(
        x: *const f32, grad: *const f32, output: *const f32, kept: *mut f32, line: Line, centre: f32, clamp: Clamp,
        len: usize,
    ) -> [f32; 2] = sums_of;
}
crate::dispatch! {
    fn back_any(
        x: *const f32, grad: *const f32, line: Line, clamp: Clamp, back: Back, len: usize, out: *mut f32,
    ) = back_of;
}
