//! Affine transforms as Pillow's `Image.transform` and `Image.rotate`.

use crate::resize::Interpolation;
use crate::rgb::RgbImage;

/// Maps each output pixel `(x, y)` to the source position `(a x + b y + c, d x + e y + f)`, where
/// `matrix = [a, b, c, d, e, f]`. The size stays; what lies outside the source becomes `fill`.
///
/// Filters: nearest, bilinear, bicubic (a = -1, as Pillow's transforms have it). Box counts as nearest,
/// Hamming as bilinear, Lanczos as bicubic.
pub fn affine(image: &RgbImage, matrix: [f64; 6], filter: Interpolation, fill: [u8; 3]) -> RgbImage {
    let mut out = RgbImage::new(image.width(), image.height(), fill.repeat(image.width() * image.height()));
    match filter {
        Interpolation::Nearest | Interpolation::Box => nearest(image, matrix, &mut out),
        Interpolation::Bilinear | Interpolation::Hamming => interpolated(image, matrix, &mut out, bilinear),
        Interpolation::Bicubic | Interpolation::Lanczos => interpolated(image, matrix, &mut out, bicubic),
    }
    out
}

/// Rotates counter-clockwise by `degrees` around the centre, keeping the size, as Pillow's `Image.rotate`.
pub fn rotate(image: &RgbImage, degrees: f64, filter: Interpolation, fill: [u8; 3]) -> RgbImage {
    let angle = degrees.rem_euclid(360.0);
    if angle == 0.0 {
        return image.clone();
    }
    if angle == 180.0 {
        let data = image.data().chunks_exact(3).rev().flatten().copied().collect();
        return RgbImage::new(image.width(), image.height(), data);
    }
    // 15 decimals, as Pillow: keeps right angles exact.
    let round = |v: f64| (v * 1e15).round_ties_even() / 1e15;
    let (sin, cos) = libm::sincos(-angle.to_radians());
    let (a, b, d, e) = (round(cos), round(sin), round(-sin), round(cos));
    let (cx, cy) = (image.width() as f64 / 2.0, image.height() as f64 / 2.0);
    let c = a * -cx + b * -cy + cx;
    let f = d * -cx + e * -cy + cy;
    affine(image, [a, b, c, d, e, f], filter, fill)
}

/// Source positions in 16.16 fixed point while they fit, as Pillow does.
fn nearest(image: &RgbImage, m: [f64; 6], out: &mut RgbImage) {
    let (width, height) = (image.width(), image.height());
    let inside = |x: i64, y: i64| (0..width as i64).contains(&x) && (0..height as i64).contains(&y);
    let fits = |x: usize, y: usize| {
        let (x, y) = (x as f64, y as f64);
        (x * m[0] + y * m[1] + m[2]).abs() < 32768.0 && (x * m[3] + y * m[4] + m[5]).abs() < 32768.0
    };
    let fixed = fits(0, 0) && fits(width - 1, height - 1) && fits(0, height - 1) && fits(width - 1, 0);
    let fix = |v: f64| (v * 65536.0 + 0.5).floor() as i64;
    let start = [m[2] + m[0] * 0.5 + m[1] * 0.5, m[5] + m[3] * 0.5 + m[4] * 0.5];
    let straight = m[1] == 0.0 && m[3] == 0.0;
    for (y, row) in out.data_mut().chunks_exact_mut(width * 3).enumerate() {
        for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
            let (sx, sy) = if fixed && !straight {
                let (x, y) = (x as i64, y as i64);
                (
                    (fix(start[0]) + x * fix(m[0]) + y * fix(m[1])) >> 16,
                    (fix(start[1]) + x * fix(m[3]) + y * fix(m[4])) >> 16,
                )
            } else {
                let (x, y) = (x as f64, y as f64);
                (
                    (start[0] + x * m[0] + y * m[1]).floor() as i64,
                    (start[1] + x * m[3] + y * m[4]).floor() as i64,
                )
            };
            if inside(sx, sy) {
                let at = (sy as usize * width + sx as usize) * 3;
                pixel.copy_from_slice(&image.data()[at..at + 3]);
            }
        }
    }
}

/// Calls `filter` for each output pixel whose source position (relative to pixel centres) is inside.
fn interpolated(
    image: &RgbImage,
    m: [f64; 6],
    out: &mut RgbImage,
    filter: impl Fn(&RgbImage, f64, f64) -> [u8; 3],
) {
    let (width, height) = (image.width() as f64, image.height() as f64);
    for (y, row) in out.data_mut().chunks_exact_mut(image.width() * 3).enumerate() {
        let cy = y as f64 + 0.5;
        for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
            let cx = x as f64 + 0.5;
            let sx = m[0] * cx + m[1] * cy + m[2];
            let sy = m[3] * cx + m[4] * cy + m[5];
            if sx >= 0.0 && sx < width && sy >= 0.0 && sy < height {
                pixel.copy_from_slice(&filter(image, sx - 0.5, sy - 0.5));
            }
        }
    }
}

fn clip(at: i64, length: usize) -> usize {
    at.clamp(0, length as i64 - 1) as usize
}

fn bilinear(image: &RgbImage, x: f64, y: f64) -> [u8; 3] {
    let (x0, y0) = (x.floor(), y.floor());
    let (dx, dy) = (x - x0, y - y0);
    let (x0, y0) = (x0 as i64, y0 as i64);
    let columns = [clip(x0, image.width()) * 3, clip(x0 + 1, image.width()) * 3];
    let rows = [image.row(clip(y0, image.height())), image.row(clip(y0 + 1, image.height()))];
    std::array::from_fn(|c| {
        let [top, bottom] = rows.map(|row| {
            let [left, right] = columns.map(|at| f64::from(row[at + c]));
            left + (right - left) * dx
        });
        // Truncated, not rounded, as Pillow.
        (top + (bottom - top) * dy) as u8
    })
}

fn cubic(v: [f64; 4], d: f64) -> f64 {
    let p2 = v[2] - v[0];
    let p3 = 2.0 * (v[0] - v[1]) + v[2] - v[3];
    let p4 = v[1] - v[0] - v[2] + v[3];
    v[1] + d * (p2 + d * (p3 + d * p4))
}

fn bicubic(image: &RgbImage, x: f64, y: f64) -> [u8; 3] {
    let (x0, y0) = (x.floor(), y.floor());
    let (dx, dy) = (x - x0, y - y0);
    let (x0, y0) = (x0 as i64 - 1, y0 as i64 - 1);
    let columns: [usize; 4] = std::array::from_fn(|i| clip(x0 + i as i64, image.width()) * 3);
    let rows: [&[u8]; 4] = std::array::from_fn(|i| image.row(clip(y0 + i as i64, image.height())));
    std::array::from_fn(|c| {
        let down = rows.map(|row| cubic(columns.map(|at| f64::from(row[at + c])), dx));
        // The cast clips to 0..=255.
        cubic(down, dy) as u8
    })
}
