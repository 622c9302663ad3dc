//! Reports and records of training runs: what a person would rather look at than a column of numbers.
//!
//! - [`chart`]: line charts, bar charts and heat maps as SVG strings.
//! - [`html`]: a self-contained HTML page out of headings, tiles, tables, charts and pictures.
//! - [`training`]: the report of one training run, from plain numbers to a finished page.
//! - [`tensorboard`]: scalars for TensorBoard.
//! - [`mod@png`] encodes thumbnails.
//! - [`atomic`]: files that are never seen half written.
//!
//! Charts and pages are plain strings. Nothing here does I/O but [`tensorboard`] and [`atomic`].

pub mod atomic;
pub mod chart;
pub mod html;
pub mod png;
pub mod tensorboard;
pub mod training;

mod error;
mod escape;

pub use error::{Error, Result};
pub use escape::escape;
