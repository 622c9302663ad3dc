//! Video: films in, films out.
//!
//! [`deliver`] is neural video delivery: a film of low resolution, one small network overfitted to it, and a few numbers per chunk
//! in place of a film of high resolution. Files are read and written through the programs ffmpeg and ffprobe ([`ocelli_data::video`]).

pub mod deliver;
pub mod error;

pub use error::VideoError;
