//! One vocabulary for codes and their sums, so that each kernel is written once.
//!
//! Four vectors of sums belong to one vector of bytes. Bytes are widened and narrowed inside of 128-bit blocks,
//! which is cheap; so there are two orders of four vectors: *channel order* (as in memory) and *block order* (what
//! [`Lanes::widen`] yields and [`Lanes::narrow`] takes back). [`Lanes::arrange`] leads from the first to the second,
//! [`Lanes::order`] repairs bytes that were narrowed from the first.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

/// Vectors of `i32` and of bytes on some instruction set.
///
/// # Safety
/// As for [`Simd`](crate::simd::Simd): the functions need the instruction set they are named after; pointers must be
/// valid for all elements, or for the first `n` where there is an `n`. No alignment is required.
#[allow(clippy::missing_safety_doc)]
pub trait Lanes: Copy + Send + Sync + 'static {
    /// A vector of `i32`; also of pairs of `i16`.
    type V: Copy;
    /// A vector of four times as many bytes.
    type B: Copy;
    /// Elements of `V`.
    const LANES: usize;
    /// Elements of `B`.
    const BYTES: usize = 4 * Self::LANES;

    /// All lanes `x`.
    unsafe fn splat(x: i32) -> Self::V;
    /// `LANES` elements.
    unsafe fn load(p: *const i32) -> Self::V;
    /// `LANES` bytes as `i32`, in channel order.
    unsafe fn load_codes(p: *const u8) -> Self::V;
    /// Pairs of `i16` of `LANES` bytes each.
    #[inline(always)]
    unsafe fn pair_codes(a: *const u8, b: *const u8) -> Self::V {
        // SAFETY: the caller's promise.
        unsafe { Self::add(Self::load_codes(a), Self::shl(Self::load_codes(b), Self::splat(16))) }
    }
    /// The nearest integers (half to even) of `LANES` quotients `p / by`, 0 for what is not a number; beyond ±2^30
    /// anything at least as far out.
    unsafe fn quotients(p: *const f32, by: f32) -> Self::V;
    /// Writes `LANES` elements.
    unsafe fn store(p: *mut i32, v: Self::V);
    /// Writes the first `n <= LANES` elements.
    unsafe fn store_n(p: *mut i32, v: Self::V, n: usize);
    /// `a + b`, wrapping.
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`, wrapping.
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    /// The larger.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// The smaller.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// `a << n`, `n` in `0..32`.
    unsafe fn shl(a: Self::V, n: Self::V) -> Self::V;
    /// `a >> N`, arithmetic.
    unsafe fn sar<const N: u32>(a: Self::V) -> Self::V;
    /// `a >> 24` without the sign.
    unsafe fn shr24(a: Self::V) -> Self::V;
    /// Sums of the products of pairs of `i16`.
    unsafe fn madd(a: Self::V, b: Self::V) -> Self::V;
    /// `((a · m) >> 32) >> s` in 64 bits, `s` in `0..32`; `odd` is [`Lanes::odd`] of `m`.
    unsafe fn fixed(a: Self::V, m: Self::V, odd: Self::V, s: Self::V) -> Self::V;
    /// What [`Lanes::fixed`] wants to know of a multiplier that is used often.
    unsafe fn odd(m: Self::V) -> Self::V;
    /// `f32(a) · m`, as bits; `m` are the bits of floats.
    unsafe fn scale(a: Self::V, m: Self::V) -> Self::V;
    /// The nearest integers (half to even) of floats given by their bits; beyond ±2^30 anything at least as far out.
    unsafe fn round(a: Self::V) -> Self::V;

    /// All bytes `x`.
    unsafe fn splat_bytes(x: u8) -> Self::B;
    /// `BYTES` bytes.
    unsafe fn load_bytes(p: *const u8) -> Self::B;
    /// The first `n <= BYTES` bytes, anything after them.
    unsafe fn load_bytes_n(p: *const u8, n: usize) -> Self::B;
    /// Writes `BYTES` bytes.
    unsafe fn store_bytes(p: *mut u8, v: Self::B);
    /// Writes the first `n <= BYTES` bytes.
    unsafe fn store_bytes_n(p: *mut u8, v: Self::B, n: usize);
    /// The larger.
    unsafe fn max_bytes(a: Self::B, b: Self::B) -> Self::B;
    /// The smaller.
    unsafe fn min_bytes(a: Self::B, b: Self::B) -> Self::B;
    /// Bytes as `i32`, in block order.
    unsafe fn widen(b: Self::B) -> [Self::V; 4];
    /// Bytes as pairs `(a, b)` of `i16`, in block order.
    unsafe fn pairs(a: Self::B, b: Self::B) -> [Self::V; 4];
    /// Groups of four bytes `(a, b, c, d)`, in block order.
    unsafe fn quads(rows: [Self::B; 4]) -> [Self::V; 4];
    /// `clamp(v + z, 0, 255)` of vectors in block order, `z` in `0..=255`.
    unsafe fn narrow(v: [Self::V; 4], z: i16) -> Self::B;
    /// `clamp((v + offset) >> 1, 0, 255)` of vectors in block order, `offset` in `0..=511`.
    unsafe fn halve(v: [Self::V; 4], offset: i16) -> Self::B;
    /// From channel order to block order.
    unsafe fn arrange(v: [Self::V; 4]) -> [Self::V; 4];
    /// Puts bytes narrowed from vectors in channel order into the order of memory.
    unsafe fn order(b: Self::B) -> Self::B;
}
