//! Horizontal bar charts.

use super::Chart;
use super::number::{short, signed};
use super::paint::Paint;
use super::svg::{Drawing, Style};
use super::text;
use super::ticks::{LIMIT, Ticks, extent, linear_ticks};

/// One bar of a [`BarChart`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bar {
    /// Left of the bar.
    pub label: String,
    /// Its length.
    pub value: f64,
    /// The ends `(low, high)` of an error bar, in the units of the value.
    pub error: Option<(f64, f64)>,
    /// Single measurements behind the value, one per seed, say.
    pub points: Vec<f64>,
    /// Right of the bar; without one, the value.
    pub text: Option<String>,
}

impl Bar {
    /// A bar without an error bar.
    pub fn new(label: impl Into<String>, value: f64) -> Self {
        Self { label: label.into(), value, ..Self::default() }
    }

    /// The mean of `points`, with a bar of one standard deviation (of the sample) to each side and with the
    /// points themselves. Those that are not finite are left out.
    pub fn of_seeds(label: impl Into<String>, points: &[f64]) -> Self {
        let points: Vec<f64> = points.iter().copied().filter(|p| p.abs() <= LIMIT).collect();
        if points.is_empty() {
            return Self::new(label, f64::NAN);
        }
        let number = points.len() as f64;
        let mean = points.iter().sum::<f64>() / number;
        let squares: f64 = points.iter().map(|p| (p - mean).powi(2)).sum();
        let deviation = if points.len() > 1 { (squares / (number - 1.0)).sqrt() } else { 0.0 };
        let error = (points.len() > 1).then_some((mean - deviation, mean + deviation));
        let text = error.map(|_| with_deviation(mean, deviation));
        Self { label: label.into(), value: mean, error, points, text }
    }
}

/// `93.36 ± 0.41`: two significant digits of the deviation, and as many decimals of the mean.
fn with_deviation(mean: f64, deviation: f64) -> String {
    if !(1e-4..1e4).contains(&deviation) || mean.abs() >= 1e6 {
        return format!("{} ± {}", short(mean), short(deviation));
    }
    let decimals = (1.0 - deviation.log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{} ± {}", signed(mean, decimals), signed(deviation, decimals))
}

/// A horizontal bar chart.
///
/// Bars grow from zero. When [`x_range`](BarChart::x_range) leaves zero out, lengths would mislead, so dots
/// are drawn in place of bars.
#[derive(Debug, Clone, PartialEq)]
pub struct BarChart {
    /// Above the chart.
    pub title: String,
    /// Below the axis.
    pub x_label: String,
    /// The bars, top to bottom.
    pub bars: Vec<Bar>,
    /// The range of the axis. Without one, it covers zero and all the data.
    pub x_range: Option<(f64, f64)>,
    /// Width of the SVG in pixels; labels that need more room than a third of it widen it. The height follows from the number of bars.
    pub width: u32,
}

impl Default for BarChart {
    fn default() -> Self {
        Self { title: String::new(), x_label: String::new(), bars: Vec::new(), x_range: None, width: 520 }
    }
}

impl Chart for BarChart {
    fn to_svg(&self) -> String {
        let what = if self.title.is_empty() { "Bar chart" } else { &self.title };
        let bars: Vec<String> =
            self.bars.iter().take(20).map(|bar| format!("{} {}", bar.label, bar_text(bar))).collect();
        self.draw().finish(&format!("{what}: {}", bars.join(", ")))
    }
}

fn bar_text(bar: &Bar) -> String {
    bar.text.clone().unwrap_or_else(|| short(bar.value))
}

/// Height of a bar with the gap to the next one.
const ROW: f64 = 30.0;
const MARGIN: f64 = 14.0;
/// Share of the width that labels have without widening it.
const LABELS: f64 = 0.38;
/// Longest label that is written out.
const LONGEST_LABEL: f64 = 400.0;

struct Frame {
    left: f64,
    top: f64,
    width: f64,
    ticks: Ticks,
}

impl Frame {
    fn px(&self, x: f64) -> f64 {
        let share = (x - self.ticks.low) / (self.ticks.high - self.ticks.low);
        self.left + share.clamp(0.0, 1.0) * self.width
    }

    fn has_zero(&self) -> bool {
        self.ticks.low <= 0.0 && self.ticks.high >= 0.0
    }
}

impl BarChart {
    /// The chart as an SVG document.
    #[must_use]
    pub fn to_svg(&self) -> String {
        Chart::to_svg(self)
    }

    fn draw(&self) -> Drawing {
        let asked = f64::from(self.width.max(240));
        // Some fonts are wider than the usual one.
        let labels = 1.06 * text::widest(self.bars.iter().map(|bar| bar.label.as_str()), 13.0);
        let labels = labels.min(LONGEST_LABEL);
        // What the labels take beyond their share is not taken from the bars.
        let width = asked + (labels - LABELS * (asked - 2.0 * MARGIN)).max(0.0).ceil();
        let mut out = Drawing::new(width, 0.0);
        let mut top = MARGIN;
        if !self.title.is_empty() {
            let style = Style::new(15.0, Paint::Ink).bold();
            let title = text::fit(&self.title, 15.5, width - 2.0 * MARGIN);
            out.short_text(MARGIN, top + 12.0, style, &title, &self.title);
            top += 30.0;
        }
        let frame = self.frame(top, width, labels);
        let bottom = top + self.bars.len() as f64 * ROW + 6.0;
        out.height = bottom + if self.x_label.is_empty() { 16.0 } else { 36.0 } + MARGIN;
        self.axis(&mut out, &frame, bottom);
        for (i, bar) in self.bars.iter().enumerate() {
            let middle = top + (i as f64 + 0.5) * ROW + 2.0;
            row(&mut out, &frame, bar, middle);
        }
        out
    }

    fn frame(&self, top: f64, width: f64, labels: f64) -> Frame {
        let values = self.bars.iter().flat_map(|bar| {
            let ends = bar.error.map_or([bar.value; 2], |(low, high)| [low, high]);
            bar.points.iter().copied().chain(ends).chain([bar.value])
        });
        let room = width - 2.0 * MARGIN;
        let texts: Vec<String> = self.bars.iter().map(bar_text).collect();
        let texts = text::widest(texts.iter().map(String::as_str), 13.0).min(room * 0.3);
        let left = MARGIN + labels + 10.0;
        let plot = width - left - texts - 14.0 - MARGIN;
        let target = (plot / 64.0).clamp(2.0, 8.0) as usize;
        let ticks = match self.x_range {
            Some((low, high)) => linear_ticks(low, high, target, false, false),
            None => {
                let (low, high) = extent(values.chain([0.0])).unwrap_or((0.0, 1.0));
                let high = if low == high { 1.0 } else { high };
                linear_ticks(low, high, target, true, false)
            }
        };
        Frame { left, top, width: plot, ticks }
    }

    fn axis(&self, out: &mut Drawing, frame: &Frame, bottom: f64) {
        let style = Style::new(12.0, Paint::Muted).middle();
        for (value, label) in &frame.ticks.marks {
            let x = frame.px(*value);
            let paint = if *value == 0.0 { Paint::Axis } else { Paint::Grid };
            out.line((x, frame.top), (x, bottom), 1.0, paint, "");
            out.text(x, bottom + 16.0, style, label);
        }
        out.text(frame.left + frame.width / 2.0, bottom + 36.0, style, &self.x_label);
        if self.bars.is_empty() {
            out.text(frame.left + frame.width / 2.0, frame.top + 4.0, style, "no data");
        }
    }
}

fn row(out: &mut Drawing, frame: &Frame, bar: &Bar, middle: f64) {
    let ink = Style::new(13.0, Paint::Ink);
    let label = text::fit(&bar.label, 13.0, frame.left - MARGIN - 8.0);
    out.short_text(frame.left - 10.0, middle + 4.5, ink.end(), &label, &bar.label);
    out.text(frame.left + frame.width + 12.0, middle + 4.5, ink, &bar_text(bar));

    if bar.value.abs() <= LIMIT {
        let end = frame.px(bar.value);
        if frame.has_zero() {
            let zero = frame.px(0.0);
            let opacity = if bar.points.is_empty() && bar.error.is_none() { "0.9" } else { "0.45" };
            let extra = format!(" rx=\"2\" fill-opacity=\"{opacity}\"");
            out.rect(zero.min(end), middle - 9.0, (end - zero).abs(), 18.0, &extra, Paint::Series(0));
        } else {
            out.line((frame.left, middle), (frame.left + frame.width, middle), 1.0, Paint::Grid, "2 3");
            out.dot(end, middle, 5.5, &short(bar.value), "", Paint::Series(0));
        }
    }
    if let Some((low, high)) = bar.error.filter(|(low, high)| low.abs() <= LIMIT && high.abs() <= LIMIT) {
        let (low, high) = (frame.px(low), frame.px(high));
        out.line((low, middle), (high, middle), 1.5, Paint::Series(6), "");
        for x in [low, high] {
            out.line((x, middle - 5.0), (x, middle + 5.0), 1.5, Paint::Series(6), "");
        }
    }
    for point in bar.points.iter().filter(|point| point.abs() <= LIMIT) {
        out.dot(frame.px(*point), middle, 3.0, &short(*point), " fill-opacity=\"0.85\"", Paint::Series(1));
    }
}
