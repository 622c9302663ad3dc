//! 8-bit RGB to the network's input.

use crate::error::{DataError, Result};
use crate::rgb::RgbImage;
use serde::{Deserialize, Serialize};

/// Mean and standard deviation per channel, for samples between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stats {
    /// Red, green, blue.
    pub mean: [f32; 3],
    /// Red, green, blue.
    pub std: [f32; 3],
}

/// ImageNet's, used by nearly all torchvision and timm networks.
pub const IMAGENET: Stats = Stats { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
/// CIFAR-10's.
pub const CIFAR10: Stats = Stats { mean: [0.4914, 0.4822, 0.4465], std: [0.2470, 0.2435, 0.2616] };
/// One half each ("inception"): samples between -1 and 1.
pub const HALF: Stats = Stats { mean: [0.5; 3], std: [0.5; 3] };

/// torchvision's `ToTensor` followed by `Normalize`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Raw")]
pub struct Normalize {
    mean: Vec<f32>,
    std: Vec<f32>,
    /// Channels come out as blue, green, red.
    bgr: bool,
    /// Per channel, the result for each sample value.
    #[serde(skip)]
    tables: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct Raw {
    mean: Vec<f32>,
    std: Vec<f32>,
    #[serde(default)]
    bgr: bool,
}

impl TryFrom<Raw> for Normalize {
    type Error = DataError;

    fn try_from(raw: Raw) -> Result<Self> {
        Ok(Self::new(&raw.mean, &raw.std)?.bgr(raw.bgr))
    }
}

impl Normalize {
    /// One or three means and deviations; their number is the number of channels.
    ///
    /// # Errors
    /// [`DataError::Config`] for other numbers of channels, zero deviations and non-numbers.
    pub fn new(mean: &[f32], std: &[f32]) -> Result<Self> {
        let channels = mean.len();
        if channels != 1 && channels != 3 || std.len() != channels {
            let found = format!("{channels} means and {} deviations", std.len());
            return Err(DataError::config("mean, std", "1 or 3 of each", found));
        }
        if let Some(bad) = mean.iter().find(|v| !v.is_finite()) {
            return Err(DataError::config("mean", "finite numbers", bad));
        }
        if let Some(bad) = std.iter().find(|v| !v.is_finite() || **v <= 0.0) {
            return Err(DataError::config("std", "numbers above 0", bad));
        }
        let table = |(m, s): (&f32, &f32)| (0..256).map(|v| (v as f32 / 255.0 - m) / s).collect();
        let tables = mean.iter().zip(std).map(table).collect();
        Ok(Self { mean: mean.to_vec(), std: std.to_vec(), bgr: false, tables })
    }

    /// With the channels in the order blue, green, red; mean and deviation are in that order then.
    pub fn bgr(mut self, bgr: bool) -> Self {
        self.bgr = bgr;
        self
    }

    /// Number of channels it gives.
    pub fn channels(&self) -> usize {
        self.tables.len()
    }

    /// `[channels, height, width]`: `(sample / 255 - mean) / std`. One channel takes the luminance.
    pub fn apply(&self, image: &RgbImage) -> Vec<f32> {
        let pixels = image.data().chunks_exact(3);
        if let [table] = self.tables.as_slice() {
            return pixels.map(|p| table[usize::from(crate::rgb::luma(p[0], p[1], p[2]))]).collect();
        }
        let mut out = Vec::with_capacity(image.data().len());
        for (c, table) in self.tables.iter().enumerate() {
            let source = if self.bgr { 2 - c } else { c };
            out.extend(pixels.clone().map(|p| table[usize::from(p[source])]));
        }
        out
    }
}
