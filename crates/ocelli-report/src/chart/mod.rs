//! Charts as SVG.
//!
//! One string serves two places. Every shape carries its colour for a white background, so the SVG stands
//! alone in a README, a browser or a vector editor. It also carries a class (`oc-ink`, `oc-k0`, ...), and
//! the style sheet of an [`html::Page`](crate::html::Page) overrides the colours by class, so that the same
//! chart follows the page into dark mode.

mod bar;
mod decimate;
mod heatmap;
mod legend;
mod line;
mod number;
mod paint;
mod panels;
mod svg;
mod text;
mod ticks;

pub use bar::{Bar, BarChart};
pub use heatmap::Heatmap;
pub use line::{LineChart, Series};
pub use number::{count, duration, percent, short};
pub use paint::{SERIES_COLOURS, SERIES_COLOURS_DARK};
pub use panels::{Panels, panels};
pub use ticks::{Ticks, linear_ticks, log_ticks};

pub(crate) use paint::style_sheet;
pub(crate) use svg::FONT;

/// Something that draws itself.
pub trait Chart {
    /// The chart as an SVG document.
    fn to_svg(&self) -> String;
}
