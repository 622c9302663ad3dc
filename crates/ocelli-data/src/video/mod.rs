//! Video files to streams of frames and back, through the programs `ffmpeg` and `ffprobe`.
//!
//! The two run in processes of their own and talk over pipes; a film is never in memory as a whole.
//!
//! - [`Ffmpeg::find`] looks the programs up;
//! - [`probe`] reads what a file holds: size, rate, the time of every frame, colours, audio;
//! - [`Reader`] gives its frames in the order they are shown, as 8-bit RGB of full range;
//! - [`Writer`] encodes frames, at a constant rate or at given times, with the audio of another file.
//!
//! ```no_run
//! use ocelli_data::video::{Destination, Ffmpeg, ReadOptions, Reader, WriteOptions, Writer, probe};
//!
//! # fn main() -> ocelli_data::Result<()> {
//! let ffmpeg = Ffmpeg::find()?;
//! let film = probe(&ffmpeg, "in.mp4".as_ref())?;
//! let mut reader = Reader::open(&ffmpeg, &film, &ReadOptions::default())?;
//! let options = WriteOptions { audio_from: Some("in.mp4".into()), ..WriteOptions::like(&film) };
//! let to = Destination::File("out.mp4".as_ref());
//! let mut writer = Writer::create(&ffmpeg, to, film.width, film.height, &options)?;
//! let mut frame = Vec::new();
//! while reader.read_into(&mut frame)? {
//!     writer.write(&frame)?;
//! }
//! writer.finish()
//! # }
//! ```
//!
//! # Colours
//!
//! Nearly all films are YUV, and the matrix and the range they were made with decide which RGB they mean. A stream that
//! names its matrix is converted with it; one that does not is taken as BT.601 up to 576 lines and as BT.709 above, and
//! as limited range where it says nothing. What is written names its matrix, primaries, transfer and range. Films of
//! high dynamic range are not tone-mapped: the values stay as they are, with 8 bits.

mod audio;
mod colour;
mod matroska;
mod options;
mod packets;
mod probe;
mod process;
mod rate;
mod reader;
mod tools;
mod writer;

pub use options::{Codec, Quality, WriteOptions};
pub use packets::{Packet, packets};
pub use probe::{Audio, Probe, probe};
pub use rate::Rate;
pub use reader::{ReadOptions, Reader};
pub use tools::Ffmpeg;
pub use writer::{Destination, Writer};

/// The longest side of a frame, in pixels.
pub const MAX_SIDE: usize = 16_384;
/// The most packets of a video stream.
pub const MAX_PACKETS: u64 = 100_000_000;

use crate::error::{DataError, Result};
use std::ffi::OsString;
use std::path::Path;

/// The path as ffmpeg takes it literally: without the scheme, `a:b.mp4` would be a protocol and `-x.mp4` an option.
fn literal(path: &Path) -> OsString {
    let mut name = OsString::from("file:");
    name.push(path);
    name
}

/// Checks the sides of a frame.
fn check_size(name: &str, width: usize, height: usize) -> Result<()> {
    if width == 0 || height == 0 {
        return Err(DataError::invalid(name, "frames of at least 1x1 pixels", format!("{width}x{height}")));
    }
    if width > MAX_SIDE || height > MAX_SIDE {
        return Err(DataError::TooLarge {
            name: name.into(),
            found: format!("frames of {width}x{height}"),
            limit: format!("{MAX_SIDE} pixels a side"),
        });
    }
    Ok(())
}
