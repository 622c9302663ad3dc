//! How a package is made.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::config::Config;
use super::container::Storage;
use super::low::LowCodec;
use crate::VideoError;

/// Pixels of a step, at most: the maps of a deep network take some ten kilobytes for each.
const MOST_PIXELS: usize = 1 << 22;

/// How a package is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EncodeOptions {
    /// The network, without chunks.
    pub network: Config,
    /// Length of chunks in seconds.
    pub chunk_seconds: f64,
    /// Codec of the low-resolution film.
    pub codec: LowCodec,
    /// Its constant rate factor.
    pub crf: u32,
    /// The encoder's preset.
    pub preset: String,
    /// Training sees the film reduced in memory, as in the paper, not what a player decodes.
    pub clean: bool,
    /// Whether chunks have modulations.
    pub modulated: bool,
    /// Optimiser steps.
    pub steps: usize,
    /// Patches per step.
    pub batch: usize,
    /// Side of a patch of the high resolution in pixels.
    pub patch: usize,
    /// Peak learning rate.
    pub lr: f64,
    /// How weights are stored.
    pub storage: Storage,
    /// Weights to begin with: a package, or a checkpoint under the published names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_from: Option<PathBuf>,
    /// Only modulations are trained, as when a network is adapted to another film.
    #[serde(default)]
    pub modulations_only: bool,
    /// Seed of weights and patches.
    pub seed: u64,
    /// PSNR in dB at which training may end.
    pub target_psnr: Option<f64>,
    /// Frames kept for training take at most so many bytes.
    pub cache_bytes: u64,
    /// Every how many frames the finished package is compared with the film.
    pub verify_every: usize,
}

impl EncodeOptions {
    /// The defaults for `network`: chunks of 5 s, H.264 of quality 23, 3000 steps of 16 patches of 48 pixels.
    pub fn new(network: Config) -> Self {
        Self {
            network,
            chunk_seconds: 5.0,
            codec: LowCodec::H264,
            crf: 23,
            preset: "medium".into(),
            clean: false,
            modulated: true,
            steps: 3000,
            batch: 16,
            patch: 48,
            lr: 1e-3,
            storage: Storage::F16,
            start_from: None,
            modulations_only: false,
            seed: 0,
            target_psnr: None,
            cache_bytes: 2 << 30,
            verify_every: 10,
        }
    }

    pub(super) fn check(&self) -> Result<(), VideoError> {
        self.network.check()?;
        let wrong = |text: String| Err(VideoError::Config(text));
        if !(self.chunk_seconds >= 0.1 && self.chunk_seconds <= 86_400.0) {
            return wrong(format!("chunks of {} s: expected 0.1 s to a day", self.chunk_seconds));
        }
        if self.crf > 51 {
            return wrong(format!("a quality of {}: expected 0 (best) to 51", self.crf));
        }
        if !(1..=1_000_000_000).contains(&self.steps) || !(1..=4096).contains(&self.batch) {
            let (steps, batch) = (self.steps, self.batch);
            return wrong(format!(
                "{steps} steps of {batch} patches: expected 1 to 10^9 steps of 1 to 4096 patches"
            ));
        }
        if self.patch < 4 * self.network.scale
            || self.patch > 1024
            || !self.patch.is_multiple_of(self.network.scale)
        {
            let scale = self.network.scale;
            return wrong(format!(
                "patches of {} pixels: expected a multiple of {scale} from {} to 1024",
                self.patch,
                4 * scale
            ));
        }
        if self.batch * self.patch * self.patch > MOST_PIXELS {
            let (batch, patch) = (self.batch, self.patch);
            return wrong(format!(
                "{batch} patches of {patch} pixels: expected at most {MOST_PIXELS} pixels a step"
            ));
        }
        if !(self.lr.is_finite() && self.lr > 0.0) {
            return wrong(format!("a learning rate of {}: expected more than 0", self.lr));
        }
        if self.modulations_only && (self.start_from.is_none() || !self.modulated) {
            return wrong("training modulations alone needs weights to begin with, and modulations".into());
        }
        if self.verify_every == 0 {
            return wrong("verifying every 0 frames: expected 1 or more".into());
        }
        Ok(())
    }
}
