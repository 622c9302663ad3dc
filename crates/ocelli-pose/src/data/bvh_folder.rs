//! BVH files. The subject is the folder a file stands in, or what its name says before the first underscore (CMU's `131_03.bvh`).

use std::path::Path;

use super::{OpenOptions, Sequence};
use crate::PoseError;
use crate::bvh::{Bvh, JointMap};

pub(super) fn read_folder(folder: &Path, options: &OpenOptions) -> Result<Vec<Sequence>, PoseError> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(own) = folders.pop() {
        for entry in std::fs::read_dir(&own).map_err(PoseError::io(&own))? {
            let path = entry.map_err(PoseError::io(&own))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("bvh")) {
                files.push(path);
            }
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(PoseError::malformed(folder, "holds no .bvh file"));
    }
    files
        .iter()
        .map(|file| {
            let mut sequence = read_file(file, options)?;
            let inside = file.parent().filter(|parent| *parent != folder).and_then(Path::file_name);
            if let Some(subject) = inside {
                sequence.subject = subject.to_string_lossy().into_owned();
            }
            Ok(sequence)
        })
        .collect()
}

pub(super) fn read_file(path: &Path, options: &OpenOptions) -> Result<Sequence, PoseError> {
    let bvh = Bvh::read(path)?;
    let map = match &options.joint_map {
        Some(map) => JointMap::read(map)?,
        None => JointMap::known(&bvh, path)?,
    };
    let chosen = map.resolve(&bvh, path)?;
    let frames = (0..bvh.frames()).filter_map(|frame| Some(chosen.pose(&bvh.positions(frame)?))).collect();
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let subject = name.split('_').next().unwrap_or(&name).to_string();
    Ok(Sequence {
        subject,
        action: name.clone(),
        name,
        part: None,
        frames: centred(frames),
        rate: 1.0 / bvh.frame_time(),
    })
}

/// Moved so that the mean pelvis stands above the origin, where the cameras look.
pub(super) fn centred(mut frames: Vec<crate::skeleton::Pose3>) -> Vec<crate::skeleton::Pose3> {
    let count = frames.len().max(1) as f32;
    let mean = |axis: usize| frames.iter().map(|pose| pose[0][axis]).sum::<f32>() / count;
    let (x, z) = (mean(0), mean(2));
    for joint in frames.iter_mut().flatten() {
        joint[0] -= x;
        joint[2] -= z;
    }
    frames
}
