//! VideoPose3D's archives: `data_3d_h36m.npz` holds `positions_3d`, a dictionary `[subject][action]` of world positions `[frames, 32 or 17, 3]`
//! in metres, z up.

use std::io::Read;
use std::path::Path;

use super::Sequence;
use super::bvh_folder::centred;
use super::pickle::{self, Value};
use crate::PoseError;
use crate::skeleton::{JOINTS, Pose3};

/// Human3.6M's 17 joints among its 32.
const OF_32: [usize; JOINTS] = [0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27];

/// Rate of Human3.6M.
const RATE: f64 = 50.0;

/// Largest member that is unpacked.
const LARGEST_MEMBER: u64 = 2 << 30;

pub(super) fn read(path: &Path) -> Result<Vec<Sequence>, PoseError> {
    let wrong = |problem: String| PoseError::malformed(path, problem);
    let file = std::fs::File::open(path).map_err(PoseError::io(path))?;
    let mut archive = zip::ZipArchive::new(file)
        .map_err(|error| wrong(format!("not an .npz archive, or a truncated one: {error}")))?;
    let names: Vec<String> = archive.file_names().flatten().map(|name| name.into_owned()).collect();
    let mut member = archive.by_name("positions_3d.npy").map_err(|_| {
        wrong(format!(
            "holds no positions_3d (expected VideoPose3D's data_3d_*.npz); it holds {}",
            names.join(", ")
        ))
    })?;
    if member.size() > LARGEST_MEMBER {
        return Err(wrong(format!(
            "positions_3d unpacks to {} bytes, at most {LARGEST_MEMBER}",
            member.size()
        )));
    }
    let mut bytes = Vec::new();
    // The archive's own word on sizes is not relied upon.
    member
        .by_ref()
        .take(LARGEST_MEMBER)
        .read_to_end(&mut bytes)
        .map_err(|error| wrong(format!("positions_3d cannot be unpacked: {error}")))?;
    let content = object(&bytes).map_err(|problem| wrong(format!("positions_3d: {problem}")))?;
    let Value::Dict(subjects) = content else {
        return Err(wrong("positions_3d: expected a dictionary of subjects".into()));
    };
    let mut sequences = Vec::new();
    for (subject, actions) in subjects {
        let (Value::Text(subject), Value::Dict(actions)) = (subject, actions) else {
            return Err(wrong("positions_3d: expected subjects with dictionaries of actions".into()));
        };
        for (action, positions) in actions {
            let (Value::Text(action), Value::Array { shape, values }) = (action, positions) else {
                return Err(wrong(format!("{subject}: expected actions with arrays of positions")));
            };
            let frames = poses(&shape, &values).ok_or_else(|| {
                wrong(format!("{subject} {action}: positions of {shape:?}, expected [frames, 32 or 17, 3]"))
            })?;
            sequences.push(Sequence {
                name: format!("{subject} {action}"),
                subject: subject.clone(),
                action,
                part: None,
                frames,
                rate: RATE,
            });
        }
    }
    // Centred before z becomes up: the mean is taken along the floor, x and y.
    for sequence in &mut sequences {
        let turned = sequence.frames.iter().map(|pose| pose.map(|[x, y, z]| [x, z, -y])).collect();
        let turned = centred(turned);
        sequence.frames = turned.iter().map(|pose| pose.map(|[x, y, z]| [x, -z, y])).collect();
    }
    Ok(sequences)
}

fn poses(shape: &[usize], values: &[f32]) -> Option<Vec<Pose3>> {
    let &[frames, joints, 3] = shape else { return None };
    let chosen: Vec<usize> = match joints {
        32 => OF_32.to_vec(),
        JOINTS => (0..JOINTS).collect(),
        _ => return None,
    };
    let frame = |f: usize| -> Pose3 {
        std::array::from_fn(|joint| {
            let at = (f * joints + chosen[joint]) * 3;
            [values[at], values[at + 1], values[at + 2]]
        })
    };
    Some((0..frames).map(frame).collect())
}

/// The pickled object of a 0-dimensional `.npy`.
fn object(bytes: &[u8]) -> Result<Value, String> {
    let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or("not an .npy file")?;
    let (version, rest) = rest.split_first().ok_or("a truncated header")?;
    let width = if *version == 1 { 2 } else { 4 };
    let length = rest.get(1..1 + width).ok_or("a truncated header")?;
    let length = length.iter().rev().fold(0usize, |value, &byte| (value << 8) | usize::from(byte));
    let start = 1 + width;
    let end = start.checked_add(length).ok_or("a header of impossible length")?;
    let header = rest.get(start..end).ok_or("a truncated header")?;
    let header = std::str::from_utf8(header).map_err(|_| "a header that is no text")?;
    if !header.contains("'|O'") {
        return Err(format!("expected a pickled dictionary, found an array {}", header.trim()));
    }
    // An array of no dimensions pickles as its object, inside of the array's own state or not.
    match pickle::read(&rest[end..])? {
        Value::List(mut items) if items.len() == 1 => Ok(items.remove(0)),
        value => Ok(value),
    }
}
