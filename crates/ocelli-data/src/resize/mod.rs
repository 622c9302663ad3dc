//! Antialiased resizing that equals Pillow's `Image.resize` bit for bit.
//!
//! Two passes with the filter stretched by the reduction factor (so every source pixel
//! counts when shrinking) and 22-bit fixed-point weights; the picture between the passes is rounded to
//! 8 bits. Each output pixel depends only on its own coefficients, so a *window* of a resized picture can
//! be computed without the rest.

mod coeffs;
mod passes;

use crate::error::{DataError, Result};
use crate::rgb::RgbImage;
use coeffs::Coefficients;
use serde::{Deserialize, Serialize};

/// How pixels are interpolated. Names as in timm and torchvision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// The nearest source pixel, no antialiasing.
    Nearest,
    /// Average of the covered pixels.
    Box,
    /// Triangle filter, support 1.
    #[default]
    Bilinear,
    /// Hamming window, support 1: as sharp as bicubic when shrinking, without its ringing.
    Hamming,
    /// Cubic with a = -0.5, support 2.
    Bicubic,
    /// Lanczos windowed sinc, support 3.
    Lanczos,
}

impl std::str::FromStr for Interpolation {
    type Err = DataError;

    fn from_str(s: &str) -> Result<Self> {
        Ok(match s {
            "nearest" => Self::Nearest,
            "box" => Self::Box,
            "bilinear" => Self::Bilinear,
            "hamming" => Self::Hamming,
            "bicubic" => Self::Bicubic,
            "lanczos" => Self::Lanczos,
            _ => {
                let known = "one of nearest, box, bilinear, hamming, bicubic, lanczos";
                return Err(DataError::config("interpolation", known, s));
            }
        })
    }
}

impl Interpolation {
    /// The name that configuration files use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Box => "box",
            Self::Bilinear => "bilinear",
            Self::Hamming => "hamming",
            Self::Bicubic => "bicubic",
            Self::Lanczos => "lanczos",
        }
    }
}

impl std::fmt::Display for Interpolation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A rectangle of whole pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rect {
    /// Left edge.
    pub x: usize,
    /// Upper edge.
    pub y: usize,
    /// Pixels per row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl Rect {
    /// All of a picture.
    pub fn whole(width: usize, height: usize) -> Self {
        Self { x: 0, y: 0, width, height }
    }

    fn check(&self, what: &str, width: usize, height: usize) -> Result<()> {
        let right = self.x.checked_add(self.width);
        let bottom = self.y.checked_add(self.height);
        let inside = right.is_some_and(|r| r <= width) && bottom.is_some_and(|b| b <= height);
        if inside && self.width > 0 && self.height > 0 {
            return Ok(());
        }
        Err(DataError::config(what, format!("a rectangle inside {width} x {height}"), format!("{self:?}")))
    }
}

/// Most pixels a resize may produce; anything above is a mistake rather than a picture.
const MAX_OUTPUT_PIXELS: usize = 1 << 30;

/// The whole picture at `width` x `height` pixels, as Pillow's `Image.resize((width, height), filter)`.
///
/// # Errors
/// [`DataError::Config`] when a side is 0 or the result would have more than 2^30 pixels.
pub fn resize(image: &RgbImage, width: usize, height: usize, filter: Interpolation) -> Result<RgbImage> {
    let source = Rect::whole(image.width(), image.height());
    resize_window(image, source, (width, height), Rect::whole(width, height), filter)
}

/// Crops `crop`, then resizes the crop to `width` x `height`, as torchvision's `resized_crop`.
///
/// # Errors
/// As [`resize`], and when `crop` leaves the picture.
pub fn crop_resize(
    image: &RgbImage,
    crop: Rect,
    width: usize,
    height: usize,
    filter: Interpolation,
) -> Result<RgbImage> {
    resize_window(image, crop, (width, height), Rect::whole(width, height), filter)
}

/// The rectangle `window` of what `crop` becomes when resized to `size` (width, height).
///
/// Equal to cropping, resizing and cropping again, at the cost of the window alone; `size` may be
/// enormous.
///
/// # Errors
/// As [`crop_resize`], and when `window` leaves `size`.
pub fn resize_window(
    image: &RgbImage,
    crop: Rect,
    size: (usize, usize),
    window: Rect,
    filter: Interpolation,
) -> Result<RgbImage> {
    crop.check("crop", image.width(), image.height())?;
    window.check("size", size.0, size.1)?;
    if window.width.saturating_mul(window.height) > MAX_OUTPUT_PIXELS {
        let found = format!("{} x {}", window.width, window.height);
        return Err(DataError::config("size", "at most 2^30 pixels", found));
    }
    if filter == Interpolation::Nearest {
        let columns = coeffs::nearest(crop.width, size.0, window.x, window.width);
        let rows = coeffs::nearest(crop.height, size.1, window.y, window.height);
        return Ok(passes::gather(image, crop, &columns, &rows));
    }
    // Pillow leaves out a pass that changes nothing; so must we, for speed and for equal results.
    let horizontal =
        (crop.width != size.0).then(|| Coefficients::new(crop.width, size.0, window.x, window.width, filter));
    let vertical = (crop.height != size.1)
        .then(|| Coefficients::new(crop.height, size.1, window.y, window.height, filter));
    // What is read of the crop: columns and rows, from and to.
    let columns = horizontal.as_ref().map_or((window.x, window.x + window.width), Coefficients::span);
    let rows = vertical.as_ref().map_or((window.y, window.y + window.height), Coefficients::span);
    let read = Rect {
        x: crop.x + columns.0,
        y: crop.y + rows.0,
        width: columns.1 - columns.0,
        height: rows.1 - rows.0,
    };
    Ok(match (&horizontal, &vertical) {
        (None, None) => passes::copy(image, read),
        (Some(h), None) => passes::horizontal(image, read, columns.0, h),
        (None, Some(v)) => passes::vertical(image, read, rows.0, v),
        (Some(h), Some(v)) if vertical_first((crop.width, crop.height), size) => {
            let half = passes::vertical(image, read, rows.0, v);
            passes::horizontal(&half, Rect::whole(half.width(), half.height()), columns.0, h)
        }
        (Some(h), Some(v)) => {
            let half = passes::horizontal(image, read, columns.0, h);
            passes::vertical(&half, Rect::whole(half.width(), half.height()), rows.0, v)
        }
    })
}

/// Whether the rows are resized first; the rounding between the passes makes this visible.
///
/// Pillow 13 does so when the height loses more than twice as many pixels as the width (found by trying
/// sizes); before, the columns always came first, with samples that differ by 1 here and there.
fn vertical_first(from: (usize, usize), to: (usize, usize)) -> bool {
    let lost = |from: usize, to: usize| from.saturating_sub(to);
    lost(from.1, to.1) > lost(from.0, to.0).saturating_mul(2)
}

/// Cuts out `crop`.
///
/// # Errors
/// [`DataError::Config`] when `crop` is empty or leaves the picture.
pub fn crop(image: &RgbImage, crop: Rect) -> Result<RgbImage> {
    crop.check("crop", image.width(), image.height())?;
    Ok(passes::copy(image, crop))
}
