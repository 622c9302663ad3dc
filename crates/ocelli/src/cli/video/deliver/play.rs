//! `ocelli video deliver play`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use ocelli_data::video::{Codec, Destination, Ffmpeg, Quality};
use ocelli_video::deliver::package::Package;
use ocelli_video::deliver::play::{PlayOptions, play};
use ocelli_video::deliver::upscale::Precision;

use super::Stages;
use crate::cli::Global;
use crate::cli::output::line;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CodecName {
    H264,
    H265,
    /// Lossless, for .mkv
    Ffv1,
    /// Not compressed, for .mkv or a pipe
    Raw,
}

/// Play a package in full resolution, into a file or a player.
///
/// Chunks whose modulation is missing or damaged are interpolated, and said.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    ocelli video deliver play film.cafm --output film.mp4\n  \
    ocelli video deliver play film.cafm --int8 --codec raw --output - | mpv -\n  \
    ocelli video deliver play film.cafm --start 60 --duration 10 --output part.mp4")]
pub struct Play {
    /// The package's folder
    package: PathBuf,
    /// The film to write; - for standard output (Matroska)
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Begin here, in seconds
    #[arg(long, default_value_t = 0.0, value_name = "SECONDS")]
    start: f64,
    /// Stop after so many seconds
    #[arg(long, value_name = "SECONDS")]
    duration: Option<f64>,
    /// Networks in integers of 8 bits: faster, a little less exact
    #[arg(long)]
    int8: bool,
    /// Interpolate instead of running networks: for comparisons
    #[arg(long, conflicts_with = "int8")]
    bicubic: bool,
    /// How the film is coded
    #[arg(long, value_enum, default_value = "h264")]
    codec: CodecName,
    /// Its quality: 0 (best) to 51
    #[arg(long, default_value_t = 12, value_name = "CRF")]
    crf: u32,
    /// The encoder's preset; faster ones keep up with playing
    #[arg(long, default_value = "veryfast", value_name = "PRESET")]
    preset: String,
    /// Replace a file that is there already
    #[arg(long)]
    force: bool,
}

impl Play {
    pub(in crate::cli) fn run(self, global: &Global) -> Result<ExitCode> {
        global.device()?;
        let package = Package::open(&self.package)?;
        let ffmpeg = Ffmpeg::find()?;
        let piped = self.output == Path::new("-");
        if piped && std::io::stdout().is_terminal() {
            bail!("--output -: standard output is a terminal; pipe it into a player");
        }
        let options = PlayOptions {
            precision: if self.int8 { Precision::Int8 } else { Precision::Float },
            threads: global.threads(),
            bicubic: self.bicubic,
            start: self.start,
            duration: self.duration,
            codec: match self.codec {
                CodecName::H264 => Codec::H264,
                CodecName::H265 => Codec::H265,
                CodecName::Ffv1 => Codec::Ffv1,
                CodecName::Raw => Codec::RawRgb,
            },
            quality: Quality::Crf(self.crf),
            preset: self.preset.clone(),
            overwrite: self.force,
        };
        let to = if piped { Destination::Stdout } else { Destination::File(&self.output) };
        let mut stages = Stages::new(global);
        let begun = Instant::now();
        let played =
            play(&ffmpeg, &package, to, &options, &mut |done, total| stages.show("playing", done, total))?;
        for warning in &played.warnings {
            eprintln!("warning: {warning}");
        }
        let seconds = begun.elapsed().as_secs_f64();
        let rate = |seconds: f64| played.frames as f64 / seconds.max(1e-9);
        let text = format!(
            "{} frames of {}x{} in {seconds:.1} s: {:.1} frames/s, enlarging alone {:.1} frames/s (the film has {:.2})",
            played.frames,
            package.manifest.video.width,
            package.manifest.video.height,
            rate(seconds),
            rate(played.enlarging / played.threads as f64),
            package.manifest.video.fps.value()
        );
        if piped {
            eprintln!("{text}")
        } else {
            line(&text)?
        }
        Ok(ExitCode::SUCCESS)
    }
}
