//! Which instructions the machine has, found once at run time.

use std::fmt;
use std::sync::OnceLock;

/// A family of vector instructions the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Plain Rust, any processor.
    Portable,
    /// ARM NEON: 4 lanes.
    Neon,
    /// AVX2 with FMA: 8 lanes.
    Avx2,
    /// AVX-512 F, VL, DQ, BW: 16 lanes.
    Avx512,
}

impl Isa {
    /// The best this processor has. The environment variable `OCELLI_ISA` (`portable`, `neon`, `avx2`,
    /// `avx512`) chooses a lesser one, for comparisons.
    pub fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| {
            let available = Self::available();
            let wanted = std::env::var("OCELLI_ISA").unwrap_or_default().to_lowercase();
            let chosen = available.iter().copied().find(|isa| isa.to_string() == wanted);
            chosen.unwrap_or_else(|| available.last().copied().unwrap_or(Self::Portable))
        })
    }

    /// All this processor has, the slowest first.
    pub fn available() -> Vec<Self> {
        let mut found = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                found.push(Self::Avx2);
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
                {
                    found.push(Self::Avx512);
                }
            }
        }
        #[cfg(target_arch = "aarch64")]
        found.push(Self::Neon);
        found
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        })
    }
}
