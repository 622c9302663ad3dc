//! A picture of lifted poses: the 2D input beside the skeleton in space, from two sides; animated where there are several frames.

use std::fmt::Write;

use ocelli_report::escape;

use crate::skeleton::{Pose2, Pose3, Side, bones, side};

/// Side of a panel, in units of the picture.
const PANEL: f32 = 340.0;
/// Space around panels.
const GAP: f32 = 20.0;
/// Height of a panel's title.
const TITLE: f32 = 28.0;
/// Most frames of an animation.
const MOST_FRAMES: usize = 240;

/// A person in one frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// Joints in the input, in pixels.
    pub input: Pose2,
    /// Joints in space, metres relative to the pelvis in the camera's axes; nothing if it was not lifted.
    pub lifted: Option<Pose3>,
}

/// What is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// A line above.
    pub title: String,
    /// Width and height of the input, in pixels.
    pub size: [f32; 2],
    /// Frame by frame.
    pub frames: Vec<Vec<Shown>>,
    /// Frames per second.
    pub rate: f64,
}

const COLOURS: [(Side, &str); 3] =
    [(Side::Middle, "#444444"), (Side::Left, "#1f6fb4"), (Side::Right, "#d4572a")];

/// A frame's lines of one colour as path data.
fn path(points: &[Vec<[f32; 2]>], of: Side) -> String {
    let mut data = String::new();
    for person in points {
        for (a, b) in bones().filter(|&(_, child)| side(child) == of) {
            let ([x, y], [u, v]) = (person[a], person[b]);
            write!(data, "M{x:.1} {y:.1}L{u:.1} {v:.1}").ok();
        }
    }
    if data.is_empty() { "M0 0".into() } else { data }
}

/// `title`, then everybody's bones by side over `background`, cut at the panel's edge.
fn panel(
    text: &mut String,
    title: &str,
    left: f32,
    background: &str,
    frames: &[Vec<Vec<[f32; 2]>>],
    seconds: f64,
) {
    let top = GAP + TITLE + 18.0;
    writeln!(
        text,
        r##"<text x="{left:.1}" y="{:.1}" font-size="13" fill="#333">{title}</text>"##,
        top - 10.0
    )
    .ok();
    writeln!(text, r##"<svg x="{left:.1}" y="{top:.1}" width="{PANEL}" height="{PANEL}" viewBox="0 0 {PANEL} {PANEL}"><rect width="{PANEL}" height="{PANEL}" fill="#fbfbf9"/>{background}"##)
    .ok();
    for (of, colour) in COLOURS {
        let paths: Vec<String> = frames.iter().map(|points| path(points, of)).collect();
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

/// A view of space: the camera walked `turn` degrees around the person and `tilt` degrees up.
struct View {
    turn: f32,
    tilt: f32,
    scale: f32,
    /// Height of the panel's middle, in metres below the pelvis.
    middle: f32,
    /// Metres below the pelvis where the floor is drawn.
    floor: f32,
}

impl View {
    fn project(&self, [x, y, z]: [f32; 3]) -> [f32; 2] {
        let (sin, cos) = self.turn.to_radians().sin_cos();
        let (x, z) = (cos * x + sin * z, cos * z - sin * x);
        let (sin, cos) = self.tilt.to_radians().sin_cos();
        // What is further away stands higher, as seen from above.
        let y = cos * (y - self.middle) - sin * z;
        [0.5 * PANEL + self.scale * x, 0.5 * PANEL + self.scale * y]
    }

    fn ground(&self, half: f32) -> String {
        let mut lines = String::new();
        let steps = (2.0 * half / 0.5).round() as i32;
        for i in 0..=steps {
            let at = -half + 0.5 * i as f32;
            for [a, b] in [[[at, -half], [at, half]], [[-half, at], [half, at]]] {
                let ([x, y], [u, v]) =
                    (self.project([a[0], self.floor, a[1]]), self.project([b[0], self.floor, b[1]]));
                write!(lines, "M{x:.1} {y:.1}L{u:.1} {v:.1}").ok();
            }
        }
        format!(r##"<path d="{lines}" stroke="#dcdad0" stroke-width="1" fill="none"/>"##)
    }
}

/// The square of the input that holds everybody in all frames, with some room: its corner and side.
fn cut_out(frames: &[&Vec<Shown>]) -> ([f32; 2], f32) {
    let points = || frames.iter().flat_map(|people| people.iter()).flat_map(|shown| shown.input);
    let bounds = |axis: usize| {
        let values = || points().map(move |point| point[axis]);
        (values().fold(f32::INFINITY, f32::min), values().fold(f32::NEG_INFINITY, f32::max))
    };
    let ((left, right), (top, bottom)) = (bounds(0), bounds(1));
    let side = (1.2 * (right - left).max(bottom - top)).max(1.0);
    if !side.is_finite() {
        return ([0.0; 2], 1.0);
    }
    ([0.5 * (left + right - side), 0.5 * (top + bottom - side)], side)
}

/// Draws the picture as SVG. Longer sequences are drawn every so many frames; people stand beside one another, 1.2 m apart in the order of their pelvises
/// in the input, since lifting says nothing about where they are.
pub fn svg(picture: &Picture) -> String {
    let step = picture.frames.len().div_ceil(MOST_FRAMES).max(1);
    let frames: Vec<&Vec<Shown>> = picture.frames.iter().step_by(step).collect();
    let seconds = picture.frames.len() as f64 / if picture.rate > 0.0 { picture.rate } else { 30.0 };
    let (width, height) = (3.0 * PANEL + 4.0 * GAP, PANEL + 2.0 * GAP + TITLE + 42.0);
    let mut text = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" font-family="sans-serif"><rect width="{width}" height="{height}" fill="white"/>
<text x="{GAP}" y="{:.1}" font-size="16" fill="#111">{}</text>
"##,
        GAP + 8.0,
        escape(&picture.title)
    );
    let ([left, top], side) = cut_out(&frames);
    let fit = PANEL / side;
    let input: Vec<Vec<Vec<[f32; 2]>>> = frames
        .iter()
        .map(|people| {
            people
                .iter()
                .map(|own| own.input.map(|[x, y]| [fit * (x - left), fit * (y - top)]).to_vec())
                .collect()
        })
        .collect();
    let [w, h] = picture.size;
    let outline = format!(
        r##"<rect x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}" fill="white" stroke="#ccc"/>"##,
        -fit * left,
        -fit * top,
        fit * w,
        fit * h
    );
    let title = format!("input, {side:.0} pixels of {w:.0} x {h:.0}");
    panel(&mut text, &title, GAP, &outline, &input, seconds);

    let (poses, most) = placed(&frames);
    let heights = || poses.iter().flatten().flatten().map(|joint| joint[1]);
    let low = heights().fold(0.3f32, f32::max);
    let high = heights().fold(-0.3f32, f32::min);
    let across = 1.4 + 1.2 * (most.max(1) - 1) as f32;
    let scale = (0.72 * PANEL / (low - high)).min(0.92 * PANEL / across);
    for (index, (title, turn, tilt)) in
        [("lifted, from 30 degrees to the left", -30.0, 12.0), ("lifted, from the camera's left", -90.0, 6.0)]
            .into_iter()
            .enumerate()
    {
        let view = View { turn, tilt, scale, middle: 0.5 * (low + high), floor: low };
        let projected: Vec<Vec<Vec<[f32; 2]>>> = poses
            .iter()
            .map(|people| {
                let middle = (people.len() as f32 - 1.0) / 2.0;
                let shift = |place: usize| 1.2 * scale * (place as f32 - middle);
                let seen = |(place, pose): (usize, &Pose3)| {
                    let moved = |&joint| {
                        let [x, y] = view.project(joint);
                        [x + shift(place), y]
                    };
                    pose.iter().map(moved).collect()
                };
                people.iter().enumerate().map(seen).collect()
            })
            .collect();
        let left = GAP + (index + 1) as f32 * (PANEL + GAP);
        panel(
            &mut text,
            title,
            left,
            &view.ground(1.0 + 0.5 * (most.max(1) - 1) as f32),
            &projected,
            seconds,
        );
    }
    let note = format!(
        "blue: the person's left, red: right; floor lines every 0.5 m{}{}",
        if step > 1 { format!("; one frame of {step} is drawn") } else { String::new() },
        if most > 1 { "; people stand beside one another, their distances are not known" } else { "" }
    );
    writeln!(
        text,
        r##"<text x="{GAP}" y="{:.1}" font-size="12" fill="#666">{note}</text></svg>"##,
        height - GAP + 4.0
    )
    .ok();
    text
}

/// Everybody who was lifted, from left to right; and how many at most.
fn placed(frames: &[&Vec<Shown>]) -> (Vec<Vec<Pose3>>, usize) {
    let lifted = |people: &Vec<Shown>| -> Vec<Pose3> {
        let mut own: Vec<(f32, Pose3)> =
            people.iter().filter_map(|shown| Some((shown.input[0][0], shown.lifted?))).collect();
        own.sort_by(|a, b| a.0.total_cmp(&b.0));
        own.into_iter().map(|(_, pose)| pose).collect()
    };
    let poses: Vec<Vec<Pose3>> = frames.iter().map(|people| lifted(people)).collect();
    let most = poses.iter().map(Vec::len).max().unwrap_or(0);
    (poses, most)
}
