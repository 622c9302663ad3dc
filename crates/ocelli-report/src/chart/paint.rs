//! Colours by role, each with a class for style sheets and a value for a white background.

use std::fmt::Write;

/// The colours of series on a light background: the Okabe-Ito palette, which people with the common
/// colour-vision deficiencies can tell apart, its light tones darkened to stand out from white.
pub const SERIES_COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#008a64", "#b0578d", "#9a7400", "#3c93cf", "#5f6b76", "#8a3b12"];

/// The colours of series on a dark background, in the same order.
pub const SERIES_COLOURS_DARK: [&str; 8] =
    ["#56b4e9", "#ff8f3f", "#2fc79a", "#e39ac4", "#e6c229", "#8ea6ff", "#a9b4bf", "#d98b66"];

/// What a shape means, hence its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    /// Behind everything.
    Background,
    /// Titles and values.
    Ink,
    /// Labels of axes and ticks.
    Muted,
    /// Grid lines.
    Grid,
    /// The axis line.
    Axis,
    /// The n-th series.
    Series(usize),
    /// Cells of a heat map, at varying opacity.
    Heat,
    /// Text on a cell at high opacity.
    OnHeat,
}

impl Paint {
    fn index(n: usize) -> usize {
        n % SERIES_COLOURS.len()
    }

    fn class(self) -> String {
        match self {
            Self::Background => "oc-bg".into(),
            Self::Ink => "oc-ink".into(),
            Self::Muted => "oc-muted".into(),
            Self::Grid => "oc-grid".into(),
            Self::Axis => "oc-axis".into(),
            Self::Series(n) => format!("oc-f{}", Self::index(n)),
            Self::Heat => "oc-heat".into(),
            Self::OnHeat => "oc-onheat".into(),
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Self::Background | Self::OnHeat => "#ffffff",
            Self::Ink => "#1b1f24",
            Self::Muted => "#57606a",
            Self::Grid => "#e4e8ec",
            Self::Axis => "#a8b0b9",
            Self::Series(n) => SERIES_COLOURS[Self::index(n)],
            Self::Heat => "#08306b",
        }
    }

    /// Attributes that fill a shape.
    pub(super) fn fill(self) -> String {
        format!("class=\"{}\" fill=\"{}\"", self.class(), self.colour())
    }

    /// Attributes that stroke a line.
    pub(super) fn stroke(self) -> String {
        let class = match self {
            Self::Series(n) => format!("oc-k{}", Self::index(n)),
            other => other.class(),
        };
        format!("class=\"{class}\" fill=\"none\" stroke=\"{}\"", self.colour())
    }
}

/// The rules that tie the classes to a page's CSS variables.
pub(crate) fn style_sheet() -> String {
    let mut css = String::from(
        ".oc-bg{fill:none}.oc-ink{fill:var(--ink)}.oc-muted{fill:var(--muted)}.oc-grid{stroke:var(--grid)}\
         .oc-axis{stroke:var(--axis)}.oc-heat{fill:var(--heat)}.oc-onheat{fill:var(--on-heat)}",
    );
    for n in 0..SERIES_COLOURS.len() {
        let _ = write!(css, ".oc-f{n}{{fill:var(--s{n})}}.oc-k{n}{{stroke:var(--s{n})}}");
    }
    css
}
