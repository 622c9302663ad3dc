//! How a film is written.

use super::check_size;
use super::probe::Probe;
use super::rate::Rate;
use crate::error::{DataError, Result};
use std::path::PathBuf;

/// How much of a film is kept.
#[derive(Clone, Debug, PartialEq)]
pub enum Quality {
    /// A constant quality, from 0 (best) to 51; 17 or so is hard to tell from the source.
    Crf(u32),
    /// An average size.
    Bitrate {
        /// The size, in bits per second.
        bits_per_second: u64,
    },
    /// Every frame comes back to the bit. H.264 and H.265 are written as RGB for that, which few players show.
    Lossless,
}

/// How frames are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// H.264 by libx264.
    H264,
    /// H.265 by libx265.
    H265,
    /// FFV1, version 3, as RGB: always lossless. Goes into Matroska and AVI.
    Ffv1,
    /// Uncompressed RGB: always lossless. Goes into Matroska, AVI and NUT.
    RawRgb,
}

/// How a film is written.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// How frames are coded.
    pub codec: Codec,
    /// How much is kept; of no effect on codecs that are always lossless.
    pub quality: Quality,
    /// x264's and x265's trade of time for size: `ultrafast` ... `medium` ... `veryslow`.
    pub preset: String,
    /// Frames per second; with `times` only the nominal rate.
    pub rate: Rate,
    /// For a variable rate: when every frame is shown, in s, in order. The first frame written is shown at 0, so what
    /// counts is the distance from the first entry. Times closer than 0.5 ms, or equal, are moved 1 ms apart.
    pub times: Option<Vec<f64>>,
    /// Width to height of a pixel, where they are not square.
    pub pixel_aspect: Option<(u32, u32)>,
    /// The YUV matrix by ffmpeg's name, as `bt709`; `None` and names that are no YUV matrix: BT.601 up to 576 lines,
    /// BT.709 above.
    pub matrix: Option<String>,
    /// The primaries to tag the film with, by ffmpeg's name; `None`: those of the matrix.
    pub primaries: Option<String>,
    /// The transfer function to tag the film with, by ffmpeg's name; `None`: that of the matrix.
    pub transfer: Option<String>,
    /// The file whose audio streams are taken: copied, or coded as AAC where the container cannot hold them.
    pub audio_from: Option<PathBuf>,
    /// Where the audio begins, in s, on the clock of that file's frames: 0 is when its first frame is shown.
    pub audio_start: f64,
    /// How much of the audio is taken, in s; `None`: to its end.
    pub audio_duration: Option<f64>,
    /// Whether a file that is there already may be replaced.
    pub overwrite: bool,
}

impl Default for WriteOptions {
    /// H.264 of quality 17, preset `medium`, 25 frames per second, no audio; replaces no file.
    fn default() -> Self {
        Self {
            codec: Codec::H264,
            quality: Quality::Crf(17),
            preset: "medium".into(),
            rate: Rate { numerator: 25, denominator: 1 },
            times: None,
            pixel_aspect: None,
            matrix: None,
            primaries: None,
            transfer: None,
            audio_from: None,
            audio_start: 0.0,
            audio_duration: None,
            overwrite: false,
        }
    }
}

impl WriteOptions {
    /// The default, with the rate (and the times, where it varies) the shape of pixels and the colours of
    /// this film. No audio.
    pub fn like(film: &Probe) -> Self {
        Self {
            rate: film.rate,
            times: film.variable_rate.then(|| film.times.clone()),
            pixel_aspect: film.pixel_aspect,
            matrix: film.matrix.clone(),
            primaries: film.primaries.clone(),
            transfer: film.transfer.clone(),
            ..Self::default()
        }
    }

    /// Checks everything that can be checked before anything is started.
    pub(super) fn check(&self, name: &str, width: usize, height: usize) -> Result<()> {
        check_size(name, width, height)?;
        if Rate::new(self.rate.numerator, self.rate.denominator).is_none() {
            return Err(DataError::config("rate", "a fraction without 0", self.rate));
        }
        if let Some((0, _) | (_, 0)) = self.pixel_aspect {
            return Err(DataError::config("pixel_aspect", "two numbers above 0", "a 0"));
        }
        match self.quality {
            Quality::Crf(crf) if crf > 51 => return Err(DataError::config("crf", "0 to 51", crf)),
            Quality::Bitrate { bits_per_second: 0 } => {
                return Err(DataError::config("bits_per_second", "more than 0", 0));
            }
            _ => {}
        }
        if !PRESETS.contains(&self.preset.as_str()) {
            return Err(DataError::config("preset", format!("one of {}", PRESETS.join(", ")), &self.preset));
        }
        for (field, tag) in [("primaries", &self.primaries), ("transfer", &self.transfer)] {
            if let Some(tag) = tag.as_ref().filter(|tag| !is_name(tag)) {
                return Err(DataError::config(field, "a name as `bt709`", tag));
            }
        }
        let seconds = [("audio_start", Some(self.audio_start)), ("audio_duration", self.audio_duration)];
        for (field, value) in seconds {
            if let Some(value) = value.filter(|value| !value.is_finite() || *value < 0.0) {
                return Err(DataError::config(field, "a time of 0 s or more", value));
            }
        }
        let times = self.times.as_deref().unwrap_or_default();
        let unordered = times.windows(2).find(|pair| pair[1] < pair[0]);
        match times
            .iter()
            .find(|time| !time.is_finite() || time.abs() > MAX_TIME)
            .or(unordered.map(|p| &p[1]))
        {
            Some(time) => Err(DataError::config("times", "times in s, in order", time)),
            None => Ok(()),
        }
    }

    /// When every frame is shown, in s from the first one: no two at the same time.
    pub(super) fn spaced_times(&self) -> Option<Vec<f64>> {
        let times = self.times.as_ref()?;
        let first = times.first().copied().unwrap_or(0.0);
        let mut last = f64::NEG_INFINITY;
        let spaced = |time: &f64| {
            let time = time - first;
            last = if time < last + 0.0005 { last + 0.001 } else { time };
            last
        };
        Some(times.iter().map(spaced).collect())
    }
}

/// No film is longer than this, in s.
const MAX_TIME: f64 = 1e9;

const PRESETS: [&str; 10] = [
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
];

/// Names go into filter descriptions, where other characters have a meaning.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}
