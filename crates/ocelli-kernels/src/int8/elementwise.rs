//! Functions of one and two codes over runs of memory. Input and output may be the same memory, but not overlap otherwise.

use super::Isa;
use super::arithmetic::{
    Add, Fixed, Product, Target, dequantise as dequantise_one, quantise as quantise_one,
};
use super::epilogue::Adder;
use super::lanes::Lanes;
use super::requantiser::{Bounds, FIXED, Parameters};

#[inline(always)]
unsafe fn read<L: Lanes>(p: *const u8, n: usize) -> L::B {
    // SAFETY: the caller's promise.
    unsafe { if n == L::BYTES { L::load_bytes(p) } else { L::load_bytes_n(p, n) } }
}

#[inline(always)]
unsafe fn write<L: Lanes>(p: *mut u8, b: L::B, n: usize) {
    // SAFETY: the caller's promise.
    unsafe { if n == L::BYTES { L::store_bytes(p, b) } else { L::store_bytes_n(p, b, n) } }
}

#[inline(always)]
unsafe fn add_of<L: Lanes>(a: *const u8, b: *const u8, y: *mut u8, n: usize, by: &Add) {
    // SAFETY: `n` codes on all sides by the caller's promise.
    unsafe {
        let adder = Adder::<L>::new(*by);
        let mut i = 0;
        while i < n {
            let some = (n - i).min(L::BYTES);
            let sum = adder.apply(read::<L>(a.add(i), some), read::<L>(b.add(i), some));
            write::<L>(y.add(i), sum, some);
            i += some;
        }
    }
}

crate::dispatch! {
    fn add_on(a: *const u8, b: *const u8, y: *mut u8, n: usize, by: &Add) = add_of;
}

/// `n` sums of codes (see [`Add`]).
///
/// # Safety
/// `isa` must be available, the pointers valid for `n` codes.
pub unsafe fn add(isa: Isa, a: *const u8, b: *const u8, y: *mut u8, n: usize, by: &Add) {
    // SAFETY: the caller's promise.
    unsafe { add_on(isa.lanes(), a, b, y, n, by) }
}

#[inline(always)]
unsafe fn quantise_of<L: Lanes>(x: *const f32, scale: f32, zero: u8, y: *mut u8, n: usize) {
    // SAFETY: `n` elements on both sides by the caller's promise.
    unsafe {
        let mut i = 0;
        while i + L::BYTES <= n {
            let x = x.add(i);
            let v = [
                L::quotients(x, scale),
                L::quotients(x.add(L::LANES), scale),
                L::quotients(x.add(2 * L::LANES), scale),
                L::quotients(x.add(3 * L::LANES), scale),
            ];
            L::store_bytes(y.add(i), L::order(L::narrow(v, i16::from(zero))));
            i += L::BYTES;
        }
        while i < n {
            *y.add(i) = quantise_one(*x.add(i), scale, zero);
            i += 1;
        }
    }
}

crate::dispatch! {
    fn quantise_on(x: *const f32, scale: f32, zero: u8, y: *mut u8, n: usize) = quantise_of;
}

/// `n` codes of real numbers (see [`arithmetic::quantise`](super::arithmetic::quantise)).
///
/// # Safety
/// `isa` must be available, the pointers valid for `n` elements.
pub unsafe fn quantise(isa: Isa, x: *const f32, scale: f32, zero: u8, y: *mut u8, n: usize) {
    // SAFETY: the caller's promise.
    unsafe { quantise_on(isa.lanes(), x, scale, zero, y, n) }
}

#[inline(always)]
unsafe fn dequantise_of<L: Lanes>(x: *const u8, scale: f32, zero: u8, y: *mut f32, n: usize) {
    // SAFETY: `n` elements on both sides by the caller's promise.
    unsafe {
        let (by, less) = (L::splat(scale.to_bits() as i32), L::splat(i32::from(zero)));
        let mut i = 0;
        while i + L::LANES <= n {
            L::store(y.add(i).cast(), L::scale(L::sub(L::load_codes(x.add(i)), less), by));
            i += L::LANES;
        }
        while i < n {
            *y.add(i) = dequantise_one(*x.add(i), scale, zero);
            i += 1;
        }
    }
}

crate::dispatch! {
    fn dequantise_on(x: *const u8, scale: f32, zero: u8, y: *mut f32, n: usize) = dequantise_of;
}

/// `n` real numbers from their codes.
///
/// # Safety
/// `isa` must be available, the pointers valid for `n` elements.
pub unsafe fn dequantise(isa: Isa, x: *const u8, scale: f32, zero: u8, y: *mut f32, n: usize) {
    // SAFETY: the caller's promise.
    unsafe { dequantise_on(isa.lanes(), x, scale, zero, y, n) }
}

/// A map whose channels are multiplied by gates (squeeze and excitation).
#[derive(Clone, Copy, Debug)]
pub struct Gated {
    /// The input, channels-last.
    pub x: *const u8,
    /// Codes from one pixel to the next.
    pub x_stride: usize,
    /// `[pictures][channels]`
    pub gates: *const u8,
    /// Channels.
    pub channels: usize,
    /// Pixels of a picture.
    pub pixels: usize,
    /// Zero points of input and gates.
    pub zeros: [u8; 2],
    /// How products become codes.
    pub by: Product,
    /// The codes of the output.
    pub target: Target,
    /// The output.
    pub y: *mut u8,
    /// Codes from one output pixel to the next.
    pub y_stride: usize,
}

#[inline(always)]
unsafe fn gate_of<L: Lanes>(g: &Gated, pixels: core::ops::Range<usize>) {
    let by = match g.by {
        Product::Fixed(by) => by,
        // SAFETY: the caller's promise.
        Product::Float(scales) => return unsafe { gate_float(g, scales, pixels) },
    };
    let mut start = pixels.start;
    // SAFETY: the maps hold these pixels by the caller's promise.
    unsafe {
        let parameters = Parameters::<L, FIXED>::uniform(by);
        let bounds = Bounds::<L>::new(g.target);
        let zeros = L::splat_bytes(g.zeros[0]);
        while start < pixels.end {
            let picture = start / g.pixels;
            let end = pixels.end.min((picture + 1) * g.pixels);
            let mut c = 0;
            while c < g.channels {
                let n = (g.channels - c).min(L::BYTES);
                // `(q - z) · gate` as `q · gate + z · -gate`.
                let mut pairs = [0i32; 64];
                for (i, pair) in pairs.iter_mut().enumerate().take(n) {
                    let gate = i32::from(*g.gates.add(picture * g.channels + c + i)) - i32::from(g.zeros[1]);
                    *pair = gate & 0xffff | -gate << 16;
                }
                let p = pairs.as_ptr();
                let gates = L::arrange([
                    L::load(p),
                    L::load(p.add(L::LANES)),
                    L::load(p.add(2 * L::LANES)),
                    L::load(p.add(3 * L::LANES)),
                ]);
                for pixel in start..end {
                    let mut v = L::pairs(read::<L>(g.x.add(pixel * g.x_stride + c), n), zeros);
                    for q in 0..4 {
                        v[q] = L::madd(v[q], gates[q]);
                    }
                    let b = bounds.apply(parameters.codes(v, bounds.zero));
                    write::<L>(g.y.add(pixel * g.y_stride + c), b, n);
                }
                c += n;
            }
            start = end;
        }
    }
}

/// Channels whose gates are numbers at once.
const GATES: usize = 64;

/// The same by way of numbers.
#[inline(always)]
unsafe fn gate_float(g: &Gated, scales: [f32; 3], pixels: core::ops::Range<usize>) {
    let [of_x, of_gate, of_y] = scales;
    let zero = f32::from(g.zeros[0]);
    let (low, high) = (f32::from(g.target.low), f32::from(g.target.high));
    let (to, mut start) = (f32::from(g.target.zero), pixels.start);
    while start < pixels.end {
        let picture = start / g.pixels;
        let end = pixels.end.min((picture + 1) * g.pixels);
        for c in (0..g.channels).step_by(GATES) {
            let n = (g.channels - c).min(GATES);
            let mut gates = [0f32; GATES];
            for (i, gate) in gates.iter_mut().enumerate().take(n) {
                // SAFETY: every picture has its gates.
                let code = unsafe { *g.gates.add(picture * g.channels + c + i) };
                *gate = dequantise_one(code, of_gate, g.zeros[1]);
            }
            for pixel in start..end {
                // SAFETY: the maps hold these pixels by the caller's promise.
                let (x, y) = unsafe { (g.x.add(pixel * g.x_stride + c), g.y.add(pixel * g.y_stride + c)) };
                for (i, gate) in gates.iter().enumerate().take(n) {
                    // Codes are small whole numbers: their differences are exact, and so is the sum with the zero
                    // point wherever it is not cut off.
                    // SAFETY: as above.
                    unsafe {
                        let number = (f32::from(*x.add(i)) - zero) * of_x;
                        let code = (number * gate / of_y).round_ties_even() + to;
                        *y.add(i) = code.max(low).min(high) as u8;
                    }
                }
            }
        }
        start = end;
    }
}

crate::dispatch! {
    fn gate_on(g: &Gated, pixels: core::ops::Range<usize>) = gate_of;
}

/// Multiplies pixels `pixels` (counted through the batch) by their pictures' gates; see
/// [`arithmetic::multiply`](super::arithmetic::multiply).
///
/// # Safety
/// `isa` must be available and the maps as described; several threads may compute different pixels.
pub unsafe fn gate(isa: Isa, g: &Gated, pixels: core::ops::Range<usize>) {
    // SAFETY: the caller's promise.
    unsafe { gate_on(isa.lanes(), g, pixels) }
}

/// A function of one code.
pub type Table = [u8; 256];

/// The table of an activation: the codes of `f` of the numbers that codes stand for, `input` and `output` being scale
/// and zero point.
pub fn table(input: (f32, u8), output: (f32, u8), f: impl Fn(f32) -> f32) -> Table {
    core::array::from_fn(|q| quantise_one(f(dequantise_one(q as u8, input.0, input.1)), output.0, output.1))
}

/// The table that brings codes to another scale, as for a concatenation: `m = s_x / s_y`.
pub fn requantisation_table(zero: u8, by: Fixed, target: Target) -> Table {
    core::array::from_fn(|q| super::arithmetic::requantise_fixed(q as i32 - i32::from(zero), by, target))
}

/// Applies a table to `rows` rows of `n` codes, `x_stride` and `y_stride` apart: whole maps as one row, or the channels
/// of one input of a concatenation.
///
/// # Safety
/// `isa` must be available and the rows valid.
pub unsafe fn lookup(
    isa: Isa,
    table: &Table,
    x: *const u8,
    x_stride: usize,
    y: *mut u8,
    y_stride: usize,
    rows: usize,
    n: usize,
) {
    let one = lookup_fn(isa);
    for row in 0..rows {
        // SAFETY: the rows are valid by the caller's promise.
        unsafe { one(table, x.add(row * x_stride), y.add(row * y_stride), n) };
    }
}

type LookupFn = unsafe fn(&Table, *const u8, *mut u8, usize);

fn lookup_fn(isa: Isa) -> LookupFn {
    #[cfg(target_arch = "x86_64")]
    if isa.lanes() == crate::Isa::Avx512 && is_x86_feature_detected!("avx512vbmi") {
        return lookup_vbmi;
    }
    #[cfg(target_arch = "aarch64")]
    if isa.lanes() == crate::Isa::Neon {
        return lookup_neon;
    }
    let _ = isa;
    lookup_plain
}

/// # Safety
/// The pointers are valid for `n` codes.
unsafe fn lookup_plain(table: &Table, x: *const u8, y: *mut u8, n: usize) {
    for i in 0..n {
        // SAFETY: the caller's promise.
        unsafe { *y.add(i) = table[usize::from(*x.add(i))] };
    }
}

/// Two tables of 128 bytes, chosen by the highest bit.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
unsafe fn lookup_vbmi(table: &Table, x: *const u8, y: *mut u8, n: usize) {
    use core::arch::x86_64::*;
    // SAFETY: the features are enabled here, the pointers valid for `n` codes.
    unsafe {
        let t = table.as_ptr();
        let part = [
            _mm512_loadu_si512(t.cast()),
            _mm512_loadu_si512(t.add(64).cast()),
            _mm512_loadu_si512(t.add(128).cast()),
            _mm512_loadu_si512(t.add(192).cast()),
        ];
        let mut i = 0;
        while i < n {
            let mask = if n - i >= 64 { !0 } else { (1u64 << (n - i)) - 1 };
            let q = _mm512_maskz_loadu_epi8(mask, x.add(i).cast());
            let low = _mm512_permutex2var_epi8(part[0], q, part[1]);
            let high = _mm512_permutex2var_epi8(part[2], q, part[3]);
            let v = _mm512_mask_blend_epi8(_mm512_movepi8_mask(q), low, high);
            _mm512_mask_storeu_epi8(y.add(i).cast(), mask, v);
            i += 64;
        }
    }
}

/// Four tables of 64 bytes; beyond a table `tbx` keeps what there was.
#[cfg(target_arch = "aarch64")]
unsafe fn lookup_neon(table: &Table, x: *const u8, y: *mut u8, n: usize) {
    use core::arch::aarch64::*;
    // SAFETY: NEON is part of the base instruction set, the pointers are valid for `n` codes.
    unsafe {
        let t = table.as_ptr();
        let part = [vld1q_u8_x4(t), vld1q_u8_x4(t.add(64)), vld1q_u8_x4(t.add(128)), vld1q_u8_x4(t.add(192))];
        let mut i = 0;
        while i + 16 <= n {
            let q = vld1q_u8(x.add(i));
            let mut v = vqtbl4q_u8(part[0], q);
            v = vqtbx4q_u8(v, part[1], vsubq_u8(q, vdupq_n_u8(64)));
            v = vqtbx4q_u8(v, part[2], vsubq_u8(q, vdupq_n_u8(128)));
            v = vqtbx4q_u8(v, part[3], vsubq_u8(q, vdupq_n_u8(192)));
            vst1q_u8(y.add(i), v);
            i += 16;
        }
        lookup_plain(table, x.add(i), y.add(i), n - i);
    }
}
