//! Crops: centred, random, random and resized.

use super::canvas::{self, compose};
use super::interpolation::InterpolationChoice;
use crate::error::{DataError, Result};
use crate::resize::{Interpolation, Rect, crop_resize};
use crate::rgb::RgbImage;
use crate::rng::Rng;
use serde::{Deserialize, Serialize};

/// torchvision's `CenterCrop`: pads with black where the picture is smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CenterCrop {
    /// Width of the result.
    pub width: usize,
    /// Height of the result.
    pub height: usize,
}

impl CenterCrop {
    /// # Errors
    /// [`DataError`] when a side is 0.
    pub fn apply(&self, image: &RgbImage) -> Result<RgbImage> {
        let (w, h) = (image.width(), image.height());
        let columns = canvas::axis(canvas::centre(w, self.width), self.width, w);
        let rows = canvas::axis(canvas::centre(h, self.height), self.height, h);
        compose(image, (w, h), Interpolation::Nearest, &columns, &rows, [0; 3])
    }
}

/// What lies beyond the border.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PaddingMode {
    /// Black.
    #[default]
    Constant,
    /// The picture mirrored, without repeating the border pixel.
    Reflect,
}

/// torchvision's `RandomCrop(size, padding, pad_if_needed=True, padding_mode)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RandomCrop {
    /// Width of the result.
    pub width: usize,
    /// Height of the result.
    pub height: usize,
    /// Pixels added on all four sides first.
    #[serde(default)]
    pub padding: usize,
    /// What is added.
    #[serde(default)]
    pub padding_mode: PaddingMode,
}

impl RandomCrop {
    /// # Errors
    /// [`DataError`] when a side is 0.
    pub fn apply(&self, image: &RgbImage, rng: &mut Rng) -> Result<RgbImage> {
        self.apply_resized(image, (image.width(), image.height()), Interpolation::Nearest, rng)
    }

    /// Crops from the picture at `size` (width, height).
    pub(super) fn apply_resized(
        &self,
        image: &RgbImage,
        size: (usize, usize),
        filter: Interpolation,
        rng: &mut Rng,
    ) -> Result<RgbImage> {
        let mut axis = |size: usize, length: usize| {
            let padded = size.saturating_add(2 * self.padding);
            // torchvision pads a picture that is still too small by what is missing, on both sides.
            let missing = length.saturating_sub(padded);
            let room = padded + 2 * missing - length;
            let offset = rng.below(room + 1) as i64 - (self.padding + missing) as i64;
            match self.padding_mode {
                PaddingMode::Constant => canvas::axis(offset, length, size),
                PaddingMode::Reflect => canvas::reflected(offset, length, size),
            }
        };
        let rows = axis(size.1, self.height);
        let columns = axis(size.0, self.width);
        compose(image, size, filter, &columns, &rows, [0; 3])
    }
}

/// torchvision's `RandomResizedCrop`: a random part of the area, in a random aspect ratio, resized.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RandomResizedCrop {
    /// Width of the result.
    pub width: usize,
    /// Height of the result.
    pub height: usize,
    /// Part of the picture's area, low and high.
    pub scale: [f64; 2],
    /// Width over height, low and high; drawn evenly on a logarithmic scale.
    pub ratio: [f64; 2],
    /// The filter.
    #[serde(default)]
    pub interpolation: InterpolationChoice,
}

impl RandomResizedCrop {
    /// # Errors
    /// [`DataError::Config`] for empty sizes and impossible ranges.
    pub fn validate(&self) -> Result<()> {
        if self.width == 0 || self.height == 0 {
            return Err(DataError::config(
                "size",
                "at least 1 x 1",
                format!("{} x {}", self.width, self.height),
            ));
        }
        super::check_range("scale", self.scale)?;
        super::check_range("ratio", self.ratio)
    }

    /// The crop for a picture of this size: ten tries, then the largest centred one within the ratios.
    pub fn params(&self, width: usize, height: usize, rng: &mut Rng) -> Rect {
        let area = width as f64 * height as f64;
        let [low, high] = self.ratio.map(libm::log);
        for _ in 0..10 {
            let target = area * rng.uniform(self.scale[0], self.scale[1]);
            let aspect = libm::exp(rng.uniform(low, high));
            let w = libm::sqrt(target * aspect).round_ties_even() as usize;
            let h = libm::sqrt(target / aspect).round_ties_even() as usize;
            if (1..=width).contains(&w) && (1..=height).contains(&h) {
                let y = rng.below(height - h + 1);
                let x = rng.below(width - w + 1);
                return Rect { x, y, width: w, height: h };
            }
        }
        let aspect = width as f64 / height as f64;
        let (w, h) = if aspect < self.ratio[0] {
            (width, (width as f64 / self.ratio[0]).round_ties_even() as usize)
        } else if aspect > self.ratio[1] {
            ((height as f64 * self.ratio[1]).round_ties_even() as usize, height)
        } else {
            (width, height)
        };
        // A picture one pixel thin can round to nothing.
        let (w, h) = (w.clamp(1, width), h.clamp(1, height));
        Rect { x: (width - w) / 2, y: (height - h) / 2, width: w, height: h }
    }

    /// # Errors
    /// [`DataError`] when a side of the result is 0.
    pub fn apply(&self, image: &RgbImage, rng: &mut Rng) -> Result<RgbImage> {
        let part = self.params(image.width(), image.height(), rng);
        let filter = self.interpolation.pick(rng);
        crop_resize(image, part, self.width, self.height, filter)
    }
}
