//! 2D-3D pairs: every frame, seen by every camera.

use ocelli_nn::random;

use super::Sequence;
use crate::camera::{Camera, Seen};
use crate::picture::normalise;
use crate::skeleton::{Pose2, Pose3};

/// How training pairs vary from epoch to epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Augment {
    /// Factor of a sequence's bones, between these two.
    pub scale: [f64; 2],
    /// Whether the person is turned around the vertical axis at random.
    pub turn: bool,
    /// Standard deviation of noise on the 2D joints, in the network's units (1 is half a picture).
    pub noise: f64,
}

impl Augment {
    /// Pairs as they are.
    pub const NONE: Self = Self { scale: [1.0, 1.0], turn: false, noise: 0.0 };
}

/// A frame and the camera that sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    sequence: u32,
    frame: u32,
    camera: u32,
}

/// All pairs of a part.
#[derive(Clone, Debug)]
pub struct Pairs {
    sequences: Vec<Sequence>,
    cameras: Vec<Camera>,
    items: Vec<Item>,
}

impl Pairs {
    /// Every `stride`-th frame under every camera that sees it whole.
    pub fn new(sequences: Vec<Sequence>, cameras: Vec<Camera>, stride: usize) -> Self {
        let mut items = Vec::new();
        for (s, sequence) in sequences.iter().enumerate() {
            for (f, pose) in sequence.frames.iter().enumerate().step_by(stride.max(1)) {
                for (c, camera) in cameras.iter().enumerate() {
                    if camera.see(pose).whole {
                        items.push(Item { sequence: s as u32, frame: f as u32, camera: c as u32 });
                    }
                }
            }
        }
        Self { sequences, cameras, items }
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether no camera sees any frame.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// What is done in pair `index`.
    pub fn action(&self, index: usize) -> &str {
        &self.sequences[self.items[index].sequence as usize].action
    }

    /// Pair `index` as it is: normalised 2D joints, and metres relative to the pelvis.
    pub fn get(&self, index: usize) -> (Pose2, Pose3) {
        let item = self.items[index];
        let camera = &self.cameras[item.camera as usize];
        let seen = camera.see(&self.sequences[item.sequence as usize].frames[item.frame as usize]);
        pair(camera, &seen)
    }

    /// Pair `index` varied: a function of `(seed, epoch, index)`, with one scale for a whole sequence.
    pub fn varied(&self, index: usize, augment: &Augment, seed: u64, epoch: usize) -> (Pose2, Pose3) {
        if *augment == Augment::NONE {
            return self.get(index);
        }
        let item = self.items[index];
        let camera = &self.cameras[item.camera as usize];
        let pose = &self.sequences[item.sequence as usize].frames[item.frame as usize];
        random::seed_thread(seed ^ 0x5ca1_e000, ((epoch as u64) << 32) | u64::from(item.sequence));
        let share = random::uniform(1)[0];
        let factor = (augment.scale[0] + (augment.scale[1] - augment.scale[0]) * share) as f32;
        random::seed_thread(seed ^ 0x7f4a_7c15, ((epoch as u64) << 32) | index as u64);
        let draws = random::uniform(1 + 4 * crate::skeleton::JOINTS);
        let angle = if augment.turn { std::f64::consts::TAU * draws[0] } else { 0.0 };
        let (sin, cos) = angle.sin_cos();
        let (sin, cos) = (sin as f32, cos as f32);
        let moved = pose.map(|[x, y, z]| {
            let [x, y, z] = [x * factor, y * factor, z * factor];
            [cos * x + sin * z, y, cos * z - sin * x]
        });
        let seen = camera.see(&moved);
        // What has left the picture stays as it was.
        let seen = if seen.whole { seen } else { camera.see(pose) };
        let (mut joints, target) = pair(camera, &seen);
        if augment.noise > 0.0 {
            for (point, four) in joints.iter_mut().zip(draws[1..].chunks(4)) {
                let radius = augment.noise * (-2.0 * (1.0 - four[0]).ln()).sqrt();
                let (sin, cos) = (std::f64::consts::TAU * four[1]).sin_cos();
                point[0] += (radius * cos) as f32;
                point[1] += (radius * sin) as f32;
            }
        }
        (joints, target)
    }
}

fn pair(camera: &Camera, seen: &Seen) -> (Pose2, Pose3) {
    (seen.pixels.map(|point| normalise(point, camera.size())), seen.target)
}
