//! Gaussian blur as Pillow's `ImageFilter.GaussianBlur`: three box blurs whose edges are weighted, so that
//! any standard deviation is met.

use crate::rgb::RgbImage;

const PASSES: usize = 3;

/// Blurs with standard deviation `radius` in pixels; 0 and below give the picture itself.
pub fn gaussian_blur(image: &RgbImage, radius: f64) -> RgbImage {
    if radius.is_nan() || radius <= 0.0 {
        return image.clone();
    }
    let radius = box_radius(radius as f32);
    let mut picture = image.clone();
    // Pillow blurs all rows three times, then all columns.
    (0..PASSES).for_each(|_| blur_rows(&mut picture, radius));
    let mut turned = transpose(&picture);
    (0..PASSES).for_each(|_| blur_rows(&mut turned, radius));
    transpose(&turned)
}

/// The box radius whose `PASSES`-fold blur has this deviation (Gwosdek et al. 2011, extended box filter).
fn box_radius(sigma: f32) -> f32 {
    let variance = sigma * sigma / PASSES as f32;
    let length = (12.0 * f64::from(variance) + 1.0).sqrt() as f32;
    let whole = ((f64::from(length) - 1.0) / 2.0).floor() as f32;
    let numerator = (2.0 * whole + 1.0) * (whole * (whole + 1.0) - 3.0 * variance);
    let denominator = 6.0 * (variance - (whole + 1.0) * (whole + 1.0));
    whole + numerator / denominator
}

fn blur_rows(image: &mut RgbImage, radius: f32) {
    let width = image.width();
    let whole = radius as usize;
    // In single precision, as Pillow.
    let full = ((1u32 << 24) as f32 / (radius * 2.0 + 1.0)) as u32;
    let edge = ((1 << 24) - (whole as u32 * 2 + 1) * full) / 2;
    let mut source = vec![0u8; width * 3];
    for row in image.data_mut().chunks_exact_mut(width * 3) {
        source.copy_from_slice(row);
        for c in 0..3 {
            let at = |x: isize| u32::from(source[x.clamp(0, width as isize - 1) as usize * 3 + c]);
            let reach = whole as isize;
            let mut sum: u32 = (-reach..=reach).map(at).sum();
            for x in 0..width as isize {
                let value = sum * full + (at(x - reach - 1) + at(x + reach + 1)) * edge;
                row[x as usize * 3 + c] = ((value + (1 << 23)) >> 24) as u8;
                sum = sum + at(x + reach + 1) - at(x - reach);
            }
        }
    }
}

fn transpose(image: &RgbImage) -> RgbImage {
    let (width, height) = (image.width(), image.height());
    let mut data = Vec::with_capacity(image.data().len());
    for x in 0..width {
        for y in 0..height {
            let at = (y * width + x) * 3;
            data.extend_from_slice(&image.data()[at..at + 3]);
        }
    }
    RgbImage::new(height, width, data)
}
