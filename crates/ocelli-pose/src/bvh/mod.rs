//! BVH motion capture: reading, forward kinematics, choosing the 17 joints, writing.

mod joint_map;
mod kinematics;
mod parse;
mod write;

pub use joint_map::{Chosen, JointMap};
pub use write::write_bvh;

/// What moves a joint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Channel {
    /// Along an axis.
    Position(usize),
    /// Around an axis, in degrees.
    Rotation(usize),
}

/// A joint of the hierarchy.
#[derive(Clone, Debug, PartialEq)]
struct Joint {
    name: String,
    parent: Option<usize>,
    offset: [f64; 3],
    channels: Vec<Channel>,
}

/// A motion capture file. Joints stand in the file's order; end sites are joints called after their parents, with `_end`.
#[derive(Clone, Debug, PartialEq)]
pub struct Bvh {
    joints: Vec<Joint>,
    /// Channels of all joints.
    channels: usize,
    /// Frame by frame.
    motion: Vec<f32>,
    frame_time: f64,
}

impl Bvh {
    /// Names of all joints.
    pub fn names(&self) -> Vec<String> {
        self.joints.iter().map(|joint| joint.name.clone()).collect()
    }

    /// Number of frames.
    pub fn frames(&self) -> usize {
        self.motion.len() / self.channels.max(1)
    }

    /// Seconds between frames.
    pub fn frame_time(&self) -> f64 {
        self.frame_time
    }
}
