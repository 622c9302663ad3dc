//! Lines and dots as pixels with soft edges, in the colours of a small palette.
//!
//! A pixel is a colour and how much of it covers white. Where two meet, the stronger stays: sixteen steps of six colours are enough, and
//! frames of an animation share one table of colours.

use super::scene::{GAP, PANEL, Scene};
use crate::skeleton::{Side, bones, side};

/// Steps from white to a colour.
const LEVELS: u8 = 16;
/// Red, green, blue of the colours: middle, left, right, floor, frame.
const COLOURS: [[u8; 3]; 5] =
    [[0x44, 0x44, 0x44], [0x1f, 0x6f, 0xb4], [0xd4, 0x57, 0x2a], [0xdc, 0xda, 0xd0], [0xcc, 0xcc, 0xcc]];
const FLOOR: u8 = 3;
const FRAME: u8 = 4;
/// The index behind the palette's colours, for pixels that stay as they are.
pub(super) const UNCHANGED: u8 = COLOURS.len() as u8 * LEVELS;

/// Half the width of bones and the radius of joints, in units of the picture.
const BONE: f32 = 2.0;
const JOINT: f32 = 3.2;

/// Red, green, blue of every index.
pub(super) fn palette() -> Vec<[u8; 3]> {
    let blend = |colour: [u8; 3], level: u8| {
        let share = f32::from(level) / f32::from(LEVELS - 1);
        colour.map(|own| (255.0 + share * (f32::from(own) - 255.0)).round() as u8)
    };
    let steps = COLOURS.into_iter().flat_map(|colour| (0..LEVELS).map(move |level| blend(colour, level)));
    steps.chain([[255; 3]]).collect()
}

/// Indices of the palette, row by row.
#[derive(Clone)]
pub(super) struct Canvas {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<u8>,
}

/// What is drawn within: left, top, right, bottom.
type Clip = [f32; 4];

impl Canvas {
    /// Draws what is nearer than `half` to the line from `a` to `b`; a dot where both are one.
    fn line(&mut self, [a, b]: [[f32; 2]; 2], half: f32, colour: u8, [left, top, right, bottom]: Clip) {
        if !a.iter().chain(&b).all(|v| v.is_finite()) {
            return;
        }
        let reach = half + 1.0;
        // Casts from float saturate: what lies outside leaves an empty range.
        let range = |least: f32, most: f32, low: f32, high: f32, end: usize| {
            (least - reach).max(low).floor() as usize
                ..((most + reach).min(high).ceil().max(0.0) as usize).min(end)
        };
        let along = [b[0] - a[0], b[1] - a[1]];
        let length = along[0] * along[0] + along[1] * along[1];
        for y in range(a[1].min(b[1]), a[1].max(b[1]), top, bottom, self.height) {
            for x in range(a[0].min(b[0]), a[0].max(b[0]), left, right, self.width) {
                let from = [x as f32 + 0.5 - a[0], y as f32 + 0.5 - a[1]];
                let share = (from[0] * along[0] + from[1] * along[1]) / length.max(1e-12);
                let share = share.clamp(0.0, 1.0);
                let distance = (from[0] - share * along[0]).hypot(from[1] - share * along[1]);
                self.put(x, y, colour, (half + 0.5 - distance).clamp(0.0, 1.0));
            }
        }
    }

    fn put(&mut self, x: usize, y: usize, colour: u8, cover: f32) {
        let level = (cover * f32::from(LEVELS - 1)).round() as u8;
        let pixel = &mut self.pixels[y * self.width + x];
        // Floors and frames give way to bones.
        let strength = |colour: u8, level: u8| if colour >= FLOOR { level / 4 } else { level };
        if level > 0 && strength(colour, level) >= strength(*pixel / LEVELS, *pixel % LEVELS) {
            *pixel = colour * LEVELS + level;
        }
    }
}

/// Draws the frames of a scene, `scale` pixels to a unit.
pub(super) struct Painter<'a> {
    scene: &'a Scene,
    scale: f32,
    background: Canvas,
}

impl<'a> Painter<'a> {
    pub fn new(scene: &'a Scene, scale: f32) -> Self {
        let count = scene.panels.len() as f32;
        let extent = |units: f32| (scale * units).round().max(1.0) as usize;
        let (width, height) = (extent(count * (PANEL + GAP) + GAP), extent(PANEL + 2.0 * GAP));
        let background = Canvas { width, height, pixels: vec![0; width * height] };
        let mut own = Self { scene, scale, background };
        let mut canvas = own.background.clone();
        for (index, panel) in scene.panels.iter().enumerate() {
            let (corner, clip) = own.place(index);
            let at = |[x, y]: [f32; 2]| [corner[0] + scale * x, corner[1] + scale * y];
            for line in &panel.ground {
                canvas.line(line.map(at), 0.4, FLOOR, clip);
            }
            let [x, y, w, h] = panel.sheet.unwrap_or([0.0, 0.0, PANEL, PANEL]);
            for [x, y, w, h] in [[x, y, w, h], [0.0, 0.0, PANEL, PANEL]] {
                let corners = [[x, y], [x + w, y], [x + w, y + h], [x, y + h]].map(at);
                for i in 0..4 {
                    canvas.line([corners[i], corners[(i + 1) % 4]], 0.4, FRAME, clip);
                }
            }
        }
        own.background = canvas;
        own
    }

    /// A panel's corner and what is drawn within.
    fn place(&self, index: usize) -> ([f32; 2], Clip) {
        let corner = [GAP + index as f32 * (PANEL + GAP), GAP].map(|v| self.scale * v);
        let side = self.scale * PANEL;
        (corner, [corner[0] - 1.0, corner[1] - 1.0, corner[0] + side + 1.0, corner[1] + side + 1.0])
    }

    pub fn frame(&self, frame: usize) -> Canvas {
        let mut canvas = self.background.clone();
        for (index, panel) in self.scene.panels.iter().enumerate() {
            let (corner, clip) = self.place(index);
            let at = |[x, y]: [f32; 2]| [corner[0] + self.scale * x, corner[1] + self.scale * y];
            let colour = |joint: usize| match side(joint) {
                Side::Middle => 0,
                Side::Left => 1,
                Side::Right => 2,
            };
            for person in panel.frames.get(frame).into_iter().flatten() {
                for (a, b) in bones() {
                    canvas.line([at(person[a]), at(person[b])], self.scale * BONE, colour(b), clip);
                }
                for (joint, &point) in person.iter().enumerate() {
                    canvas.line([at(point); 2], self.scale * JOINT, colour(joint), clip);
                }
            }
        }
        canvas
    }
}
