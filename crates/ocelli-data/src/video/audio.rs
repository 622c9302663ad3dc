//! Which audio goes into a film, and how.

use super::literal;
use super::options::WriteOptions;
use super::packets;
use super::probe::{check_file, describe};
use super::tools::Ffmpeg;
use crate::error::Result;
use serde_json::Value;
use std::ffi::OsString;
use std::path::Path;

/// ffmpeg's arguments for the audio: those of the input, then those of the output.
#[derive(Default)]
pub(super) struct AudioArguments {
    pub(super) input: Vec<OsString>,
    pub(super) output: Vec<OsString>,
}

impl AudioArguments {
    /// For a container of this file extension, in lower case.
    pub(super) fn new(ffmpeg: &Ffmpeg, options: &WriteOptions, extension: &str) -> Result<Self> {
        let Some(path) = &options.audio_from else { return Ok(Self::default()) };
        check_file(path)?;
        let about = describe(ffmpeg, path)?;
        let streams = about["streams"].as_array().map(Vec::as_slice).unwrap_or_default();
        let codecs: Vec<&str> = streams
            .iter()
            .filter(|stream| stream["codec_type"] == "audio")
            .map(|stream| stream["codec_name"].as_str().unwrap_or_default())
            .collect();
        if codecs.is_empty() {
            return Ok(Self::default());
        }
        let mut arguments = Self::default();
        if let Some(start) = skipped(ffmpeg, path, &about, streams, options.audio_start)? {
            // On the file's own clock: its video and its audio rarely begin at the very same time.
            arguments.input(["-seek_timestamp", "1", "-ss", &format!("{start:.6}")]);
        }
        if let Some(duration) = options.audio_duration {
            arguments.input(["-t", &format!("{duration:.6}")]);
        }
        arguments.input(["-protocol_whitelist", "file", "-vn", "-sn", "-dn", "-i"]);
        arguments.input.push(literal(path));
        arguments.output(["-map", "1:a", "-copypriorss", "0"]);
        for (i, codec) in codecs.iter().enumerate() {
            let how = if holds(extension, codec) { "copy" } else { "aac" };
            arguments.output([&format!("-c:a:{i}"), how]);
        }
        Ok(arguments)
    }

    fn input<'a>(&mut self, arguments: impl IntoIterator<Item = &'a str>) {
        self.input.extend(arguments.into_iter().map(OsString::from));
    }

    fn output<'a>(&mut self, arguments: impl IntoIterator<Item = &'a str>) {
        self.output.extend(arguments.into_iter().map(OsString::from));
    }
}

/// Where to begin to read, in s on the file's clock; `None`: at the beginning.
fn skipped(
    ffmpeg: &Ffmpeg,
    path: &Path,
    about: &Value,
    streams: &[Value],
    audio_start: f64,
) -> Result<Option<f64>> {
    let time = |value: &Value| value["start_time"].as_str().and_then(|time| time.parse::<f64>().ok());
    let file = time(&about["format"]).unwrap_or(0.0);
    let video = streams
        .iter()
        .any(|stream| stream["codec_type"] == "video" && stream["disposition"]["attached_pic"] != 1);
    let zero = if video { packets::start(ffmpeg, path)?.unwrap_or(file) } else { file };
    let start = zero + audio_start;
    // ffmpeg takes the beginning of the file as 0 by itself, and then keeps the priming of the audio.
    Ok(Some(start).filter(|start| (start - file).abs() > 0.0005))
}

/// Whether a container can hold audio of this codec, by ffmpeg's names. Matroska and NUT hold everything.
fn holds(extension: &str, codec: &str) -> bool {
    let known: &[&str] = match extension {
        "mp4" | "m4v" => &["aac", "mp3", "ac3", "eac3", "alac", "opus"],
        "mov" => &["aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be"],
        "avi" => &["aac", "mp3", "mp2", "ac3", "pcm_s16le", "pcm_u8", "pcm_s24le"],
        "ts" | "m2ts" | "mts" => &["aac", "mp3", "mp2", "ac3", "eac3", "opus"],
        "flv" => &["aac", "mp3"],
        _ => return true,
    };
    known.contains(&codec)
}
