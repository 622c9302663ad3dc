//! `ocelli video deliver encode`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use ocelli_data::video::Ffmpeg;
use ocelli_train::ProgressStyle;
use ocelli_video::deliver::config::PRESETS;
use ocelli_video::deliver::container::Storage;
use ocelli_video::deliver::encode::{EncodeOptions, encode};
use ocelli_video::deliver::low::LowCodec;
use ocelli_video::deliver::{Config, Residual};

use super::{Stages, size};
use crate::cli::Global;
use crate::cli::image::train::on_interrupt;
use crate::cli::output::line;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CodecName {
    H264,
    H265,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TrainOn {
    /// What a player will decode
    Decoded,
    /// The film reduced without a codec, as in the paper
    Clean,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ResidualName {
    /// The network corrects bicubic interpolation
    Bicubic,
    /// The published networks, which start from nothing
    None,
}

/// Make a package of a film: its low resolution as HLS, one network trained on it, a few numbers per chunk.
///
/// An encoding that was interrupted goes on when the command is repeated.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    ocelli video deliver encode film.mp4 --output film.cafm\n  \
    ocelli video deliver encode film.mp4 --output film.cafm --scale 4 --backbone edsr-s --steps 20000 --bits 8\n  \
    ocelli video deliver encode film.mkv --output film.cafm --lr-codec h265 --lr-crf 28 --chunk-seconds 10\n\n\
Networks (--backbone):\n  \
    espcn 64 channels, espcn-s 32, espcn-xs 16: fast enough to watch on a CPU\n  \
    srcnn, vdsr, vdsr16: on the enlarged picture\n  \
    edsr-xs, edsr-s, edsr-m (the paper's), edsr-l, rcan: better and slower\n\n\
Needs ffmpeg with libx264 or libx265.")]
pub struct Encode {
    /// The film: anything ffmpeg decodes
    input: PathBuf,
    /// Folder of the package; must be empty or new
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Factor between both resolutions
    #[arg(long, default_value_t = 2, value_name = "2|3|4")]
    scale: usize,
    /// Length of chunks in seconds
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS")]
    chunk_seconds: f64,
    /// The network
    #[arg(long, default_value = "espcn", value_name = "NAME")]
    backbone: String,
    /// Channels of the network's inner maps [default: the network's]
    #[arg(long, value_name = "N")]
    features: Option<usize>,
    /// Residual blocks of the network [default: the network's]
    #[arg(long, value_name = "N")]
    blocks: Option<usize>,
    /// Factor of EDSR's residual branches
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    res_scale: f64,
    /// What the network's output is added to
    #[arg(long, value_enum, default_value = "bicubic")]
    residual: ResidualName,
    /// Bits per weight as stored
    #[arg(long, default_value_t = 16, value_name = "8|16|32")]
    bits: u8,
    /// Codec of the low-resolution film
    #[arg(long, value_enum, default_value = "h264", value_name = "CODEC")]
    lr_codec: CodecName,
    /// Its quality: 0 (best) to 51
    #[arg(long, default_value_t = 23, value_name = "CRF")]
    lr_crf: u32,
    /// Its encoder's preset
    #[arg(long, default_value = "medium", value_name = "PRESET")]
    lr_preset: String,
    /// What training sees of the low-resolution film
    #[arg(long, value_enum, default_value = "decoded")]
    train_on: TrainOn,
    /// One network for the film, no modulation of chunks: for comparisons
    #[arg(long)]
    no_modulation: bool,
    /// Begin with these weights: a package, or a checkpoint of the reference (.pt, .safetensors)
    #[arg(long, value_name = "PATH")]
    init: Option<PathBuf>,
    /// Train modulations only: adapts the network of --init to this film
    #[arg(long, requires = "init", conflicts_with = "no_modulation")]
    modulations_only: bool,
    /// Optimiser steps
    #[arg(long, default_value_t = 3000, value_name = "N")]
    steps: usize,
    /// Patches per step
    #[arg(long, default_value_t = 16, value_name = "N")]
    batch_size: usize,
    /// Side of a patch of the film in pixels
    #[arg(long, default_value_t = 48, value_name = "PIXELS")]
    patch: usize,
    /// Highest learning rate (Adam, cosine)
    #[arg(long, default_value_t = 1e-3, value_name = "RATE")]
    lr: f64,
    /// Stop training at this PSNR over colours
    #[arg(long, value_name = "DB")]
    target_psnr: Option<f64>,
    /// Memory for frames to learn from; of longer films every so-manieth is kept
    #[arg(long, default_value_t = 2048, value_name = "MIB")]
    cache: u64,
    /// Compare every so many frames of the finished package with the film
    #[arg(long, default_value_t = 10, value_name = "N")]
    verify_every: usize,
    /// Seed of weights and patches
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
}

impl Encode {
    pub(in crate::cli) fn run(self, global: &Global) -> Result<ExitCode> {
        global.device()?;
        let options = self.options()?;
        let ffmpeg = Ffmpeg::find()?;
        let style = if global.quiet { ProgressStyle::Quiet } else { ProgressStyle::Auto };
        let stop = Arc::new(AtomicBool::new(false));
        on_interrupt(stop.clone());
        let mut stages = Stages::new(global);
        let threads = global.threads();
        let made = encode(
            &ffmpeg,
            &self.input,
            &self.output,
            &options,
            threads,
            style,
            &stop,
            &mut |stage, done, total| stages.show(stage, done, total),
        )?;
        let Some(made) = made else {
            eprintln!("stopped; the same command goes on from here");
            return Ok(ExitCode::from(130));
        };
        for note in &made.notes {
            eprintln!("note: {note}");
        }
        let manifest = &made.package.manifest;
        let account = manifest.account;
        let better = manifest.chunks.iter().filter(|chunk| chunk.sr).count();
        line(&format!(
            "PSNR {:.2} dB, interpolated {:.2} dB ({:+.2}; colours, every {}th frame); better than interpolation in {better} of {} chunks",
            made.psnr,
            made.bicubic,
            made.psnr - made.bicubic,
            options.verify_every,
            manifest.chunks.len()
        ))?;
        line(&format!(
            "bytes {} = film of {}x{} {} + network {} + {} modulations {} + manifest {}; {:.1} kbit/s",
            size(account.total),
            manifest.lr.width,
            manifest.lr.height,
            size(account.lr),
            size(account.shared),
            manifest.chunks.iter().filter(|chunk| chunk.modulation.is_some()).count(),
            size(account.mod_total),
            size(account.manifest),
            account.kbit_per_s
        ))?;
        if manifest.lr.audio {
            line(&format!("audio {} besides", size(manifest.lr.audio_bytes)))?;
        }
        line(&format!("package {}", self.output.display()))?;
        Ok(ExitCode::SUCCESS)
    }

    fn options(&self) -> Result<EncodeOptions> {
        let Some(mut network) = Config::preset(&self.backbone, self.scale) else {
            let names: Vec<&str> = PRESETS.iter().map(|(name, _)| *name).collect();
            bail!("--backbone {}: expected one of {}", self.backbone, names.join(", "));
        };
        network.feats = self.features.unwrap_or(network.feats);
        network.blocks = self.blocks.unwrap_or(network.blocks);
        network.res_scale = self.res_scale;
        network.residual = match self.residual {
            ResidualName::Bicubic => Residual::Bicubic,
            ResidualName::None => Residual::None,
        };
        let Some(storage) = Storage::of_bits(self.bits) else {
            bail!("--bits {}: expected 8, 16 or 32", self.bits);
        };
        if self.cache == 0 {
            bail!("--cache must be at least 1");
        }
        Ok(EncodeOptions {
            chunk_seconds: self.chunk_seconds,
            codec: match self.lr_codec {
                CodecName::H264 => LowCodec::H264,
                CodecName::H265 => LowCodec::H265,
            },
            crf: self.lr_crf,
            preset: self.lr_preset.clone(),
            clean: self.train_on == TrainOn::Clean,
            modulated: !self.no_modulation,
            steps: self.steps,
            batch: self.batch_size,
            patch: self.patch,
            lr: self.lr,
            storage,
            start_from: self.init.clone(),
            modulations_only: self.modulations_only,
            seed: self.seed,
            target_psnr: self.target_psnr,
            cache_bytes: self.cache.saturating_mul(1 << 20),
            verify_every: self.verify_every,
            ..EncodeOptions::new(network)
        })
    }
}
