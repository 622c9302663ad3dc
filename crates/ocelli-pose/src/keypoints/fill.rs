//! Missing joints: lifting needs all 17.

use std::collections::HashMap;

use super::{Clip, Order, Point};
use crate::skeleton::{JOINTS, NAMES, Pose2};

/// How missing joints are treated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FillOptions {
    /// Joints of a lower score are missing.
    pub least_score: f32,
    /// Frames over which an earlier position is carried on.
    pub most_frames: usize,
}

impl Default for FillOptions {
    fn default() -> Self {
        Self { least_score: 0.3, most_frames: 10 }
    }
}

/// A person ready to be lifted, or the reason why not.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// Who.
    pub id: String,
    /// The 17 joints, in pixels, or why there are none.
    pub joints: Result<Pose2, String>,
    /// Joints that were carried on from an earlier frame.
    pub filled: Vec<usize>,
}

/// What is known of a person from earlier frames.
#[derive(Clone)]
struct Track {
    joints: Pose2,
    /// Frames since each joint was seen.
    age: [usize; JOINTS],
}

/// The 17 joints of everybody in `clip`, frame by frame. A missing joint is carried on from the person's last frame, moved as far as the joints that
/// are seen in both have moved on average; a person with one that never was seen is not lifted.
///
/// # Errors
/// If a person's joints are of another number than `order` has.
pub fn prepare(clip: &Clip, order: Order, options: &FillOptions) -> Result<Vec<Vec<Prepared>>, String> {
    let mut tracks: HashMap<String, Track> = HashMap::new();
    let mut frames = Vec::with_capacity(clip.frames.len());
    for frame in &clip.frames {
        let mut people = Vec::with_capacity(frame.people.len());
        for person in &frame.people {
            if person.points.len() != order.joints() {
                return Err(format!(
                    "frame {}, person {}: {} joints, the order {} has {}",
                    frame.name,
                    person.id,
                    person.points.len(),
                    order.name(),
                    order.joints()
                ));
            }
            let points = order.to_17(&person.points, options.least_score);
            people.push(complete(person.id.clone(), points, &mut tracks, options));
        }
        frames.push(people);
    }
    Ok(frames)
}

fn complete(
    id: String,
    points: [Point; JOINTS],
    tracks: &mut HashMap<String, Track>,
    options: &FillOptions,
) -> Prepared {
    let seen: [bool; JOINTS] = points.map(|point| point.score >= options.least_score && point.score > 0.0);
    let mut joints: Pose2 = points.map(|point| [point.x, point.y]);
    let earlier = tracks.get(&id).cloned();
    let missing: Vec<usize> = (0..JOINTS).filter(|&joint| !seen[joint]).collect();
    let refuse = |joint: usize, why: &str| {
        let others = missing.len() - 1;
        let more = if others > 0 { format!(" ({others} more missing)") } else { String::new() };
        format!("{}: score {:.2} below {}{why}{more}", NAMES[joint], points[joint].score, options.least_score)
    };
    let mut age = [0; JOINTS];
    if let Some(&first) = missing.first() {
        let Some(track) = earlier else {
            let joints = Err(refuse(first, ", and no earlier frame to take it from"));
            return Prepared { id, joints, filled: Vec::new() };
        };
        let common: Vec<usize> = (0..JOINTS).filter(|&joint| seen[joint]).collect();
        let mut moved = [0.0f32; 2];
        for &joint in &common {
            for axis in 0..2 {
                moved[axis] += (joints[joint][axis] - track.joints[joint][axis]) / common.len() as f32;
            }
        }
        for &joint in &missing {
            age[joint] = track.age[joint] + 1;
            joints[joint] = std::array::from_fn(|axis| track.joints[joint][axis] + moved[axis]);
        }
        if let Some(&old) = missing.iter().find(|&&joint| age[joint] > options.most_frames) {
            let joints = Err(refuse(old, &format!(", not seen for {} frames", options.most_frames)));
            return Prepared { id, joints, filled: Vec::new() };
        }
    }
    let (low, high) = joints.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), joint| {
        (low.min(joint[1]), high.max(joint[1]))
    });
    let joints_result = if high - low > 0.0 {
        tracks.insert(id.clone(), Track { joints, age });
        Ok(joints)
    } else {
        Err("the skeleton has no height: all joints lie on one line of the picture".to_string())
    };
    Prepared { id, joints: joints_result, filled: missing }
}
