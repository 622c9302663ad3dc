//! A finished picture.

use std::fmt::Write;

use super::label::{Kind, Label, Picture, shape};
use super::layout::{Layout, layout};
use crate::ir::Graph;

// Height of a box, of the gap between rows, and the margin around everything, in pixels.
const BOX: f64 = 54.0;
const GAP: f64 = 30.0;
const MARGIN: f64 = 28.0;

/// Narrowest picture, so that the legend has room.
const NARROWEST: f64 = 520.0;
const FONT: &str = "font-family=\"Inter, 'Segoe UI', 'Helvetica Neue', Helvetica, Arial, sans-serif\"";

/// The graph as an SVG picture: data flows from top to bottom, lines that skip layers are set off in colour.
pub fn svg(graph: &Graph) -> String {
    let picture = Picture::new(graph);
    let widest = picture.boxes.iter().map(text_width).fold(120.0, f64::max);
    let box_width = (widest + 24.0).min(290.0);
    let layout = layout(&picture, box_width);
    let width = (layout.width + 2.0 * MARGIN).max(NARROWEST);
    let (head, top) = header(graph, &picture, width);
    let left = (width - layout.width) / 2.0;
    let rows = layout.layers.rows.len() as f64;
    let height = top + rows * BOX + (rows - 1.0).max(0.0) * GAP + MARGIN;

    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" {FONT}>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    for (id, colour) in [("arrow", LINE), ("skip", SKIP)] {
        let _ = writeln!(
            text,
            "<marker id=\"{id}\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
             orient=\"auto\"><path d=\"M0 0.8 7.5 4 0 7.2Z\" fill=\"{colour}\"/></marker>"
        );
    }
    text.push_str(&head);
    let canvas = Canvas { layout: &layout, left, top, box_width, ports: ports(&layout, box_width) };
    for line in 0..picture.lines.len() {
        canvas.line(&mut text, line);
    }
    for (at, label) in picture.boxes.iter().enumerate() {
        canvas.draw_box(&mut text, at, label);
    }
    text.push_str("</svg>\n");
    text
}

/// Colour of a line to the next layer, and of one that skips layers.
const LINE: &str = "#64748b";
const SKIP: &str = "#6366f1";

struct Canvas<'a> {
    layout: &'a Layout,
    left: f64,
    top: f64,
    box_width: f64,
    /// Where each line leaves and enters its boxes, from their middles.
    ports: Vec<[f64; 2]>,
}

impl Canvas<'_> {
    fn x(&self, slot: usize) -> f64 {
        self.left + self.layout.x[slot]
    }

    fn y(&self, slot: usize) -> f64 {
        self.top + self.layout.layers.slots[slot].layer as f64 * (BOX + GAP)
    }

    fn line(&self, text: &mut String, line: usize) {
        let route = &self.layout.layers.routes[line];
        let [leave, enter] = self.ports[line];
        let (first, last) = (route[0], route[route.len() - 1]);
        let (mut x, mut y) = (self.x(first) + leave, self.y(first) + BOX);
        let mut path = format!("M{x:.1} {y:.1}");
        for &slot in &route[1..] {
            let end = slot == last;
            let (to_x, to_y) =
                (self.x(slot) + if end { enter } else { 0.0 }, self.y(slot) - if end { 1.0 } else { 0.0 });
            if (to_x - x).abs() < 0.1 {
                let _ = write!(path, "V{to_y:.1}");
            } else {
                let middle = (y + to_y) / 2.0;
                let _ = write!(path, "C{x:.1} {middle:.1} {to_x:.1} {middle:.1} {to_x:.1} {to_y:.1}");
            }
            (x, y) = (to_x, to_y);
            if !end {
                y += BOX;
                let _ = write!(path, "V{y:.1}");
            }
        }
        let (colour, marker) = if route.len() > 2 { (SKIP, "skip") } else { (LINE, "arrow") };
        let _ = writeln!(
            text,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" marker-end=\"url(#{marker})\"/>"
        );
    }

    fn draw_box(&self, text: &mut String, at: usize, label: &Label) {
        let (fill, border) = label.kind.colours();
        let (x, y, width) = (self.x(at), self.y(at), self.box_width);
        let whole = [&label.name, &label.detail, &label.shape].map(|part| escape(part));
        let _ = writeln!(
            text,
            "<g><title>{}\n{}\n{}</title><rect x=\"{:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BOX}\" rx=\"7\" \
             fill=\"{fill}\" stroke=\"{border}\" stroke-width=\"1.2\"/>",
            whole[0],
            whole[1],
            whole[2],
            x - width / 2.0
        );
        let room = width - 20.0;
        let lines = [
            (
                shortened(&label.name, room, BOLD, true),
                17.5,
                "font-size=\"12\" font-weight=\"600\" fill=\"#0f172a\"",
            ),
            (shortened(&label.detail, room, PLAIN, false), 32.5, "font-size=\"11\" fill=\"#334155\""),
            (shortened(&label.shape, room, PLAIN, false), 46.5, "font-size=\"10.5\" fill=\"#64748b\""),
        ];
        for (words, down, style) in lines {
            let _ = writeln!(
                text,
                "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" {style}>{}</text>",
                y + down,
                escape(&words)
            );
        }
        text.push_str("</g>\n");
    }
}

/// Title, figures and legend, and the height they take.
fn header(graph: &Graph, picture: &Picture, width: f64) -> (String, f64) {
    let mut text = String::new();
    let title = if graph.name.is_empty() { "network" } else { &graph.name };
    let _ = writeln!(
        text,
        "<text x=\"{MARGIN}\" y=\"38\" font-size=\"18\" font-weight=\"700\" fill=\"#0f172a\">{}</text>",
        escape(title)
    );
    let inputs: Vec<String> = graph
        .inputs
        .iter()
        .filter_map(|id| graph.values.get(id.index()))
        .map(|value| shape(&value.shape))
        .collect();
    let numbers: usize = graph.constants.values().map(|constant| constant.len()).sum();
    let _ = writeln!(
        text,
        "<text x=\"{MARGIN}\" y=\"57\" font-size=\"12\" fill=\"#475569\">{} operations, {} stored numbers, input {}</text>",
        graph.nodes.len(),
        grouped(numbers),
        escape(&inputs.join(", "))
    );
    let (mut x, mut y) = (MARGIN, 72.0);
    for kind in Kind::ALL {
        if picture.boxes.iter().all(|label| label.kind != kind) {
            continue;
        }
        let room = 22.0 + kind.name().chars().count() as f64 * PLAIN + 16.0;
        if x + room > width - MARGIN + 16.0 {
            (x, y) = (MARGIN, y + 20.0);
        }
        let (fill, border) = kind.colours();
        let _ = writeln!(
            text,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"15\" height=\"12\" rx=\"3\" fill=\"{fill}\" stroke=\"{border}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" font-size=\"11\" fill=\"#334155\">{}</text>",
            x + 21.0,
            y + 10.0,
            kind.name()
        );
        x += room;
    }
    (text, y + 40.0)
}

/// `11 689 512`, with narrow no-break spaces.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// Where the lines of a box are attached: one straight below (or above) stays in the middle, the others keep
/// to the side they come from.
fn ports(layout: &Layout, box_width: f64) -> Vec<[f64; 2]> {
    let routes = &layout.layers.routes;
    let mut ports = vec![[0.0; 2]; routes.len()];
    for end in [0, 1] {
        let mut lines: Vec<Vec<(f64, usize)>> = vec![Vec::new(); layout.layers.slots.len()];
        for (line, route) in routes.iter().enumerate() {
            let (at, next) = match end {
                0 => (route[0], route[1]),
                _ => (route[route.len() - 1], route[route.len() - 2]),
            };
            lines[at].push((layout.x[next] - layout.x[at], line));
        }
        for mut lines in lines {
            lines.sort_by(|a, b| a.0.total_cmp(&b.0));
            let on_left = lines.iter().filter(|(offset, _)| *offset < -0.5).count();
            let on_right = lines.iter().filter(|(offset, _)| *offset > 0.5).count();
            let middle = on_left..lines.len() - on_right;
            // A lone line to one side leaves in the middle too.
            if lines.len() == 1 {
                continue;
            }
            let step = (36.0f64).min((box_width / 2.0 - 14.0) / on_left.max(on_right).max(1) as f64);
            let balanced = middle.is_empty() && lines.len().is_multiple_of(2) && on_left == on_right;
            let shift = if balanced { step / 2.0 } else { 0.0 };
            for (position, &(_, line)) in lines.iter().enumerate() {
                ports[line][end] = if position < middle.start {
                    shift - (middle.start - position) as f64 * step
                } else if position >= middle.end {
                    (position - middle.end + 1) as f64 * step - shift
                } else {
                    0.0
                };
            }
        }
    }
    ports
}

// Mean widths of a letter, in pixels, in the name's bold and in the other lines.
const BOLD: f64 = 7.0;
const PLAIN: f64 = 6.0;

fn text_width(label: &Label) -> f64 {
    let width = |text: &str, letter: f64| text.chars().count() as f64 * letter;
    width(&label.name, BOLD).max(width(&label.detail, PLAIN)).max(width(&label.shape, PLAIN))
}

/// `text` cut to `room` pixels: at its start where the end tells more.
fn shortened(text: &str, room: f64, letter: f64, keep_end: bool) -> String {
    let (count, fits) = (text.chars().count(), (room / letter) as usize);
    if count <= fits {
        return text.to_string();
    }
    let kept = fits.saturating_sub(1);
    match keep_end {
        true => std::iter::once('…').chain(text.chars().skip(count - kept)).collect(),
        false => text.chars().take(kept).chain(std::iter::once('…')).collect(),
    }
}

/// Text as it may stand in an element; control characters, which XML forbids, become U+FFFD.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
