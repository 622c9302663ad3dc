//! `manifest.json`: what a package holds.

use std::path::{Component, Path};

use ocelli_data::video::Rate;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::config::Config;
use super::container::{Storage, arch_hash};
use super::low::Extents;
use crate::VideoError;

/// Version written here; files of a later one are refused.
pub const VERSION: u32 = 1;

/// What `format` says.
pub const FORMAT: &str = "cafm-package";

/// The most bytes of a manifest.
pub const MAX_BYTES: u64 = 64 << 20;

/// The most pixels of a frame.
const MAX_PIXELS: usize = 1 << 27;

/// A file of a package.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Where it is, relative to the manifest, with slashes.
    pub uri: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 in hexadecimal digits.
    pub sha256: String,
}

impl Part {
    /// Describes `bytes`.
    pub fn of(uri: impl Into<String>, bytes: &[u8]) -> Self {
        Self { uri: uri.into(), bytes: bytes.len() as u64, sha256: digest(bytes) }
    }
}

/// SHA-256 in hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The film.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Video {
    /// Width in pixels as shown.
    pub width: usize,
    /// Height in pixels as shown.
    pub height: usize,
    /// Frames per second.
    pub fps: Rate,
    /// Frames.
    pub frames: u64,
    /// Seconds.
    pub duration: f64,
    /// Whether frames come at irregular times, which chunks then list.
    #[serde(default)]
    pub variable_rate: bool,
    /// Width of a pixel over its height, where pixels are not square.
    #[serde(default)]
    pub pixel_aspect: Option<[u32; 2]>,
    /// YUV matrix by ffmpeg's name.
    #[serde(default)]
    pub matrix: Option<String>,
    /// Primaries by ffmpeg's name.
    #[serde(default)]
    pub primaries: Option<String>,
    /// Transfer function by ffmpeg's name.
    #[serde(default)]
    pub transfer: Option<String>,
}

/// The low-resolution film.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Low {
    /// HLS playlist, playable by itself.
    pub playlist: Part,
    /// Initialisation segment.
    pub init: Part,
    /// `h264` or `h265`.
    pub codec: String,
    /// Width in pixels, a multiple of 2.
    pub width: usize,
    /// Height in pixels, a multiple of 2.
    pub height: usize,
    /// YUV matrix that its frames are converted with.
    #[serde(default)]
    pub matrix: Option<String>,
    /// Bytes of the initialisation and all segments.
    pub bytes: u64,
    /// Bytes of these that are audio.
    #[serde(default)]
    pub audio_bytes: u64,
    /// Constant rate factor it was encoded with.
    #[serde(default)]
    pub crf: Option<u32>,
    /// Whether it has audio.
    #[serde(default)]
    pub audio: bool,
}

/// The shared network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SuperResolution {
    /// How to build it.
    pub network: Config,
    /// The first 8 bytes of the SHA-256 of [`Config::architecture`], in hexadecimal digits.
    pub arch_hash: String,
    /// How its weights are stored.
    pub storage: Storage,
    /// The weights.
    pub shared: Part,
}

/// A chunk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChunkPart {
    /// Its number.
    pub index: usize,
    /// When it begins, in seconds.
    pub start: f64,
    /// When it ends, in seconds.
    pub end: f64,
    /// Its first frame.
    pub first_frame: u64,
    /// Its frames.
    pub frames: u64,
    /// Its segment of the low-resolution film.
    pub segment: Part,
    /// Whether the network is better than interpolation here; if not there is no modulation.
    pub sr: bool,
    /// Its modulation.
    #[serde(default, rename = "mod")]
    pub modulation: Option<Part>,
    /// Mean PSNR over colours of what a player shows, in dB.
    #[serde(default)]
    pub psnr_rgb: Option<f64>,
    /// The same of interpolation.
    #[serde(default)]
    pub psnr_bicubic: Option<f64>,
    /// Times of the frames in seconds, where the rate varies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub times: Vec<f64>,
}

/// Bytes of everything, audio left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// Low-resolution film.
    pub lr: u64,
    /// Shared weights.
    pub shared: u64,
    /// Modulations.
    pub mod_total: u64,
    /// Manifest and playlist; the manifest's own size as it was before this number was put in.
    pub manifest: u64,
    /// All.
    pub total: u64,
    /// Bits per second of all, in thousands.
    pub kbit_per_s: f64,
}

/// A package.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Always [`FORMAT`].
    pub format: String,
    /// See [`VERSION`].
    pub version: u32,
    /// The film.
    pub video: Video,
    /// The network.
    pub sr: SuperResolution,
    /// The low-resolution film.
    pub lr: Low,
    /// The chunks in order.
    pub chunks: Vec<ChunkPart>,
    /// Bytes.
    pub account: Account,
}

impl Manifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// If it is no manifest, of a later version, or contradicts itself.
    pub fn parse(path: &Path, text: &[u8]) -> Result<Self, VideoError> {
        let wrong = |problem: String| VideoError::malformed(path, problem);
        let json: serde_json::Value = serde_json::from_slice(text)
            .map_err(|error| wrong(format!("expected the manifest of a package, found no JSON: {error}")))?;
        if json["format"] != FORMAT {
            return Err(wrong(format!("expected the manifest of a package (\"format\": \"{FORMAT}\")")));
        }
        match json["version"].as_u64() {
            Some(version) if version == u64::from(VERSION) => {}
            Some(version) => {
                return Err(wrong(format!("version {version}; this program reads version {VERSION}")));
            }
            None => return Err(wrong("has no version".into())),
        }
        let own: Self = serde_json::from_value(json).map_err(|error| wrong(error.to_string()))?;
        own.check().map_err(wrong)?;
        Ok(own)
    }

    fn check(&self) -> Result<(), String> {
        let config = &self.sr.network;
        config.check().map_err(|error| error.to_string())?;
        let hash: String = arch_hash(config).iter().map(|byte| format!("{byte:02x}")).collect();
        if self.sr.arch_hash != hash {
            let (found, network) = (&self.sr.arch_hash, config.architecture());
            return Err(format!("the architecture's hash is {found}, expected {hash} of {network}"));
        }
        let (low, video) = (&self.lr, &self.video);
        let most = ocelli_data::video::MAX_SIDE;
        let sides = [low.width, low.height, video.width, video.height];
        if sides.iter().any(|side| !(1..=most).contains(side)) {
            return Err(format!("sides of {sides:?} pixels, expected 1 to {most}"));
        }
        // 16K films have fewer; a frame of more would take half a gigabyte and is nobody's.
        if video.width * video.height > MAX_PIXELS {
            return Err(format!(
                "frames of {}x{}, expected at most {MAX_PIXELS} pixels",
                video.width, video.height
            ));
        }
        let expected = Extents::new([video.height, video.width], config.scale).low;
        if [low.height, low.width] != expected {
            return Err(format!(
                "a low-resolution film of {}x{}, expected {}x{} of {}x{}",
                low.width, low.height, expected[1], expected[0], video.width, video.height
            ));
        }
        if !(video.duration.is_finite() && video.duration > 0.0) {
            return Err(format!("a film of {} s", video.duration));
        }
        if self.chunks.is_empty() {
            return Err("has no chunks".into());
        }
        if config.chunks != self.chunks.len() {
            return Err(format!("a network for {} chunks, found {}", config.chunks, self.chunks.len()));
        }
        let (mut frame, mut last) = (0u64, 0.0);
        for (index, chunk) in self.chunks.iter().enumerate() {
            if chunk.index != index || chunk.first_frame != frame || chunk.frames == 0 {
                return Err(format!("chunk {index} does not follow the one before it"));
            }
            if !chunk.start.is_finite() || !chunk.end.is_finite() || chunk.end < chunk.start {
                return Err(format!("chunk {index} lasts from {} s to {} s", chunk.start, chunk.end));
            }
            if video.variable_rate && chunk.times.len() as u64 != chunk.frames {
                return Err(format!(
                    "chunk {index} has {} frames and {} times",
                    chunk.frames,
                    chunk.times.len()
                ));
            }
            let ordered = chunk.times.iter().zip(chunk.times.iter().skip(1)).all(|(a, b)| a <= b);
            let inside = |time: &f64| time.is_finite() && *time >= last && *time <= video.duration;
            if video.variable_rate && !(ordered && chunk.times.iter().all(inside)) {
                return Err(format!("chunk {index}: times that do not follow each other within the film"));
            }
            last = chunk.times.last().copied().unwrap_or(last);
            frame = frame.checked_add(chunk.frames).ok_or("has too many frames")?;
        }
        if frame != video.frames {
            return Err(format!("{} frames, the chunks have {frame}", video.frames));
        }
        if !(video.fps.value().is_finite() && video.fps.value() > 0.0) {
            return Err(format!("{} frames per second", video.fps));
        }
        // No film has more packets, and a list of times is made of them.
        if frame > ocelli_data::video::MAX_PACKETS {
            return Err(format!("{frame} frames, expected at most {}", ocelli_data::video::MAX_PACKETS));
        }
        for part in self.parts() {
            if !is_inside(&part.uri) {
                return Err(format!("\"{}\" does not lie in the package", part.uri));
            }
        }
        Ok(())
    }

    /// All files but the manifest.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        let chunks =
            self.chunks.iter().flat_map(|chunk| [&chunk.segment].into_iter().chain(&chunk.modulation));
        [&self.lr.playlist, &self.lr.init, &self.sr.shared].into_iter().chain(chunks)
    }
}

/// Whether a relative path stays below where it starts.
fn is_inside(uri: &str) -> bool {
    !uri.is_empty()
        && !uri.contains(['\\', ':', '\0'])
        && Path::new(uri).components().all(|part| matches!(part, Component::Normal(_)))
}
