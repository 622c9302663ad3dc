//! Line charts.

use std::fmt::Write;

use super::Chart;
use super::decimate::pieces;
use super::legend::Legend;
use super::number::short;
use super::paint::Paint;
use super::svg::{Drawing, Style, coord, dash_attribute};
use super::text;
use super::ticks::{LIMIT, Ticks, extent, linear_ticks, log_ticks};

/// One line of a [`LineChart`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    /// What the legend calls it; without a name it has no place there.
    pub name: String,
    /// Points `(x, y)` in drawing order. One that is not finite interrupts the line.
    pub points: Vec<(f64, f64)>,
    /// A shaded range around the line, as `(x, low, high)`: a spread over seeds, say.
    pub band: Option<Vec<(f64, f64, f64)>>,
    /// Draws the line dashed.
    pub dashed: bool,
}

impl Series {
    /// A solid line without a band.
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, ..Self::default() }
    }
}

/// A line chart.
#[derive(Debug, Clone, PartialEq)]
pub struct LineChart {
    /// Above the chart.
    pub title: String,
    /// Below the horizontal axis.
    pub x_label: String,
    /// Beside the vertical axis.
    pub y_label: String,
    /// The lines, in the order of their colours.
    pub series: Vec<Series>,
    /// A logarithmic vertical axis. Points that are not positive are left out.
    pub y_log: bool,
    /// The vertical range; what lies outside is cut off. Without one, the axis covers all the data.
    pub y_range: Option<(f64, f64)>,
    /// Vertical reference lines with their texts: the best epoch, say.
    pub x_marks: Vec<(f64, String)>,
    /// Width of the SVG in pixels.
    pub width: u32,
    /// Height of the SVG in pixels.
    pub height: u32,
}

impl Default for LineChart {
    fn default() -> Self {
        Self {
            title: String::new(),
            x_label: String::new(),
            y_label: String::new(),
            series: Vec::new(),
            y_log: false,
            y_range: None,
            x_marks: Vec::new(),
            width: 520,
            height: 300,
        }
    }
}

impl Chart for LineChart {
    fn to_svg(&self) -> String {
        self.draw().finish(&self.describe())
    }
}

/// The plot's rectangle and the scales of its axes.
struct Frame {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
    x: Ticks,
    y: Ticks,
    log: bool,
}

/// Room between the first or last point and the plot's edge.
const INSET: f64 = 10.0;

impl Frame {
    fn px(&self, x: f64) -> f64 {
        self.left + INSET + (x - self.x.low) / (self.x.high - self.x.low) * (self.width - 2.0 * INSET)
    }

    fn py(&self, y: f64) -> f64 {
        let scale = |v: f64| if self.log { v.log10() } else { v };
        let share = (scale(y) - scale(self.y.low)) / (scale(self.y.high) - scale(self.y.low));
        // Far outside, a coordinate need not be exact, only short enough to write.
        (self.top + (1.0 - share) * self.height).clamp(-1e5, 1e5)
    }

    fn shows(&self, x: f64, y: f64) -> bool {
        x.abs() <= LIMIT && y.abs() <= LIMIT && (!self.log || y > 0.0)
    }
}

impl LineChart {
    /// The chart as an SVG document.
    #[must_use]
    pub fn to_svg(&self) -> String {
        Chart::to_svg(self)
    }

    pub(super) fn describe(&self) -> String {
        let names: Vec<&str> =
            self.series.iter().map(|s| s.name.as_str()).filter(|n| !n.is_empty()).take(12).collect();
        let what = if self.title.is_empty() { "Line chart" } else { &self.title };
        if names.is_empty() { what.to_owned() } else { format!("{what}: {}", names.join(", ")) }
    }

    pub(super) fn draw(&self) -> Drawing {
        let width = f64::from(self.width.max(160));
        let margin = 14.0;
        let names: Vec<&str> = self.series.iter().map(|s| s.name.as_str()).collect();
        let legend = Legend::new(&names, width - 2.0 * margin);

        let mut top = margin;
        let mut out = Drawing::new(width, 0.0);
        if !self.title.is_empty() {
            let room = width - 2.0 * margin;
            let style = Style::new(15.0, Paint::Ink).bold();
            out.short_text(margin, top + 12.0, style, &text::fit(&self.title, 15.5, room), &self.title);
            top += 24.0;
        }
        legend.draw(&mut out, margin, top, |n| self.dash(n));
        // Marks have their texts in this gap; it is there without them too, so that panels align.
        top += legend.height() + 20.0;
        // Many rows of legend make the picture taller, not the plot smaller.
        let height = f64::from(self.height.max(120)).max(top + 150.0);
        out.height = height;

        let frame = self.frame(margin, top, width, height);
        self.axes(&mut out, &frame);
        self.marks(&mut out, &frame);
        self.lines(&mut out, &frame);
        out
    }

    fn dash(&self, n: usize) -> &'static str {
        // Colours repeat after eight series; a dash pattern keeps those apart.
        match (self.series[n].dashed, n / super::SERIES_COLOURS.len()) {
            (true, _) => "6 4",
            (false, 0) => "",
            (false, 1) => "9 3",
            (false, _) => "2 3",
        }
    }

    fn frame(&self, margin: f64, top: f64, width: f64, height: f64) -> Frame {
        let good = |y: f64| y.abs() <= LIMIT && (!self.y_log || y > 0.0);
        let points =
            || self.series.iter().flat_map(|s| &s.points).filter(|(x, y)| x.abs() <= LIMIT && good(*y));
        let bands = || self.series.iter().filter_map(|s| s.band.as_ref()).flatten();
        let bands = || bands().filter(|(x, low, high)| x.abs() <= LIMIT && good(*low) && good(*high));

        let xs = || points().map(|p| p.0).chain(bands().map(|b| b.0));
        let (x_low, x_high) = extent(xs()).unwrap_or((0.0, 1.0));
        let whole = xs().all(|x| x.fract() == 0.0);

        let ys = points().map(|p| p.1).chain(bands().flat_map(|b| [b.1, b.2]));
        let found = extent(ys);
        let bottom = margin + if self.x_label.is_empty() { 16.0 } else { 36.0 };
        let plot_height = height - top - bottom;
        let target = (plot_height / 42.0).clamp(2.0, 8.0) as usize;
        let y = match (self.y_range, found) {
            (Some((low, high)), _) if self.y_log => log_ticks(low.min(high), high.max(low)),
            (Some((low, high)), _) => linear_ticks(low, high, target, false, false),
            (None, Some((low, high))) if self.y_log => log_ticks(low, high),
            (None, Some((low, high))) => linear_ticks(low, high, target, true, false),
            (None, None) if self.y_log => log_ticks(0.1, 1.0),
            (None, None) => linear_ticks(0.0, 1.0, target, true, false),
        };

        let labels = text::widest(y.marks.iter().map(|m| m.1.as_str()), 12.0);
        let title = if self.y_label.is_empty() { 0.0 } else { 20.0 };
        let left = margin + title + labels + 8.0;
        let plot_width = width - left - margin;
        let target = (plot_width / 60.0).clamp(2.0, 12.0) as usize;
        let x = if x_low == x_high && whole {
            linear_ticks(x_low - 1.0, x_high + 1.0, 2, false, true)
        } else {
            linear_ticks(x_low, x_high, target, false, whole)
        };
        Frame { left, top, width: plot_width, height: plot_height, x, y, log: self.y_log }
    }

    fn axes(&self, out: &mut Drawing, frame: &Frame) {
        let (right, bottom) = (frame.left + frame.width, frame.top + frame.height);
        let style = Style::new(12.0, Paint::Muted);
        for (value, label) in &frame.y.marks {
            let y = frame.py(*value);
            out.line((frame.left, y), (right, y), 1.0, Paint::Grid, "");
            out.text(frame.left - 8.0, y + 4.0, style.end(), label);
        }
        out.line((frame.left, bottom), (right, bottom), 1.0, Paint::Axis, "");
        for (value, label) in &frame.x.marks {
            let x = frame.px(*value);
            out.line((x, bottom), (x, bottom + 4.0), 1.0, Paint::Axis, "");
            out.text(x, bottom + 17.0, style.middle(), label);
        }
        out.text(frame.left + frame.width / 2.0, bottom + 36.0, style.middle(), &self.x_label);
        if !self.y_label.is_empty() {
            let at = (25.0, frame.top + frame.height / 2.0);
            out.turned_text(at, -90.0, style.middle(), &self.y_label, &self.y_label);
        }
        if self.series.iter().all(|s| !s.points.iter().any(|(x, y)| frame.shows(*x, *y))) {
            let middle = (frame.left + frame.width / 2.0, frame.top + frame.height / 2.0);
            out.text(middle.0, middle.1 - 6.0, Style::new(13.0, Paint::Muted).middle(), "no data");
        }
    }

    fn marks(&self, out: &mut Drawing, frame: &Frame) {
        for (value, label) in &self.x_marks {
            if !(frame.x.low..=frame.x.high).contains(value) {
                continue;
            }
            let x = frame.px(*value);
            out.line((x, frame.top - 2.0), (x, frame.top + frame.height), 1.0, Paint::Axis, "3 3");
            let half = text::width(label, 11.5) / 2.0;
            let room = (frame.left + half, (frame.left + frame.width - half).max(frame.left + half));
            let style = Style::new(11.5, Paint::Muted).middle();
            out.text(x.clamp(room.0, room.1), frame.top - 6.0, style, label);
        }
    }

    /// Bands, lines and dots, inside a nested `svg` that cuts off what leaves the plot.
    fn lines(&self, out: &mut Drawing, frame: &Frame) {
        let spill = 5.0;
        let (x, y) = (coord(frame.left - spill), coord(frame.top - spill));
        let (w, h) = (coord(frame.width + 2.0 * spill), coord(frame.height + 2.0 * spill));
        out.raw(&format!(
            "<svg x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" viewBox=\"{x} {y} {w} {h}\" \
             overflow=\"hidden\">"
        ));
        for (n, series) in self.series.iter().enumerate() {
            band(out, frame, n, series);
        }
        for (n, series) in self.series.iter().enumerate() {
            self.line(out, frame, n, series);
        }
        out.raw("</svg>");
    }

    fn line(&self, out: &mut Drawing, frame: &Frame, n: usize, series: &Series) {
        let pieces = pieces(&series.points, |p| frame.shows(p.0, p.1), |p| p.1);
        let mut path = String::new();
        for piece in pieces.iter().filter(|piece| piece.len() > 1) {
            for (i, (x, y)) in piece.iter().enumerate() {
                let command = if i == 0 { 'M' } else { 'L' };
                let _ = write!(path, "{command}{} {}", coord(frame.px(*x)), coord(frame.py(*y)));
            }
        }
        if !path.is_empty() {
            let dash = dash_attribute(self.dash(n));
            out.raw(&format!(
                "<path d=\"{path}\" stroke-width=\"2\" stroke-linejoin=\"round\" stroke-linecap=\"round\"{dash} {}/>",
                Paint::Series(n).stroke()
            ));
        }
        let total: usize = pieces.iter().map(Vec::len).sum();
        for piece in &pieces {
            // A lone point has no line to show it.
            if total > 30 && piece.len() > 1 {
                continue;
            }
            let radius = if total > 30 { 1.6 } else { 2.8 };
            for (x, y) in piece {
                let tip = format!("{} {}: {}", self.x_label, short(*x), short(*y));
                out.dot(frame.px(*x), frame.py(*y), radius, tip.trim(), "", Paint::Series(n));
            }
        }
    }
}

fn band(out: &mut Drawing, frame: &Frame, n: usize, series: &Series) {
    let points = series.band.as_deref().unwrap_or_default();
    for piece in pieces(points, |p| frame.shows(p.0, p.1) && frame.shows(p.0, p.2), |p| p.2) {
        let mut path = String::new();
        let upper = piece.iter().map(|p| (p.0, p.2));
        let lower = piece.iter().rev().map(|p| (p.0, p.1));
        for (i, (x, y)) in upper.chain(lower).enumerate() {
            let command = if i == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{} {}", coord(frame.px(x)), coord(frame.py(y)));
        }
        out.raw(&format!(
            "<path d=\"{path}Z\" fill-opacity=\"0.16\" stroke=\"none\" {}/>",
            Paint::Series(n).fill()
        ));
    }
}
