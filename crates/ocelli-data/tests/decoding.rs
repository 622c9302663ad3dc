//! Formats, orientations and hostile files.

use crate::common::{picture, testdata};
use ocelli_data::{DataError, DecodeLimits, RgbImage, decode_bytes, decode_file};

/// The largest and the mean difference of two pictures of equal size.
fn difference(a: &RgbImage, b: &RgbImage) -> (u8, f64) {
    assert_eq!((a.width(), a.height()), (b.width(), b.height()));
    let differences = || a.data().iter().zip(b.data()).map(|(a, b)| a.abs_diff(*b));
    let sum: u64 = differences().map(u64::from).sum();
    (differences().max().unwrap(), sum as f64 / a.data().len() as f64)
}

fn against_reference(name: &str) -> (u8, f64) {
    difference(&picture(&format!("decode/{name}")), &picture(&format!("decode/{name}.ref.png")))
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(testdata("decode").join(name)).unwrap()
}

fn refused(name: &str, content: &[u8]) -> String {
    let error = decode_bytes(name, content, &DecodeLimits::default()).unwrap_err().to_string();
    assert!(error.contains(name), "{error}");
    error
}

#[test]
fn lossless_formats_decode_as_in_pillow() {
    for name in [
        "rgb.png",
        "grey.png",
        "onebit.png",
        "grey_alpha.png",
        "rgba.png",
        "rgba_lossless.webp",
        "palette.png",
        "palette.gif",
        "palette_transparent.png",
        "rgb.bmp",
        "rgb.tiff",
        "rgb.ppm",
        "lossless.webp",
        "rgb16.png",
        "grey16.png",
    ] {
        assert_eq!(against_reference(name).0, 0, "{name}");
    }
}

#[test]
fn lossy_formats_decode_nearly_as_in_pillow() {
    for name in
        ["baseline.jpg", "yuv444.jpg", "progressive.jpg", "grey.jpg", "cmyk.jpg", "ycck.jpg", "lossy.webp"]
    {
        let (most, mean) = against_reference(name);
        eprintln!("{name}: largest difference {most}, mean {mean:.3}");
        assert!(most <= 4 && mean < 0.5, "{name}: largest difference {most}, mean {mean}");
    }
}

#[test]
fn orientation_is_applied() {
    let upright = picture("decode/orientation1.jpg");
    assert_eq!((upright.width(), upright.height()), (32, 16));
    for value in 2..=8 {
        let turned = picture(&format!("decode/orientation{value}.jpg"));
        let (most, _) = difference(&turned, &upright);
        assert!(most <= 12, "orientation {value}: {most}");
    }
}

#[test]
fn content_counts_and_not_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photo.jpg");
    std::fs::write(&path, bytes("rgb.png")).unwrap();
    assert_eq!(decode_file(&path, &DecodeLimits::default()).unwrap(), picture("decode/rgb.png"));
    std::fs::write(&path, "Dear diary, today").unwrap();
    let error = decode_file(&path, &DecodeLimits::default()).unwrap_err().to_string();
    assert!(error.contains("photo.jpg") && error.contains("text") && error.contains("Dear diary"), "{error}");
}

#[test]
fn what_is_no_picture_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let limits = DecodeLimits::default();
    let missing = decode_file(folder.path().join("gone.png"), &limits).unwrap_err();
    assert!(matches!(missing, DataError::Io { .. }) && missing.to_string().contains("gone.png"));
    let directory = decode_file(folder.path(), &limits).unwrap_err().to_string();
    assert!(directory.contains("a folder"), "{directory}");
    assert!(refused("empty.png", b"").contains("empty file"));
    assert!(refused("paper.jpg", b"%PDF-1.7 and so on").contains("PDF"));
    assert!(refused("phone.jpg", b"\0\0\0\x18ftypheic\0\0\0\0").contains("heic"));
    assert!(refused("zeros.png", &[0; 100]).contains("100 bytes"));
}

#[test]
fn truncated_files_are_errors() {
    for name in [
        "rgb.png",
        "rgb16.png",
        "palette.png",
        "baseline.jpg",
        "progressive.jpg",
        "grey.jpg",
        "cmyk.jpg",
        "palette.gif",
        "rgb.bmp",
        "rgb.tiff",
        "rgb.ppm",
        "lossless.webp",
        "lossy.webp",
    ] {
        let whole = bytes(name);
        for part in [whole.len() / 10, whole.len() / 2, whole.len() * 9 / 10] {
            refused(name, &whole[..part]);
        }
    }
}

#[test]
fn every_prefix_and_many_damages_leave_the_decoder_standing() {
    let limits = DecodeLimits { max_pixels: 1 << 20, max_alloc: 16 << 20, ..DecodeLimits::default() };
    for name in ["rgb16.png", "baseline.jpg", "ycck.jpg", "palette.gif", "rgb.tiff", "lossy.webp", "rgb.bmp"]
    {
        let whole = bytes(name);
        for at in 0..whole.len().min(900) {
            let _ = decode_bytes(name, &whole[..at], &limits);
            let mut damaged = whole.clone();
            damaged[at] ^= 0xa5;
            let _ = decode_bytes(name, &damaged, &limits);
        }
    }
}

/// A PNG header that declares this size, with the rest of a real file behind it.
fn png_declaring(width: u32, height: u32) -> Vec<u8> {
    let mut png = bytes("rgb.png");
    png[16..20].copy_from_slice(&width.to_be_bytes());
    png[20..24].copy_from_slice(&height.to_be_bytes());
    let crc = crate::common::crc32(png[12..29].iter().copied());
    png[29..33].copy_from_slice(&u32::from_str_radix(&crc, 16).unwrap().to_be_bytes());
    png
}

#[test]
fn giant_declarations_are_refused_before_allocation() {
    let error = refused("bomb.png", &png_declaring(100_000, 100_000));
    assert!(error.contains("100000 x 100000") && error.contains("limit"), "{error}");
    let mut bmp = bytes("rgb.bmp");
    bmp[18..22].copy_from_slice(&100_000u32.to_le_bytes());
    bmp[22..26].copy_from_slice(&100_000u32.to_le_bytes());
    refused("bomb.bmp", &bmp);
    refused("bomb.ppm", b"P6\n100000 100000\n255\n");
    refused("wide.ppm", b"P6\n4294967295 4294967295\n255\n");
    let small = DecodeLimits { max_pixels: 100, ..DecodeLimits::default() };
    let error = decode_file(testdata("decode/rgb.png"), &small).unwrap_err();
    assert!(matches!(error, DataError::TooLarge { .. }), "{error}");
    let short = DecodeLimits { max_file_bytes: 100, ..DecodeLimits::default() };
    let error = decode_file(testdata("decode/rgb.png"), &short).unwrap_err();
    assert!(matches!(error, DataError::TooLarge { .. }), "{error}");
}

#[test]
fn a_zero_sized_picture_is_refused() {
    refused("nothing.png", &png_declaring(0, 0));
    refused("nothing.ppm", b"P6\n0 0\n255\n");
}
