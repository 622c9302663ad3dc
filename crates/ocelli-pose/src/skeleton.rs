//! The 17 joints of Human3.6M, as GridConv numbers them, and the bones between them.

/// Number of joints.
pub const JOINTS: usize = 17;

/// Index of the pelvis, the origin of 3D poses.
pub const PELVIS: usize = 0;

/// Names of the joints, index = joint.
pub const NAMES: [&str; JOINTS] = [
    "pelvis",
    "right_hip",
    "right_knee",
    "right_ankle",
    "left_hip",
    "left_knee",
    "left_ankle",
    "spine",
    "thorax",
    "nose",
    "head",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
];

/// The joint each joint hangs on; parents come before their children.
pub const PARENTS: [Option<usize>; JOINTS] = [
    None,
    Some(0),
    Some(1),
    Some(2),
    Some(0),
    Some(4),
    Some(5),
    Some(0),
    Some(7),
    Some(8),
    Some(9),
    Some(8),
    Some(11),
    Some(12),
    Some(8),
    Some(14),
    Some(15),
];

/// Joints in a picture, `(x, y)` each.
pub type Pose2 = [[f32; 2]; JOINTS];

/// Joints in space, `(x, y, z)` each.
pub type Pose3 = [[f32; 3]; JOINTS];

/// Which half of the body a joint belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Spine and head.
    Middle,
    /// The person's left.
    Left,
    /// The person's right.
    Right,
}

/// The half of the body that `joint` belongs to.
pub fn side(joint: usize) -> Side {
    match joint {
        1..=3 | 14..=16 => Side::Right,
        4..=6 | 11..=13 => Side::Left,
        _ => Side::Middle,
    }
}

/// `(parent, child)` of every bone.
pub fn bones() -> impl Iterator<Item = (usize, usize)> {
    PARENTS.iter().enumerate().filter_map(|(child, parent)| parent.map(|parent| (parent, child)))
}
