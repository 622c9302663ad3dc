//! The passes over the pixels.

use super::Rect;
use super::coeffs::{Coefficients, PRECISION};
use crate::rgb::RgbImage;

const HALF: i32 = 1 << (PRECISION - 1);

/// Fixed point to a sample, clipped.
fn sample(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// Resizes the rows of `read` along x; the coefficients' source position `offset` is its left edge.
pub(super) fn horizontal(
    image: &RgbImage,
    read: Rect,
    offset: usize,
    coefficients: &Coefficients,
) -> RgbImage {
    let width = coefficients.len();
    let mut data = vec![0; width * read.height * 3];
    for (y, out) in data.chunks_exact_mut(width * 3).enumerate() {
        let row = &image.row(read.y + y)[read.x * 3..];
        for (pixel, (from, weights)) in out.chunks_exact_mut(3).zip(coefficients.iter()) {
            let from = from - offset;
            let (mut r, mut g, mut b) = (HALF, HALF, HALF);
            for (source, &w) in row[from * 3..(from + weights.len()) * 3].chunks_exact(3).zip(weights) {
                r += i32::from(source[0]) * w;
                g += i32::from(source[1]) * w;
                b += i32::from(source[2]) * w;
            }
            pixel[0] = sample(r);
            pixel[1] = sample(g);
            pixel[2] = sample(b);
        }
    }
    RgbImage::new(width, read.height, data)
}

/// Resizes the columns of `read` along y; the coefficients' source position `offset` is its upper edge.
pub(super) fn vertical(image: &RgbImage, read: Rect, offset: usize, coefficients: &Coefficients) -> RgbImage {
    let stride = read.width * 3;
    let mut data = vec![0; stride * coefficients.len()];
    let mut sums = vec![0i32; stride];
    for (out, (from, weights)) in data.chunks_exact_mut(stride).zip(coefficients.iter()) {
        sums.fill(HALF);
        for (y, &w) in weights.iter().enumerate() {
            let row = &image.row(read.y + from - offset + y)[read.x * 3..];
            for (sum, &source) in sums.iter_mut().zip(row) {
                *sum += i32::from(source) * w;
            }
        }
        for (value, &sum) in out.iter_mut().zip(&sums) {
            *value = sample(sum);
        }
    }
    RgbImage::new(read.width, coefficients.len(), data)
}

/// The pixels at `columns` x `rows`, counted from the corner of `crop`.
pub(super) fn gather(image: &RgbImage, crop: Rect, columns: &[usize], rows: &[usize]) -> RgbImage {
    let mut data = Vec::with_capacity(columns.len() * rows.len() * 3);
    for &y in rows {
        let row = &image.row(crop.y + y)[crop.x * 3..];
        for &x in columns {
            data.extend_from_slice(&row[x * 3..x * 3 + 3]);
        }
    }
    RgbImage::new(columns.len(), rows.len(), data)
}

/// A rectangle as it is.
pub(super) fn copy(image: &RgbImage, rect: Rect) -> RgbImage {
    let mut data = Vec::with_capacity(rect.width * rect.height * 3);
    for y in rect.y..rect.y + rect.height {
        data.extend_from_slice(&image.row(y)[rect.x * 3..(rect.x + rect.width) * 3]);
    }
    RgbImage::new(rect.width, rect.height, data)
}
