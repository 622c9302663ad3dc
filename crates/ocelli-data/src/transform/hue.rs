//! Hue, through Pillow's 8-bit HSV.

use crate::rgb::RgbImage;

/// One pixel to 8-bit HSV, as Pillow's `convert("HSV")`.
pub fn rgb_to_hsv([r, g, b]: [u8; 3]) -> [u8; 3] {
    let max = r.max(g).max(b);
    let min = r.min(g).min(b);
    if max == min {
        return [0, 0, max];
    }
    let chroma = f32::from(max - min);
    let saturation = chroma / f32::from(max);
    let [rc, gc, bc] = [r, g, b].map(|v| f32::from(max - v) / chroma);
    // The sum in double, its result in single precision: what Pillow's mixed C expressions do.
    let sector = if r == max {
        bc - gc
    } else if g == max {
        (2.0 + f64::from(rc) - f64::from(bc)) as f32
    } else {
        (4.0 + f64::from(gc) - f64::from(rc)) as f32
    };
    let hue = ((f64::from(sector) / 6.0 + 1.0) % 1.0) as f32;
    [(f64::from(hue) * 255.0) as u8, (f64::from(saturation) * 255.0) as u8, max]
}

/// One pixel back to RGB, as Pillow's `convert("RGB")`.
pub fn hsv_to_rgb([h, s, v]: [u8; 3]) -> [u8; 3] {
    if s == 0 {
        return [v; 3];
    }
    let position = f64::from(h) * 6.0 / 255.0;
    let sector = position.floor();
    let fraction = f64::from((position - sector) as f32);
    let saturation = f64::from((f64::from(s) / 255.0) as f32);
    let value = f64::from(v);
    // Round half away from zero, as C's `round`; the cast clips.
    let p = (value * (1.0 - saturation)).round() as u8;
    let q = (value * (1.0 - saturation * fraction)).round() as u8;
    let t = (value * (1.0 - saturation * (1.0 - fraction))).round() as u8;
    match sector as u8 % 6 {
        0 => [v, t, p],
        1 => [q, v, p],
        2 => [p, v, t],
        3 => [p, q, v],
        4 => [t, p, v],
        _ => [v, p, q],
    }
}

/// Turns the hue by `factor` of the circle, -0.5 to 0.5, as torchvision's `adjust_hue` on Pillow images.
pub fn adjust_hue(image: &RgbImage, factor: f64) -> RgbImage {
    // Truncated towards zero, then modulo 256.
    let shift = (factor * 255.0) as i64 as u8;
    let mut out = image.clone();
    for pixel in out.data_mut().chunks_exact_mut(3) {
        let [h, s, v] = rgb_to_hsv([pixel[0], pixel[1], pixel[2]]);
        pixel.copy_from_slice(&hsv_to_rgb([h.wrapping_add(shift), s, v]));
    }
    out
}
