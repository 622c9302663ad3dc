//! A drawing surface that writes SVG.

use std::fmt::Write;

use super::paint::Paint;
use crate::escape::escape;

/// The fonts of charts and pages.
pub(crate) const FONT: &str =
    "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,'Noto Sans',sans-serif";

/// Where a text stands relative to its point.
#[derive(Debug, Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) size: f64,
    pub(super) bold: bool,
    pub(super) anchor: Anchor,
    pub(super) paint: Paint,
}

impl Style {
    pub(super) fn new(size: f64, paint: Paint) -> Self {
        Self { size, bold: false, anchor: Anchor::Start, paint }
    }

    pub(super) fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    pub(super) fn middle(self) -> Self {
        Self { anchor: Anchor::Middle, ..self }
    }

    pub(super) fn end(self) -> Self {
        Self { anchor: Anchor::End, ..self }
    }
}

/// A picture under construction: its size and the markup so far.
#[derive(Debug)]
pub(super) struct Drawing {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) body: String,
}

/// A coordinate with at most two decimals. What is not a number has no place in a picture; it becomes 0.
pub(super) fn coord(value: f64) -> String {
    if !value.is_finite() {
        return "0".into();
    }
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

impl Drawing {
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    /// Markup as it is.
    pub(super) fn raw(&mut self, markup: &str) {
        self.body.push_str(markup);
    }

    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), width: f64, paint: Paint, dash: &str) {
        let _ = write!(
            self.body,
            "<path d=\"M{} {}L{} {}\" stroke-width=\"{}\"{} {}/>",
            coord(from.0),
            coord(from.1),
            coord(to.0),
            coord(to.1),
            coord(width),
            dash_attribute(dash),
            paint.stroke()
        );
    }

    pub(super) fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, extra: &str, paint: Paint) {
        let _ = write!(
            self.body,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"{extra} {}/>",
            coord(x),
            coord(y),
            coord(width.max(0.0)),
            coord(height.max(0.0)),
            paint.fill()
        );
    }

    /// A dot; `tip` is what a pointer resting on it reads.
    pub(super) fn dot(&mut self, x: f64, y: f64, radius: f64, tip: &str, extra: &str, paint: Paint) {
        let (x, y, radius) = (coord(x), coord(y), coord(radius));
        let _ = write!(self.body, "<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\"{extra} {}", paint.fill());
        if tip.is_empty() {
            self.raw("/>");
        } else {
            let _ = write!(self.body, "><title>{}</title></circle>", escape(tip));
        }
    }

    pub(super) fn text(&mut self, x: f64, y: f64, style: Style, text: &str) {
        self.placed_text(&format!("x=\"{}\" y=\"{}\"", coord(x), coord(y)), style, text, None);
    }

    /// A text turned by `degrees` about its point; `full` is the whole of a shortened one.
    pub(super) fn turned_text(&mut self, at: (f64, f64), degrees: f64, style: Style, text: &str, full: &str) {
        let place = format!("transform=\"translate({} {}) rotate({degrees})\"", coord(at.0), coord(at.1));
        self.placed_text(&place, style, text, (full != text).then_some(full));
    }

    /// A text that may be a shortened form of `full`, which a resting pointer reads.
    pub(super) fn short_text(&mut self, x: f64, y: f64, style: Style, text: &str, full: &str) {
        let place = format!("x=\"{}\" y=\"{}\"", coord(x), coord(y));
        self.placed_text(&place, style, text, (full != text).then_some(full));
    }

    fn placed_text(&mut self, place: &str, style: Style, text: &str, full: Option<&str>) {
        if text.is_empty() {
            return;
        }
        let anchor = match style.anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let weight = if style.bold { " font-weight=\"600\"" } else { "" };
        let _ = write!(
            self.body,
            "<text {place} font-size=\"{}\"{anchor}{weight} {}>{}",
            coord(style.size),
            style.paint.fill(),
            escape(text)
        );
        if let Some(full) = full {
            let _ = write!(self.body, "<title>{}</title>", escape(full));
        }
        self.raw("</text>");
    }

    /// Places another drawing with its upper left corner at a point.
    pub(super) fn place(&mut self, x: f64, y: f64, other: &Self) {
        let _ = write!(self.body, "<g transform=\"translate({} {})\">{}</g>", coord(x), coord(y), other.body);
    }

    /// The SVG document. `label` is what a screen reader says.
    pub(super) fn finish(&self, label: &str) -> String {
        let (width, height) = (coord(self.width), coord(self.height));
        let label = if label.is_empty() { "chart".into() } else { escape(label) };
        let background = Paint::Background.fill();
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\" aria-label=\"{label}\" font-family=\"{FONT}\">\
             <rect width=\"{width}\" height=\"{height}\" {background}/>{}</svg>",
            self.body
        )
    }
}

/// ` stroke-dasharray="..."`, or nothing for a solid line.
pub(super) fn dash_attribute(dash: &str) -> String {
    if dash.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{dash}\"") }
}
