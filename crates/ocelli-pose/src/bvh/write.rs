//! Lifted poses as BVH, for animation programs.

use std::fmt::Write;

use crate::skeleton::{JOINTS, NAMES, PARENTS, Pose3};

/// Frames of 17 joints as the text of a BVH file in centimetres, y up.
///
/// Joints carry positions instead of rotations: lifted bones vary in length from frame to frame, and turns around a bone are not known.
/// Blender and MotionBuilder read such files. `poses` are metres in the camera's axes (y down, z away).
pub fn write_bvh(poses: &[Pose3], frames_per_second: f64) -> String {
    let mut text = String::from("HIERARCHY\n");
    let rest = poses.first().copied().unwrap_or([[0.0; 3]; JOINTS]).map(upright);
    joint(&mut text, 0, 0, &rest);
    let time = if frames_per_second > 0.0 { 1.0 / frames_per_second } else { 1.0 / 30.0 };
    writeln!(text, "MOTION\nFrames: {}\nFrame Time: {time:.7}", poses.len()).ok();
    for pose in poses {
        let world = pose.map(upright);
        let mut line = String::new();
        let mut order = Vec::new();
        depth_first(0, &mut order);
        for own in order {
            let from = PARENTS[own].map_or([0.0; 3], |parent| world[parent]);
            for axis in 0..3 {
                // The root's offset is added to its position, so it moves from there.
                let start = if own == 0 { rest[0][axis] } else { 0.0 };
                write!(line, "{:.4} ", world[own][axis] - from[axis] - start).ok();
            }
        }
        writeln!(text, "{}", line.trim_end()).ok();
    }
    text
}

/// Centimetres with y up and x to the right.
fn upright([x, y, z]: [f32; 3]) -> [f32; 3] {
    [100.0 * x, -100.0 * y, -100.0 * z]
}

fn children(joint: usize) -> impl Iterator<Item = usize> {
    (0..JOINTS).filter(move |&child| PARENTS[child] == Some(joint))
}

fn depth_first(joint: usize, order: &mut Vec<usize>) {
    order.push(joint);
    for child in children(joint) {
        depth_first(child, order);
    }
}

fn joint(text: &mut String, own: usize, depth: usize, rest: &Pose3) {
    let tabs = "\t".repeat(depth);
    let kind = if depth == 0 { "ROOT" } else { "JOINT" };
    let from = PARENTS[own].map_or([0.0; 3], |parent| rest[parent]);
    let [x, y, z]: [f32; 3] = std::array::from_fn(|axis| rest[own][axis] - from[axis]);
    writeln!(text, "{tabs}{kind} {}\n{tabs}{{", NAMES[own]).ok();
    writeln!(text, "{tabs}\tOFFSET {x:.4} {y:.4} {z:.4}").ok();
    writeln!(text, "{tabs}\tCHANNELS 3 Xposition Yposition Zposition").ok();
    let mut leaf = true;
    for child in children(own) {
        leaf = false;
        joint(text, child, depth + 1, rest);
    }
    if leaf {
        writeln!(text, "{tabs}\tEnd Site\n{tabs}\t{{\n{tabs}\t\tOFFSET 0 0 0\n{tabs}\t}}").ok();
    }
    writeln!(text, "{tabs}}}").ok();
}
