//! The low-resolution film: encoded by ffmpeg in segments that begin where chunks begin, playable by itself.

use std::fs;
use std::path::{Path, PathBuf};

use ocelli_data::video::{Ffmpeg, Probe, Reader, packets};
use serde::{Deserialize, Serialize};

use crate::VideoError;

/// How the low-resolution film is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LowCodec {
    /// By libx264.
    H264,
    /// By libx265.
    H265,
}

impl LowCodec {
    /// ffmpeg's encoder.
    pub fn encoder(self) -> &'static str {
        match self {
            Self::H264 => "libx264",
            Self::H265 => "libx265",
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::H265 => "h265",
        }
    }
}

/// Bytes of one argument of a program that every system takes, less some.
const MAX_CUTS: usize = 120_000;

/// Extents of both films.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extents {
    /// Height and width of the film.
    pub film: [usize; 2],
    /// Height and width of the low-resolution film, both even: chroma is halved.
    pub low: [usize; 2],
    /// Factor.
    pub scale: usize,
}

impl Extents {
    /// For a film of `height` and `width`.
    pub fn new(film: [usize; 2], scale: usize) -> Self {
        Self { film, low: film.map(|side| side.div_ceil(scale).next_multiple_of(2)), scale }
    }

    /// Height and width of the film padded to what the low-resolution film enlarges to.
    pub fn padded(&self) -> [usize; 2] {
        self.low.map(|side| side * self.scale)
    }

    /// Bytes of a frame of `size`.
    pub fn bytes(size: [usize; 2]) -> usize {
        size[0] * size[1] * 3
    }

    /// Pads a frame of the film at its right and bottom with its last pixels.
    pub fn pad(&self, frame: &[u8]) -> Vec<u8> {
        let ([height, width], [tall, wide]) = (self.film, self.padded());
        if (height, width) == (tall, wide) {
            return frame.to_vec();
        }
        let mut padded = Vec::with_capacity(Self::bytes([tall, wide]));
        for y in 0..tall {
            let row = &frame[y.min(height - 1) * width * 3..][..width * 3];
            padded.extend_from_slice(row);
            (width..wide).for_each(|_| padded.extend_from_slice(&row[(width - 1) * 3..]));
        }
        padded
    }

    /// Takes the padding off again.
    pub fn crop(&self, padded: &[u8], frame: &mut Vec<u8>) {
        let ([height, width], [_, wide]) = (self.film, self.padded());
        frame.clear();
        for y in 0..height {
            frame.extend_from_slice(&padded[y * wide * 3..][..width * 3]);
        }
    }
}

/// What [`encode`] made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LowFilm {
    /// Playlist, initialisation, then segments, as names in the folder.
    pub playlist: String,
    /// The initialisation segment.
    pub init: String,
    /// The segments, one a chunk.
    pub segments: Vec<String>,
    /// Bytes of audio in them.
    pub audio_bytes: u64,
}

/// Whether frames are stored as RGB.
fn is_rgb(film: &Probe) -> bool {
    let names = ["rgb", "bgr", "gbr", "0rgb", "0bgr", "argb", "abgr", "pal8", "x2"];
    matches!(film.matrix.as_deref(), Some("gbr" | "rgb"))
        || names.iter().any(|name| film.pixel_format.starts_with(name))
}

/// The YUV matrix that `film` is coded with, by ffmpeg's name: its own, or what players take an unnamed one of its height for.
pub fn yuv_matrix(film: &Probe) -> &str {
    match film.matrix.as_deref() {
        Some(matrix) if !is_rgb(film) => matrix,
        _ if film.stored_height <= 576 => "smpte170m",
        _ => "bt709",
    }
}

/// ffmpeg's filters that make YUV of RGB; nothing for films that are YUV.
pub(in crate::deliver) fn to_yuv(film: &Probe) -> String {
    if !is_rgb(film) {
        return String::new();
    }
    format!(
        "scale=out_color_matrix={}:out_range=tv:flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp,format=yuv444p,",
        yuv_matrix(film)
    )
}

/// ffmpeg's filters from the film to the low resolution: padded to a multiple, reduced by an antialiased bicubic filter (a = -0.5).
fn filters(film: &Probe, extents: &Extents) -> String {
    let ([height, width], [tall, wide], [low_height, low_width]) =
        (extents.film, extents.padded(), extents.low);
    let pad = match (tall - height, wide - width) {
        (0, 0) => String::new(),
        // Without subsampled chroma, whose padding would be half a pixel off.
        (bottom, right) => format!(
            "format=yuv444p,pad={wide}:{tall}:0:0,fillborders=right={right}:bottom={bottom}:mode=smear,"
        ),
    };
    format!(
        "setpts=PTS-STARTPTS,{}{pad}scale={low_width}:{low_height}:flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp:\
         param0=0:param1=0.5,format=yuv420p,setsar=1",
        to_yuv(film)
    )
}

/// Encodes the low-resolution film of `film` into `folder`, with a segment for each of `starts` (first frames of chunks).
///
/// # Errors
/// If ffmpeg lacks the encoder or fails, or the segments are not the chunks.
pub fn encode(
    ffmpeg: &Ffmpeg,
    film: &Probe,
    extents: &Extents,
    starts: &[usize],
    (codec, crf, preset): (LowCodec, u32, &str),
    folder: &Path,
) -> Result<LowFilm, VideoError> {
    if !ffmpeg.has_encoder(codec.encoder()) {
        return Err(VideoError::Config(format!(
            "this ffmpeg has no encoder {}; install an ffmpeg that has (Debian and Ubuntu: apt install ffmpeg)",
            codec.encoder()
        )));
    }
    fs::create_dir_all(folder).map_err(VideoError::io(folder))?;
    // A quarter of a frame early: no clock's rounding puts a cut behind the frame it is meant for, and where encoders count in frames it rounds to
    // that frame.
    let cut = |&frame: &usize| match frame {
        0 => "0".to_string(),
        _ => format!("{:.6}", 0.25 * film.times[frame - 1] + 0.75 * film.times[frame]),
    };
    let cuts: Vec<String> = starts.iter().map(cut).collect();
    let cuts = cuts.join(",");
    if cuts.len() > MAX_CUTS {
        return Err(VideoError::Config(format!(
            "{} chunks are more than ffmpeg can be told of; make chunks longer",
            starts.len()
        )));
    }
    let source = fs::canonicalize(&film.file).map_err(VideoError::io(&film.file))?;
    let mut command = ffmpeg.command();
    // Names in the playlist are relative, and a `%` in the folder's name would be a pattern.
    command.current_dir(folder);
    command.arg("-i").arg({
        let mut name = std::ffi::OsString::from("file:");
        name.push(&source);
        name
    });
    command.args(["-map", "0:V:0", "-map", "0:a:0?", "-sn", "-dn", "-map_metadata", "-1"]);
    command.args(["-vf", &filters(film, extents)]).args(ffmpeg.passthrough());
    command.args(["-c:v", codec.encoder(), "-preset", preset, "-crf", &crf.to_string()]);
    command.args(["-force_key_frames", &cuts]);
    match codec {
        LowCodec::H264 => command.args(["-sc_threshold", "0", "-g", "1000000", "-flags", "+cgop"]),
        LowCodec::H265 => command.args([
            "-tag:v",
            "hvc1",
            "-x265-params",
            "scenecut=0:keyint=-1:open-gop=0:log-level=error",
        ]),
    };
    command.args(["-colorspace", yuv_matrix(film)]);
    for (flag, value) in [("-color_primaries", &film.primaries), ("-color_trc", &film.transfer)] {
        if let Some(value) = value {
            command.args([flag, value]);
        }
    }
    let copied = film
        .audio
        .as_ref()
        .is_some_and(|audio| ["aac", "ac3", "eac3", "mp3"].contains(&audio.codec.as_str()));
    command.args(["-c:a", if copied { "copy" } else { "aac" }]);
    // Every key frame begins a segment; there are no others than at chunks.
    command.args(["-f", "hls", "-hls_time", "0.001", "-hls_playlist_type", "vod", "-hls_list_size", "0"]);
    command.args(["-hls_segment_type", "fmp4", "-hls_flags", "independent_segments"]);
    command.args([
        "-hls_fmp4_init_filename",
        "init.mp4",
        "-hls_segment_filename",
        "seg_%05d.m4s",
        "stream.m3u8",
    ]);
    ffmpeg.run(&mut command, &format!("{}: encoding the low-resolution film", film.path))?;
    let segments: Vec<String> =
        (0..).map(|at| format!("seg_{at:05}.m4s")).take_while(|name| folder.join(name).exists()).collect();
    if segments.len() != starts.len() {
        return Err(VideoError::malformed(
            &folder.join("stream.m3u8"),
            format!("ffmpeg made {} segments of {} chunks", segments.len(), starts.len()),
        ));
    }
    let mut made =
        LowFilm { playlist: "stream.m3u8".into(), init: "init.mp4".into(), segments, audio_bytes: 0 };
    if film.audio.is_some() {
        let video: u64 =
            packets(ffmpeg, &folder.join(&made.playlist))?.iter().map(|packet| packet.bytes).sum();
        made.audio_bytes = audio_bytes(&made, folder, video)?;
    }
    Ok(made)
}

/// Bytes of audio in the segments: what their media boxes hold beside the `video` bytes of the video's packets.
fn audio_bytes(low: &LowFilm, folder: &Path, video: u64) -> Result<u64, VideoError> {
    let mut payload = 0u64;
    for name in &low.segments {
        let path = folder.join(name);
        let bytes = fs::read(&path).map_err(VideoError::io(&path))?;
        payload += media_bytes(&bytes);
    }
    Ok(payload.saturating_sub(video))
}

/// Bytes in the `mdat` boxes of a segment of fragmented MP4.
fn media_bytes(bytes: &[u8]) -> u64 {
    let (mut at, mut sum) = (0usize, 0u64);
    while let Some(head) = bytes.get(at..at + 8) {
        let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if size < 8 {
            break;
        }
        if &head[4..8] == b"mdat" {
            sum += size as u64 - 8;
        }
        at += size;
    }
    sum
}

/// Decodes a chunk's frames, `[height, width, 3]` each.
///
/// # Errors
/// If ffmpeg cannot be started.
pub fn frames(
    ffmpeg: &Ffmpeg,
    parts: Vec<PathBuf>,
    low: [usize; 2],
    matrix: Option<&str>,
) -> Result<Reader, VideoError> {
    let name = parts.last().map_or_else(String::new, |path| path.display().to_string());
    Ok(Reader::from_bytes(ffmpeg, &name, parts, low[1], low[0], matrix)?)
}
