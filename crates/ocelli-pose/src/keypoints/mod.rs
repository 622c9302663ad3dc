//! 2D keypoints from detectors: reading, orders of joints, missing joints.

mod fill;
mod order;
mod parse;

pub use fill::{FillOptions, Prepared, prepare};
pub use order::{Order, detect};
pub use parse::{read, read_line};

/// A detected joint, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// To the right.
    pub x: f32,
    /// Down.
    pub y: f32,
    /// The detector's confidence, 1 where it has none; 0 for a joint that is not there.
    pub score: f32,
}

/// A person in a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Person {
    /// Who it is, from frame to frame; the place in the list where nobody says.
    pub id: String,
    /// Joints in the file's order.
    pub points: Vec<Point>,
}

/// A picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frame {
    /// Its number, name or image id.
    pub name: String,
    /// Everybody in it.
    pub people: Vec<Person>,
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Clip {
    /// Pictures in order.
    pub frames: Vec<Frame>,
    /// Width and height, where the file says so.
    pub size: Option<[f32; 2]>,
    /// Order of the joints, where the file says so.
    pub order: Option<Order>,
}
