//! What a video file holds.

use super::packets::{Scan, scan};
use super::process::Process;
use super::rate::Rate;
use super::tools::Ffmpeg;
use super::{check_size, literal};
use crate::error::{DataError, Result};
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// The most that ffprobe may tell of the streams, in bytes.
const MAX_JSON: u64 = 64 << 20;

/// What a video file holds: its first video stream that is no cover picture, and its first audio stream.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The file, for messages.
    pub path: String,
    /// The file.
    pub file: PathBuf,
    /// Pixels per row as shown: after rotation. Pixels are taken as they are stored, square or not.
    pub width: usize,
    /// Rows as shown: after rotation.
    pub height: usize,
    /// Rows as stored: before rotation.
    pub stored_height: usize,
    /// The rotation the file asks for, in degrees, as ffprobe states it. The reader has applied it.
    pub rotation: i32,
    /// Width to height of a pixel as shown, where they are not square: 16 to 11 for a wide PAL film.
    pub pixel_aspect: Option<(u32, u32)>,
    /// Frames per second; of a variable rate the average.
    pub rate: Rate,
    /// The number of frames shown: the packets of the stream, less those an edit list hides and those at the beginning
    /// that cannot be decoded.
    pub frames: u64,
    /// How long the film is shown, in s: to the end of the last frame.
    pub duration: f64,
    /// When every frame is shown, in s, in order; the first at 0. Where the file does not say, as in a raw stream,
    /// the grid of the rate.
    pub times: Vec<f64>,
    /// When the first frame is shown by the file's own clock, in s.
    pub start: f64,
    /// Whether the file says when every frame is shown.
    pub timed: bool,
    /// When the key frames are shown, in s on the clock of `times`, in order.
    pub keys: Vec<f64>,
    /// Whether some frame is shown more than half a frame away from the grid `i / rate`, for the nominal rate, the
    /// average one and the one the times give. Files that round their times to ms are of a constant rate by this.
    pub variable_rate: bool,
    /// Bits per sample.
    pub bits: u8,
    /// The pixel format by ffmpeg's name, as `yuv420p`.
    pub pixel_format: String,
    /// The codec by ffmpeg's name, as `h264`.
    pub codec: String,
    /// The YUV matrix by ffmpeg's name, as `bt709`; `None` where the stream does not say.
    pub matrix: Option<String>,
    /// `tv` (limited) or `pc` (full); `None` where the stream does not say.
    pub range: Option<String>,
    /// The primaries by ffmpeg's name.
    pub primaries: Option<String>,
    /// The transfer function by ffmpeg's name.
    pub transfer: Option<String>,
    /// The first audio stream.
    pub audio: Option<Audio>,
    /// The size of the video stream's packets together, in bytes.
    pub video_bytes: u64,
}

/// An audio stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Audio {
    /// The codec by ffmpeg's name, as `aac`.
    pub codec: String,
    /// The number of channels.
    pub channels: u32,
    /// Samples per second.
    pub sample_rate: u32,
}

/// Reads what the file holds. It is read once from end to end, but nothing is decoded.
///
/// # Errors
/// [`DataError::Io`] when there is no such file, [`DataError::Invalid`] when it is no video, holds no video stream,
/// is empty or is cut short, [`DataError::TooLarge`] past [`MAX_SIDE`](super::MAX_SIDE) or
/// [`MAX_PACKETS`](super::MAX_PACKETS), [`DataError::Program`] when ffprobe cannot be run.
pub fn probe(ffmpeg: &Ffmpeg, path: &Path) -> Result<Probe> {
    let name = path.display().to_string();
    check_file(path)?;
    let about = describe(ffmpeg, path)?;
    let format = text(&about["format"], "format_name").unwrap_or_default();
    if format == "tty" {
        return Err(DataError::invalid(name, "a video", "a text file"));
    }
    if format.ends_with("_pipe") || format == "image2" {
        return Err(DataError::invalid(name, "a video", format!("a still picture ({format})")));
    }
    let streams = about["streams"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is = |stream: &&Value, kind: &str| stream["codec_type"] == kind;
    let stream = streams
        .iter()
        .find(|stream| is(stream, "video") && stream["disposition"]["attached_pic"] != 1)
        .ok_or_else(|| DataError::invalid(&name, "a video stream", format!("none ({format})")))?;
    let stored = (number(stream, "width"), number(stream, "height"));
    if stored.0 == 0 || stored.1 == 0 {
        return Err(DataError::invalid(name, "a video stream of a known size", format!("none ({format})")));
    }
    check_size(&name, stored.0, stored.1)?;
    let rotation = rotation(stream);
    let turned = rotation.rem_euclid(180) == 90;
    let (width, height) = if turned { (stored.1, stored.0) } else { stored };

    let scan = scan(ffmpeg, path, None)?;
    let clock = Clock::new(&scan, stream);
    if clock.times.is_empty() {
        return Err(DataError::invalid(name, "a video with frames", "no frame"));
    }
    if ["partial file", "ended prematurely", "truncated"].iter().any(|sign| scan.said.contains(sign)) {
        let found = format!(
            "an end after {} frames ({}); `ffmpeg -i FILE -c copy NEW` keeps what is there",
            clock.times.len(),
            scan.said
        );
        return Err(DataError::invalid(name, "a whole file", found));
    }
    let last = clock.times.last().copied().unwrap_or(0.0);
    let colour =
        |key: &str| text(stream, key).filter(|v| !["unknown", "unspecified", "reserved"].contains(v));
    let pixel_format = text(stream, "pix_fmt").unwrap_or("unknown");
    Ok(Probe {
        path: name,
        file: path.to_path_buf(),
        width,
        height,
        stored_height: stored.1,
        rotation,
        pixel_aspect: pixel_aspect(stream).map(|(w, h)| if turned { (h, w) } else { (w, h) }),
        rate: clock.rate,
        frames: clock.times.len() as u64,
        duration: last + scan.last_duration.filter(|_| clock.variable).unwrap_or(1.0 / clock.rate.value()),
        times: clock.times,
        start: clock.start,
        timed: scan.timed,
        keys: clock.keys,
        variable_rate: clock.variable,
        bits: bits(pixel_format),
        pixel_format: pixel_format.into(),
        codec: text(stream, "codec_name").unwrap_or("unknown").into(),
        matrix: colour("color_space").map(Into::into),
        range: colour("color_range").map(Into::into),
        primaries: colour("color_primaries").map(Into::into),
        transfer: colour("color_transfer").map(Into::into),
        audio: streams.iter().find(|stream| is(stream, "audio")).map(audio),
        video_bytes: scan.packets.iter().map(|packet| packet.bytes).sum(),
    })
}

/// Errors of the file system say more than ffprobe's.
pub(super) fn check_file(path: &Path) -> Result<()> {
    let found = match std::fs::metadata(path).map_err(|e| DataError::io(path, "open the file", e))? {
        about if about.is_dir() => "a folder",
        about if !about.is_file() => "something else, as a pipe",
        about if about.len() == 0 => "an empty file",
        _ => return Ok(()),
    };
    Err(DataError::invalid(path.display().to_string(), "a video file", found))
}

/// The streams and the container, as ffprobe's JSON.
pub(super) fn describe(ffmpeg: &Ffmpeg, path: &Path) -> Result<Value> {
    let name = path.display().to_string();
    let mut command = ffmpeg.ffprobe();
    command.args(["-show_streams", "-show_format", "-of", "json"]).arg(literal(path));
    let mut process = Process::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()), &name)?;
    let mut json = Vec::new();
    if let Some(pipe) = process.child().stdout.take() {
        let read = pipe.take(MAX_JSON).read_to_end(&mut json);
        read.map_err(|e| process.error(format!("cannot read its output: {e}")))?;
    }
    let (status, said) = process.wait()?;
    if !status.success() {
        let hint = if said.contains("moov atom") { "; it is cut short, or no video" } else { "" };
        let said = said.replace(&format!("file:{name}: "), "");
        return Err(DataError::invalid(name, "a video that ffmpeg can read", format!("{said}{hint}")));
    }
    serde_json::from_slice(&json).map_err(|e| process.error(format!("its description is no JSON: {e}")))
}

/// When the frames are shown.
struct Clock {
    times: Vec<f64>,
    keys: Vec<f64>,
    start: f64,
    rate: Rate,
    variable: bool,
}

impl Clock {
    fn new(scan: &Scan, stream: &Value) -> Self {
        let shown = || (0..scan.packets.len()).filter(|i| scan.packets[*i].shown);
        // Some files say of some frames only when they are decoded. In their order of showing frames are as far apart.
        let time = |i: usize| scan.decoded.get(i).copied().unwrap_or(scan.packets[i].time);
        let mut times: Vec<f64> = shown().map(time).collect();
        let mut keys: Vec<f64> = shown().filter(|i| scan.packets[*i].key).map(time).collect();
        let earliest = shown().map(|i| scan.packets[i].time).min_by(f64::total_cmp);
        let stated = |key| text(stream, key).and_then(Rate::parse);
        let (nominal, average) = (stated("r_frame_rate"), stated("avg_frame_rate"));
        let fallback = average.or(nominal).unwrap_or(Rate { numerator: 25, denominator: 1 });
        if times.iter().any(|time| time.is_nan()) {
            // A raw stream knows no times, and its only rate is the nominal one.
            let rate = nominal.unwrap_or(fallback);
            times = (0..times.len()).map(|i| i as f64 / rate.value()).collect();
            return Self { times, keys: Vec::new(), start: 0.0, rate, variable: false };
        }
        times.sort_by(f64::total_cmp);
        keys.sort_by(f64::total_cmp);
        let zero = times.first().copied().unwrap_or(0.0);
        times.iter_mut().chain(&mut keys).for_each(|time| *time -= zero);
        let start = earliest.unwrap_or(zero);
        // The nominal rate is exact where it fits; of fields or of no constant rate it is a multiple.
        let mut rates =
            [nominal.filter(|_| times.len() > 1), average, Rate::average(&times)].into_iter().flatten();
        let constant = rates.find(|rate| rate.distance(&times) <= 0.5);
        Self {
            rate: constant.or_else(|| Rate::average(&times)).unwrap_or(fallback),
            variable: constant.is_none() && times.len() > 1,
            times,
            keys,
            start,
        }
    }
}

fn audio(stream: &Value) -> Audio {
    Audio {
        codec: text(stream, "codec_name").unwrap_or("unknown").into(),
        channels: number(stream, "channels") as u32,
        sample_rate: number(stream, "sample_rate") as u32,
    }
}

fn pixel_aspect(stream: &Value) -> Option<(u32, u32)> {
    let (w, h) = text(stream, "sample_aspect_ratio")?.split_once(':')?;
    let (w, h) = (w.parse().ok()?, h.parse().ok()?);
    (w > 0 && h > 0 && w != h).then_some((w, h))
}

/// In degrees. The side data is what ffmpeg goes by; before version 5 there was a tag too.
fn rotation(stream: &Value) -> i32 {
    let sides = stream["side_data_list"].as_array().map(Vec::as_slice).unwrap_or_default();
    let degrees = sides.iter().find_map(|side| side["rotation"].as_f64());
    let tag = || text(&stream["tags"], "rotate").and_then(|degrees| degrees.parse().ok());
    degrees.or_else(tag).filter(|d| d.abs() < 1e6).unwrap_or(0.0).round() as i32
}

/// Bits per sample of a pixel format, by its name: `yuv420p10le`, `p010le`, `rgb48be`.
fn bits(pixel_format: &str) -> u8 {
    let Some(name) = pixel_format.strip_suffix("le").or_else(|| pixel_format.strip_suffix("be")) else {
        return 8;
    };
    match name.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default() {
        "9" => 9,
        "10" | "010" | "210" | "410" | "20" | "30" => 10,
        "12" | "012" | "212" | "412" | "36" => 12,
        "14" => 14,
        "16" | "016" | "216" | "416" | "48" | "64" => 16,
        "32" => 32,
        _ => 8,
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value[key].as_str()
}

/// A count, that ffprobe writes as a number or as text; 0 where it does not say.
fn number(value: &Value, key: &str) -> usize {
    let value = &value[key];
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0);
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::bits;

    #[test]
    fn pixel_formats_tell_their_bits() {
        for (name, expected) in
            [("yuv420p", 8), ("yuv420p10le", 10), ("p010le", 10), ("nv12", 8), ("rgb48be", 16)]
        {
            assert_eq!(bits(name), expected, "{name}");
        }
        for (name, expected) in [("gray12le", 12), ("x2rgb10le", 10), ("rgb565le", 8), ("yuv444p16be", 16)] {
            assert_eq!(bits(name), expected, "{name}");
        }
    }
}
