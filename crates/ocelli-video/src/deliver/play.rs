//! Playing a package: decoding, enlarging and encoding side by side, a few frames in memory.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

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
    current: Option<(usize, Upscaler)>,
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
        if self.current.as_ref().is_none_or(|(own, _)| *own != chunk) {
            let scaler = self.scaler(chunk, low)?;
            self.current = Some((chunk, scaler));
        }
        if let Some((_, scaler)) = &self.current {
            self.padded.resize(Extents::bytes(self.extents.padded()), 0);
            scaler.run(low, &mut self.padded)?;
            self.extents.crop(&self.padded, frame);
        }
        Ok(())
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

/// A frame on its way.
struct Frame {
    chunk: usize,
    pixels: Vec<u8>,
}

/// Frames between two threads.
const AHEAD: usize = 4;

/// The chunks and frames that `options` ask for: first frame, number of frames.
fn stretch(package: &Package, options: &PlayOptions) -> Result<(u64, u64), VideoError> {
    let video = &package.manifest.video;
    let times = frame_times(package);
    let wrong = |what: &str, value: f64| {
        Err(VideoError::Config(format!("{what} {value} s: the film lasts {} s", video.duration)))
    };
    if !(options.start >= 0.0 && options.start < video.duration) {
        return wrong("--start", options.start);
    }
    if let Some(duration) = options.duration.filter(|duration| duration.is_nan() || *duration <= 0.0) {
        return wrong("--duration", duration);
    }
    let half = 0.5 / video.fps.value();
    let first = times.partition_point(|time| *time < options.start - half);
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
    let mut enlarger = Enlarger::new(package, options.precision, options.threads, options.bicubic)?;
    let mut played = Played::default();
    std::thread::scope(|scope| -> Result<(), VideoError> {
        let (low_in, low_out) = sync_channel::<Result<Frame, VideoError>>(AHEAD);
        let (high_in, high_out) = sync_channel::<Vec<u8>>(AHEAD);
        let (back_in, back_out) = sync_channel::<Vec<u8>>(2 * AHEAD);
        scope.spawn(move || decode(ffmpeg, package, first, count, &low_in));
        let writing = scope.spawn(move || -> Result<Writer, VideoError> {
            for frame in high_out {
                writer.write(&frame)?;
                // Buffers go round; nobody waits for them.
                let _ = back_in.try_send(frame);
            }
            Ok(writer)
        });
        let enlarged = enlarge(&mut enlarger, low_out, &high_in, &back_out, count, &mut played, progress);
        drop(high_in);
        let writer = match writing.join() {
            Ok(writer) => writer,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        // A writer that failed is why enlarging stopped.
        let writer = writer?;
        enlarged?;
        Ok(writer.finish()?)
    })?;
    played.warnings = enlarger.warnings;
    Ok(played)
}

fn enlarge(
    enlarger: &mut Enlarger<'_>,
    frames: Receiver<Result<Frame, VideoError>>,
    to: &SyncSender<Vec<u8>>,
    back: &Receiver<Vec<u8>>,
    count: u64,
    played: &mut Played,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), VideoError> {
    for frame in frames {
        let frame = frame?;
        let mut high = back.try_recv().unwrap_or_default();
        let begun = std::time::Instant::now();
        enlarger.enlarge(frame.chunk, &frame.pixels, &mut high)?;
        played.enlarging += begun.elapsed().as_secs_f64();
        if to.send(high).is_err() {
            return Ok(());
        }
        played.frames += 1;
        progress(played.frames, count);
    }
    Ok(())
}

/// Sends `count` frames from number `first` on. Ends when nobody listens.
fn decode(
    ffmpeg: &Ffmpeg,
    package: &Package,
    first: u64,
    count: u64,
    to: &SyncSender<Result<Frame, VideoError>>,
) {
    let result = each_low(ffmpeg, package, first, count, &mut |chunk, pixels| {
        to.send(Ok(Frame { chunk, pixels: pixels.to_vec() })).is_ok()
    });
    if let Err(error) = result {
        // Nobody listens when the enlarging has failed already.
        let _ = to.send(Err(error));
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
