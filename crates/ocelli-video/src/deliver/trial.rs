//! Arms of training compared on one film: a network with modulations, one without, one per chunk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use ocelli_data::video::{
    Codec, Destination, Ffmpeg, Probe, Quality, Rate, ReadOptions, Reader, WriteOptions, Writer, probe,
};
use ocelli_nn::state_dict::parameter_count;
use ocelli_nn::weights::WeightFile;
use ocelli_train::{ProgressStyle, RunFolder, Trainer};

use super::config::Config;
use super::container::{Storage, modulation_bytes, shared_bytes};
use super::encode::{EncodeOptions, train_config};
use super::init::initialize;
use super::low::{self, Extents, LowCodec};
use super::metrics::Mean;
use super::net::Net;
use super::patches::{Frames, Pair};
use super::train::DeliverTask;
use super::upscale::{Precision, Upscaler};
use crate::VideoError;

/// The film that is tried on, its low resolution as a player decodes it, and what that takes.
#[derive(Debug)]
pub struct Material {
    /// The film.
    pub film: Probe,
    /// All frames.
    pub frames: Frames,
    /// Chunks.
    pub chunks: usize,
    /// Bytes of the low-resolution film.
    pub low_bytes: u64,
    /// Bytes that a manifest of so many chunks takes, about: 500 a chunk and 1500.
    pub manifest_bytes: u64,
    scale: usize,
}

/// Which frames a film is made of.
#[derive(Clone, Debug)]
pub struct Choice {
    /// A film: `chunks` runs of frames, spread evenly. A folder: a run out of the middle of every film in it.
    pub source: PathBuf,
    /// Runs of one film.
    pub chunks: usize,
    /// Frames of a run.
    pub frames: usize,
    /// Height and width they are scaled to.
    pub size: [usize; 2],
}

/// Frames a second of the film that is made.
const RATE: Rate = Rate { numerator: 24, denominator: 1 };

/// Films in a folder, by name.
fn films(folder: &Path) -> Result<Vec<PathBuf>, VideoError> {
    let known = ["mp4", "mkv", "webm", "mov", "avi", "m4v"];
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(VideoError::io(folder))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
            path.is_file() && ending.is_some_and(|ending| known.contains(&ending.as_str()))
        })
        .collect();
    found.sort();
    if found.is_empty() {
        return Err(VideoError::malformed(folder, format!("expected films in it ({})", known.join(", "))));
    }
    Ok(found)
}

impl Material {
    /// Puts the chosen frames one after another into a film in `folder`, and encodes its low resolution.
    ///
    /// # Errors
    /// If there are no films, or too few frames, or ffmpeg fails.
    pub fn make(
        ffmpeg: &Ffmpeg,
        choice: &Choice,
        scale: usize,
        (codec, crf): (LowCodec, u32),
        folder: &Path,
    ) -> Result<Self, VideoError> {
        let [height, width] = choice.size;
        // Nearly without loss, with halved chroma as codecs take films: this is the film that all are compared with.
        let path = folder.join("film.mp4");
        let (codec_of_film, quality) = (Codec::H264, Quality::Crf(1));
        let options = WriteOptions { codec: codec_of_film, quality, rate: RATE, ..WriteOptions::default() };
        let mut writer = Writer::create(ffmpeg, Destination::File(&path), width, height, &options)?;
        let (sources, runs) = match choice.source.is_dir() {
            true => (films(&choice.source)?, 1),
            false => (vec![choice.source.clone()], choice.chunks),
        };
        let mut frame = Vec::new();
        for source in &sources {
            let own = probe(ffmpeg, source)?;
            let room = own.frames as usize / runs;
            if room < choice.frames {
                let problem = format!("{} frames, expected {runs} runs of {}", own.frames, choice.frames);
                return Err(VideoError::malformed(source, problem));
            }
            for run in 0..runs {
                let first = run * room + (room - choice.frames) / 2;
                let options = ReadOptions {
                    size: Some((width, height)),
                    start: Some(own.times[first]),
                    frames: Some(choice.frames as u64),
                };
                let mut reader = Reader::open(ffmpeg, &own, &options)?;
                while reader.read_into(&mut frame)? {
                    writer.write(&frame)?;
                }
            }
        }
        writer.finish()?;
        let film = probe(ffmpeg, &path)?;
        let chunks = sources.len() * runs;
        let starts: Vec<usize> = (0..chunks).map(|chunk| chunk * choice.frames).collect();
        let extents = Extents::new(choice.size, scale);
        let lr = folder.join("lr");
        let low = low::encode(ffmpeg, &film, &extents, &starts, (codec, crf, "medium"), &lr)?;
        let size = |name: &str| {
            let path = lr.join(name);
            std::fs::metadata(&path).map(|meta| meta.len()).map_err(VideoError::io(&path))
        };
        let mut low_bytes = size(&low.init)?;
        let mut high = Reader::open(ffmpeg, &film, &ReadOptions::default())?;
        let mut pairs = Vec::new();
        let mut small = Vec::new();
        for (chunk, name) in low.segments.iter().enumerate() {
            low_bytes += size(name)?;
            let parts = vec![lr.join(&low.init), lr.join(name)];
            let mut decoded = low::frames(ffmpeg, parts, extents.low, None)?;
            for _ in 0..choice.frames {
                if !high.read_into(&mut frame)? || !decoded.read_into(&mut small)? {
                    return Err(VideoError::malformed(&path, "has fewer frames than were written"));
                }
                let high = Arc::new(extents.pad(&frame));
                pairs.push(Pair { low: Arc::new(small.clone()), high, chunk });
            }
        }
        let frames = Frames { size: extents.low, scale, pairs };
        let manifest_bytes = 1500 + 500 * chunks as u64;
        Ok(Self { film, frames, chunks, low_bytes, manifest_bytes, scale })
    }

    /// Mean PSNR over colours in dB of every `every`th frame, enlarged by `scaler(chunk)`.
    ///
    /// # Errors
    /// If the engine cannot run.
    pub fn psnr(
        &self,
        every: usize,
        mut scaler: impl FnMut(usize) -> Result<Upscaler, VideoError>,
    ) -> Result<f64, VideoError> {
        let size = self.frames.size.map(|side| side * self.scale);
        let mut high = vec![0u8; Extents::bytes(size)];
        let mut mean = Mean::default();
        let mut current: Option<(usize, Upscaler)> = None;
        for pair in self.frames.pairs.iter().step_by(every.max(1)) {
            if current.as_ref().is_none_or(|(chunk, _)| *chunk != pair.chunk) {
                current = Some((pair.chunk, scaler(pair.chunk)?));
            }
            if let Some((_, scaler)) = &current {
                scaler.run(&pair.low, &mut high)?;
                mean.add(&high, &pair.high, size, self.scale + 6);
            }
        }
        Ok(mean.psnr())
    }
}

/// The film coded in two passes by x264 or x265 (preset medium) to at most `bytes`: what it takes, its mean PSNR over colours in dB of every
/// `every`th frame, and why it missed the size, if it did.
///
/// # Errors
/// If ffmpeg lacks the encoder or fails.
pub fn coded(
    ffmpeg: &Ffmpeg,
    material: &Material,
    codec: LowCodec,
    bytes: u64,
    (threads, every): (usize, usize),
) -> Result<(u64, f64, Option<String>), VideoError> {
    let scratch = tempfile::tempdir().map_err(VideoError::io(Path::new("a folder for a film")))?;
    let how = (codec, "medium", threads);
    let mut coder = super::report::codec::Coder::new(ffmpeg, &material.film, how, scratch.path())?;
    let landing = coder.near(bytes, &mut |_| {})?;
    let own = probe(ffmpeg, &landing.coded.path)?;
    let mut reader = Reader::open(ffmpeg, &own, &ReadOptions::default())?;
    let extents = Extents::new([material.film.height, material.film.width], material.scale);
    let (mut frame, mut mean) = (Vec::new(), Mean::default());
    for (at, pair) in material.frames.pairs.iter().enumerate() {
        if !reader.read_into(&mut frame)? {
            return Err(VideoError::malformed(&own.file, format!("ends at frame {at}")));
        }
        if at % every.max(1) == 0 {
            mean.add(&extents.pad(&frame), &pair.high, extents.padded(), material.scale + 6);
        }
    }
    Ok((landing.coded.bytes, mean.psnr(), landing.missed))
}

/// What is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One network for the whole film (M0).
    Shared,
    /// One network with a modulation for every chunk (M1-n).
    Modulated,
    /// A network for every chunk, with an equal share of the steps (S1-n).
    Separate,
}

/// What an arm came to.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Mean PSNR over colours in dB.
    pub psnr: f64,
    /// Bytes of weights and modulations, of 16 bits.
    pub weight_bytes: u64,
    /// Parameters that are sent.
    pub parameters: u64,
    /// Loss of the last epoch.
    pub loss: f64,
}

/// Trains `network` as `kind` says, with the steps, patches and seed of `options`, and measures every `every`th frame.
///
/// # Errors
/// If training or the engine fails.
pub fn run(
    material: &Material,
    network: &Config,
    kind: Kind,
    options: &EncodeOptions,
    (threads, every): (usize, usize),
    style: ProgressStyle,
) -> Result<Outcome, VideoError> {
    let size = material.frames.size;
    let float = |config: &Config, net: &Net, chunk: usize| {
        Upscaler::new(config, net, chunk, size, threads, Precision::Float, None)
    };
    let bytes = |config: &Config, net: &Net| {
        let modulations: usize =
            (0..config.chunks).map(|chunk| modulation_bytes(config, net, chunk, Storage::F16).len()).sum();
        (shared_bytes(config, net, Storage::F16).len() + modulations) as u64
    };
    let sent = |config: &Config, net: &Net| {
        let learnt = parameter_count(net) as u64;
        // One gamma at every place is multiplied in.
        learnt - (config.chunks * config.sites().len()) as u64
    };
    if kind != Kind::Separate {
        let config = network.with_chunks(if kind == Kind::Modulated { material.chunks } else { 0 });
        let (net, loss) = train(&config, material.frames.clone(), options, options.steps, threads, style)?;
        let psnr = material.psnr(every, |chunk| float(&config, &net, chunk))?;
        return Ok(Outcome {
            psnr,
            weight_bytes: bytes(&config, &net),
            parameters: sent(&config, &net),
            loss,
        });
    }
    let config = network.with_chunks(0);
    let steps = (options.steps / material.chunks).max(1);
    let mut nets = Vec::new();
    let (mut weight_bytes, mut parameters, mut losses) = (0, 0, 0.0);
    for chunk in 0..material.chunks {
        let mut own = material.frames.clone();
        own.pairs.retain(|pair| pair.chunk == chunk);
        own.pairs.iter_mut().for_each(|pair| pair.chunk = 0);
        let options = EncodeOptions { seed: options.seed * 1000 + chunk as u64, ..options.clone() };
        let (net, loss) = train(&config, own, &options, steps, threads, style)?;
        weight_bytes += bytes(&config, &net);
        parameters += sent(&config, &net);
        losses += loss / material.chunks as f64;
        nets.push(net);
    }
    let psnr = material.psnr(every, |chunk| float(&config, &nets[chunk], 0))?;
    Ok(Outcome { psnr, weight_bytes, parameters, loss: losses })
}

fn train(
    config: &Config,
    frames: Frames,
    options: &EncodeOptions,
    steps: usize,
    threads: usize,
    style: ProgressStyle,
) -> Result<(Net, f64), VideoError> {
    let device = Device::flex();
    let task = DeliverTask {
        config: config.clone(),
        frames,
        batches: steps,
        batch: options.batch,
        patch: options.patch,
        seed: options.seed,
        modulations_only: false,
        target: None,
        reached: Arc::default(),
        stop: Arc::default(),
        threads,
        device: device.clone(),
    };
    let scratch = tempfile::tempdir().map_err(VideoError::io(Path::new("a folder for the run")))?;
    let folder = RunFolder::open(scratch.path(), false)?;
    let net = initialize(config.build(&device.clone().autodiff()), config, options.seed);
    let trainer = Trainer::new(train_config(options, 1), style, Arc::new(AtomicBool::new(false)))?;
    let (ocelli_train::Outcome::Finished(progress) | ocelli_train::Outcome::Interrupted(progress)) =
        trainer.run(&task, net, &folder, "trial")?;
    let file = WeightFile::read(folder.best())?;
    let (net, _) = file.load_into(config.build(&device), "network", false)?;
    Ok((net, progress.history.last().map_or(f64::NAN, |record| record.train_loss)))
}
