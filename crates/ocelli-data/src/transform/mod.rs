//! Transforms with torchvision's and timm's semantics, on 8-bit pictures.
//!
//! What Pillow computes in integers or in `float` is computed in the same way here, so that networks
//! trained elsewhere see the same pixels. Random parameters are drawn from the same distributions, from
//! our own keyed generator (see [`crate::rng`]).

mod affine;
mod augment;
mod blur;
mod canvas;
mod crop;
mod enhance;
mod erase;
mod eval;
mod flip;
mod hue;
mod interpolation;
mod jitter;
mod mix;
mod normalize;
mod ops;
mod preprocess;
mod rand_augment;
mod resize;
mod tone;
mod train;

pub use affine::{affine, rotate};
pub use augment::{AugmentConfig, TrainCropMode, TransformConfig};
pub use blur::gaussian_blur;
pub use crop::{CenterCrop, PaddingMode, RandomCrop, RandomResizedCrop};
pub use enhance::{brightness, contrast, saturation, sharpness};
pub use erase::{EraseMode, RandomErasing};
pub use eval::EvalTransform;
pub use flip::{HorizontalFlip, VerticalFlip, flip_horizontal, flip_vertical};
pub use hue::{adjust_hue, hsv_to_rgb, rgb_to_hsv};
pub use interpolation::InterpolationChoice;
pub use jitter::ColorJitter;
pub use mix::{MixConfig, Mixed};
pub use normalize::{CIFAR10, HALF, IMAGENET, Normalize, Stats};
pub use ops::Op;
pub use preprocess::{CropMode, Preprocess};
pub use rand_augment::{OpSet, RandAugment};
pub use resize::Resize;
pub use tone::{autocontrast, equalize, invert, posterize, solarize, solarize_add};
pub use train::TrainTransform;

use crate::error::Result;
use crate::rgb::RgbImage;
use crate::rng::Rng;

/// A picture to the network's input for one sample.
pub trait SampleTransform: Send + Sync {
    /// Channels, height and width of every output.
    fn shape(&self) -> [usize; 3];

    /// One sample, `[channels, height, width]`.
    ///
    /// # Errors
    /// Only for pictures too extreme to be resized.
    fn apply(&self, image: &RgbImage, rng: &mut Rng) -> Result<Vec<f32>>;
}

/// A probability, or an error naming the field.
fn check_probability(field: &str, p: f64) -> Result<()> {
    if (0.0..=1.0).contains(&p) {
        return Ok(());
    }
    Err(crate::error::DataError::config(field, "a probability between 0 and 1", p))
}

/// A range of positive numbers, low first, or an error naming the field.
fn check_range(field: &str, [low, high]: [f64; 2]) -> Result<()> {
    if low > 0.0 && low <= high && high.is_finite() {
        return Ok(());
    }
    let found = format!("[{low}, {high}]");
    Err(crate::error::DataError::config(field, "[low, high] with 0 < low <= high", found))
}
