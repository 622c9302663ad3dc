//! Random brightness, contrast, saturation and hue.

use super::{enhance, hue};
use crate::error::{DataError, Result};
use crate::rgb::RgbImage;
use crate::rng::Rng;
use serde::{Deserialize, Serialize};

/// torchvision's `ColorJitter` on Pillow images: the four in random order, each with its own factor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ColorJitter {
    /// Factor drawn from `max(0, 1 - brightness)..1 + brightness`; 0 is off.
    pub brightness: f64,
    /// As `brightness`.
    pub contrast: f64,
    /// As `brightness`.
    pub saturation: f64,
    /// Turn drawn from `-hue..hue`, in circles, at most 0.5; 0 is off.
    pub hue: f64,
}

impl ColorJitter {
    /// timm's `color_jitter`: one strength for all but the hue.
    pub fn uniform(strength: f64) -> Self {
        Self { brightness: strength, contrast: strength, saturation: strength, hue: 0.0 }
    }

    /// Whether it changes anything.
    pub fn is_active(&self) -> bool {
        [self.brightness, self.contrast, self.saturation, self.hue].iter().any(|&v| v > 0.0)
    }

    /// # Errors
    /// [`DataError::Config`] for negative strengths and a hue above 0.5.
    pub fn validate(&self) -> Result<()> {
        for (field, v, max) in [
            ("brightness", self.brightness, f64::MAX),
            ("contrast", self.contrast, f64::MAX),
            ("saturation", self.saturation, f64::MAX),
            ("hue", self.hue, 0.5),
        ] {
            if !(0.0..=max).contains(&v) {
                let expected = if field == "hue" { "0 to 0.5" } else { "0 or more" };
                return Err(DataError::config(&format!("color_jitter.{field}"), expected, v));
            }
        }
        Ok(())
    }

    /// Jitters one picture.
    pub fn apply(&self, image: RgbImage, rng: &mut Rng) -> RgbImage {
        let mut order = [0, 1, 2, 3];
        rng.shuffle(&mut order);
        let mut factor = |v: f64| (v > 0.0).then(|| rng.uniform((1.0 - v).max(0.0), 1.0 + v));
        let (brightness, contrast, saturation) =
            (factor(self.brightness), factor(self.contrast), factor(self.saturation));
        let hue = (self.hue > 0.0).then(|| rng.uniform(-self.hue, self.hue));
        let mut picture = image;
        for which in order {
            picture = match which {
                0 => brightness.map(|f| enhance::brightness(&picture, f)),
                1 => contrast.map(|f| enhance::contrast(&picture, f)),
                2 => saturation.map(|f| enhance::saturation(&picture, f)),
                _ => hue.map(|f| hue::adjust_hue(&picture, f)),
            }
            .unwrap_or(picture);
        }
        picture
    }
}
