//! Which 8-bit instructions the machine has, found once at run time.

use std::fmt;
use std::sync::OnceLock;

/// A family of instructions that the 8-bit kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Plain Rust, any processor.
    Portable,
    /// ARM NEON, products in 16 bits.
    Neon,
    /// ARM NEON with `sdot`.
    NeonDot,
    /// ARM NEON with `usdot`.
    NeonI8mm,
    /// AVX2 with `vpmaddwd`.
    Avx2,
    /// AVX2 with the 256-bit `vpdpbusd` of AVX-VNNI.
    AvxVnni,
    /// AVX-512 F, VL, DQ, BW with `vpmaddwd`.
    Avx512,
    /// AVX-512 with `vpdpbusd`.
    Avx512Vnni,
    /// AVX-512 VNNI, and the tiles of AMX-INT8 for dense products.
    Amx,
}

impl Isa {
    /// The best this processor has. The environment variable `OCELLI_ISA` chooses a lesser one by its name
    /// (`portable`, `neon`, `neon-dot`, `neon-i8mm`, `avx2`, `avx-vnni`, `avx512`, `avx512-vnni`, `amx`), for
    /// comparisons.
    pub fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| {
            let available = Self::available();
            let wanted = std::env::var("OCELLI_ISA").unwrap_or_default().to_lowercase();
            let chosen = available.iter().copied().find(|isa| isa.to_string() == wanted);
            chosen.unwrap_or_else(|| available.last().copied().unwrap_or(Self::Portable))
        })
    }

    /// All this processor has, the slowest first. AMX is among them where the system permits it.
    pub fn available() -> Vec<Self> {
        let mut found = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            let floats = crate::Isa::available();
            if floats.contains(&crate::Isa::Avx2) {
                found.push(Self::Avx2);
                if is_x86_feature_detected!("avxvnni") {
                    found.push(Self::AvxVnni);
                }
            }
            if floats.contains(&crate::Isa::Avx512) {
                found.push(Self::Avx512);
                if is_x86_feature_detected!("avx512vnni") {
                    found.push(Self::Avx512Vnni);
                    if super::amx::permitted() {
                        found.push(Self::Amx);
                    }
                }
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            found.push(Self::Neon);
            if std::arch::is_aarch64_feature_detected!("dotprod") {
                found.push(Self::NeonDot);
            }
            if std::arch::is_aarch64_feature_detected!("i8mm") {
                found.push(Self::NeonI8mm);
            }
        }
        found
    }

    /// The instruction set for everything but products.
    pub fn lanes(self) -> crate::Isa {
        match self {
            Self::Portable => crate::Isa::Portable,
            Self::Neon | Self::NeonDot | Self::NeonI8mm => crate::Isa::Neon,
            Self::Avx2 | Self::AvxVnni => crate::Isa::Avx2,
            Self::Avx512 | Self::Avx512Vnni | Self::Amx => crate::Isa::Avx512,
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            Self::Neon => "neon",
            Self::NeonDot => "neon-dot",
            Self::NeonI8mm => "neon-i8mm",
            Self::Avx2 => "avx2",
            Self::AvxVnni => "avx-vnni",
            Self::Avx512 => "avx512",
            Self::Avx512Vnni => "avx512-vnni",
            Self::Amx => "amx",
        })
    }
}
