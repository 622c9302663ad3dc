//! Thumbnails as PNG.

use crate::error::{Error, Result};

/// Encodes an 8-bit RGB image (rows top to bottom, `R G B` per pixel) as PNG.
///
/// # Errors
///
/// [`Error::PixelCount`] when `rgb` does not hold exactly `width * height * 3` bytes, [`Error::Png`] when
/// the encoder refuses the image, as it does for one with no pixels.
pub fn encode_rgb(width: u32, height: u32, rgb: &[u8]) -> Result<Vec<u8>> {
    let expected = u64::from(width).saturating_mul(u64::from(height)).saturating_mul(3);
    if rgb.len() as u64 != expected {
        return Err(Error::PixelCount { width, height, expected, got: rgb.len() as u64 });
    }
    let mut out = Vec::new();
    let mut encoder = ::png::Encoder::new(&mut out, width, height);
    encoder.set_color(::png::ColorType::Rgb);
    encoder.set_depth(::png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(rgb)?;
    writer.finish()?;
    Ok(out)
}

/// The width and height in a PNG's header, if `bytes` begin like one.
pub(crate) fn dimensions(bytes: &[u8]) -> Option<(u32, u32)> {
    let rest = bytes.strip_prefix(b"\x89PNG\r\n\x1a\n")?;
    if rest.get(4..8)? != b"IHDR" {
        return None;
    }
    let word = |at: usize| Some(u32::from_be_bytes(rest.get(at..at + 4)?.try_into().ok()?));
    Some((word(8)?, word(12)?))
}
