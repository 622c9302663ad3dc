//! Files to [`RgbImage`]s.
//!
//! The format is told by the content, never by the file's name. Every picture becomes 8-bit RGB:
//! grey is repeated, palettes are looked up, alpha is dropped without blending (as Pillow's
//! `convert("RGB")`), 16-bit samples keep their high byte, CMYK and YCCK JPEGs are converted without a
//! colour profile. EXIF orientation is applied. Of an animation the first frame is taken.

mod jpeg;
mod limits;

pub use limits::DecodeLimits;

use crate::error::{DataError, Result};
use crate::rgb::RgbImage;
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader};
use std::io::{Cursor, Read};
use std::panic::catch_unwind;
use std::path::Path;

/// Reads and decodes one picture.
///
/// # Errors
/// [`DataError::Io`] for missing or unreadable files and folders; otherwise as [`decode_bytes`].
pub fn decode_file(path: impl AsRef<Path>, limits: &DecodeLimits) -> Result<RgbImage> {
    let path = path.as_ref();
    let bytes = read_file(path, limits.max_file_bytes)?;
    decode_bytes(&path.display().to_string(), &bytes, limits)
}

/// Decodes a picture that is already in memory; `name` only appears in errors.
///
/// # Errors
/// [`DataError::TooLarge`] when the header declares more than `limits` allow (nothing is allocated then);
/// [`DataError::Invalid`] for anything that is not a whole picture in a known format.
pub fn decode_bytes(name: &str, bytes: &[u8], limits: &DecodeLimits) -> Result<RgbImage> {
    if bytes.is_empty() {
        return Err(DataError::invalid(name, "a picture", "an empty file"));
    }
    let known = "a picture (JPEG, PNG, WebP, GIF, BMP, TIFF or PNM)";
    let format = image::guess_format(bytes).map_err(|_| DataError::invalid(name, known, describe(bytes)))?;
    if !format.reading_enabled() {
        return Err(DataError::invalid(name, known, format!("{format:?} data")));
    }
    if format == ImageFormat::Jpeg {
        jpeg::check_complete(name, bytes)?;
    }
    // A decoder that panics on a damaged file is not ours to fix; the caller still gets an error.
    catch_unwind(|| decode(name, bytes, format, limits)).unwrap_or_else(|_| {
        Err(DataError::invalid(name, whole(format), "damage that the decoder could not cope with"))
    })
}

fn decode(name: &str, bytes: &[u8], format: ImageFormat, limits: &DecodeLimits) -> Result<RgbImage> {
    let broken = |e: image::ImageError| DataError::invalid(name, whole(format), reason(&e));
    let mut decoder = ImageReader::with_format(Cursor::new(bytes), format).into_decoder().map_err(broken)?;
    let (width, height) = decoder.dimensions();
    check_size(name, width, height, decoder.color_type(), limits)?;
    let mut inner = image::Limits::default();
    inner.max_alloc = Some(limits.max_alloc);
    decoder.set_limits(inner).map_err(broken)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(broken)?;
    picture.apply_orientation(orientation);
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    RgbImage::from_vec(width, height, to_rgb8(picture))
        .map_err(|_| DataError::invalid(name, "a picture with pixels", format!("{width} x {height} pixels")))
}

/// Reads a whole file of at most `limit` bytes.
pub(crate) fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = std::fs::File::open(path).map_err(|e| DataError::io(path, "open the file", e))?;
    let meta = file.metadata().map_err(|e| DataError::io(path, "read the file", e))?;
    if meta.is_dir() {
        return Err(DataError::invalid(path.display().to_string(), "a file", "a folder"));
    }
    let mut bytes = Vec::new();
    let too_large = |found: String| DataError::TooLarge {
        name: path.display().to_string(),
        found,
        limit: format!("{limit} bytes"),
    };
    if meta.len() > limit {
        return Err(too_large(format!("{} bytes", meta.len())));
    }
    bytes.reserve_exact(meta.len() as usize + 1);
    // A pipe or a growing file may hold more than its metadata says.
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|e| DataError::io(path, "read the file", e))?;
    if bytes.len() as u64 > limit {
        return Err(too_large(format!("more than {limit} bytes")));
    }
    Ok(bytes)
}

fn check_size(name: &str, width: u32, height: u32, colour: ColorType, limits: &DecodeLimits) -> Result<()> {
    let pixels = u64::from(width) * u64::from(height);
    let too_large = |limit: String| DataError::TooLarge {
        name: name.into(),
        found: format!("the file declares {width} x {height} pixels"),
        limit,
    };
    if pixels > limits.max_pixels {
        return Err(too_large(format!("{} pixels", limits.max_pixels)));
    }
    let bytes = pixels.saturating_mul(u64::from(colour.bytes_per_pixel()));
    if bytes > limits.max_alloc {
        return Err(too_large(format!("{} decoded bytes", limits.max_alloc)));
    }
    Ok(())
}

/// 8-bit RGB; 16-bit samples keep their high byte, which is what Pillow does with RGB PNGs.
fn to_rgb8(picture: DynamicImage) -> Vec<u8> {
    let high = |v: u16| (v >> 8) as u8;
    match picture {
        DynamicImage::ImageRgb8(p) => p.into_raw(),
        DynamicImage::ImageLuma16(p) => p.into_raw().into_iter().flat_map(|v| [high(v); 3]).collect(),
        DynamicImage::ImageLumaA16(p) => p.into_raw().chunks_exact(2).flat_map(|v| [high(v[0]); 3]).collect(),
        DynamicImage::ImageRgb16(p) => p.into_raw().into_iter().map(high).collect(),
        DynamicImage::ImageRgba16(p) => {
            p.into_raw().chunks_exact(4).flat_map(|v| [high(v[0]), high(v[1]), high(v[2])]).collect()
        }
        other => other.into_rgb8().into_raw(),
    }
}

fn whole(format: ImageFormat) -> String {
    format!("a whole {} picture", label(format))
}

fn label(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::Png => "PNG",
        ImageFormat::WebP => "WebP",
        ImageFormat::Gif => "GIF",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Tiff => "TIFF",
        ImageFormat::Pnm => "PNM",
        _ => "supported",
    }
}

fn reason(error: &image::ImageError) -> String {
    match error {
        image::ImageError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            "a truncated file (it ends too early)".into()
        }
        other => other.to_string(),
    }
}

/// What an unknown file looks like, for the error message.
pub(crate) fn describe(bytes: &[u8]) -> String {
    let known: [(&[u8], &str); 7] = [
        (b"%PDF", "a PDF document"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"\x1f\x8b", "gzip data"),
        (b"<svg", "an SVG drawing"),
        (b"<!DOCTYPE", "an HTML page"),
        (b"<html", "an HTML page"),
        (b"\x7fELF", "a program"),
    ];
    if let Some((_, what)) = known.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return (*what).into();
    }
    if bytes.get(4..8) == Some(b"ftyp") {
        let brand = String::from_utf8_lossy(bytes.get(8..12).unwrap_or_default()).into_owned();
        return format!("an ISO media file of brand {brand:?} (HEIC, AVIF or video)");
    }
    let head = &bytes[..bytes.len().min(24)];
    let printable = |b: &u8| b.is_ascii_graphic() || b.is_ascii_whitespace();
    if head.iter().all(printable) {
        return format!("text that begins with {:?}", String::from_utf8_lossy(head));
    }
    format!("{} bytes that begin with {:02x?}", bytes.len(), &head[..head.len().min(8)])
}
