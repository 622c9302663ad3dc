//! What `ocelli pose lift` wrote, read again: its document, or its answers to a stream as JSON lines.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::scene::{Picture, Shown};
use crate::PoseError;
use crate::error::read_limited;
use crate::skeleton::JOINTS;

/// Largest file that is read.
const LARGEST_FILE: u64 = 1 << 30;
/// Farthest joint: kilometres, and pixels of pictures that nobody has.
const FARTHEST: f32 = 1e6;

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    size: Option<[f32; 2]>,
    frames: Vec<Frame>,
}

#[derive(Deserialize)]
struct Frame {
    #[serde(default)]
    people: Option<Vec<Person>>,
    /// A line that could not be lifted says why.
    #[serde(default)]
    error: Option<String>,
}

#[derive(Deserialize)]
struct Person {
    #[serde(default)]
    joints: Option<Vec<[f32; 3]>>,
    #[serde(default)]
    input: Option<Vec<[f32; 2]>>,
}

/// Reads lifted poses as a picture of `rate` frames per second.
///
/// # Errors
/// If the file cannot be read, is something else, or a coordinate is no number.
pub fn read_lifted(path: &Path, rate: f64) -> Result<Picture, PoseError> {
    let bytes = read_limited(path, LARGEST_FILE)?;
    let malformed = |problem: String| PoseError::malformed(path, problem);
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| malformed("expected JSON, found bytes that are no text".into()))?;
    let (size, frames) = match serde_json::from_str::<Document>(text) {
        Ok(document) => (document.size, document.frames),
        Err(whole) => {
            let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            let frames: Vec<Frame> = lines
                .map(|(number, line)| match parse::<Frame>(line) {
                    Ok(frame) if frame.people.is_some() || frame.error.is_some() => Ok(frame),
                    // The first line tells whether these are lines at all.
                    _ if number == 0 => Err(malformed(format!(
                        "expected what ocelli pose lift writes, a document with frames or a line per frame: {whole}"
                    ))),
                    Ok(_) => Err((number, "neither people nor an error".to_string())).map_err(at(path)),
                    Err(problem) => Err((number, problem)).map_err(at(path)),
                })
                .collect::<Result<_, _>>()?;
            (None, frames)
        }
    };
    if frames.is_empty() {
        return Err(malformed("holds no frame".into()));
    }
    let size = size.filter(|size| size.iter().all(|side| side.is_finite() && *side > 0.0));
    let frames = frames
        .iter()
        .enumerate()
        .map(|(number, frame)| {
            let people = frame.people.iter().flatten();
            people
                .map(shown)
                .collect::<Result<Vec<Shown>, String>>()
                .map_err(|problem| malformed(format!("frame {number}: {problem}")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let title = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Picture { title, size, frames, rate })
}

fn at(path: &Path) -> impl Fn((usize, String)) -> PoseError + '_ {
    move |(number, problem)| PoseError::Line { path: path.to_path_buf(), line: number + 1, problem }
}

fn parse<T: DeserializeOwned>(line: &str) -> Result<T, String> {
    serde_json::from_str(line).map_err(|error| error.to_string())
}

fn shown(person: &Person) -> Result<Shown, String> {
    Ok(Shown {
        input: joints(person.input.as_deref(), "input")?,
        lifted: joints(person.joints.as_deref(), "joints")?,
    })
}

fn joints<const N: usize>(
    points: Option<&[[f32; N]]>,
    name: &str,
) -> Result<Option<[[f32; N]; JOINTS]>, String> {
    let Some(points) = points else { return Ok(None) };
    let pose = <[[f32; N]; JOINTS]>::try_from(points)
        .map_err(|_| format!("{name} of {} points, expected {JOINTS}", points.len()))?;
    match pose.iter().flatten().find(|v| v.is_nan() || v.abs() > FARTHEST) {
        Some(far) => Err(format!("{name}: {far} is no coordinate, expected at most {FARTHEST}")),
        None => Ok(Some(pose)),
    }
}
