//! Motion capture as sequences of the 17 joints, from BVH, VideoPose3D's `.npz`, and our own compact files.

mod bvh_folder;
mod compact;
mod npz;
mod pairs;
mod pickle;
mod split;

use std::path::{Path, PathBuf};

pub use compact::write_compact;
pub use pairs::{Augment, Item, Pairs};
pub use split::{Parts, SplitRule, split};

use crate::PoseError;
use crate::skeleton::Pose3;

/// A clip of one person.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequence {
    /// Its name.
    pub name: String,
    /// Who moves; parts are told apart by it.
    pub subject: String,
    /// What is done; errors are averaged by it.
    pub action: String,
    /// The part it belongs to, if its source says so.
    pub part: Option<Part>,
    /// Frames in the world, in metres, y up.
    pub frames: Vec<Pose3>,
    /// Frames per second, 0 where nobody says.
    pub rate: f64,
}

/// Training or validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Trained on.
    Train,
    /// Held out.
    Val,
}

/// Where files leave room for choice.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// Joints of BVH files; known families are recognised without.
    pub joint_map: Option<PathBuf>,
    /// Whether z is up in the file; VideoPose3D's data has it so.
    pub z_up: Option<bool>,
    /// Frames per second to keep of faster clips; all without.
    pub rate: Option<f64>,
}

/// Opens a folder of BVH files, a BVH file, an `.npz` in VideoPose3D's layout, or a compact `.safetensors`.
///
/// # Errors
/// If it cannot be read or is none of these.
pub fn open(path: &Path, options: &OpenOptions) -> Result<Vec<Sequence>, PoseError> {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    let mut sequences = match ending.as_deref() {
        _ if path.is_dir() => bvh_folder::read_folder(path, options)?,
        Some("bvh") => vec![bvh_folder::read_file(path, options)?],
        Some("npz") => npz::read(path)?,
        Some("safetensors") => compact::read(path)?,
        _ if !path.exists() => {
            return Err(PoseError::io(path)(std::io::ErrorKind::NotFound.into()));
        }
        _ => {
            return Err(PoseError::malformed(
                path,
                "expected a folder of .bvh files, a .bvh, an .npz (VideoPose3D's data_3d_*.npz) or a .safetensors",
            ));
        }
    };
    let z_up = options.z_up.unwrap_or(ending.as_deref() == Some("npz"));
    for sequence in &mut sequences {
        if sequence.frames.iter().flatten().flatten().any(|v| !v.is_finite()) {
            let problem = format!("sequence {}: a coordinate is not a finite number", sequence.name);
            return Err(PoseError::malformed(path, problem));
        }
        if z_up {
            for joint in sequence.frames.iter_mut().flatten() {
                let [x, y, z] = *joint;
                *joint = [x, z, -y];
            }
        }
        if let Some(keep) = options.rate.filter(|keep| *keep > 0.0 && sequence.rate > *keep) {
            let step = (sequence.rate / keep).round().max(1.0);
            sequence.rate /= step;
            sequence.frames = sequence.frames.iter().copied().step_by(step as usize).collect();
        }
    }
    sequences.retain(|sequence| !sequence.frames.is_empty());
    if sequences.is_empty() {
        return Err(PoseError::malformed(path, "holds no frame"));
    }
    Ok(sequences)
}
