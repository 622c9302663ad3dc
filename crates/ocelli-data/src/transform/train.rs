//! The training transform.

use super::SampleTransform;
use super::augment::{AugmentConfig, TrainCropMode};
use super::crop::{RandomCrop, RandomResizedCrop};
use super::flip::{HorizontalFlip, VerticalFlip};
use super::jitter::ColorJitter;
use super::normalize::Normalize;
use super::preprocess::Preprocess;
use super::resize::keep_ratio;
use crate::error::Result;
use crate::resize::resize;
use crate::rgb::RgbImage;
use crate::rng::Rng;

/// timm's `transforms_imagenet_train`: crop, flip, RandAugment, jitter, normalise, erase.
#[derive(Clone, Debug)]
pub struct TrainTransform {
    preprocess: Preprocess,
    augment: AugmentConfig,
    jitter: ColorJitter,
    normalize: Normalize,
}

impl TrainTransform {
    /// # Errors
    /// [`DataError::Config`](crate::DataError::Config) naming the field that makes no sense.
    pub fn new(preprocess: &Preprocess, augment: &AugmentConfig) -> Result<Self> {
        preprocess.validate()?;
        augment.validate()?;
        let normalize = Normalize::new(&preprocess.mean, &preprocess.std)?.bgr(preprocess.bgr);
        let jitter = augment.jitter();
        Ok(Self { preprocess: preprocess.clone(), augment: augment.clone(), jitter, normalize })
    }

    fn crop(&self, image: &RgbImage, rng: &mut Rng) -> Result<RgbImage> {
        let [_, height, width] = self.preprocess.input_size;
        let a = &self.augment;
        match a.train_crop_mode {
            TrainCropMode::Rrc => {
                let (scale, ratio, interpolation) = (a.scale, a.ratio, a.interpolation);
                RandomResizedCrop { width, height, scale, ratio, interpolation }.apply(image, rng)
            }
            TrainCropMode::RandomCrop => {
                let size = keep_ratio((image.width(), image.height()), (width, height), false);
                let filter = a.interpolation.pick(rng);
                let (padding, padding_mode) = (a.padding, a.padding_mode);
                RandomCrop { width, height, padding, padding_mode }.apply_resized(image, size, filter, rng)
            }
            TrainCropMode::Squash => resize(image, width, height, a.interpolation.pick(rng)),
        }
    }

    /// The augmented picture before normalisation and erasing: `[height, width, 3]`.
    ///
    /// # Errors
    /// Only for pictures too extreme to be resized.
    pub fn augment(&self, image: &RgbImage, rng: &mut Rng) -> Result<RgbImage> {
        let a = &self.augment;
        let grey = (self.normalize.channels() == 1).then(|| image.to_grey());
        let mut picture = self.crop(grey.as_ref().unwrap_or(image), rng)?;
        picture = HorizontalFlip { p: a.hflip }.apply(picture, rng);
        picture = VerticalFlip { p: a.vflip }.apply(picture, rng);
        if let Some(rand_augment) = &a.auto_augment {
            let fill = self.preprocess.mean_colour();
            picture = rand_augment.apply(picture, a.interpolation, fill, rng);
        }
        if self.jitter.is_active() {
            picture = self.jitter.apply(picture, rng);
        }
        if a.grayscale_prob > 0.0 && rng.chance(a.grayscale_prob) {
            picture = picture.to_grey();
        }
        Ok(picture)
    }

    /// One sample, `[channels, height, width]`.
    ///
    /// # Errors
    /// Only for pictures too extreme to be resized.
    pub fn apply(&self, image: &RgbImage, rng: &mut Rng) -> Result<Vec<f32>> {
        let mut sample = self.normalize.apply(&self.augment(image, rng)?);
        if self.augment.re_prob > 0.0 {
            self.augment.erasing().apply(&mut sample, self.preprocess.input_size, rng);
        }
        Ok(sample)
    }
}

impl SampleTransform for TrainTransform {
    fn shape(&self) -> [usize; 3] {
        self.preprocess.input_size
    }

    fn apply(&self, image: &RgbImage, rng: &mut Rng) -> Result<Vec<f32>> {
        Self::apply(self, image, rng)
    }
}
