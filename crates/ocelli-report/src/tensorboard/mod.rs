//! TensorBoard event files, written without TensorFlow.
//!
//! An event file is a sequence of TFRecords, each framing one `Event` protocol buffer. Only what scalars
//! need is encoded here.

mod crc32c;
mod event;
mod record;
mod writer;

pub use crc32c::{crc32c, masked_crc32c};
pub use writer::{EventWriter, now};
