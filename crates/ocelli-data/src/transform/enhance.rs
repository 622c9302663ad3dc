//! Brightness, contrast, saturation and sharpness as Pillow's `ImageEnhance`: a blend between a degenerate
//! picture (factor 0) and the picture itself (factor 1).

use crate::rgb::{RgbImage, luma};

/// One sample of the blend; truncated and clipped, in `f32`, as Pillow.
fn blend(degenerate: u8, original: u8, factor: f32) -> u8 {
    let (a, b) = (i32::from(degenerate), i32::from(original));
    (a as f32 + factor * (b - a) as f32) as u8
}

fn blend_constant(image: &RgbImage, degenerate: u8, factor: f32) -> RgbImage {
    let table: [u8; 256] = std::array::from_fn(|v| blend(degenerate, v as u8, factor));
    let data = image.data().iter().map(|&v| table[usize::from(v)]).collect();
    RgbImage::new(image.width(), image.height(), data)
}

/// Factor 0 is black, 1 the picture, above 1 brighter.
pub fn brightness(image: &RgbImage, factor: f64) -> RgbImage {
    if factor == 1.0 {
        return image.clone();
    }
    blend_constant(image, 0, factor as f32)
}

/// Factor 0 is the mean luminance everywhere, 1 the picture.
pub fn contrast(image: &RgbImage, factor: f64) -> RgbImage {
    if factor == 1.0 {
        return image.clone();
    }
    let sum: u64 = image.data().chunks_exact(3).map(|p| u64::from(luma(p[0], p[1], p[2]))).sum();
    let mean = sum as f64 / (image.width() * image.height()) as f64;
    blend_constant(image, (mean + 0.5) as u8, factor as f32)
}

/// Factor 0 is grey, 1 the picture. Pillow's `Color`.
pub fn saturation(image: &RgbImage, factor: f64) -> RgbImage {
    if factor == 1.0 {
        return image.clone();
    }
    let mut out = image.clone();
    for p in out.data_mut().chunks_exact_mut(3) {
        let grey = luma(p[0], p[1], p[2]);
        p.iter_mut().for_each(|v| *v = blend(grey, *v, factor as f32));
    }
    out
}

/// Factor 0 is smoothed, 1 the picture, 2 sharpened.
pub fn sharpness(image: &RgbImage, factor: f64) -> RgbImage {
    if factor == 1.0 {
        return image.clone();
    }
    let mut out = smooth(image);
    for (v, &original) in out.data_mut().iter_mut().zip(image.data()) {
        *v = blend(*v, original, factor as f32);
    }
    out
}

/// Pillow's `SMOOTH`: 3 x 3, the centre 5, the others 1, over 13; the border stays as it is.
fn smooth(image: &RgbImage) -> RgbImage {
    let mut out = image.clone();
    let (width, height) = (image.width(), image.height());
    if width < 3 || height < 3 {
        return out;
    }
    for y in 1..height - 1 {
        let rows = [image.row(y - 1), image.row(y), image.row(y + 1)];
        let target = &mut out.data_mut()[y * width * 3..(y + 1) * width * 3];
        for at in 3..width * 3 - 3 {
            let around: u32 =
                rows.iter().map(|r| u32::from(r[at - 3]) + u32::from(r[at]) + u32::from(r[at + 3])).sum();
            let sum = around + 4 * u32::from(rows[1][at]);
            // Rounded to nearest; thirteenths have no ties.
            target[at] = ((2 * sum + 13) / 26) as u8;
        }
    }
    out
}
