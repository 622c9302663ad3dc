//! The frames of a film, one by one.

use super::check_size;
use super::colour::{FLAGS, input_matrix};
use super::literal;
use super::probe::Probe;
use super::process::{Process, failure};
use super::tools::Ffmpeg;
use crate::error::{DataError, Result};
use crate::rgb::RgbImage;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

/// Which frames, and how large.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// Scaled to this width and height, in pixels, by an antialiased bicubic filter (a = -0.5); `None`: as shown.
    pub size: Option<(usize, usize)>,
    /// From here on, in s on the clock of [`Probe::times`]: the first frame shown at this time or at most half a frame
    /// before it. Exact, wherever the key frames are.
    pub start: Option<f64>,
    /// At most so many frames.
    pub frames: Option<u64>,
}

/// The frames of a film in the order they are shown, as RGB of 8 bits and full range, rotated as shown; every frame of
/// the file once, whatever its time.
///
/// One frame is in memory, and what ffmpeg holds. Dropped early, the process is killed and reaped.
pub struct Reader {
    name: String,
    process: Process,
    pipe: Option<ChildStdout>,
    /// Writes the parts into ffmpeg; ends with the part it could not read.
    feeder: Option<JoinHandle<Option<DataError>>>,
    width: usize,
    height: usize,
    /// Frames to pass over before the first one that is given.
    skip: u64,
    seen: u64,
    /// How many frames the file has promised.
    expected: Option<u64>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reader({}, {}x{}, {} frames read)", self.name, self.width, self.height, self.seen)
    }
}

impl Reader {
    /// Starts to read the film that `probe` describes.
    ///
    /// # Errors
    /// [`DataError::Config`] for a start past the end or one that is no time, [`DataError::TooLarge`] and
    /// [`DataError::Invalid`] for sides out of bounds, [`DataError::Program`] when ffmpeg cannot be started.
    pub fn open(ffmpeg: &Ffmpeg, probe: &Probe, options: &ReadOptions) -> Result<Self> {
        let (width, height) = options.size.unwrap_or((probe.width, probe.height));
        check_size(&probe.path, width, height)?;
        let first = first_frame(probe, options.start)?;
        let from = Beginning::new(probe, first);
        let left = probe.frames - first as u64;
        let frames = options.frames.map_or(left, |most| most.min(left));

        let mut command = ffmpeg.command();
        command.args(["-protocol_whitelist", "file"]);
        if let Some(seek) = from.seek {
            command.args(["-seek_timestamp", "1", "-noaccurate_seek", "-ss", &format!("{seek:.6}")]);
        }
        if from.trim.is_some() {
            command.arg("-copyts");
        }
        command.arg("-i").arg(literal(&probe.file)).args(["-map", "0:V:0"]).args(ffmpeg.passthrough());
        let trim = from.trim.map(|time| format!("trim=start={time:.6},")).unwrap_or_default();
        let matrix = input_matrix(probe.matrix.as_deref(), &probe.pixel_format, probe.stored_height);
        command.args(["-vf", &format!("{trim}{}", to_rgb(width, height, matrix))]);
        if options.frames.is_some() {
            // `-frames:v 0` would be no limit at all.
            command.args(["-frames:v", &(frames + from.skip).max(1).to_string()]);
        }
        let mut reader = Self::start(&mut command, &probe.path, width, height, Stdio::null())?;
        (reader.skip, reader.expected) = (from.skip, Some(frames));
        if options.frames == Some(0) {
            reader.close();
        }
        Ok(reader)
    }

    /// Reads the files `parts`, one after another, as one film: an initialisation segment and media segments of
    /// fragmented MP4. `width` and `height`, in pixels, are those of the frames given; `matrix` is the YUV matrix by
    /// ffmpeg's name, `None` where it is not known. `name` stands in errors.
    ///
    /// # Errors
    /// [`DataError::Io`] when a part cannot be opened; else as [`open`](Self::open).
    pub fn from_bytes(
        ffmpeg: &Ffmpeg,
        name: &str,
        parts: Vec<PathBuf>,
        width: usize,
        height: usize,
        matrix: Option<&str>,
    ) -> Result<Self> {
        check_size(name, width, height)?;
        for part in &parts {
            File::open(part).map_err(|e| DataError::io(part, "open the file", e))?;
        }
        let mut command = ffmpeg.command();
        command
            .args(["-protocol_whitelist", "pipe", "-i", "pipe:0", "-map", "0:V:0"])
            .args(ffmpeg.passthrough());
        command.args(["-vf", &to_rgb(width, height, input_matrix(matrix, "", height))]);
        let mut reader = Self::start(&mut command, name, width, height, Stdio::piped())?;
        let input = reader.process.child().stdin.take();
        reader.feeder = input.map(|mut input| {
            std::thread::spawn(move || parts.iter().find_map(|part| feed(part, &mut input)))
        });
        Ok(reader)
    }

    fn start(command: &mut Command, name: &str, width: usize, height: usize, input: Stdio) -> Result<Self> {
        command.args(["-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]);
        let mut process = Process::spawn(command.stdin(input).stdout(Stdio::piped()), name)?;
        let pipe = process.child().stdout.take();
        Ok(Self {
            name: name.into(),
            process,
            pipe,
            feeder: None,
            width,
            height,
            skip: 0,
            seen: 0,
            expected: None,
        })
    }

    /// Pixels per row of the frames given.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows of the frames given.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The number of frames given so far.
    pub fn frames(&self) -> u64 {
        self.seen
    }

    /// Reads the next frame into `frame`, `[height, width, 3]`; `false` at the end, and `frame` is empty.
    ///
    /// # Errors
    /// [`DataError::Program`] when ffmpeg failed, with what it said; [`DataError::Invalid`] when a frame is cut short
    /// or when ffmpeg complained and gave fewer frames than the file has. After an error the reader is at its end.
    pub fn read_into(&mut self, frame: &mut Vec<u8>) -> Result<bool> {
        // Fits: both sides are checked.
        frame.resize(self.width * self.height * 3, 0);
        loop {
            if !self.fill(frame)? {
                frame.clear();
                return Ok(false);
            }
            if self.skip == 0 {
                self.seen += 1;
                return Ok(true);
            }
            self.skip -= 1;
        }
    }

    fn fill(&mut self, frame: &mut [u8]) -> Result<bool> {
        let Some(pipe) = &mut self.pipe else { return Ok(false) };
        let mut at = 0;
        while at < frame.len() {
            match pipe.read(&mut frame[at..]) {
                Ok(0) => return self.end(at, frame.len()).map(|()| false),
                Ok(n) => at += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.close();
                    return Err(self.process.error(format!("cannot read its frames: {e}")));
                }
            }
        }
        Ok(true)
    }

    /// The pipe has ended, `at` bytes into a frame: is that the film's end?
    fn end(&mut self, at: usize, size: usize) -> Result<()> {
        self.pipe = None;
        let (status, said) = self.process.wait()?;
        if let Some(e) = self.join() {
            return Err(e);
        }
        if !status.success() {
            return Err(self.process.error(failure(status, &said)));
        }
        let missing = self.expected.filter(|expected| self.seen < *expected && !said.is_empty());
        if at > 0 || missing.is_some() {
            let expected = match missing {
                Some(frames) => format!("{frames} frames"),
                None => format!("frames of {size} bytes"),
            };
            let cut = if at > 0 { format!(" and {at} bytes") } else { String::new() };
            let said = if said.is_empty() { said } else { format!(": {said}") };
            return Err(DataError::invalid(&self.name, expected, format!("{} frames{cut}{said}", self.seen)));
        }
        Ok(())
    }

    fn close(&mut self) {
        self.pipe = None;
        self.process.kill();
        self.join();
    }

    /// The process is gone, so the feeder's pipe is broken and it ends.
    fn join(&mut self) -> Option<DataError> {
        self.feeder.take()?.join().ok()?
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.close();
    }
}

impl Iterator for Reader {
    type Item = Result<RgbImage>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut frame = Vec::new();
        match self.read_into(&mut frame) {
            Ok(true) => Some(Ok(RgbImage::new(self.width, self.height, frame))),
            Ok(false) => None,
            Err(e) => Some(Err(e)),
        }
    }
}

/// Writes a file into ffmpeg: the error if it cannot be read. That ffmpeg ended early is not the file's fault.
fn feed(part: &Path, input: &mut ChildStdin) -> Option<DataError> {
    let mut file = match File::open(part) {
        Ok(file) => file,
        Err(e) => return Some(DataError::io(part, "open the file", e)),
    };
    let mut chunk = vec![0; 1 << 16];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return None,
            Ok(n) if input.write_all(&chunk[..n]).is_err() => return None,
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Some(DataError::io(part, "read the file", e)),
        }
    }
}

/// The filter from a decoded frame to RGB of this size. The size is always stated: a stream may change its own midway.
fn to_rgb(width: usize, height: usize, matrix: &str) -> String {
    format!(
        "scale={width}:{height}:flags={FLAGS}:param0=0:param1=0.5:in_color_matrix={matrix}:out_range=pc,format=rgb24"
    )
}

fn first_frame(probe: &Probe, start: Option<f64>) -> Result<usize> {
    let Some(start) = start else { return Ok(0) };
    if !start.is_finite() || start < 0.0 {
        return Err(DataError::config("start", "a time of 0 s or more", start));
    }
    let half = 0.5 / probe.rate.value();
    // The margin is what ffprobe rounds to: a frame exactly half a frame early is meant to count.
    let first = probe.times.partition_point(|time| *time < start - half - 1e-6);
    if first >= probe.times.len() {
        let expected = format!("less than the {:.3} s of {}", probe.duration, probe.path);
        return Err(DataError::config("start", expected, start));
    }
    Ok(first)
}

/// How to come to a frame.
#[derive(Default)]
struct Beginning {
    /// Where to seek to, in s on the file's clock.
    seek: Option<f64>,
    /// Frames shown before this, in s on the file's clock, are dropped.
    trim: Option<f64>,
    /// So many frames are read and thrown away.
    skip: u64,
}

impl Beginning {
    fn new(probe: &Probe, first: usize) -> Self {
        if first == 0 {
            return Self::default();
        }
        if !probe.timed {
            return Self { skip: first as u64, ..Self::default() };
        }
        // Between two frames, but nearer to the wanted one: ffmpeg rounds this to ticks, which may be whole frames.
        let trim = 0.25 * probe.times[first - 1] + 0.75 * probe.times[first] + probe.start;
        // One key frame further back than needed: frames shown before a key frame may refer to the ones before it.
        let before = probe.keys.partition_point(|key| *key <= probe.times[first]);
        let seek = before.checked_sub(2).filter(|key| *key > 0).map(|key| probe.keys[key] + probe.start);
        Self { seek, trim: Some(trim), skip: 0 }
    }
}
