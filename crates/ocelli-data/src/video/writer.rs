//! Frames to a film.

use super::audio::AudioArguments;
use super::colour::{FLAGS, Tags};
use super::matroska;
use super::options::{Codec, Quality, WriteOptions};
use super::process::{Process, failure};
use super::tools::Ffmpeg;
use crate::error::{DataError, Result};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

/// Where a film goes.
#[derive(Clone, Copy, Debug)]
pub enum Destination<'a> {
    /// A file; its extension says which container.
    File(&'a Path),
    /// Matroska to our own stdout, as a player reads it.
    Stdout,
}

/// Encodes frames to a film.
///
/// H.264 and H.265 are written with 8 bits and limited range, and the colours are tagged. Chroma is halved both ways
/// (4:2:0, which every player shows) where both sides are even; a film with an odd side keeps its size and is written
/// in 4:4:4, which software players show and many devices do not.
///
/// A file is written beside its destination under a hidden name and renamed by [`finish`](Self::finish), so that no
/// half film is ever under its name. Dropped before, the writer ends ffmpeg and removes what is there.
pub struct Writer {
    name: String,
    process: Process,
    input: Option<ChildStdin>,
    /// Counts the frames that ffmpeg wrote.
    counter: Option<JoinHandle<u64>>,
    /// What is written now, and what it is to be.
    files: Option<(PathBuf, PathBuf)>,
    overwrite: bool,
    frame: usize,
    times: Option<Vec<f64>>,
    written: u64,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Writer({}, {} frames written)", self.name, self.written)
    }
}

impl Writer {
    /// Starts to write frames of `width` by `height` pixels.
    ///
    /// # Errors
    /// [`DataError::Config`] for options out of bounds, [`DataError::Invalid`] when the file is there already and may
    /// not be replaced, or when this ffmpeg has no such encoder, [`DataError::Program`] when ffmpeg cannot be started;
    /// for audio those of [`probe`](super::probe()).
    pub fn create(
        ffmpeg: &Ffmpeg,
        to: Destination<'_>,
        width: usize,
        height: usize,
        options: &WriteOptions,
    ) -> Result<Self> {
        let (name, files) = match to {
            Destination::Stdout => ("stdout".to_string(), None),
            Destination::File(path) => {
                (path.display().to_string(), Some((beside(path)?, path.to_path_buf())))
            }
        };
        options.check(&name, width, height)?;
        if let Some((_, path)) = &files {
            check_destination(path, options.overwrite)?;
        }
        check_encoder(ffmpeg, options)?;
        let extension = files.as_ref().map_or("mkv".into(), |(_, path)| extension(path));
        let audio = AudioArguments::new(ffmpeg, options, &extension)?;
        let times = options.spaced_times();

        let mut command = ffmpeg.command();
        match times {
            Some(_) => command.args(["-fpsprobesize", "0", "-f", "matroska"]),
            None => {
                let size = format!("{width}x{height}");
                command.args(["-f", "rawvideo", "-pixel_format", "rgb24", "-video_size", &size]);
                command.args(["-framerate", &options.rate.to_string()])
            }
        };
        command.args(["-i", "pipe:0"]).args(&audio.input);
        command.args(["-map", "0:v:0"]).args(&audio.output);
        command.args(["-map_metadata", "-1", "-map_chapters", "-1"]).args(ffmpeg.passthrough());
        if times.is_some() {
            // Else the encoder counts in frames, and times between two of them are lost.
            command.args(["-enc_time_base", "1:90000"]);
        }
        encode(&mut command, width, height, options);
        contain(&mut command, &extension, options.codec);
        command.arg("-y").stdin(Stdio::piped());
        match &files {
            // Counting what was written tells a whole film from one that ffmpeg gave up on.
            Some((temporary, _)) => {
                command.args(["-progress", "pipe:1"]).arg(super::literal(temporary)).stdout(Stdio::piped())
            }
            None => {
                command.args(["-flush_packets", "1", "-f", "matroska", "pipe:1"]).stdout(Stdio::inherit())
            }
        };
        let mut process = Process::spawn(&mut command, &name)?;
        let input = process.child().stdin.take();
        let counter =
            process.child().stdout.take().map(|pipe| std::thread::spawn(move || count_frames(pipe)));
        let (frame, overwrite) = (width * height * 3, options.overwrite);
        let mut writer = Self { name, process, input, counter, files, overwrite, frame, times, written: 0 };
        if writer.times.is_some() {
            writer.send(&matroska::header(width, height, options.rate))?;
        }
        Ok(writer)
    }

    /// Writes a frame, `[height, width, 3]`.
    ///
    /// # Errors
    /// [`DataError::Invalid`] when the frame has the wrong size or there is no time left for it;
    /// [`DataError::Program`] when ffmpeg failed, with what it said.
    pub fn write(&mut self, rgb: &[u8]) -> Result<()> {
        if rgb.len() != self.frame {
            let expected = format!("frames of {} bytes", self.frame);
            return Err(DataError::invalid(&self.name, expected, format!("{} bytes", rgb.len())));
        }
        if let Some(times) = &self.times {
            let Some(time) = usize::try_from(self.written).ok().and_then(|at| times.get(at)) else {
                let expected = format!("{} frames, as many as times", times.len());
                return Err(DataError::invalid(&self.name, expected, "one more"));
            };
            let head = matroska::frame(*time, rgb.len());
            self.send(&head)?;
        }
        self.send(rgb)?;
        self.written += 1;
        Ok(())
    }

    /// The number of frames written so far.
    pub fn frames(&self) -> u64 {
        self.written
    }

    /// Waits for ffmpeg and gives the file its name.
    ///
    /// # Errors
    /// [`DataError::Program`] when ffmpeg failed, with what it said; [`DataError::Invalid`] when no frame was written
    /// or ffmpeg wrote fewer; [`DataError::Io`] when the file cannot be renamed.
    pub fn finish(mut self) -> Result<()> {
        self.input = None;
        if self.written == 0 {
            return Err(DataError::invalid(&self.name, "at least one frame to write", "none"));
        }
        let said = self.process.succeed()?;
        // It ends well even when the disk is full as it writes its index.
        if ["No space left", "rror writing", "rror closing", "rror muxing"]
            .iter()
            .any(|sign| said.contains(sign))
        {
            return Err(self.process.error(said));
        }
        let counted = self.counter.take().and_then(|thread| thread.join().ok());
        if let Some(counted) = counted.filter(|counted| *counted != self.written) {
            let (expected, found) =
                (format!("{} frames written", self.written), format!("{counted}: {said}"));
            return Err(DataError::invalid(&self.name, expected, found));
        }
        if let Some((temporary, path)) = &self.files {
            check_destination(path, self.overwrite)?;
            std::fs::rename(temporary, path).map_err(|e| DataError::io(path, "rename the new file", e))?;
            self.files = None;
        }
        Ok(())
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let sent = match &mut self.input {
            Some(input) => input.write_all(bytes),
            None => Err(std::io::ErrorKind::BrokenPipe.into()),
        };
        let Err(e) = sent else { return Ok(()) };
        // The pipe broke because ffmpeg ended, and only ffmpeg knows why.
        self.input = None;
        if e.kind() != std::io::ErrorKind::BrokenPipe {
            return Err(self.process.error(format!("cannot give it a frame: {e}")));
        }
        let (status, said) = self.process.wait()?;
        Err(self.process.error(failure(status, &said)))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let unfinished = self.files.take();
        self.input = None;
        self.process.kill();
        if let Some(counter) = self.counter.take() {
            let _ = counter.join();
        }
        if let Some((temporary, _)) = unfinished {
            // Where it never came to be there is nothing to remove.
            let _ = std::fs::remove_file(temporary);
        }
    }
}

/// The arguments that turn RGB into a coded stream.
fn encode(command: &mut Command, width: usize, height: usize, options: &WriteOptions) {
    let lossless = options.quality == Quality::Lossless;
    let (encoder, rgb) = match options.codec {
        Codec::H264 if lossless => ("libx264rgb", Some("rgb24")),
        Codec::H264 => ("libx264", None),
        Codec::H265 => ("libx265", lossless.then_some("gbrp")),
        Codec::Ffv1 => ("ffv1", Some("bgr0")),
        Codec::RawRgb => ("rawvideo", Some("bgr24")),
    };
    let (w, h) = options.pixel_aspect.unwrap_or((1, 1));
    match rgb {
        Some(format) => command.args(["-vf", &format!("format={format},setsar={w}/{h}")]),
        None => {
            let tags = Tags::new(options.matrix.as_deref(), height);
            let even = width.is_multiple_of(2) && height.is_multiple_of(2);
            let format = if even { "yuv420p" } else { "yuv444p" };
            let primaries = options.primaries.as_deref().unwrap_or(tags.primaries);
            let transfer = options.transfer.as_deref().unwrap_or(tags.transfer);
            let (scale, matrix) = (tags.scale, tags.matrix);
            let convert =
                format!("scale=out_color_matrix={scale}:out_range=tv:flags={FLAGS},format={format}");
            // Both on the frames and on the encoder: which one counts depends on ffmpeg's version.
            let tag = format!(
                "setparams=range=tv:colorspace={matrix}:color_primaries={primaries}:color_trc={transfer}"
            );
            command.args([
                "-vf",
                &format!("{convert},{tag},setsar={w}/{h}"),
                "-color_range",
                "tv",
                "-colorspace",
                matrix,
            ]);
            command.args(["-color_primaries", primaries, "-color_trc", transfer])
        }
    };
    command.args(["-c:v", encoder]);
    match options.codec {
        Codec::H264 => command.args(["-preset", &options.preset]),
        Codec::H265 => {
            let lossless = if lossless { ":lossless=1" } else { "" };
            let parameters = format!("log-level=error{lossless}");
            command.args(["-preset", &options.preset, "-x265-params", &parameters])
        }
        Codec::Ffv1 => command.args(["-level", "3"]),
        Codec::RawRgb => command,
    };
    match (&options.quality, options.codec) {
        (_, Codec::Ffv1 | Codec::RawRgb) => {}
        (Quality::Crf(crf), _) => {
            command.args(["-crf", &crf.to_string()]);
        }
        (Quality::Bitrate { bits_per_second }, _) => {
            command.args(["-b:v", &bits_per_second.to_string()]);
        }
        (Quality::Lossless, Codec::H264) => {
            command.args(["-qp", "0"]);
        }
        (Quality::Lossless, Codec::H265) => {}
    }
}

/// The arguments for a container of this extension.
fn contain(command: &mut Command, extension: &str, codec: Codec) {
    if ["mp4", "m4v", "mov"].contains(&extension) {
        // Times to 1/90000 s, the index in front for players over the network.
        command.args(["-video_track_timescale", "90000", "-movflags", "+faststart"]);
        if codec == Codec::H265 {
            command.args(["-tag:v", "hvc1"]);
        }
    }
    if extension == "mkv" && codec == Codec::RawRgb {
        command.args(["-allow_raw_vfw", "1"]);
    }
}

fn check_encoder(ffmpeg: &Ffmpeg, options: &WriteOptions) -> Result<()> {
    let encoder = match options.codec {
        Codec::H264 if options.quality == Quality::Lossless => "libx264rgb",
        Codec::H264 => "libx264",
        Codec::H265 => "libx265",
        Codec::Ffv1 | Codec::RawRgb => return Ok(()),
    };
    // An ffmpeg that is not there is another error, of the start.
    if ffmpeg.version().is_some() && !ffmpeg.has_encoder(encoder) {
        let expected = format!("an ffmpeg with the encoder {encoder}");
        return Err(DataError::invalid("ffmpeg", expected, "one built without it"));
    }
    Ok(())
}

fn check_destination(path: &Path, overwrite: bool) -> Result<()> {
    match std::fs::metadata(path) {
        Ok(about) if about.is_dir() => {
            Err(DataError::invalid(path.display().to_string(), "a file to write", "a folder"))
        }
        Ok(_) if !overwrite => {
            let expected = "no such file yet, or leave to replace it (`overwrite`)";
            Err(DataError::invalid(path.display().to_string(), expected, "a file"))
        }
        _ => Ok(()),
    }
}

/// A name beside `path` that nobody else uses, of the same extension: that tells ffmpeg the container.
fn beside(path: &Path) -> Result<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let (Some(stem), Some(extension)) = (path.file_stem(), path.extension()) else {
        let expected = "a file name with an extension, as film.mp4";
        return Err(DataError::invalid(path.display().to_string(), expected, "none"));
    };
    let mut name = std::ffi::OsString::from(".");
    name.push(stem);
    name.push(format!(".{}-{}.", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    name.push(extension);
    Ok(path.with_file_name(name))
}

fn extension(path: &Path) -> String {
    path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default()
}

/// Reads ffmpeg's progress to its end: how many frames it has encoded.
fn count_frames(pipe: ChildStdout) -> u64 {
    let lines = BufReader::new(pipe).lines().map_while(std::io::Result::ok);
    lines.filter_map(|line| line.strip_prefix("frame=")?.trim().parse().ok()).last().unwrap_or(0)
}
