//! How much a picture may ask for.

use serde::{Deserialize, Serialize};

/// Limits that are checked against what a file *declares*, before anything is allocated for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DecodeLimits {
    /// Most pixels (width times height). Default 178,956,970, where Pillow refuses as well.
    pub max_pixels: u64,
    /// Most bytes a file may have. Default 512 MiB.
    pub max_file_bytes: u64,
    /// Most bytes the decoder may allocate for itself and the decoded picture. Default 1.5 GiB.
    pub max_alloc: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { max_pixels: 178_956_970, max_file_bytes: 512 << 20, max_alloc: 1536 << 20 }
    }
}
