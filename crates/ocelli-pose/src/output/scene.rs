//! What a picture of poses shows, in the units of its panels: the 2D input beside the skeleton in space from two sides, or the skeleton from
//! three where there is no input.

use crate::data::Sequence;
use crate::skeleton::{JOINTS, Pose2, Pose3};

/// Side of a panel, in units of the picture.
pub(super) const PANEL: f32 = 340.0;
/// Space around panels.
pub(super) const GAP: f32 = 20.0;
/// Most frames of an animation.
const MOST_FRAMES: usize = 240;
/// Frames per second where nobody says.
const RATE: f64 = 30.0;

/// A person in one frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// Joints in the input, in pixels; nothing where the skeleton comes without a picture.
    pub input: Option<Pose2>,
    /// Joints in space, metres relative to the pelvis in the camera's axes; nothing if it was not lifted.
    pub lifted: Option<Pose3>,
}

/// What is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// A line above.
    pub title: String,
    /// Width and height of the input, in pixels, where known.
    pub size: Option<[f32; 2]>,
    /// Frame by frame.
    pub frames: Vec<Vec<Shown>>,
    /// Frames per second.
    pub rate: f64,
}

impl Picture {
    /// A clip of motion capture, seen from the front: the pelvis stays where it is on the floor and moves up and down.
    pub fn of_sequence(sequence: &Sequence) -> Self {
        let frames = &sequence.frames;
        let height = frames.iter().map(|pose| pose[0][1]).sum::<f32>() / frames.len().max(1) as f32;
        let shown = |pose: &Pose3| {
            let [x, _, z] = pose[0];
            let lifted = pose.map(|joint| [joint[0] - x, height - joint[1], z - joint[2]]);
            vec![Shown { input: None, lifted: Some(lifted) }]
        };
        Self {
            title: sequence.name.clone(),
            size: None,
            frames: frames.iter().map(shown).collect(),
            rate: sequence.rate,
        }
    }
}

/// People's joints on a panel.
pub(super) type Drawn = Vec<[[f32; 2]; JOINTS]>;

/// One square of the picture; its corner is `[0, 0]`.
pub(super) struct Panel {
    pub title: String,
    /// The input's picture: left, top, width, height.
    pub sheet: Option<[f32; 4]>,
    /// Lines of the floor.
    pub ground: Vec<[[f32; 2]; 2]>,
    /// Frame by frame.
    pub frames: Vec<Drawn>,
}

/// Everything on its place.
pub(super) struct Scene {
    pub panels: Vec<Panel>,
    /// How long all frames take.
    pub seconds: f64,
    /// A line below.
    pub note: String,
}

impl Scene {
    /// Longer sequences are drawn every so many frames, none for less than `least_seconds`; people stand beside one another, 1.2 m apart in the
    /// order of their pelvises in the input, since lifting says nothing about where they are.
    pub fn new(picture: &Picture, least_seconds: f64) -> Self {
        let rate = if picture.rate.is_finite() && picture.rate > 0.0 { picture.rate } else { RATE };
        let slow = (least_seconds * rate - 1e-6).ceil().clamp(1.0, 1e6) as usize;
        let step = picture.frames.len().div_ceil(MOST_FRAMES).max(slow);
        let frames: Vec<&Vec<Shown>> = picture.frames.iter().step_by(step).collect();
        let (poses, most) = placed(&frames);
        let more = 0.5 * (most.max(1) - 1) as f32;
        let heights = || poses.iter().flatten().flatten().map(|joint| joint[1]);
        let low = heights().fold(0.3f32, f32::max);
        let high = heights().fold(-0.3f32, f32::min);
        let scale = (0.72 * PANEL / (low - high)).min(0.92 * PANEL / (1.4 + 2.4 * more));
        let with_input = frames.iter().flat_map(|people| people.iter()).any(|shown| shown.input.is_some());
        let first = if with_input { None } else { Some(("from the front", 0.0, 6.0)) };
        let views = [("from 30 degrees to the left", -30.0, 12.0), ("from the camera's left", -90.0, 6.0)];
        let panels = with_input.then(|| input_panel(picture, &frames)).into_iter().chain(
            first.into_iter().chain(views).map(|(title, turn, tilt)| {
                let view = View { turn, tilt, scale, middle: 0.5 * (low + high), floor: low };
                Panel {
                    title: if with_input { format!("lifted, {title}") } else { title.into() },
                    sheet: None,
                    ground: view.ground(1.0 + more),
                    frames: poses.iter().map(|people| view.people(people)).collect(),
                }
            }),
        );
        let note = format!(
            "blue: the person's left, red: right; floor lines every 0.5 m{}{}",
            if step > 1 { format!("; one frame of {step} is drawn") } else { String::new() },
            if most > 1 { "; people stand beside one another, their distances are not known" } else { "" }
        );
        Self { panels: panels.collect(), seconds: picture.frames.len() as f64 / rate, note }
    }

    /// How many frames are drawn.
    pub fn frames(&self) -> usize {
        self.panels.first().map_or(0, |panel| panel.frames.len())
    }
}

fn input_panel(picture: &Picture, frames: &[&Vec<Shown>]) -> Panel {
    let ([left, top], side) = cut_out(frames);
    let fit = PANEL / side;
    let drawn = |people: &&Vec<Shown>| -> Drawn {
        let inputs = people.iter().filter_map(|own| own.input);
        inputs.map(|input| input.map(|[x, y]| [fit * (x - left), fit * (y - top)])).collect()
    };
    let title = match picture.size {
        Some([w, h]) => format!("input, {side:.0} pixels of {w:.0} x {h:.0}"),
        None => format!("input, {side:.0} pixels"),
    };
    Panel {
        title,
        sheet: picture.size.map(|[w, h]| [-fit * left, -fit * top, fit * w, fit * h]),
        ground: Vec::new(),
        frames: frames.iter().map(drawn).collect(),
    }
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

    fn people(&self, people: &[Pose3]) -> Drawn {
        let middle = (people.len() as f32 - 1.0) / 2.0;
        let seen = |(place, pose): (usize, &Pose3)| {
            let shift = 1.2 * self.scale * (place as f32 - middle);
            pose.map(|joint| {
                let [x, y] = self.project(joint);
                [x + shift, y]
            })
        };
        people.iter().enumerate().map(seen).collect()
    }

    fn ground(&self, half: f32) -> Vec<[[f32; 2]; 2]> {
        let steps = (2.0 * half / 0.5).round() as i32;
        let point = |[x, z]: [f32; 2]| self.project([x, self.floor, z]);
        (0..=steps)
            .flat_map(|i| {
                let at = -half + 0.5 * i as f32;
                [[[at, -half], [at, half]], [[-half, at], [half, at]]]
            })
            .map(|line| line.map(point))
            .collect()
    }
}

/// The square of the input that holds everybody in all frames, with some room: its corner and side.
fn cut_out(frames: &[&Vec<Shown>]) -> ([f32; 2], f32) {
    let inputs = || frames.iter().flat_map(|people| people.iter()).filter_map(|shown| shown.input);
    let bounds = |axis: usize| {
        let values = || inputs().flatten().map(move |point| point[axis]);
        (values().fold(f32::INFINITY, f32::min), values().fold(f32::NEG_INFINITY, f32::max))
    };
    let ((left, right), (top, bottom)) = (bounds(0), bounds(1));
    let side = (1.2 * (right - left).max(bottom - top)).max(1.0);
    if !side.is_finite() {
        return ([0.0; 2], 1.0);
    }
    ([0.5 * (left + right - side), 0.5 * (top + bottom - side)], side)
}

/// Everybody who was lifted, from left to right; and how many at most.
fn placed(frames: &[&Vec<Shown>]) -> (Vec<Vec<Pose3>>, usize) {
    let lifted = |people: &Vec<Shown>| -> Vec<Pose3> {
        let mut own: Vec<(f32, Pose3)> = people
            .iter()
            .filter_map(|shown| Some((shown.input.map_or(0.0, |input| input[0][0]), shown.lifted?)))
            .collect();
        own.sort_by(|a, b| a.0.total_cmp(&b.0));
        own.into_iter().map(|(_, pose)| pose).collect()
    };
    let poses: Vec<Vec<Pose3>> = frames.iter().map(|people| lifted(people)).collect();
    let most = poses.iter().map(Vec::len).max().unwrap_or(0);
    (poses, most)
}
