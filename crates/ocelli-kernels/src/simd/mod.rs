//! One vocabulary for the vector units, so that each kernel is written once.
//!
//! A kernel is a generic `#[inline(always)]` function over [`Simd`]; [`dispatch!`](crate::dispatch) compiles it
//! once per instruction set, inside a function that carries the target features.

#[cfg(target_arch = "x86_64")]
pub mod avx2;
#[cfg(target_arch = "x86_64")]
pub mod avx512;
#[cfg(target_arch = "aarch64")]
pub mod neon;
pub mod portable;

/// Vectors of `f32` on some instruction set.
///
/// # Safety
/// All functions need the instruction set they are named after; pointers must be valid for `LANES` elements, or
/// for the first `n` where there is an `n <= LANES`. No alignment is required.
#[allow(clippy::missing_safety_doc)]
pub trait Simd: Copy + Send + Sync + 'static {
    /// A vector.
    type V: Copy;
    /// Elements of a vector.
    const LANES: usize;
    /// Most rows of a tile of products (see [`gemm`](crate::gemm)) that stay in registers for 1, 2 and 4 panels.
    const ROWS: [usize; 3];

    /// All lanes `x`.
    unsafe fn splat(x: f32) -> Self::V;
    /// `LANES` elements.
    unsafe fn load(p: *const f32) -> Self::V;
    /// Writes `LANES` elements.
    unsafe fn store(p: *mut f32, v: Self::V);
    /// The first `n` elements, zeros after them.
    unsafe fn load_n(p: *const f32, n: usize) -> Self::V;
    /// Writes the first `n` elements.
    unsafe fn store_n(p: *mut f32, v: Self::V, n: usize);
    /// `a * b + c`
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a + b`
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b`
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    /// The larger; `b` where either is not a number.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// The smaller; `b` where either is not a number.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// Absolute value.
    unsafe fn abs(a: Self::V) -> Self::V;
    /// Square root.
    unsafe fn sqrt(a: Self::V) -> Self::V;
    /// Nearest integer.
    unsafe fn round(a: Self::V) -> Self::V;
    /// `2^n` for an integral `n` in `-126..=127`.
    unsafe fn pow2(n: Self::V) -> Self::V;
    /// Sum of all lanes, pairwise.
    unsafe fn sum(a: Self::V) -> f32;
    /// Largest lane.
    unsafe fn reduce_max(a: Self::V) -> f32;
    /// One bit per lane, the lowest first: whether `a <= b`; not where either is not a number.
    unsafe fn not_above(a: Self::V, b: Self::V) -> u32;
    /// Asks for the line at `p` to be brought into the second-level cache; any address will do.
    unsafe fn prefetch(p: *const f32) {
        let _ = p;
    }
}

/// Compiles a generic kernel for every instruction set and defines a function that chooses by [`Isa`](crate::Isa).
///
/// `dispatch! { /// docs
/// pub fn name(arg: Type, ..) = path::to::generic; }` defines `unsafe fn name(isa: Isa, arg: Type, ..)`.
#[macro_export]
macro_rules! dispatch {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident : $ty:ty),* $(,)?) $(-> $ret:ty)? = $generic:ident $(::<$($extra:ty),*>)?;) => {
        $(#[$meta])*
        $vis unsafe fn $name(isa: $crate::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
                unsafe fn on_avx512($($arg: $ty),*) $(-> $ret)? {
                    // SAFETY: the features are enabled here; the rest is the caller's promise.
                    unsafe { $generic::<$crate::simd::avx512::Avx512 $(, $($extra),*)?>($($arg),*) }
                }
                #[target_feature(enable = "avx2,fma")]
                unsafe fn on_avx2($($arg: $ty),*) $(-> $ret)? {
                    // SAFETY: as above.
                    unsafe { $generic::<$crate::simd::avx2::Avx2 $(, $($extra),*)?>($($arg),*) }
                }
                // SAFETY: an `Isa` beyond `Portable` exists only where the processor has it.
                match isa {
                    $crate::Isa::Avx512 => return unsafe { on_avx512($($arg),*) },
                    $crate::Isa::Avx2 => return unsafe { on_avx2($($arg),*) },
                    _ => {}
                }
            }
            #[cfg(target_arch = "aarch64")]
            if isa == $crate::Isa::Neon {
                // SAFETY: NEON is part of the base instruction set.
                return unsafe { $generic::<$crate::simd::neon::Neon $(, $($extra),*)?>($($arg),*) };
            }
            let _ = isa;
            // SAFETY: plain Rust; the pointers are the caller's promise.
            unsafe { $generic::<$crate::simd::portable::Portable $(, $($extra),*)?>($($arg),*) }
        }
    };
}
