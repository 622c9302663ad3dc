//! Sums of four products of codes and weights, the step of every product.

#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod portable;
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86;

use super::Isa;
use super::lanes::Lanes;

/// Compiles a generic kernel over [`Dot`] for every way to multiply and defines a function that chooses by
/// [`Kernel`], as [`dispatch!`](crate::dispatch) does for vectors of floats.
macro_rules! dispatch_dot {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident : $ty:ty),* $(,)?) $(-> $ret:ty)? = $generic:ident;) => {
        $(#[$meta])*
        $vis unsafe fn $name(kernel: $crate::int8::dot::Kernel, $($arg: $ty),*) $(-> $ret)? {
            use $crate::int8::dot::{self, Kernel};
            #[cfg(target_arch = "x86_64")]
            use dot::x86;
            #[cfg(target_arch = "aarch64")]
            use dot::neon;
            macro_rules! on {
                ($dot:ty, $features:literal) => {{
                    #[target_feature(enable = $features)]
                    unsafe fn on($($arg: $ty),*) $(-> $ret)? {
                        // SAFETY: the features are enabled here; the rest is the caller's promise.
                        unsafe { $generic::<$dot>($($arg),*) }
                    }
                    // SAFETY: a kernel beyond `Portable` is chosen only where the processor has it.
                    unsafe { on($($arg),*) }
                }};
            }
            match kernel {
                // SAFETY: plain Rust; the pointers are the caller's promise.
                Kernel::Portable => unsafe { $generic::<dot::portable::Plain>($($arg),*) },
                #[cfg(target_arch = "aarch64")]
                Kernel::Neon => on!(neon::Mull, "neon"),
                #[cfg(target_arch = "aarch64")]
                Kernel::NeonDot => on!(neon::Sdot, "neon,dotprod"),
                #[cfg(target_arch = "aarch64")]
                Kernel::NeonI8mm => on!(neon::Usdot, "neon,i8mm"),
                #[cfg(target_arch = "x86_64")]
                Kernel::Madd256 => on!(x86::Madd256, "avx2,fma"),
                #[cfg(target_arch = "x86_64")]
                Kernel::Maddubs256 => on!(x86::Maddubs256, "avx2,fma"),
                #[cfg(target_arch = "x86_64")]
                Kernel::Vnni256 => on!(x86::Vnni256, "avx2,fma,avxvnni"),
                #[cfg(target_arch = "x86_64")]
                Kernel::Madd512 => on!(x86::Madd512, "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma"),
                #[cfg(target_arch = "x86_64")]
                Kernel::Maddubs512 => on!(x86::Maddubs512, "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma"),
                #[cfg(target_arch = "x86_64")]
                Kernel::HalfVnni => {
                    on!(x86::HalfVnni, "avx512f,avx512vl,avx512dq,avx512bw,avx512vnni,avx2,fma")
                }
                #[cfg(target_arch = "x86_64")]
                Kernel::Vnni512 => {
                    on!(x86::Vnni512, "avx512f,avx512vl,avx512dq,avx512bw,avx512vnni,avx2,fma")
                }
            }
        }
    };
}
pub(crate) use dispatch_dot;

/// One way to multiply.
///
/// # Safety
/// As for [`Lanes`].
pub(crate) trait Dot: Copy + 'static {
    /// Its vectors.
    type L: Lanes;
    /// Groups of four codes, prepared.
    type A: Copy;
    /// Groups of four weights, prepared.
    type W: Copy;
    /// Whether rows are spread to 16 bits first (see [`spread`]), 8 bytes a group.
    const SPREAD: bool = false;
    /// Whether it saturates, so that packed weights of eight bits are taken apart (see [`Excess`](super::excess::Excess)).
    const EXCESS: bool = false;
    /// What is subtracted from every code by an instruction that knows signed numbers only.
    const OFFSET: i32 = 0;
    /// Most rows of a tile that stay in registers for 1, 2 and 4 panels.
    const ROWS: [usize; 3];

    /// A group of a row, for all columns.
    unsafe fn row(p: *const u8) -> Self::A;
    /// A group per lane.
    unsafe fn each(v: V<Self>) -> Self::A;
    /// A group of weights per lane.
    unsafe fn weights(v: V<Self>) -> Self::W;
    /// Writes prepared weights, twice the bytes: where rows are spread, weights are too, once for many tiles.
    unsafe fn save(w: Self::W, p: *mut i32) {
        let _ = (w, p);
        unreachable!("weights are taken as they are");
    }
    /// Weights as a tile finds them: saved ones where rows are spread.
    unsafe fn ready(p: *const i32) -> Self::W {
        // SAFETY: the caller's promise.
        unsafe { Self::weights(Self::L::load(p)) }
    }
    /// `sum + Σ_4 (a - OFFSET) · w` in every lane.
    unsafe fn dot(sum: V<Self>, a: Self::A, w: Self::W) -> V<Self>;
}

/// The vectors of sums of `D`.
pub(crate) type V<D> = <<D as Dot>::L as Lanes>::V;

/// Spreads groups `a b c d` of bytes to `a c b d` in 16 bits: codes at even and odd places, as pairs for `madd`.
#[inline(always)]
pub(crate) unsafe fn spread(from: *const u8, to: *mut u8, groups: usize) {
    let (from, to) = (from.cast::<u32>(), to.cast::<u32>());
    for g in 0..groups {
        // SAFETY: the caller's promise.
        unsafe {
            let v = from.add(g).read_unaligned();
            to.add(2 * g).write_unaligned(v & 0x00ff_00ff);
            to.add(2 * g + 1).write_unaligned((v >> 8) & 0x00ff_00ff);
        }
    }
}

#[inline(always)]
unsafe fn spread_weights_of<D: Dot>(from: *const i8, to: *mut i8, groups: usize) {
    let (from, to) = (from.cast::<i32>(), to.cast::<i32>());
    let mut i = 0;
    while i < groups * 16 {
        // SAFETY: the caller's promise.
        unsafe { D::save(D::weights(D::L::load(from.add(i))), to.add(2 * i)) };
        i += D::L::LANES;
    }
}

dispatch_dot! {
    /// Spreads `groups` groups of packed weights to twice the bytes, for kernels whose rows are spread.
    pub(crate) fn spread_weights(from: *const i8, to: *mut i8, groups: usize) = spread_weights_of;
}

/// The ways to multiply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    Portable,
    #[cfg(target_arch = "aarch64")]
    Neon,
    #[cfg(target_arch = "aarch64")]
    NeonDot,
    #[cfg(target_arch = "aarch64")]
    NeonI8mm,
    #[cfg(target_arch = "x86_64")]
    Madd256,
    #[cfg(target_arch = "x86_64")]
    Maddubs256,
    #[cfg(target_arch = "x86_64")]
    Vnni256,
    #[cfg(target_arch = "x86_64")]
    Madd512,
    #[cfg(target_arch = "x86_64")]
    Maddubs512,
    #[cfg(target_arch = "x86_64")]
    Vnni512,
    /// For depthwise convolution only.
    #[cfg(target_arch = "x86_64")]
    HalfVnni,
}

impl Kernel {
    /// The fastest exact one; `safe` is the promise of weights whose pairs do not saturate.
    pub(crate) fn of(isa: Isa, safe: bool) -> Self {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 if safe => Self::Maddubs256,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Self::Madd256,
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni => Self::Vnni256,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 if safe => Self::Maddubs512,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Self::Madd512,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni | Isa::Amx => Self::Vnni512,
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => Self::Neon,
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDot => Self::NeonDot,
            #[cfg(target_arch = "aarch64")]
            Isa::NeonI8mm => Self::NeonI8mm,
            _ => {
                let _ = safe;
                Self::Portable
            }
        }
    }
}
