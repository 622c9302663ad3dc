//! Which joints of a file are the 17.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::Bvh;
use crate::error::{PoseError, read_limited};
use crate::skeleton::{JOINTS, NAMES, Pose3};

/// Metres of the units files come in: metres, centimetres, millimetres, inches, and the CMU database's.
const UNITS: [f64; 5] = [1.0, 0.01, 0.001, 0.0254, 0.0254 / 0.45];

/// Heights in metres that a person's skeleton may have at rest.
const PLAUSIBLE: std::ops::Range<f64> = 1.1..2.3;

/// Largest map that is read.
const LARGEST_FILE: u64 = 1 << 20;

/// Names of the 17 joints in a family of files.
const FAMILIES: [[&str; JOINTS]; 3] = [
    // CMU's database as the cgspeed conversion names it.
    [
        "Hips",
        "RightHip",
        "RightKnee",
        "RightAnkle",
        "LeftHip",
        "LeftKnee",
        "LeftAnkle",
        "Chest",
        "Neck",
        "Head",
        "Head_end",
        "LeftShoulder",
        "LeftElbow",
        "LeftWrist",
        "RightShoulder",
        "RightElbow",
        "RightWrist",
    ],
    // MotionBuilder and Mixamo.
    [
        "Hips",
        "RightUpLeg",
        "RightLeg",
        "RightFoot",
        "LeftUpLeg",
        "LeftLeg",
        "LeftFoot",
        "Spine",
        "Neck",
        "Head",
        "Head_end",
        "LeftArm",
        "LeftForeArm",
        "LeftHand",
        "RightArm",
        "RightForeArm",
        "RightHand",
    ],
    // What this program writes.
    NAMES,
];

/// Names of the 17 joints in a file, and metres per unit.
#[derive(Clone, Debug, PartialEq)]
pub struct JointMap {
    names: [String; JOINTS],
    scale: Option<f64>,
}

/// The joints found in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    places: [usize; JOINTS],
    scale: f64,
}

impl Chosen {
    /// The 17 joints in metres, of all joints in the file's units.
    pub fn pose(&self, world: &[[f64; 3]]) -> Pose3 {
        self.places.map(|place| world[place].map(|v| (v * self.scale) as f32))
    }
}

impl JointMap {
    /// `names[i]` is what files call joint `i`; `scale` is metres per unit.
    pub fn new(names: [String; JOINTS], scale: f64) -> Self {
        Self { names, scale: Some(scale) }
    }

    /// Reads `{"scale": METRES, "joints": {"pelvis": "Hips", ...}}`; the scale may be left out.
    ///
    /// # Errors
    /// If the file cannot be read or does not name all joints.
    pub fn read(path: &Path) -> Result<Self, PoseError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            scale: Option<f64>,
            joints: BTreeMap<String, String>,
        }
        let file: File = serde_json::from_slice(&read_limited(path, LARGEST_FILE)?).map_err(|error| {
            PoseError::malformed(path, format!("expected {{\"joints\": {{\"pelvis\": ...}}}}: {error}"))
        })?;
        if let Some(unknown) = file.joints.keys().find(|name| !NAMES.contains(&name.as_str())) {
            return Err(PoseError::malformed(
                path,
                format!("'{unknown}' is none of the 17 joints: {}", NAMES.join(", ")),
            ));
        }
        if file.scale.is_some_and(|scale| !(scale.is_finite() && scale > 0.0)) {
            return Err(PoseError::malformed(path, "the scale must be above 0"));
        }
        let mut names: [String; JOINTS] = Default::default();
        for (slot, name) in names.iter_mut().zip(NAMES) {
            *slot =
                file.joints.get(name).cloned().ok_or_else(|| {
                    PoseError::malformed(path, format!("does not say which joint is {name}"))
                })?;
        }
        Ok(Self { names, scale: file.scale })
    }

    /// The map of a known family that fits `bvh`.
    ///
    /// # Errors
    /// If none does; the message lists the file's joints.
    pub fn known(bvh: &Bvh, path: &Path) -> Result<Self, PoseError> {
        let present = bvh.names();
        let bare = |name: &str| name.rsplit(':').next().unwrap_or(name).to_string();
        for family in FAMILIES {
            // Mixamo puts `mixamorig:` before every name.
            let found = family.map(|wanted| present.iter().find(|name| bare(name) == wanted));
            if found.iter().all(Option::is_some) {
                return Ok(Self { names: found.map(|name| name.cloned().unwrap_or_default()), scale: None });
            }
        }
        let missing = |family: &[&'static str; JOINTS]| -> Vec<&'static str> {
            family
                .iter()
                .copied()
                .filter(|wanted| !present.iter().any(|name| bare(name) == *wanted))
                .collect()
        };
        let nearest = FAMILIES.iter().map(missing).min_by_key(Vec::len).unwrap_or_default();
        Err(PoseError::malformed(
            path,
            format!(
                "a skeleton of unknown joints: {} of the 17 are not found ({}); its joints are {}. Name them in a file for --joint-map",
                nearest.len(),
                shown(&nearest),
                shown(&present)
            ),
        ))
    }

    /// Finds the joints in `bvh`, which came from `path`.
    ///
    /// # Errors
    /// If one is missing, or the skeleton has no height, or one that no known unit makes a person's.
    pub fn resolve(&self, bvh: &Bvh, path: &Path) -> Result<Chosen, PoseError> {
        let present = bvh.names();
        let mut places = [0; JOINTS];
        for ((place, wanted), joint) in places.iter_mut().zip(&self.names).zip(NAMES) {
            *place = present.iter().position(|name| name == wanted).ok_or_else(|| {
                PoseError::malformed(
                    path,
                    format!("has no joint '{wanted}' for {joint}; its joints are {}", shown(&present)),
                )
            })?;
        }
        let height = height(&bvh.rest(), &places);
        if !(height > 0.0 && height.is_finite()) {
            return Err(PoseError::malformed(
                path,
                format!("the skeleton has a height of {height}: all offsets are 0"),
            ));
        }
        let scale = match self.scale {
            Some(scale) => scale,
            None => UNITS.into_iter().find(|unit| PLAUSIBLE.contains(&(unit * height))).ok_or_else(|| {
                PoseError::malformed(
                    path,
                    format!(
                        "the skeleton is {height:.3} units high: no person in metres, centimetres, millimetres, inches or CMU's units; \
                         say the scale in a file for --joint-map"
                    ),
                )
            })?,
        };
        Ok(Chosen { places, scale })
    }
}

/// Length of the way from an ankle over the pelvis to the head: the same in every pose.
fn height(world: &[[f64; 3]], places: &[usize; JOINTS]) -> f64 {
    let chain = [3, 2, 1, 0, 7, 8, 9, 10];
    chain
        .windows(2)
        .map(|pair| {
            let (a, b) = (world[places[pair[0]]], world[places[pair[1]]]);
            (0..3).map(|axis| (a[axis] - b[axis]).powi(2)).sum::<f64>().sqrt()
        })
        .sum()
}

fn shown<S: AsRef<str>>(names: &[S]) -> String {
    const MOST: usize = 40;
    let mut text = names.iter().take(MOST).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    if names.len() > MOST {
        text += &format!(" and {} more", names.len() - MOST);
    }
    text
}
