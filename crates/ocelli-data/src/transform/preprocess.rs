//! How a network wants its pictures; stored in model files.

use super::normalize::IMAGENET;
use crate::error::{DataError, Result};
use crate::resize::Interpolation;
use serde::{Deserialize, Serialize};

/// What happens to a picture's aspect ratio at evaluation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CropMode {
    /// Kept; the shorter side is fitted and the centre cropped.
    #[default]
    Center,
    /// Changed; both sides are fitted.
    Squash,
    /// Kept; the longer side is fitted and the rest filled with the mean colour.
    Border,
}

/// Evaluation preprocessing, with the names of timm's `pretrained_cfg`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Preprocess {
    /// Channels (1 or 3), height, width.
    pub input_size: [usize; 3],
    /// The filter.
    pub interpolation: Interpolation,
    /// Cropped part of the resized picture's side: resize to `size / crop_pct`, crop `size`.
    pub crop_pct: f64,
    /// What happens to the aspect ratio.
    pub crop_mode: CropMode,
    /// Per channel, for samples between 0 and 1.
    pub mean: Vec<f32>,
    /// Per channel.
    pub std: Vec<f32>,
    /// Channels in the order blue, green, red, as Caffe's weights expect; `mean` and `std` are in it too.
    pub bgr: bool,
}

impl Default for Preprocess {
    /// ImageNet's: 3 x 224 x 224, bicubic, 0.875, centre.
    fn default() -> Self {
        Self {
            input_size: [3, 224, 224],
            interpolation: Interpolation::Bicubic,
            crop_pct: 0.875,
            crop_mode: CropMode::Center,
            mean: IMAGENET.mean.to_vec(),
            std: IMAGENET.std.to_vec(),
            bgr: false,
        }
    }
}

impl Preprocess {
    /// # Errors
    /// [`DataError::Config`] naming the field that makes no sense.
    pub fn validate(&self) -> Result<()> {
        let [channels, height, width] = self.input_size;
        let found = || format!("{:?}", self.input_size);
        if channels != 1 && channels != 3 {
            return Err(DataError::config("input_size", "1 or 3 channels first", found()));
        }
        if !(1..=16384).contains(&height) || !(1..=16384).contains(&width) {
            return Err(DataError::config("input_size", "height and width from 1 to 16384", found()));
        }
        if !(self.crop_pct > 0.01 && self.crop_pct <= 10.0) {
            return Err(DataError::config("crop_pct", "above 0.01, at most 10", self.crop_pct));
        }
        for (field, v) in [("mean", &self.mean), ("std", &self.std)] {
            if v.len() != channels {
                return Err(DataError::config(field, format!("{channels} numbers"), format!("{v:?}")));
            }
        }
        Ok(())
    }

    /// `mean` as a colour, for filling.
    pub(super) fn mean_colour(&self) -> [u8; 3] {
        let colour = |c: usize| {
            let c = if self.bgr { 2 - c } else { c };
            let mean = self.mean.get(c).or(self.mean.first()).copied().unwrap_or(0.5);
            (255.0 * f64::from(mean)).round_ties_even() as u8
        };
        [colour(0), colour(1), colour(2)]
    }
}
