//! Random erasing (Zhong et al. 2017) as timm has it.

use crate::error::{DataError, Result};
use crate::rng::Rng;
use serde::{Deserialize, Serialize};

/// What erased rectangles are filled with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EraseMode {
    /// 0, the mean after normalisation.
    #[default]
    Const,
    /// One normally distributed colour per rectangle.
    Rand,
    /// Normally distributed noise.
    Pixel,
}

/// Erases rectangles of a normalised sample with timm's parameters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RandomErasing {
    /// Probability per sample.
    pub probability: f64,
    /// Least part of the area.
    pub min_area: f64,
    /// Greatest part of the area.
    pub max_area: f64,
    /// Least height over width; the greatest is its inverse.
    pub min_aspect: f64,
    /// The filling.
    pub mode: EraseMode,
    /// Fewest rectangles.
    pub min_count: usize,
    /// Most rectangles; they share the area.
    pub max_count: usize,
}

impl Default for RandomErasing {
    fn default() -> Self {
        Self {
            probability: 0.5,
            min_area: 0.02,
            max_area: 1.0 / 3.0,
            min_aspect: 0.3,
            mode: EraseMode::Const,
            min_count: 1,
            max_count: 1,
        }
    }
}

impl RandomErasing {
    /// # Errors
    /// [`DataError::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        super::check_probability("probability", self.probability)?;
        super::check_range("min_area, max_area", [self.min_area, self.max_area])?;
        if self.max_area > 1.0 {
            return Err(DataError::config("max_area", "at most 1", self.max_area));
        }
        if !(self.min_aspect > 0.0 && self.min_aspect <= 1.0) {
            return Err(DataError::config("min_aspect", "above 0, at most 1", self.min_aspect));
        }
        if self.min_count == 0 || self.min_count > self.max_count {
            let found = format!("{} to {}", self.min_count, self.max_count);
            return Err(DataError::config("min_count, max_count", "at least 1, in order", found));
        }
        Ok(())
    }

    /// Erases in `sample`, `[channels, height, width]`, in place. Does nothing when the length does not fit.
    pub fn apply(&self, sample: &mut [f32], [channels, height, width]: [usize; 3], rng: &mut Rng) {
        if sample.len() != channels * height * width || rng.unit() > self.probability {
            return;
        }
        let area = (height * width) as f64;
        let count = self.min_count + rng.below(self.max_count.saturating_sub(self.min_count) + 1);
        let log_aspect = libm::log(self.min_aspect);
        for _ in 0..count {
            for _ in 0..10 {
                let target = rng.uniform(self.min_area, self.max_area) * area / count as f64;
                let aspect = libm::exp(rng.uniform(log_aspect, -log_aspect));
                let h = libm::sqrt(target * aspect).round_ties_even() as usize;
                let w = libm::sqrt(target / aspect).round_ties_even() as usize;
                if w < width && h < height {
                    let top = rng.below(height - h + 1);
                    let left = rng.below(width - w + 1);
                    for plane in sample.chunks_exact_mut(height * width) {
                        let colour = if self.mode == EraseMode::Rand { rng.normal() as f32 } else { 0.0 };
                        for row in plane.chunks_exact_mut(width).skip(top).take(h) {
                            for v in &mut row[left..left + w] {
                                *v = if self.mode == EraseMode::Pixel { rng.normal() as f32 } else { colour };
                            }
                        }
                    }
                    break;
                }
            }
        }
    }
}
