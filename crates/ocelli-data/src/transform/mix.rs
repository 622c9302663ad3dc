//! Mixup (Zhang et al. 2017) and CutMix (Yun et al. 2019) over a batch, as timm's `Mixup` in mode `batch`.

use crate::error::{DataError, Result};
use crate::resize::Rect;
use crate::rng::Rng;
use serde::{Deserialize, Serialize};

/// Mixes each sample of a batch with its mirror image in the batch's order, and labels to soft targets.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MixConfig {
    /// Beta parameter of mixup; 0 is off.
    pub mixup_alpha: f64,
    /// Beta parameter of CutMix; 0 is off.
    pub cutmix_alpha: f64,
    /// Probability that a batch is mixed.
    pub prob: f64,
    /// Probability of CutMix where both are on.
    pub switch_prob: f64,
    /// Part of the target that is spread over all classes.
    pub label_smoothing: f64,
}

impl Default for MixConfig {
    /// All off. timm's usual: mixup 0.8, cutmix 1.0, smoothing 0.1.
    fn default() -> Self {
        Self { mixup_alpha: 0.0, cutmix_alpha: 0.0, prob: 1.0, switch_prob: 0.5, label_smoothing: 0.0 }
    }
}

/// How a batch was mixed.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixed {
    /// Part of each sample that is its own.
    pub lam: f64,
    /// The rectangle that was pasted, for CutMix.
    pub cut: Option<Rect>,
    /// `[batch, classes]`; each row sums to 1.
    pub targets: Vec<f32>,
}

impl MixConfig {
    /// Whether soft targets come out at all.
    pub fn is_active(&self) -> bool {
        self.mixup_alpha > 0.0 || self.cutmix_alpha > 0.0 || self.label_smoothing > 0.0
    }

    /// # Errors
    /// [`DataError::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        for (field, alpha) in [("mixup_alpha", self.mixup_alpha), ("cutmix_alpha", self.cutmix_alpha)] {
            if !(alpha >= 0.0 && alpha.is_finite()) {
                return Err(DataError::config(field, "0 or more", alpha));
            }
        }
        super::check_probability("mixup_prob", self.prob)?;
        super::check_probability("mixup_switch_prob", self.switch_prob)?;
        if !(0.0..1.0).contains(&self.label_smoothing) {
            return Err(DataError::config("label_smoothing", "0 or more, below 1", self.label_smoothing));
        }
        Ok(())
    }

    /// Mixes `pixels` (`shape = [batch, channels, height, width]`) in place.
    ///
    /// Sample `i` meets sample `batch - 1 - i`; the middle of an odd batch stays as it is.
    ///
    /// # Errors
    /// [`DataError::Config`] when lengths and shape disagree or a label is not below `classes`.
    pub fn apply(
        &self,
        pixels: &mut [f32],
        shape: [usize; 4],
        labels: &[usize],
        classes: usize,
        rng: &mut Rng,
    ) -> Result<Mixed> {
        let sample: usize = shape[1..].iter().product();
        if pixels.len() != shape[0] * sample || labels.len() != shape[0] {
            let found = format!("{} values, {} labels", pixels.len(), labels.len());
            return Err(DataError::config("batch", format!("shape {shape:?}"), found));
        }
        let (mut lam, use_cutmix) = self.draw(rng);
        let mut cut = None;
        if lam < 1.0 && sample > 0 {
            if use_cutmix {
                let (rect, corrected) = cut_box(shape[2], shape[3], lam, rng);
                lam = corrected;
                cut = Some(rect);
            }
            let half = shape[0] / 2;
            // What follows the first half holds the partners at its end.
            let (front, rest) = pixels.split_at_mut(half * sample);
            let pairs = front.chunks_exact_mut(sample.max(1));
            let partners = rest.rchunks_exact_mut(sample.max(1)).take(half);
            for (a, b) in pairs.zip(partners) {
                match cut {
                    Some(rect) => swap_box(a, b, shape[2], shape[3], rect),
                    None => blend(a, b, lam as f32, (1.0 - lam) as f32),
                }
            }
        }
        let targets = soft_targets(labels, classes, lam, self.label_smoothing)?;
        Ok(Mixed { lam, cut, targets })
    }

    fn draw(&self, rng: &mut Rng) -> (f64, bool) {
        let (mixup, cutmix) = (self.mixup_alpha > 0.0, self.cutmix_alpha > 0.0);
        if !(mixup || cutmix) || !rng.chance(self.prob) {
            return (1.0, false);
        }
        let use_cutmix = if mixup && cutmix { rng.chance(self.switch_prob) } else { cutmix };
        let alpha = if use_cutmix { self.cutmix_alpha } else { self.mixup_alpha };
        (rng.beta(alpha, alpha), use_cutmix)
    }
}

fn blend(a: &mut [f32], b: &mut [f32], lam: f32, rest: f32) {
    for (a, b) in a.iter_mut().zip(b) {
        (*a, *b) = (*a * lam + *b * rest, *b * lam + *a * rest);
    }
}

fn swap_box(a: &mut [f32], b: &mut [f32], height: usize, width: usize, rect: Rect) {
    for (a, b) in a.chunks_exact_mut(height * width).zip(b.chunks_exact_mut(height * width)) {
        for y in rect.y..rect.y + rect.height {
            let row = y * width + rect.x..y * width + rect.x + rect.width;
            a[row.clone()].swap_with_slice(&mut b[row]);
        }
    }
}

/// A box of about `1 - lam` of the area around a random pixel, clipped, and `lam` corrected for the clipping.
fn cut_box(height: usize, width: usize, lam: f64, rng: &mut Rng) -> (Rect, f64) {
    let ratio = libm::sqrt(1.0 - lam);
    let mut side = |length: usize| {
        let cut = (length as f64 * ratio) as usize;
        let centre = rng.below(length);
        let from = centre.saturating_sub(cut / 2);
        (from, (centre + cut.div_ceil(2)).min(length) - from)
    };
    let (y, h) = side(height);
    let (x, w) = side(width);
    (Rect { x, y, width: w, height: h }, 1.0 - (h * w) as f64 / (height * width) as f64)
}

/// `[batch, classes]`: the smoothed label weighted `lam`, that of the batch's mirror image `1 - lam`.
fn soft_targets(labels: &[usize], classes: usize, lam: f64, smoothing: f64) -> Result<Vec<f32>> {
    if let Some(label) = labels.iter().find(|&&l| l >= classes) {
        return Err(DataError::config("label", format!("a label below {classes}"), label));
    }
    let off = smoothing / classes as f64;
    let mut targets = vec![off as f32; labels.len() * classes];
    let rows = targets.chunks_exact_mut(classes.max(1));
    for ((row, &own), &other) in rows.zip(labels).zip(labels.iter().rev()) {
        row[own] += ((1.0 - smoothing) * lam) as f32;
        row[other] += ((1.0 - smoothing) * (1.0 - lam)) as f32;
    }
    Ok(targets)
}
