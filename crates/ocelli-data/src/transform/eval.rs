//! The evaluation transform.

use super::SampleTransform;
use super::canvas::{self, compose};
use super::normalize::Normalize;
use super::preprocess::{CropMode, Preprocess};
use super::resize::{keep_ratio, shorter_side};
use crate::error::Result;
use crate::rgb::RgbImage;
use crate::rng::Rng;

/// timm's `transforms_imagenet_eval`: resize, centre crop, normalise. Not random.
#[derive(Clone, Debug)]
pub struct EvalTransform {
    preprocess: Preprocess,
    normalize: Normalize,
}

impl EvalTransform {
    /// # Errors
    /// As [`Preprocess::validate`].
    pub fn new(preprocess: &Preprocess) -> Result<Self> {
        preprocess.validate()?;
        let normalize = Normalize::new(&preprocess.mean, &preprocess.std)?.bgr(preprocess.bgr);
        Ok(Self { preprocess: preprocess.clone(), normalize })
    }

    /// What it was made from.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// The picture as the network sees it, before normalisation: `[height, width, 3]`.
    ///
    /// # Errors
    /// Only for pictures too extreme to be resized.
    pub fn crop(&self, image: &RgbImage) -> Result<RgbImage> {
        let p = &self.preprocess;
        let [_, height, width] = p.input_size;
        let scaled = |side: usize| ((side as f64 / p.crop_pct).floor() as usize).max(1);
        let target = (scaled(width), scaled(height));
        let own = (image.width(), image.height());
        let (size, fill) = match p.crop_mode {
            CropMode::Squash => (target, [0; 3]),
            CropMode::Border => (keep_ratio(own, target, true), p.mean_colour()),
            CropMode::Center if target.0 == target.1 => (shorter_side(own.0, own.1, target.0), [0; 3]),
            CropMode::Center => (keep_ratio(own, target, false), [0; 3]),
        };
        let columns = canvas::axis(canvas::centre(size.0, width), width, size.0);
        let rows = canvas::axis(canvas::centre(size.1, height), height, size.1);
        compose(image, size, p.interpolation, &columns, &rows, fill)
    }

    /// One sample, `[channels, height, width]`.
    ///
    /// # Errors
    /// Only for pictures too extreme to be resized.
    pub fn apply(&self, image: &RgbImage) -> Result<Vec<f32>> {
        let grey = (self.normalize.channels() == 1).then(|| image.to_grey());
        Ok(self.normalize.apply(&self.crop(grey.as_ref().unwrap_or(image))?))
    }
}

impl SampleTransform for EvalTransform {
    fn shape(&self) -> [usize; 3] {
        self.preprocess.input_size
    }

    fn apply(&self, image: &RgbImage, _: &mut Rng) -> Result<Vec<f32>> {
        Self::apply(self, image)
    }
}
