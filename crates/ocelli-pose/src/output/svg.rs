//! A picture of poses as SVG, animated where there are several frames.

use std::fmt::Write;

use ocelli_report::escape;

use super::scene::{Drawn, GAP, PANEL, Panel, Picture, Scene};
use crate::skeleton::{Side, bones, side};

/// Height of a panel's title.
const TITLE: f32 = 28.0;

const COLOURS: [(Side, &str); 3] =
    [(Side::Middle, "#444444"), (Side::Left, "#1f6fb4"), (Side::Right, "#d4572a")];

/// A frame's lines of one colour as path data.
fn path(points: &Drawn, of: Side) -> String {
    let mut data = String::new();
    for person in points {
        for (a, b) in bones().filter(|&(_, child)| side(child) == of) {
            line(&mut data, [person[a], person[b]]);
        }
    }
    if data.is_empty() { "M0 0".into() } else { data }
}

fn line(data: &mut String, [[x, y], [u, v]]: [[f32; 2]; 2]) {
    write!(data, "M{x:.1} {y:.1}L{u:.1} {v:.1}").ok();
}

/// The title, then everybody's bones by side over the panel's background, cut at its edge.
fn write_panel(text: &mut String, panel: &Panel, left: f32, seconds: f64) {
    let top = GAP + TITLE + 18.0;
    let mut background = String::new();
    if let Some([x, y, w, h]) = panel.sheet {
        write!(
            background,
            r##"<rect x="{x:.1}" y="{y:.1}" width="{w:.1}" height="{h:.1}" fill="white" stroke="#ccc"/>"##
        )
        .ok();
    }
    if !panel.ground.is_empty() {
        let mut lines = String::new();
        panel.ground.iter().for_each(|own| line(&mut lines, *own));
        write!(background, r##"<path d="{lines}" stroke="#dcdad0" stroke-width="1" fill="none"/>"##).ok();
    }
    writeln!(
        text,
        r##"<text x="{left:.1}" y="{:.1}" font-size="13" fill="#333">{}</text>"##,
        top - 10.0,
        escape(&panel.title)
    )
    .ok();
    writeln!(text, r##"<svg x="{left:.1}" y="{top:.1}" width="{PANEL}" height="{PANEL}" viewBox="0 0 {PANEL} {PANEL}"><rect width="{PANEL}" height="{PANEL}" fill="#fbfbf9"/>{background}"##)
    .ok();
    for (of, colour) in COLOURS {
        let paths: Vec<String> = panel.frames.iter().map(|points| path(points, of)).collect();
        let first = paths.first().map_or("M0 0", String::as_str);
        write!(
            text,
            r#"<path d="{first}" fill="none" stroke="{colour}" stroke-width="4" stroke-linecap="round">"#
        )
        .ok();
        if paths.len() > 1 {
            write!(
                text,
                r#"<animate attributeName="d" calcMode="discrete" dur="{seconds:.3}s" repeatCount="indefinite" values="{}"/>"#,
                paths.join(";")
            )
            .ok();
        }
        writeln!(text, "</path>").ok();
    }
    writeln!(text, r##"<rect width="{PANEL}" height="{PANEL}" fill="none" stroke="#ccc"/></svg>"##).ok();
}

/// Draws the picture as SVG. Longer sequences are drawn every so many frames; people stand beside one another, 1.2 m apart in the order of their pelvises
/// in the input, since lifting says nothing about where they are.
pub fn svg(picture: &Picture) -> String {
    let scene = Scene::new(picture, 0.0);
    let (width, height) = (3.0 * PANEL + 4.0 * GAP, PANEL + 2.0 * GAP + TITLE + 42.0);
    let mut text = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" font-family="sans-serif"><rect width="{width}" height="{height}" fill="white"/>
<text x="{GAP}" y="{:.1}" font-size="16" fill="#111">{}</text>
"##,
        GAP + 8.0,
        escape(&picture.title)
    );
    for (index, panel) in scene.panels.iter().enumerate() {
        write_panel(&mut text, panel, GAP + index as f32 * (PANEL + GAP), scene.seconds);
    }
    writeln!(
        text,
        r##"<text x="{GAP}" y="{:.1}" font-size="12" fill="#666">{}</text></svg>"##,
        height - GAP + 4.0,
        scene.note
    )
    .ok();
    text
}
