//! `Resize` as a transform.

use crate::error::Result;
use crate::resize::{Interpolation, resize};
use crate::rgb::RgbImage;
use serde::{Deserialize, Serialize};

/// torchvision's `Resize`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// The shorter side becomes this long, the longer one keeps the aspect ratio (rounded down).
    Shorter {
        /// Pixels.
        size: usize,
        /// The filter.
        interpolation: Interpolation,
    },
    /// Exactly this size; the aspect ratio may change.
    Exact {
        /// Pixels per row.
        width: usize,
        /// Rows.
        height: usize,
        /// The filter.
        interpolation: Interpolation,
    },
}

impl Resize {
    /// # Errors
    /// [`DataError::Config`](crate::DataError::Config) for an empty or enormous result.
    pub fn apply(&self, image: &RgbImage) -> Result<RgbImage> {
        let (width, height) = self.output_size(image.width(), image.height());
        let (Self::Shorter { interpolation, .. } | Self::Exact { interpolation, .. }) = *self;
        resize(image, width, height, interpolation)
    }

    /// Width and height of the result for a picture of this size.
    pub fn output_size(&self, width: usize, height: usize) -> (usize, usize) {
        match *self {
            Self::Exact { width, height, .. } => (width, height),
            Self::Shorter { size, .. } => shorter_side(width, height, size),
        }
    }
}

/// The size at which the shorter side is `size`.
pub(super) fn shorter_side(width: usize, height: usize, size: usize) -> (usize, usize) {
    let longer = |long: usize, short: usize| ((size as f64 * long as f64) / short as f64) as usize;
    if width <= height { (size, longer(height, width)) } else { (longer(width, height), size) }
}

/// timm's `ResizeKeepRatio`: covers `target` (width, height), or with `longest` fits into it.
pub(super) fn keep_ratio(size: (usize, usize), target: (usize, usize), longest: bool) -> (usize, usize) {
    let (w, h) = (size.0 as f64, size.1 as f64);
    let (rw, rh) = (w / target.0 as f64, h / target.1 as f64);
    let ratio = if longest { rw.max(rh) } else { rw.min(rh) };
    let side = |v: f64| ((v / ratio).round_ties_even() as usize).max(1);
    (side(w), side(h))
}
