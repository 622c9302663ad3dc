//! Playing a package: decoding, enlarging and encoding side by side, a few frames in memory.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ocelli_data::video::{Codec, Destination, Ffmpeg, Quality, WriteOptions, Writer};

use super::container::Shared;
use super::low::{self, Extents};
use super::package::Package;
use super::upscale::{Precision, Upscaler};
use crate::VideoError;

/// How a package is played.
#[derive(Clone, Debug)]
pub struct PlayOptions {
    /// Arithmetic of the networks.
    pub precision: Precision,
    /// Threads that enlarge.
    pub threads: usize,
    /// Interpolation in place of the networks.
    pub bicubic: bool,
    /// Where to begin, in seconds.
    pub start: f64,
    /// How long to go on, in seconds.
    pub duration: Option<f64>,
    /// How the result is encoded.
    pub codec: Codec,
    /// How much of it is kept.
    pub quality: Quality,
    /// The encoder's preset.
    pub preset: String,
    /// Whether a file that is there already may be replaced.
    pub overwrite: bool,
}

impl Default for PlayOptions {
    fn default() -> Self {
        Self {
            precision: Precision::Float,
            threads: 1,
            bicubic: false,
            start: 0.0,
            duration: None,
            codec: Codec::H264,
            quality: Quality::Crf(12),
            preset: "medium".into(),
            overwrite: false,
        }
    }
}

/// What was played.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// Frames.
    pub frames: u64,
    /// Seconds that enlarging took, of all threads together.
    pub enlarging: f64,
    /// Threads that enlarged.
    pub threads: usize,
    /// What was not as it should be.
    pub warnings: Vec<String>,
}

/// Frames of a package, enlarged.
pub struct Enlarger<'a> {
    package: &'a Package,
    shared: Result<Shared, String>,
    extents: Extents,
    precision: Precision,
    threads: usize,
    bicubic: bool,
    current: Option<(usize, Arc<Upscaler>)>,
    padded: Vec<u8>,
    /// What was not as it should be.
    pub warnings: Vec<String>,
}

impl std::fmt::Debug for Enlarger<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Enlarger({})", self.package.root.display())
    }
}

/// Extents of a package's films.
pub fn extents(package: &Package) -> Extents {
    let manifest = &package.manifest;
    Extents {
        film: [manifest.video.height, manifest.video.width],
        low: [manifest.lr.height, manifest.lr.width],
        scale: manifest.sr.network.scale,
    }
}

impl<'a> Enlarger<'a> {
    /// Of `package`; damaged shared weights are an error.
    ///
    /// # Errors
    /// If the shared weights cannot be used.
    pub fn new(
        package: &'a Package,
        precision: Precision,
        threads: usize,
        bicubic: bool,
    ) -> Result<Self, VideoError> {
        let shared = if bicubic { Err(String::new()) } else { Ok(package.shared()?) };
        Ok(Self {
            package,
            shared,
            extents: extents(package),
            precision,
            threads,
            bicubic,
            current: None,
            padded: Vec::new(),
            warnings: Vec::new(),
        })
    }

    /// Enlarges a frame `low` of `chunk` to `frame`, `[height, width, 3]` of the film.
    ///
    /// A chunk whose modulation is missing or damaged is interpolated, with a warning.
    ///
    /// # Errors
    /// If the engine cannot run.
    pub fn enlarge(&mut self, chunk: usize, low: &[u8], frame: &mut Vec<u8>) -> Result<(), VideoError> {
        let scaler = self.of_chunk(chunk, low)?;
        enlarged(&scaler, &self.extents, low, &mut self.padded, frame)
    }

    /// What enlarges frames of `chunk`; `sample` is the first of them.
    fn of_chunk(&mut self, chunk: usize, sample: &[u8]) -> Result<Arc<Upscaler>, VideoError> {
        match &self.current {
            Some((own, scaler)) if *own == chunk => Ok(scaler.clone()),
            _ => {
                let scaler = Arc::new(self.scaler(chunk, sample)?);
                self.current = Some((chunk, scaler.clone()));
                Ok(scaler)
            }
        }
    }

    fn scaler(&mut self, chunk: usize, sample: &[u8]) -> Result<Upscaler, VideoError> {
        let config = self.package.config();
        let (size, threads) = (self.extents.low, self.threads);
        let interpolated = || Upscaler::bicubic(config.scale, size, threads);
        let Ok(shared) = &self.shared else { return Ok(interpolated()) };
        if self.bicubic {
            return Ok(interpolated());
        }
        match self.package.net(shared, chunk) {
            Ok(Some(net)) => {
                let own = config.with_chunks(1);
                Upscaler::new(&own, &net, 0, size, threads, self.precision, Some(sample))
            }
            Ok(None) => Ok(interpolated()),
            Err(error) => {
                self.warnings.push(format!("chunk {chunk} is interpolated: {error}"));
                Ok(interpolated())
            }
        }
    }
}

/// A frame that is to be enlarged, with what does it.
struct Job {
    number: u64,
    low: Vec<u8>,
    scaler: Arc<Upscaler>,
}

/// A frame that was: its number, its pixels, the seconds it took.
type Done = Result<(u64, Vec<u8>, f64), VideoError>;

/// Frames that wait between two stages, beside one per thread.
const AHEAD: usize = 3;

/// The chunks and frames that `options` ask for: first frame, number of frames.
fn stretch(package: &Package, options: &PlayOptions) -> Result<(u64, u64), VideoError> {
    let video = &package.manifest.video;
    let times = frame_times(package);
    let wrong = |what: &str, value: f64| {
        Err(VideoError::Config(format!("{what} {value} s: the film lasts {:.2} s", video.duration)))
    };
    if !(options.start >= 0.0 && options.start < video.duration) {
        return wrong("--start", options.start);
    }
    if let Some(duration) = options.duration.filter(|duration| duration.is_nan() || *duration <= 0.0) {
        return wrong("--duration", duration);
    }
    let half = 0.5 / video.fps.value();
    // A manifest may say that a film lasts longer than its frames do: the last one is shown then.
    let last = times.len().saturating_sub(1);
    let first = times.partition_point(|time| *time < options.start - half).min(last);
    let end = options.duration.map_or(times.len(), |duration| {
        times.partition_point(|time| *time < options.start + duration - half).max(first + 1)
    });
    Ok((first as u64, (end - first) as u64))
}

/// When every frame is shown, in s.
fn frame_times(package: &Package) -> Vec<f64> {
    let video = &package.manifest.video;
    if video.variable_rate {
        return package.manifest.chunks.iter().flat_map(|chunk| chunk.times.iter().copied()).collect();
    }
    (0..video.frames).map(|frame| frame as f64 / video.fps.value()).collect()
}

/// Plays `package` to `to`; `progress` hears how many frames are done, of how many.
///
/// # Errors
/// If a segment is missing or damaged, ffmpeg fails, or the result cannot be written.
pub fn play(
    ffmpeg: &Ffmpeg,
    package: &Package,
    to: Destination<'_>,
    options: &PlayOptions,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Played, VideoError> {
    let (first, count) = stretch(package, options)?;
    let manifest = &package.manifest;
    let video = &manifest.video;
    let times = video.variable_rate.then(|| {
        let all = frame_times(package);
        all[first as usize..(first + count) as usize].to_vec()
    });
    let begins = first as f64 / video.fps.value();
    let begins = times.as_ref().map_or(begins, |times| times[0]);
    let audio = manifest.lr.audio.then(|| package.path(&manifest.lr.playlist));
    let writing = WriteOptions {
        codec: options.codec,
        quality: options.quality.clone(),
        preset: options.preset.clone(),
        rate: video.fps,
        times,
        matrix: video.matrix.clone(),
        primaries: video.primaries.clone(),
        transfer: video.transfer.clone(),
        pixel_aspect: video.pixel_aspect.map(|[w, h]| (w, h)),
        audio_from: audio,
        audio_start: begins,
        audio_duration: options.duration,
        overwrite: options.overwrite,
    };
    let mut writer = Writer::create(ffmpeg, to, video.width, video.height, &writing)?;
    // Frames are shared out, not their parts: no thread waits for another, and results do not depend on how many there are.
    let mut enlarger = Enlarger::new(package, options.precision, 1, options.bicubic)?;
    let extents = extents(package);
    let mut played = Played { threads: options.threads.max(1), ..Played::default() };
    std::thread::scope(|scope| -> Result<(), VideoError> {
        let (jobs, waiting) = sync_channel::<Job>(played.threads + AHEAD);
        let (done, finished) = sync_channel::<Done>(played.threads + AHEAD);
        let (back, spare) = sync_channel::<Vec<u8>>(2 * (played.threads + AHEAD));
        // When the last worker has gone, so has the queue's end, and the decoder stops.
        let waiting = Arc::new((Mutex::new(waiting), Mutex::new(spare)));
        for _ in 0..played.threads {
            let (waiting, done) = (waiting.clone(), done.clone());
            scope.spawn(move || work(&waiting.0, &waiting.1, &extents, &done));
        }
        drop(waiting);
        let enlarger = &mut enlarger;
        scope.spawn(move || decode(ffmpeg, package, (first, count), enlarger, &jobs, &done));
        let mut early = BTreeMap::new();
        for frame in finished {
            let (number, pixels, seconds) = frame?;
            played.enlarging += seconds;
            early.insert(number, pixels);
            while let Some(pixels) = early.remove(&played.frames) {
                writer.write(&pixels)?;
                played.frames += 1;
                progress(played.frames, count);
                // Buffers go round; nobody waits for them.
                let _ = back.try_send(pixels);
            }
        }
        Ok(writer.finish()?)
    })?;
    played.warnings = enlarger.warnings;
    Ok(played)
}

/// Enlarges frames until there are no more, or nobody wants them.
fn work(
    waiting: &Mutex<Receiver<Job>>,
    spare: &Mutex<Receiver<Vec<u8>>>,
    extents: &Extents,
    done: &SyncSender<Done>,
) {
    let mut padded = Vec::new();
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        let mut frame = spare.lock().unwrap_or_else(PoisonError::into_inner).try_recv().unwrap_or_default();
        let begun = Instant::now();
        let result = enlarged(&job.scaler, extents, &job.low, &mut padded, &mut frame)
            .map(|()| (job.number, frame, begun.elapsed().as_secs_f64()));
        if done.send(result).is_err() {
            return;
        }
    }
}

/// Enlarges `low` to a frame of the film.
fn enlarged(
    scaler: &Upscaler,
    extents: &Extents,
    low: &[u8],
    padded: &mut Vec<u8>,
    frame: &mut Vec<u8>,
) -> Result<(), VideoError> {
    let bytes = Extents::bytes(extents.padded());
    if extents.padded() == extents.film {
        frame.resize(bytes, 0);
        return scaler.run(low, frame);
    }
    padded.resize(bytes, 0);
    scaler.run(low, padded)?;
    extents.crop(padded, frame);
    Ok(())
}

/// Sends `count` frames from number `first` on, each with its chunk's network, compiled when the chunk begins. Ends when nobody listens.
fn decode(
    ffmpeg: &Ffmpeg,
    package: &Package,
    (first, count): (u64, u64),
    enlarger: &mut Enlarger<'_>,
    to: &SyncSender<Job>,
    done: &SyncSender<Done>,
) {
    let mut number = 0;
    let mut failed = None;
    let result = each_low(ffmpeg, package, first, count, &mut |chunk, low| {
        let scaler = match enlarger.of_chunk(chunk, low) {
            Ok(scaler) => scaler,
            Err(error) => {
                failed = Some(error);
                return false;
            }
        };
        number += 1;
        to.send(Job { number: number - 1, low: low.to_vec(), scaler }).is_ok()
    });
    if let Some(error) = failed.or(result.err()) {
        // Nobody listens when writing has failed already.
        let _ = done.send(Err(error));
    }
}

/// Shows `take` the low-resolution frames from number `first` on with their chunks, until it says no.
///
/// # Errors
/// If a segment is missing, damaged, or has another number of frames than the manifest says.
pub fn each_low(
    ffmpeg: &Ffmpeg,
    package: &Package,
    first: u64,
    count: u64,
    take: &mut dyn FnMut(usize, &[u8]) -> bool,
) -> Result<(), VideoError> {
    let low = &package.manifest.lr;
    let end = first + count;
    let mut pixels = Vec::new();
    for chunk in &package.manifest.chunks {
        let last = chunk.first_frame + chunk.frames;
        if last <= first || chunk.first_frame >= end {
            continue;
        }
        let parts = package.segment(chunk.index)?;
        let path = package.path(&chunk.segment);
        let mut reader = low::frames(ffmpeg, parts, [low.height, low.width], low.matrix.as_deref())?;
        let mut frame = chunk.first_frame;
        while reader.read_into(&mut pixels)? {
            if frame >= last {
                return Err(more_or_fewer(&path, chunk.frames, "more"));
            }
            if (first..end).contains(&frame) && !take(chunk.index, &pixels) {
                return Ok(());
            }
            frame += 1;
            if frame >= end {
                return Ok(());
            }
        }
        if frame < last {
            return Err(more_or_fewer(&path, chunk.frames, "fewer"));
        }
    }
    Ok(())
}

fn more_or_fewer(path: &Path, frames: u64, which: &str) -> VideoError {
    VideoError::malformed(path, format!("has {which} frames than the {frames} that the manifest says"))
}
