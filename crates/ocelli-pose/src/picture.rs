//! From pixels to the network's units, and from other sets of joints to the 17.

use crate::skeleton::{JOINTS, Pose2};

/// `(p - centre) / (max(width, height) / 2)` per axis: the shorter side keeps its share. For pictures of 1000 x 1000 this is the
/// reference's `(p - 500) / 500`.
pub fn normalise([x, y]: [f32; 2], [width, height]: [f32; 2]) -> [f32; 2] {
    let half = 0.5 * width.max(height);
    [(x - 0.5 * width) / half, (y - 0.5 * height) / half]
}

/// The inverse of [`normalise`].
pub fn to_pixels([x, y]: [f32; 2], [width, height]: [f32; 2]) -> [f32; 2] {
    let half = 0.5 * width.max(height);
    [x * half + 0.5 * width, y * half + 0.5 * height]
}

/// Which of COCO's keypoints each joint is made of. Pelvis, thorax, spine and head are derived.
pub const COCO_SOURCES: [&[usize]; JOINTS] = [
    &[11, 12],
    &[12],
    &[14],
    &[16],
    &[11],
    &[13],
    &[15],
    &[11, 12, 5, 6],
    &[5, 6],
    &[0],
    &[1, 2, 3, 4, 5, 6],
    &[5],
    &[7],
    &[9],
    &[6],
    &[8],
    &[10],
];

/// COCO's 17 keypoints as Human3.6M's 17 joints.
///
/// Pelvis and thorax are the middles of the hips and of the shoulders, the spine lies between the two, the head continues the way from
/// the thorax to the face by half. Such joints differ from those of motion capture: networks trained on the latter are biased on them.
pub fn coco_to_17(coco: &Pose2) -> Pose2 {
    let mean = |joints: &[usize]| {
        let share = 1.0 / joints.len() as f32;
        let mut sum = [0.0f32; 2];
        for &joint in joints {
            sum[0] += coco[joint][0];
            sum[1] += coco[joint][1];
        }
        sum.map(|value| value * share)
    };
    let mut pose = COCO_SOURCES.map(mean);
    pose[7] = [0.5 * (pose[0][0] + pose[8][0]), 0.5 * (pose[0][1] + pose[8][1])];
    let (face, thorax) = (mean(&[1, 2, 3, 4]), pose[8]);
    pose[10] = [face[0] + 0.5 * (face[0] - thorax[0]), face[1] + 0.5 * (face[1] - thorax[1])];
    pose
}
