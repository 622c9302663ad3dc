//! Whether a JPEG is whole.
//!
//! The decoder fills what is missing with grey. A training set should rather lose the picture loudly, so
//! the file's markers are walked first: it has to reach its end-of-image marker.

use crate::error::{DataError, Result};

const END_OF_IMAGE: u8 = 0xd9;
const START_OF_SCAN: u8 = 0xda;

/// An error unless the JPEG stream in `bytes` reaches its end-of-image marker after a scan.
pub(super) fn check_complete(name: &str, bytes: &[u8]) -> Result<()> {
    let truncated = |at: &str| {
        Err(DataError::invalid(name, "a whole JPEG picture", format!("a truncated file: it ends in {at}")))
    };
    let mut at = 2;
    let mut scans = 0;
    loop {
        // Between segments: find the next marker, past fill bytes.
        while bytes.get(at).is_some_and(|&b| b != 0xff) {
            at += 1;
        }
        while bytes.get(at) == Some(&0xff) {
            at += 1;
        }
        let Some(&marker) = bytes.get(at) else {
            return truncated(if scans == 0 { "its header" } else { "its picture data" });
        };
        at += 1;
        match marker {
            END_OF_IMAGE if scans > 0 => return Ok(()),
            // Markers without a body: stuffing, TEM, restarts, a stray start or end.
            0x00 | 0x01 | 0xd0..=0xd9 => {}
            _ => {
                let Some(length) = bytes.get(at..at + 2).map(|b| usize::from(b[0]) << 8 | usize::from(b[1]))
                else {
                    return truncated("a segment header");
                };
                if marker == START_OF_SCAN {
                    scans += 1;
                }
                // A length counts itself; smaller ones are left for the decoder to complain about.
                at += length.max(2);
            }
        }
    }
}
