//! The IDX format of the MNIST family.

use crate::decode::{describe, read_file};
use crate::error::{DataError, Result};
use flate2::read::MultiGzDecoder;
use std::io::Read;
use std::path::Path;

/// Most bytes of one file, decompressed; the largest of the family (EMNIST) has 0.6 GB.
const MAX_BYTES: u64 = 4 << 30;

/// An IDX file of unsigned bytes.
#[derive(Clone, Debug)]
pub(super) struct IdxFile {
    /// The size of each dimension, outermost first.
    pub dims: Vec<usize>,
    /// As many bytes as the dimensions' product.
    pub data: Vec<u8>,
}

/// Reads a plain or gzipped file that must have `rank` dimensions.
///
/// The header is checked first; no more than what it declares is decompressed.
pub(super) fn read(path: &Path, rank: usize) -> Result<IdxFile> {
    let name = path.display().to_string();
    let raw = read_file(path, MAX_BYTES)?;
    let zipped = raw.starts_with(&[0x1f, 0x8b]);
    let mut stream: Box<dyn Read> =
        if zipped { Box::new(MultiGzDecoder::new(raw.as_slice())) } else { Box::new(raw.as_slice()) };
    let mut header = vec![0; 4 + 4 * rank];
    let expected = format!("an IDX file of bytes with {rank} dimension(s)");
    stream.read_exact(&mut header).map_err(|e| {
        let found = match e.kind() {
            std::io::ErrorKind::UnexpectedEof => format!("{} bytes, less than its header", raw.len()),
            _ => format!("damaged gzip data ({e})"),
        };
        DataError::invalid(&name, &expected, found)
    })?;
    if header[..4] != [0, 0, 8, rank as u8] {
        let found = match header[..4] {
            [0, 0, 8, other] => format!("{other} dimension(s)"),
            [0, 0, kind, _] => format!("element type 0x{kind:02x} instead of 0x08"),
            _ => describe(&header),
        };
        return Err(DataError::invalid(name, expected, found));
    }
    let dims: Vec<usize> =
        header[4..].chunks_exact(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize).collect();
    let total = dims.iter().try_fold(1u64, |n, &d| n.checked_mul(d as u64)).filter(|&n| n <= MAX_BYTES);
    let Some(total) = total else {
        let found = format!("the header declares {dims:?}");
        return Err(DataError::TooLarge { name, found, limit: format!("{MAX_BYTES} bytes") });
    };
    // Grows with what is really there, whatever the header claims; one byte more shows a surplus.
    let mut data = Vec::new();
    stream
        .take(total + 1)
        .read_to_end(&mut data)
        .map_err(|e| DataError::invalid(&name, "whole gzip data", format!("damaged data ({e})")))?;
    if data.len() as u64 != total {
        let found = if data.len() as u64 > total { "more".into() } else { format!("{}", data.len()) };
        return Err(DataError::invalid(name, format!("{total} bytes for the dimensions {dims:?}"), found));
    }
    Ok(IdxFile { dims, data })
}
