//! The operations RandAugment draws from, with their arguments.

use super::{affine, blur, enhance, tone};
use crate::resize::Interpolation;
use crate::rgb::RgbImage;

/// One augmentation with its argument, as timm's `auto_augment` defines it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// Stretch each channel to the full range.
    AutoContrast,
    /// Equalise each channel's histogram.
    Equalize,
    /// The negative.
    Invert,
    /// Degrees, counter-clockwise.
    Rotate(f64),
    /// Bits to keep.
    Posterize(u8),
    /// Invert from this value (0..=256) upwards.
    Solarize(u16),
    /// Add this to samples below 128.
    SolarizeAdd(u8),
    /// Saturation factor.
    Color(f64),
    /// Contrast factor.
    Contrast(f64),
    /// Brightness factor.
    Brightness(f64),
    /// Sharpness factor.
    Sharpness(f64),
    /// Horizontal shear: columns moved per row.
    ShearX(f64),
    /// Vertical shear: rows moved per column.
    ShearY(f64),
    /// Shift along x by this part of the width.
    TranslateXRel(f64),
    /// Shift along y by this part of the height.
    TranslateYRel(f64),
    /// Amount of colour taken away, 0..=1.
    Desaturate(f64),
    /// Standard deviation in pixels.
    GaussianBlur(f64),
}

impl Op {
    /// Carries it out. `filter` and `fill` serve the geometric operations.
    pub fn apply(self, image: &RgbImage, filter: Interpolation, fill: [u8; 3]) -> RgbImage {
        let warp = |matrix| affine::affine(image, matrix, filter, fill);
        match self {
            Self::AutoContrast => tone::autocontrast(image),
            Self::Equalize => tone::equalize(image),
            Self::Invert => tone::invert(image),
            Self::Rotate(degrees) => affine::rotate(image, degrees, filter, fill),
            Self::Posterize(bits) => tone::posterize(image, bits),
            Self::Solarize(threshold) => tone::solarize(image, threshold),
            Self::SolarizeAdd(add) => tone::solarize_add(image, add, 128),
            Self::Color(factor) => enhance::saturation(image, factor),
            Self::Contrast(factor) => enhance::contrast(image, factor),
            Self::Brightness(factor) => enhance::brightness(image, factor),
            Self::Sharpness(factor) => enhance::sharpness(image, factor),
            Self::ShearX(factor) => warp([1.0, factor, 0.0, 0.0, 1.0, 0.0]),
            Self::ShearY(factor) => warp([1.0, 0.0, 0.0, factor, 1.0, 0.0]),
            Self::TranslateXRel(part) => warp([1.0, 0.0, part * image.width() as f64, 0.0, 1.0, 0.0]),
            Self::TranslateYRel(part) => warp([1.0, 0.0, 0.0, 0.0, 1.0, part * image.height() as f64]),
            Self::Desaturate(amount) => enhance::saturation(image, (1.0 - amount).clamp(0.0, 1.0)),
            Self::GaussianBlur(radius) => blur::gaussian_blur(image, radius),
        }
    }
}
