//! What is done to training pictures.

use super::crop::PaddingMode;
use super::erase::{EraseMode, RandomErasing};
use super::interpolation::InterpolationChoice;
use super::jitter::ColorJitter;
use super::preprocess::Preprocess;
use super::rand_augment::RandAugment;
use super::{EvalTransform, TrainTransform, check_probability, check_range};
use crate::error::{DataError, Result};
use serde::{Deserialize, Serialize};

/// How a training picture gets to the input size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainCropMode {
    /// torchvision's `RandomResizedCrop`.
    #[default]
    Rrc,
    /// Resized to cover the input size, padded by `padding`, cropped at random; the usual one for CIFAR.
    RandomCrop,
    /// Resized to the input size, whatever the aspect ratio.
    Squash,
}

/// Training augmentation; names and defaults are those of timm's `create_transform`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentConfig {
    /// How a picture gets to the input size.
    pub train_crop_mode: TrainCropMode,
    /// `rrc`: part of the picture's area, low and high.
    pub scale: [f64; 2],
    /// `rrc`: width over height, low and high.
    pub ratio: [f64; 2],
    /// `random_crop`: pixels added on all sides.
    pub padding: usize,
    /// `random_crop`: what is added.
    pub padding_mode: PaddingMode,
    /// Probability of mirroring.
    pub hflip: f64,
    /// Probability of turning upside down.
    pub vflip: f64,
    /// Strength for brightness, contrast and saturation; off where `auto_augment` is given, as in timm.
    pub color_jitter: f64,
    /// Strength of the hue, 0 to 0.5.
    pub hue: f64,
    /// Jitter even with `auto_augment`.
    pub force_color_jitter: bool,
    /// Probability of taking the colour away.
    pub grayscale_prob: f64,
    /// RandAugment, such as `rand-m9-mstd0.5-inc1`.
    pub auto_augment: Option<RandAugment>,
    /// The filter, or `random`.
    pub interpolation: InterpolationChoice,
    /// Probability of random erasing.
    pub re_prob: f64,
    /// What is put in its place.
    pub re_mode: EraseMode,
    /// Most rectangles.
    pub re_count: usize,
}

impl Default for AugmentConfig {
    fn default() -> Self {
        Self {
            train_crop_mode: TrainCropMode::Rrc,
            scale: [0.08, 1.0],
            ratio: [3.0 / 4.0, 4.0 / 3.0],
            padding: 0,
            padding_mode: PaddingMode::Constant,
            hflip: 0.5,
            vflip: 0.0,
            color_jitter: 0.4,
            hue: 0.0,
            force_color_jitter: false,
            grayscale_prob: 0.0,
            auto_augment: None,
            interpolation: InterpolationChoice::Random,
            re_prob: 0.0,
            re_mode: EraseMode::Const,
            re_count: 1,
        }
    }
}

impl AugmentConfig {
    /// Nothing random: squashed to the input size.
    pub fn none() -> Self {
        Self {
            train_crop_mode: TrainCropMode::Squash,
            hflip: 0.0,
            color_jitter: 0.0,
            interpolation: InterpolationChoice::Fixed(crate::resize::Interpolation::Bilinear),
            ..Self::default()
        }
    }

    /// The usual one for small pictures such as CIFAR: padded by 4, cropped, mirrored.
    pub fn small() -> Self {
        Self { train_crop_mode: TrainCropMode::RandomCrop, padding: 4, color_jitter: 0.0, ..Self::default() }
    }

    /// # Errors
    /// [`DataError::Config`] naming the field that makes no sense.
    pub fn validate(&self) -> Result<()> {
        check_range("scale", self.scale)?;
        check_range("ratio", self.ratio)?;
        for (field, p) in [
            ("hflip", self.hflip),
            ("vflip", self.vflip),
            ("grayscale_prob", self.grayscale_prob),
            ("re_prob", self.re_prob),
        ] {
            check_probability(field, p)?;
        }
        if self.padding > 4096 {
            return Err(DataError::config("padding", "at most 4096 pixels", self.padding));
        }
        self.jitter().validate()?;
        self.erasing().validate()
    }

    /// The jitter that these settings amount to.
    pub(super) fn jitter(&self) -> ColorJitter {
        let three_augment = self.auto_augment.as_ref().is_some_and(RandAugment::is_three_augment);
        if self.auto_augment.is_some() && !self.force_color_jitter && !three_augment {
            return ColorJitter::default();
        }
        ColorJitter { hue: self.hue, ..ColorJitter::uniform(self.color_jitter) }
    }

    pub(super) fn erasing(&self) -> RandomErasing {
        RandomErasing {
            probability: self.re_prob,
            mode: self.re_mode,
            max_count: self.re_count,
            ..RandomErasing::default()
        }
    }
}

/// Everything between a decoded picture and the network, for training and for evaluation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TransformConfig {
    /// Input size, filter and normalisation; what a model file keeps.
    pub preprocess: Preprocess,
    /// What training adds.
    pub augment: AugmentConfig,
}

impl TransformConfig {
    /// The training transform.
    ///
    /// # Errors
    /// [`DataError::Config`] naming the field that makes no sense.
    pub fn train(&self) -> Result<TrainTransform> {
        TrainTransform::new(&self.preprocess, &self.augment)
    }

    /// The evaluation transform.
    ///
    /// # Errors
    /// As [`train`](Self::train).
    pub fn eval(&self) -> Result<EvalTransform> {
        EvalTransform::new(&self.preprocess)
    }
}
