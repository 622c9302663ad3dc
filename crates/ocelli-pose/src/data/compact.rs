//! Our own format: `NAME.safetensors` with `joints` `[N, 17, 3]` (metres, y up) and `seq` `[N]`, beside `NAME.json` with the sequences.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::{Part, Sequence};
use crate::PoseError;
use crate::error::read_limited;
use crate::skeleton::{JOINTS, NAMES, Pose3};

/// Largest files that are read.
const LARGEST_FILE: u64 = 4 << 30;
const LARGEST_INDEX: u64 = 64 << 20;

#[derive(Serialize, Deserialize)]
struct Index {
    joints: Vec<String>,
    unit: String,
    #[serde(default)]
    fps: f64,
    sequences: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    name: String,
    #[serde(default)]
    subject: Option<String>,
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    split: Option<String>,
    first: usize,
    frames: usize,
}

pub(super) fn read(path: &Path) -> Result<Vec<Sequence>, PoseError> {
    let wrong = |problem: String| PoseError::malformed(path, problem);
    let bytes = read_limited(path, LARGEST_FILE)?;
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|error| wrong(format!("not a safetensors file: {error}")))?;
    let tensor = |name: &str| file.tensor(name).map_err(|_| wrong(format!("holds no tensor '{name}'")));
    let joints = tensor("joints")?;
    let shape = joints.shape();
    if joints.dtype() != Dtype::F32 || shape.len() != 3 || shape[1..] != [JOINTS, 3] {
        return Err(wrong(format!(
            "joints is {:?} {shape:?}, expected F32 [N, {JOINTS}, 3]",
            joints.dtype()
        )));
    }
    let values: Vec<f32> =
        joints.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let poses: &[Pose3] = values.as_chunks::<3>().0.as_chunks::<JOINTS>().0;
    let index_path = path.with_extension("json");
    let index: Index =
        serde_json::from_slice(&read_limited(&index_path, LARGEST_INDEX)?).map_err(|error| {
            PoseError::malformed(&index_path, format!("expected an index of sequences: {error}"))
        })?;
    let bad = |problem: String| PoseError::malformed(&index_path, problem);
    if index.unit != "metre" || index.joints.len() != JOINTS {
        return Err(bad(format!(
            "{} joints in '{}', expected {JOINTS} in 'metre'",
            index.joints.len(),
            index.unit
        )));
    }
    index
        .sequences
        .into_iter()
        .map(|entry| {
            let end = entry.first.checked_add(entry.frames);
            let frames = end.and_then(|end| poses.get(entry.first..end)).ok_or_else(|| {
                bad(format!(
                    "sequence {} has {} frames from {}, {} has {}",
                    entry.name,
                    entry.frames,
                    entry.first,
                    path.display(),
                    poses.len()
                ))
            })?;
            let part = match entry.split.as_deref() {
                None => None,
                Some("train") => Some(Part::Train),
                Some("val" | "test") => Some(Part::Val),
                Some(other) => {
                    return Err(bad(format!("sequence {}: '{other}' is neither train nor val", entry.name)));
                }
            };
            Ok(Sequence {
                subject: entry.subject.unwrap_or_else(|| entry.name.clone()),
                action: entry.action.unwrap_or_else(|| entry.name.clone()),
                name: entry.name,
                part,
                frames: frames.to_vec(),
                rate: index.fps,
            })
        })
        .collect()
}

/// Writes `sequences` as `path` (`.safetensors`) and the index beside it, each whole or not at all.
///
/// # Errors
/// If a file cannot be written.
pub fn write_compact(path: &Path, sequences: &[Sequence]) -> Result<(), PoseError> {
    let values: Vec<u8> = sequences
        .iter()
        .flat_map(|sequence| sequence.frames.iter().flatten().flatten())
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let numbers: Vec<u8> = sequences
        .iter()
        .enumerate()
        .flat_map(|(i, sequence)| std::iter::repeat_n(i as i32, sequence.frames.len()))
        .flat_map(i32::to_le_bytes)
        .collect();
    let total = numbers.len() / 4;
    let broken = |error: safetensors::SafeTensorError| PoseError::malformed(path, error.to_string());
    let joints = TensorView::new(Dtype::F32, vec![total, JOINTS, 3], &values).map_err(broken)?;
    let seq = TensorView::new(Dtype::I32, vec![total], &numbers).map_err(broken)?;
    let views = vec![("joints", joints), ("seq", seq)];
    let bytes = safetensors::serialize(views, None::<HashMap<String, String>>).map_err(broken)?;
    let mut first = 0;
    let entries = sequences
        .iter()
        .map(|sequence| {
            let entry = Entry {
                name: sequence.name.clone(),
                subject: Some(sequence.subject.clone()),
                action: Some(sequence.action.clone()),
                split: sequence.part.map(|part| if part == Part::Train { "train" } else { "val" }.into()),
                first,
                frames: sequence.frames.len(),
            };
            first += sequence.frames.len();
            entry
        })
        .collect();
    let index = Index {
        joints: NAMES.map(String::from).to_vec(),
        unit: "metre".into(),
        fps: sequences.first().map_or(0.0, |sequence| sequence.rate),
        sequences: entries,
    };
    let index_path = path.with_extension("json");
    let text = serde_json::to_string_pretty(&index)
        .map_err(|error| PoseError::malformed(&index_path, error.to_string()))?;
    ocelli_report::atomic::write_atomic(path, &bytes).map_err(PoseError::io(path))?;
    ocelli_report::atomic::write_atomic(&index_path, text.as_bytes()).map_err(PoseError::io(&index_path))
}
