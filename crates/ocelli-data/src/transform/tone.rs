//! Operations that map each sample through a table, as Pillow's `ImageOps`.

use crate::rgb::RgbImage;

type Table = [u8; 256];

fn map(image: &RgbImage, tables: [&Table; 3]) -> RgbImage {
    let mut out = image.clone();
    for pixel in out.data_mut().chunks_exact_mut(3) {
        for (v, table) in pixel.iter_mut().zip(tables) {
            *v = table[usize::from(*v)];
        }
    }
    out
}

fn map_all(image: &RgbImage, of: impl Fn(u8) -> u8) -> RgbImage {
    let table: Table = std::array::from_fn(|v| of(v as u8));
    map(image, [&table; 3])
}

fn map_by_histogram(image: &RgbImage, of: impl Fn(&[u64; 256]) -> Option<Table>) -> RgbImage {
    let mut histograms = [[0u64; 256]; 3];
    for pixel in image.data().chunks_exact(3) {
        for (histogram, &v) in histograms.iter_mut().zip(pixel) {
            histogram[usize::from(v)] += 1;
        }
    }
    let identity: Table = std::array::from_fn(|v| v as u8);
    let tables = histograms.each_ref().map(|h| of(h).unwrap_or(identity));
    map(image, tables.each_ref())
}

/// The negative.
pub fn invert(image: &RgbImage) -> RgbImage {
    map_all(image, |v| 255 - v)
}

/// Inverts the samples from `threshold` (0..=256) upwards.
pub fn solarize(image: &RgbImage, threshold: u16) -> RgbImage {
    map_all(image, |v| if u16::from(v) < threshold { v } else { 255 - v })
}

/// Adds `add` to the samples below `threshold`, saturating.
pub fn solarize_add(image: &RgbImage, add: u8, threshold: u8) -> RgbImage {
    map_all(image, |v| if v < threshold { v.saturating_add(add) } else { v })
}

/// Keeps the `bits` highest bits of each sample; 0 gives black, 8 and more the picture itself.
pub fn posterize(image: &RgbImage, bits: u8) -> RgbImage {
    let mask = if bits >= 8 { 0xff } else { !(0xff_u8 >> bits) };
    map_all(image, |v| v & mask)
}

/// Stretches each channel to the full range.
pub fn autocontrast(image: &RgbImage) -> RgbImage {
    map_by_histogram(image, |h| {
        let low = h.iter().position(|&n| n > 0)?;
        let high = h.iter().rposition(|&n| n > 0)?;
        if high <= low {
            return None;
        }
        let scale = 255.0 / (high - low) as f64;
        let offset = -(low as f64) * scale;
        Some(std::array::from_fn(|v| (v as f64 * scale + offset) as u8))
    })
}

/// Equalises each channel's histogram.
pub fn equalize(image: &RgbImage) -> RgbImage {
    map_by_histogram(image, |h| {
        let last = h[h.iter().rposition(|&n| n > 0)?];
        let step = (h.iter().sum::<u64>() - last) / 255;
        if step == 0 {
            return None;
        }
        let mut n = step / 2;
        Some(std::array::from_fn(|v| {
            let level = (n / step).min(255) as u8;
            n += h[v];
            level
        }))
    })
}
