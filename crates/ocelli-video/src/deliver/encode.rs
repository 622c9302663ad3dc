//! Making a package: low-resolution film, training on what a player will decode, storage, and a check by playing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::module::Module;
use burn::tensor::Device;
use ocelli_data::video::{Ffmpeg, Probe, ReadOptions, Reader, probe};
use ocelli_data::{Interpolation, RgbImage};
use ocelli_nn::weights::WeightFile;
use ocelli_report::atomic::write_atomic;
use ocelli_train::{
    OptimizerConfig, OptimizerKind, Outcome, ProgressStyle, RunFolder, ScheduleKind, TrainConfig, Trainer,
};

use super::chunks::cut;
use super::config::Config;
use super::container::{
    Storage, arch_hash, assemble, modulation_bytes, read_modulation, read_shared, shared_bytes,
};
use super::init::initialize;
use super::low::{self, Extents, LowFilm};
use super::manifest::{Account, ChunkPart, FORMAT, Low, Manifest, Part, SuperResolution, VERSION, Video};
use super::metrics::Mean;
use super::net::Net;
use super::package::Package;
use super::patches::{Frames, Pair};
use super::start::start_from;
use super::train::DeliverTask;
use super::upscale::{Precision, Upscaler};
use crate::VideoError;

pub use super::options::EncodeOptions;

/// Stages of an encoding, for people.
pub type Stages<'a> = &'a mut dyn FnMut(&str, u64, u64);

/// What came out of an encoding.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The package.
    pub package: Package,
    /// Mean PSNR over colours of the verified frames, in dB.
    pub psnr: f64,
    /// The same of interpolation.
    pub bicubic: f64,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Where an encoding keeps what it may go on from.
const WORK: &str = ".encode";

/// Everything the stages share.
struct Job<'a> {
    ffmpeg: &'a Ffmpeg,
    film: Probe,
    options: &'a EncodeOptions,
    output: &'a Path,
    work: PathBuf,
    extents: Extents,
    starts: Vec<usize>,
    threads: usize,
    notes: Vec<String>,
}

/// Makes a package of the film `input` in the folder `output`. Goes on where an encoding with the same options was interrupted;
/// nothing, when `stop` ended it. The manifest is written last: a folder without one is no package.
///
/// # Errors
/// If the film cannot be read, options make no sense, the folder holds something else, or it cannot be written.
pub fn encode(
    ffmpeg: &Ffmpeg,
    input: &Path,
    output: &Path,
    options: &EncodeOptions,
    threads: usize,
    style: ProgressStyle,
    stop: &Arc<AtomicBool>,
    stages: Stages<'_>,
) -> Result<Option<Encoded>, VideoError> {
    options.check()?;
    let film = probe(ffmpeg, input)?;
    let starts = cut(&film.times, film.duration, options.chunk_seconds);
    if starts.is_empty() {
        return Err(VideoError::malformed(input, "has no frames"));
    }
    let mut job = Job {
        ffmpeg,
        extents: Extents::new([film.height, film.width], options.network.scale),
        film,
        options,
        output,
        work: output.join(WORK),
        starts,
        threads,
        notes: Vec::new(),
    };
    if let Some(path) = &options.start_from {
        // Before anything is written.
        let config = job.config();
        start_from(path, config.build(&Device::flex()), &config)?;
    }
    job.begin(input)?;
    stages("encoding the low-resolution film", 0, 1);
    let low = job.low_film()?;
    stages("encoding the low-resolution film", 1, 1);
    let frames = job.frames(&low, stages)?;
    let Some(net) = job.train(frames, style, stop)? else { return Ok(None) };
    job.finish(&low, net, stages).map(Some)
}

impl Job<'_> {
    fn config(&self) -> Config {
        self.options.network.with_chunks(if self.options.modulated { self.starts.len() } else { 0 })
    }

    fn frames_of(&self, chunk: usize) -> std::ops::Range<usize> {
        let end = self.starts.get(chunk + 1).copied().unwrap_or(self.film.times.len());
        self.starts[chunk]..end
    }

    /// Refuses a folder with something else in it, and writes down what is made here.
    fn begin(&self, input: &Path) -> Result<(), VideoError> {
        if self.output.join("manifest.json").exists() {
            return Err(VideoError::malformed(
                self.output,
                "holds a package already; name another folder or remove it",
            ));
        }
        let settings = self.work.join("settings.json");
        let meta = fs::metadata(input).map_err(VideoError::io(input))?;
        let text = serde_json::to_string_pretty(&serde_json::json!({
            "options": self.options,
            "film": { "bytes": meta.len(), "frames": self.film.frames, "size": self.extents.film },
        }))
        .map_err(|error| VideoError::Config(error.to_string()))?;
        if settings.exists() {
            let found = fs::read_to_string(&settings).map_err(VideoError::io(&settings))?;
            if found != text {
                return Err(VideoError::malformed(
                    self.output,
                    "holds an interrupted encoding with other options or of another film; repeat its options to go on, or remove the folder",
                ));
            }
            return Ok(());
        }
        let empty = !self.output.exists()
            || fs::read_dir(self.output).map_err(VideoError::io(self.output))?.next().is_none();
        if !empty {
            return Err(VideoError::malformed(
                self.output,
                "is not empty and holds no encoding; name another folder",
            ));
        }
        fs::create_dir_all(&self.work).map_err(VideoError::io(&self.work))?;
        write_atomic(&settings, text.as_bytes()).map_err(VideoError::io(&settings))
    }

    /// Encodes the low-resolution film, unless that was done.
    fn low_film(&self) -> Result<LowFilm, VideoError> {
        let (folder, done) = (self.output.join("lr"), self.work.join("lr.json"));
        if let Ok(text) = fs::read(&done)
            && let Ok(low) = serde_json::from_slice::<LowFilm>(&text)
        {
            return Ok(low);
        }
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(VideoError::io(&folder))?;
        }
        let how = (self.options.codec, self.options.crf, self.options.preset.as_str());
        let low = low::encode(self.ffmpeg, &self.film, &self.extents, &self.starts, how, &folder)?;
        let text = serde_json::to_vec(&low).map_err(|error| VideoError::Config(error.to_string()))?;
        write_atomic(&done, &text).map_err(VideoError::io(&done))?;
        Ok(low)
    }

    fn matrix(&self) -> Option<&str> {
        Some(low::yuv_matrix(&self.film))
    }

    fn segment(&self, low: &LowFilm, chunk: usize) -> Vec<PathBuf> {
        let folder = self.output.join("lr");
        vec![folder.join(&low.init), folder.join(&low.segments[chunk])]
    }

    /// Pairs of frames to learn from: all of them, or every so-manieth where they would take too much memory.
    fn frames(&mut self, low: &LowFilm, stages: Stages<'_>) -> Result<Frames, VideoError> {
        let pair = (Extents::bytes(self.extents.low) + Extents::bytes(self.extents.padded())) as u64;
        let most = (self.options.cache_bytes / pair).max(self.starts.len() as u64);
        let step = self.film.frames.div_ceil(most).max(1) as usize;
        if step > 1 {
            self.notes.push(format!(
                "every {step}th frame is learnt from: all would take more memory than allowed"
            ));
        }
        let mut high = Reader::open(self.ffmpeg, &self.film, &ReadOptions::default())?;
        let mut pairs = Vec::new();
        let (mut shown, mut small) = (Vec::new(), Vec::new());
        for chunk in 0..self.starts.len() {
            let parts = self.segment(low, chunk);
            let path = parts[1].clone();
            let mut decoded = low::frames(self.ffmpeg, parts, self.extents.low, self.matrix())?;
            let range = self.frames_of(chunk);
            for frame in range.clone() {
                if !high.read_into(&mut shown)? {
                    let problem = format!("ends at frame {frame} of {}", self.film.frames);
                    return Err(VideoError::malformed(&self.film.file, problem));
                }
                if !decoded.read_into(&mut small)? {
                    return Err(VideoError::malformed(
                        &path,
                        format!("has fewer than {} frames", range.len()),
                    ));
                }
                stages("reading frames", frame as u64 + 1, self.film.frames);
                if (frame - range.start).is_multiple_of(step) {
                    let padded = self.extents.pad(&shown);
                    let small = if self.options.clean { self.reduced(&padded)? } else { small.clone() };
                    pairs.push(Pair { low: Arc::new(small), high: Arc::new(padded), chunk });
                }
            }
        }
        Ok(Frames { size: self.extents.low, scale: self.extents.scale, pairs })
    }

    fn reduced(&self, padded: &[u8]) -> Result<Vec<u8>, VideoError> {
        let ([tall, wide], [height, width]) = (self.extents.padded(), self.extents.low);
        let image = RgbImage::from_vec(wide, tall, padded.to_vec())?;
        Ok(ocelli_data::resize(&image, width, height, Interpolation::Bicubic)?.into_vec())
    }

    /// Trains, from where an interrupted training stopped; nothing when it is interrupted again.
    fn train(
        &self,
        frames: Frames,
        style: ProgressStyle,
        stop: &Arc<AtomicBool>,
    ) -> Result<Option<Net>, VideoError> {
        let options = self.options;
        let config = self.config();
        let device = Device::flex();
        let epochs = options.steps.div_ceil(250).min(40);
        let reached = Arc::new(AtomicBool::new(false));
        let task = DeliverTask {
            config: config.clone(),
            frames,
            batches: options.steps.div_ceil(epochs),
            batch: options.batch,
            patch: options.patch,
            seed: options.seed,
            modulations_only: options.modulations_only,
            target: options.target_psnr,
            reached: reached.clone(),
            stop: stop.clone(),
            threads: self.threads,
            device: device.clone(),
        };
        let settings = train_config(options, epochs);
        let folder = self.work.join("train");
        let resumes = folder.join("last.ckpt").exists();
        let folder = RunFolder::open(&folder, resumes)?;
        let mut net = initialize(config.build(&device.clone().autodiff()), &config, options.seed);
        if let Some(path) = &options.start_from {
            net = start_from(path, net, &config)?;
        }
        let trainer = Trainer::new(settings, style, stop.clone())?;
        let outcome = trainer.run(&task, net, &folder, &config.architecture())?;
        if matches!(outcome, Outcome::Interrupted(_)) && !reached.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let file = WeightFile::read(folder.best())?;
        let (net, _) = file.load_into(config.build(&device), "network", false)?;
        Ok(Some(net.no_grad()))
    }

    /// Stores the network, compares what a player will show with the film, and writes the manifest.
    fn finish(mut self, low: &LowFilm, net: Net, stages: Stages<'_>) -> Result<Encoded, VideoError> {
        let model = self.output.join("model");
        fs::create_dir_all(&model).map_err(VideoError::io(&model))?;
        let write = |path: &Path, bytes: &[u8]| write_atomic(path, bytes).map_err(VideoError::io(path));
        let config = self.config();
        let mut storage = self.options.storage;
        let mut compared = self.compare(low, &net, storage, stages)?;
        // What storage may cost at most, in dB.
        while let (Some(next), most) = match storage {
            Storage::I8 => (Some(Storage::F16), 0.3),
            Storage::F16 => (Some(Storage::F32), 0.05),
            Storage::F32 => (None, 0.0),
        } {
            let lost = compared.float - compared.psnr;
            if lost <= most {
                break;
            }
            let (bits, more) = (storage.bits(), next.bits());
            self.notes.push(format!("{bits} bits per weight would lose {lost:.2} dB: stored with {more}"));
            storage = next;
            compared = self.compare(low, &net, storage, stages)?;
        }
        let shared = shared_bytes(&config, &net, storage);
        write(&model.join("shared.cafw"), &shared)?;
        let mut chunks = Vec::new();
        for (index, own) in compared.chunks.iter().enumerate() {
            let range = self.frames_of(index);
            let sr = own.0 > own.1;
            let mut modulation = None;
            if sr && self.options.modulated {
                let bytes = modulation_bytes(&config, &net, index, storage);
                let uri = format!("model/mod_{index:05}.cafw");
                write(&self.output.join(&uri), &bytes)?;
                modulation = Some(Part::of(uri, &bytes));
            }
            let times = &self.film.times;
            chunks.push(ChunkPart {
                index,
                start: times[range.start],
                end: times.get(range.end).copied().unwrap_or(self.film.duration),
                first_frame: range.start as u64,
                frames: range.len() as u64,
                segment: self.part(&format!("lr/{}", low.segments[index]))?,
                sr,
                modulation,
                psnr_rgb: Some(own.0.max(own.1)),
                psnr_bicubic: Some(own.1),
                times: if self.film.variable_rate { times[range].to_vec() } else { Vec::new() },
            });
        }
        let init = self.part(&format!("lr/{}", low.init))?;
        let lr_bytes = init.bytes + chunks.iter().map(|chunk| chunk.segment.bytes).sum::<u64>();
        let mut manifest = Manifest {
            format: FORMAT.into(),
            version: VERSION,
            video: Video {
                width: self.film.width,
                height: self.film.height,
                fps: self.film.rate,
                frames: self.film.frames,
                duration: self.film.duration,
                variable_rate: self.film.variable_rate,
                pixel_aspect: self.film.pixel_aspect.map(|(x, y)| [x, y]),
                matrix: self.film.matrix.clone(),
                primaries: self.film.primaries.clone(),
                transfer: self.film.transfer.clone(),
            },
            sr: SuperResolution {
                network: config.with_chunks(chunks.len()),
                arch_hash: arch_hash(&config).iter().map(|byte| format!("{byte:02x}")).collect(),
                storage,
                shared: Part::of("model/shared.cafw", &shared),
            },
            lr: Low {
                playlist: self.part(&format!("lr/{}", low.playlist))?,
                init,
                codec: self.options.codec.name().into(),
                width: self.extents.low[1],
                height: self.extents.low[0],
                matrix: self.matrix().map(str::to_string),
                bytes: lr_bytes,
                audio_bytes: low.audio_bytes,
                crf: Some(self.options.crf),
                audio: self.film.audio.is_some(),
            },
            chunks,
            account: Account::default(),
        };
        let text = self.accounted(&mut manifest)?;
        let package = Package { root: self.output.to_path_buf(), manifest };
        package.verify()?;
        self.master_playlist(&package)?;
        // From here on it is a package.
        write(&self.output.join("manifest.json"), &text)?;
        fs::remove_dir_all(&self.work).map_err(VideoError::io(&self.work))?;
        Ok(Encoded { package, psnr: compared.psnr, bicubic: compared.bicubic, notes: self.notes })
    }

    fn part(&self, uri: &str) -> Result<Part, VideoError> {
        let path = self.output.join(uri);
        Ok(Part::of(uri, &fs::read(&path).map_err(VideoError::io(&path))?))
    }

    /// Fills in what everything takes, audio left out, and gives the manifest's text.
    fn accounted(&self, manifest: &mut Manifest) -> Result<Vec<u8>, VideoError> {
        let text = |manifest: &Manifest| {
            serde_json::to_vec_pretty(manifest).map_err(|error| VideoError::Config(error.to_string()))
        };
        let lr = manifest.lr.bytes - manifest.lr.audio_bytes.min(manifest.lr.bytes);
        let shared = manifest.sr.shared.bytes;
        let mod_total =
            manifest.chunks.iter().filter_map(|chunk| Some(chunk.modulation.as_ref()?.bytes)).sum();
        let own = text(manifest)?.len() as u64 + manifest.lr.playlist.bytes;
        let total = lr + shared + mod_total + own;
        let kbit_per_s = total as f64 * 8.0 / 1000.0 / self.film.duration;
        manifest.account = Account { lr, shared, mod_total, manifest: own, total, kbit_per_s };
        text(manifest)
    }

    /// The playlist that tells players of this kind about the manifest; others play the low-resolution film.
    fn master_playlist(&self, package: &Package) -> Result<(), VideoError> {
        let low = &package.manifest.lr;
        let rate = (low.bytes as f64 * 8.0 / self.film.duration).ceil() as u64;
        let text = format!(
            "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n\
             #EXT-X-SESSION-DATA:DATA-ID=\"org.ocelli.cafm\",URI=\"manifest.json\"\n\
             #EXT-X-STREAM-INF:BANDWIDTH={rate},AVERAGE-BANDWIDTH={rate},RESOLUTION={}x{}\n{}\n",
            low.width, low.height, low.playlist.uri
        );
        let path = self.output.join("master.m3u8");
        write_atomic(&path, text.as_bytes()).map_err(VideoError::io(&path))
    }

    /// Plays the whole low-resolution film and compares every so-manieth frame with the film: as trained, as stored, interpolated.
    fn compare(
        &self,
        low: &LowFilm,
        net: &Net,
        storage: Storage,
        stages: Stages<'_>,
    ) -> Result<Compared, VideoError> {
        let config = self.config();
        let path = Path::new("network");
        let (shared, _) = read_shared(path, &shared_bytes(&config, net, storage), &config)?;
        let modulations = (0..config.chunks)
            .map(|chunk| {
                read_modulation(path, &modulation_bytes(&config, net, chunk, storage), &config, chunk)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let stored = assemble(&config, &shared, &modulations);
        let mut high = Reader::open(self.ffmpeg, &self.film, &ReadOptions::default())?;
        let bicubic = Upscaler::bicubic(config.scale, self.extents.low, self.threads);
        let (mut shown, mut small, mut cropped) = (Vec::new(), Vec::new(), Vec::new());
        let mut padded = vec![0u8; Extents::bytes(self.extents.padded())];
        let mut all = [Mean::default(); 3];
        let mut chunks = Vec::new();
        let (cut, size) = (config.scale + 6, self.extents.film);
        for chunk in 0..self.starts.len() {
            let own = |net: &Net| {
                let (size, threads) = (self.extents.low, self.threads);
                Upscaler::new(&config, net, chunk, size, threads, Precision::Float, None)
            };
            let scalers = [&own(net)?, &own(&stored)?, &bicubic];
            let mut means = [Mean::default(); 3];
            let parts = self.segment(low, chunk);
            let mut decoded = low::frames(self.ffmpeg, parts, self.extents.low, self.matrix())?;
            let range = self.frames_of(chunk);
            // The middle of every run of frames.
            let phase = (self.options.verify_every / 2).min(range.len() / 2);
            for frame in range.clone() {
                if !high.read_into(&mut shown)? || !decoded.read_into(&mut small)? {
                    return Err(VideoError::malformed(&self.film.file, format!("ends at frame {frame}")));
                }
                if (frame - range.start) % self.options.verify_every == phase {
                    for ((scaler, mean), all) in scalers.iter().zip(&mut means).zip(&mut all) {
                        scaler.run(&small, &mut padded)?;
                        self.extents.crop(&padded, &mut cropped);
                        mean.add(&cropped, &shown, size, cut);
                        all.add(&cropped, &shown, size, cut);
                    }
                }
                stages("comparing with the film", frame as u64 + 1, self.film.frames);
            }
            chunks.push((means[1].psnr(), means[2].psnr()));
        }
        let [float, psnr, bicubic] = all.map(|mean| mean.psnr());
        Ok(Compared { float, psnr, bicubic, chunks })
    }
}

/// Ratios in dB.
struct Compared {
    /// As trained.
    float: f64,
    /// As stored.
    psnr: f64,
    /// Interpolated.
    bicubic: f64,
    /// Stored and interpolated, of every chunk.
    chunks: Vec<(f64, f64)>,
}

/// The trainer's settings.
pub fn train_config(options: &EncodeOptions, epochs: usize) -> TrainConfig {
    TrainConfig {
        epochs,
        seed: options.seed,
        lr: options.lr,
        schedule: ScheduleKind::Cosine,
        min_lr_ratio: 0.01,
        // Pixels reach to 255: full steps at once would push ReLUs below zero for good.
        warmup_epochs: 0.2 * epochs as f64,
        optimizer: OptimizerConfig {
            kind: OptimizerKind::AdamW,
            weight_decay: 0.0,
            betas: [0.9, 0.999],
            eps: 1e-8,
            ..OptimizerConfig::default()
        },
        checkpoint_minutes: 1.0,
        ..TrainConfig::default()
    }
}
