//! Which joint is which.

use super::{Clip, Point};
use crate::picture::{COCO_SOURCES, coco_to_17};
use crate::skeleton::{JOINTS, Pose2};

/// The order of a detector's joints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// COCO's 17 keypoints, nose first.
    Coco,
    /// Human3.6M's 17 joints, pelvis first.
    H36m,
    /// OpenPose's 25.
    Body25,
}

/// COCO's keypoints among OpenPose's 25.
const COCO_OF_BODY25: [usize; JOINTS] = [0, 16, 15, 18, 17, 5, 2, 6, 3, 7, 4, 12, 9, 13, 10, 14, 11];

impl Order {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Coco => "coco",
            Self::H36m => "h36m",
            Self::Body25 => "body25",
        }
    }

    /// The order called `name`.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Coco, Self::H36m, Self::Body25].into_iter().find(|order| order.name() == name)
    }

    /// Joints of a person.
    pub fn joints(self) -> usize {
        if self == Self::Body25 { 25 } else { JOINTS }
    }

    /// The 17 joints, each with the least score of what it is made of.
    pub(super) fn to_17(self, points: &[Point], least: f32) -> [Point; JOINTS] {
        let coco: [Point; JOINTS] = match self {
            Self::H36m => return std::array::from_fn(|joint| points[joint]),
            Self::Coco => std::array::from_fn(|joint| points[joint]),
            Self::Body25 => COCO_OF_BODY25.map(|joint| points[joint]),
        };
        let mut known = coco;
        // An ear that is turned away: the face is where its other points are.
        let seen: Vec<Point> = (0..5).map(|joint| coco[joint]).filter(|point| point.score >= least).collect();
        if !seen.is_empty() {
            let share = 1.0 / seen.len() as f32;
            let mut mean = Point { score: f32::INFINITY, ..Point::default() };
            for point in &seen {
                mean.x += share * point.x;
                mean.y += share * point.y;
                mean.score = mean.score.min(point.score);
            }
            known[1..5].iter_mut().filter(|point| point.score < least).for_each(|point| *point = mean);
        }
        let flat: Pose2 = known.map(|point| [point.x, point.y]);
        let pose = coco_to_17(&flat);
        std::array::from_fn(|joint| Point {
            x: pose[joint][0],
            y: pose[joint][1],
            score: COCO_SOURCES[joint].iter().fold(f32::INFINITY, |least, &own| least.min(known[own].score)),
        })
    }
}

/// Tells COCO's order from Human3.6M's: the first five of the former are a face, close together; those of the latter reach to an ankle.
/// Nothing if no person shows all of them.
pub fn detect(clip: &Clip) -> Option<Order> {
    let (mut faces, mut legs) = (0usize, 0usize);
    for person in clip.frames.iter().flat_map(|frame| &frame.people) {
        if person.points.len() == Order::Body25.joints() {
            return Some(Order::Body25);
        }
        if person.points.len() != JOINTS || person.points.iter().filter(|p| p.score > 0.0).count() < 12 {
            continue;
        }
        let seen: Vec<&Point> = person.points.iter().filter(|point| point.score > 0.0).collect();
        let extent = |of: fn(&Point) -> f32| {
            let values = || seen.iter().map(|point| of(point));
            values().fold(f32::NEG_INFINITY, f32::max) - values().fold(f32::INFINITY, f32::min)
        };
        let size = extent(|point| point.x).hypot(extent(|point| point.y));
        let first = &person.points[0];
        let reach = person.points[1..5]
            .iter()
            .filter(|point| point.score > 0.0)
            .map(|point| (point.x - first.x).hypot(point.y - first.y))
            .fold(0.0, f32::max);
        if first.score > 0.0 && size > 0.0 {
            if reach < 0.25 * size { faces += 1 } else { legs += 1 }
        }
    }
    match faces.cmp(&legs) {
        std::cmp::Ordering::Greater => Some(Order::Coco),
        std::cmp::Ordering::Less => Some(Order::H36m),
        std::cmp::Ordering::Equal => None,
    }
}
