//! What several tests need.

use ocelli_data::{DecodeLimits, RgbImage, decode_file};
use std::path::PathBuf;

/// A file of `testdata/`.
pub fn testdata(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

/// A picture of `testdata/`.
pub fn picture(name: &str) -> RgbImage {
    decode_file(testdata(name), &DecodeLimits::default()).unwrap()
}

/// FNV-1a, as in `testdata/generate.py`.
pub fn fnv(bytes: impl IntoIterator<Item = u8>) -> String {
    let hash = bytes
        .into_iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

/// CRC-32 as zlib has it.
pub fn crc32(bytes: impl IntoIterator<Item = u8>) -> String {
    let table: [u32; 256] = std::array::from_fn(|i| {
        (0..8).fold(i as u32, |c, _| if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 })
    });
    let crc = bytes.into_iter().fold(!0u32, |c, b| table[usize::from(c as u8 ^ b)] ^ c >> 8);
    format!("{:08x}", !crc)
}
