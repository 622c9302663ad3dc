//! What is measured.

use serde::{Deserialize, Serialize};

use super::account::{Bytes, Delay};
use super::measure::Figures;
use super::pictures::Shown;
use crate::deliver::low::LowCodec;

/// The film that packages were made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Film {
    /// Its file's name.
    pub name: String,
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Frames.
    pub frames: u64,
    /// Seconds.
    pub seconds: f64,
    /// Its codec by ffmpeg's name.
    pub codec: String,
    /// Bytes of its coded frames.
    pub bytes: u64,
}

/// A chunk of a package.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChunkReport {
    /// Its number.
    pub index: usize,
    /// When it begins, in seconds.
    pub start: f64,
    /// When it ends, in seconds.
    pub end: f64,
    /// Whether the network is used.
    pub sr: bool,
    /// Bytes of its modulation.
    pub modulation: u64,
    /// As played; nothing where none of its frames was compared.
    pub package: Option<Figures>,
    /// Interpolated.
    pub bicubic: Option<Figures>,
}

/// How many times a package's bytes a codec needs for the package's PSNR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Needs {
    /// So many, between measured points.
    pub times: Option<f64>,
    /// Fewer than so many: the codec's smallest film is better already.
    pub less_than: Option<f64>,
    /// More than so many: the codec's largest film is not as good.
    pub more_than: Option<f64>,
}

/// A codec at a package's bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Equal {
    /// The codec.
    pub codec: LowCodec,
    /// Bytes of its coded frames.
    pub bytes: u64,
    /// The rate that was asked for, in kbit/s.
    pub kbit: u64,
    /// Encodings that it took to get there.
    pub tries: usize,
    /// Why `bytes` are not within 1 % below the package's, if they are not.
    pub missed: Option<String>,
    /// How close it is to the film.
    pub figures: Figures,
    /// The same of the package's chunks.
    pub chunks: Vec<Option<Figures>>,
    /// By how many dB of PSNR over colours the codec is better than the package; below 0 the package is better. Of no meaning where one of
    /// both is [`IDENTICAL`](crate::deliver::metrics::IDENTICAL).
    pub ahead: f64,
    /// Bytes for the package's PSNR.
    pub needs: Needs,
}

/// A package.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PackageReport {
    /// Its folder's name.
    pub name: String,
    /// The network, as [`Config::architecture`](crate::deliver::Config::architecture) has it.
    pub network: String,
    /// Factor between both resolutions.
    pub scale: usize,
    /// Bits per stored weight.
    pub bits: u32,
    /// The low-resolution film in words: codec, quality, extents.
    pub low: String,
    /// Bytes of its parts.
    pub bytes: Bytes,
    /// Bits per second of its total, in thousands.
    pub kbit_per_s: f64,
    /// How long one waits before it begins.
    pub delays: Vec<Delay>,
    /// As played.
    pub package: Figures,
    /// Interpolation of the same low-resolution film.
    pub bicubic: Figures,
    /// Its chunks.
    pub chunks: Vec<ChunkReport>,
    /// Codecs at its bytes.
    pub equal: Vec<Equal>,
}

/// A film coded by a codec.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CodecPoint {
    /// Bytes of its coded frames.
    pub bytes: u64,
    /// The rate that was asked for, in kbit/s.
    pub kbit: u64,
    /// How close it is to the film.
    pub figures: Figures,
}

/// A codec at several rates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CodecCurve {
    /// The codec.
    pub codec: LowCodec,
    /// By bytes, from few to many.
    pub points: Vec<CodecPoint>,
}

/// Bjøntegaard deltas of the packages against a codec, over the range that both share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delta {
    /// The codec.
    pub codec: LowCodec,
    /// Packages: points of their curve. Four are usual.
    pub packages: usize,
    /// How many percent more bytes packages take at the same PSNR over colours; nothing where no PSNR is shared.
    pub rate_rgb: Option<f64>,
    /// By how many dB of PSNR over colours packages are better at the same bytes.
    pub psnr_rgb: Option<f64>,
    /// As `rate_rgb`, by PSNR of luma.
    pub rate_y: Option<f64>,
    /// As `psnr_rgb`, of luma.
    pub psnr_y: Option<f64>,
}

/// Everything that was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The film.
    pub film: Film,
    /// The version of ffmpeg, as it states it.
    pub ffmpeg: Option<String>,
    /// The codecs' preset.
    pub preset: String,
    /// Every how many frames films were compared.
    pub every: usize,
    /// Pixels cut from every side for PSNR over colours: 6 more than the largest scale.
    pub cut: usize,
    /// Packages in the order they were given.
    pub packages: Vec<PackageReport>,
    /// Codecs.
    pub curves: Vec<CodecCurve>,
    /// Packages against codecs, where there are two or more packages.
    pub deltas: Vec<Delta>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// Places of the film as the first package and codecs at its bytes show them.
    #[serde(skip)]
    pub pictures: Vec<Shown>,
}
