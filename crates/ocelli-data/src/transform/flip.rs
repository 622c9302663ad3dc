//! Mirroring.

use crate::rgb::RgbImage;
use crate::rng::Rng;
use serde::{Deserialize, Serialize};

/// Left becomes right.
pub fn flip_horizontal(image: &RgbImage) -> RgbImage {
    let rows = image.data().chunks_exact(image.width() * 3);
    let data = rows.flat_map(|row| row.chunks_exact(3).rev().flatten()).copied().collect();
    RgbImage::new(image.width(), image.height(), data)
}

/// Top becomes bottom.
pub fn flip_vertical(image: &RgbImage) -> RgbImage {
    let data = image.data().chunks_exact(image.width() * 3).rev().flatten().copied().collect();
    RgbImage::new(image.width(), image.height(), data)
}

/// torchvision's `RandomHorizontalFlip`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HorizontalFlip {
    /// Probability.
    pub p: f64,
}

impl HorizontalFlip {
    /// Mirrors with probability `p`.
    pub fn apply(&self, image: RgbImage, rng: &mut Rng) -> RgbImage {
        if rng.chance(self.p) { flip_horizontal(&image) } else { image }
    }
}

/// torchvision's `RandomVerticalFlip`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerticalFlip {
    /// Probability.
    pub p: f64,
}

impl VerticalFlip {
    /// Turns upside down with probability `p`.
    pub fn apply(&self, image: RgbImage, rng: &mut Rng) -> RgbImage {
        if rng.chance(self.p) { flip_vertical(&image) } else { image }
    }
}
