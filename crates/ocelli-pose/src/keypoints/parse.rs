//! Keypoint files: COCO results, OpenPose, and our own JSON.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::{Clip, Frame, Order, Person, Point};
use crate::PoseError;
use crate::error::read_limited;

/// Largest file that is read.
const LARGEST_FILE: u64 = 1 << 30;

/// Reads a JSON file, or JSON lines (one frame a line).
///
/// Understood are COCO results (`[{"image_id": .., "keypoints": [x, y, score, ..]}, ..]`), OpenPose's frames (`{"people":
/// [{"pose_keypoints_2d": [..]}]}`), and `{"size": [w, h], "order": "coco", "frames": [{"people": [{"id": .., "keypoints": [[x, y, score], ..]}]}]}`
/// or a part of it: a frame, a person, a list of points. Scores may be left out; `null` is a joint that is not there.
///
/// # Errors
/// If it cannot be read, is none of these, or a number is not finite.
pub fn read(path: &Path) -> Result<Clip, PoseError> {
    let bytes = read_limited(path, LARGEST_FILE)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| PoseError::malformed(path, "expected JSON, found bytes that are no text"))?;
    if text.trim().is_empty() {
        return Err(PoseError::malformed(path, "expected JSON, found an empty file"));
    }
    match serde_json::from_str::<Value>(text) {
        Ok(value) => clip(&value).map_err(|problem| PoseError::malformed(path, problem)),
        Err(whole) => {
            let mut joined = Clip::default();
            for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
                let at =
                    |problem: String| PoseError::Line { path: path.to_path_buf(), line: number + 1, problem };
                // The first line tells whether these are lines at all.
                let value: Value = match serde_json::from_str(line) {
                    Ok(value) => value,
                    Err(_) if number == 0 => {
                        return Err(PoseError::malformed(
                            path,
                            format!("not JSON, or a truncated one: {whole}"),
                        ));
                    }
                    Err(error) => return Err(at(format!("not JSON: {error}"))),
                };
                let part = clip(&value).map_err(at)?;
                joined.size = joined.size.or(part.size);
                joined.order = joined.order.or(part.order);
                joined.frames.extend(part.frames);
            }
            for (number, frame) in joined.frames.iter_mut().enumerate() {
                if frame.name.is_empty() || frame.name == "0" {
                    frame.name = number.to_string();
                }
            }
            Ok(joined)
        }
    }
}

/// Reads one line of a stream.
///
/// # Errors
/// A sentence that says what was expected.
pub fn read_line(line: &str) -> Result<Clip, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| format!("not JSON: {error}"))?;
    clip(&value)
}

fn clip(value: &Value) -> Result<Clip, String> {
    let mut found = Clip::default();
    if let Some(size) = value.get("size") {
        found.size = Some(self::size(size)?);
    }
    if let Some(order) = value.get("order") {
        let name = order.as_str().unwrap_or_default();
        let known = Order::parse(name)
            .ok_or_else(|| format!("an order called {order}, expected \"coco\", \"h36m\" or \"body25\""))?;
        found.order = Some(known);
    }
    found.frames = match value {
        Value::Object(entries) if entries.contains_key("frames") => {
            let frames = value["frames"].as_array().ok_or("frames is no list")?;
            frames.iter().enumerate().map(|(i, own)| frame(own, i)).collect::<Result<_, _>>()?
        }
        Value::Object(entries) if entries.contains_key("annotations") => {
            if let (Some(first), None) = (value["images"].get(0), found.size) {
                let sides = Value::Array(vec![first["width"].clone(), first["height"].clone()]);
                found.size = if first["width"].is_null() { None } else { Some(self::size(&sides)?) };
            }
            found.order = found.order.or(Some(Order::Coco));
            results(value["annotations"].as_array().ok_or("annotations is no list")?)?
        }
        Value::Object(_) => vec![frame(value, 0)?],
        Value::Array(list) if list.iter().any(|own| own.get("image_id").is_some()) => {
            found.order = found.order.or(Some(Order::Coco));
            results(list)?
        }
        Value::Array(list) if list.iter().all(|own| own.is_object()) && !list.is_empty() => {
            // Frames, or the people of one.
            if list.iter().any(|own| own.get("people").is_some()) {
                list.iter().enumerate().map(|(i, own)| frame(own, i)).collect::<Result<_, _>>()?
            } else {
                vec![Frame { name: "0".into(), people: people(list)? }]
            }
        }
        Value::Array(_) => {
            vec![Frame { name: "0".into(), people: vec![Person { id: "0".into(), points: points(value)? }] }]
        }
        _ => return Err("expected keypoints as an object or a list".into()),
    };
    Ok(found)
}

fn size(value: &Value) -> Result<[f32; 2], String> {
    let side = |i: usize| {
        let side = value.get(i).and_then(Value::as_f64)? as f32;
        (side > 0.0 && side.is_finite()).then_some(side)
    };
    match (side(0), side(1)) {
        (Some(width), Some(height)) => Ok([width, height]),
        _ => Err(format!("a size of {value}, expected [width, height] in pixels")),
    }
}

fn frame(value: &Value, index: usize) -> Result<Frame, String> {
    let name = ["frame", "name", "image_id", "file_name"].into_iter().find_map(|key| value.get(key));
    let name = name.map_or_else(|| index.to_string(), word);
    let people = match value.get("people") {
        Some(list) => people(list.as_array().ok_or_else(|| format!("frame {name}: people is no list"))?),
        None => people(std::slice::from_ref(value)),
    };
    Ok(Frame { people: people.map_err(|problem| format!("frame {name}: {problem}"))?, name })
}

/// COCO results: one entry per person, grouped by picture.
fn results(list: &[Value]) -> Result<Vec<Frame>, String> {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut frames: Vec<Frame> = Vec::new();
    for entry in list {
        let name = entry.get("image_id").map_or_else(|| "0".into(), word);
        let at = *places.entry(name.clone()).or_insert_with(|| {
            frames.push(Frame { name: name.clone(), people: Vec::new() });
            frames.len() - 1
        });
        let number = frames[at].people.len();
        let person = person(entry, number).map_err(|problem| format!("image {name}: {problem}"))?;
        frames[at].people.push(person);
    }
    Ok(frames)
}

fn people(list: &[Value]) -> Result<Vec<Person>, String> {
    list.iter().enumerate().map(|(number, own)| person(own, number)).collect()
}

fn person(value: &Value, number: usize) -> Result<Person, String> {
    // OpenPose says [-1] where it does not follow people.
    let id = ["id", "track_id", "person_id"].into_iter().find_map(|key| {
        let own = value.get(key)?;
        (own.is_string() || own.is_number()).then(|| word(own))
    });
    // COCO's annotations have an `id` per entry, which follows nobody.
    let followed = value.get("image_id").is_none() || value.get("track_id").is_some();
    let id = id.filter(|_| followed).unwrap_or_else(|| number.to_string());
    let list = ["keypoints", "pose_keypoints_2d", "joints"].into_iter().find_map(|key| value.get(key));
    let list = list.ok_or_else(|| format!("person {id}: no keypoints"))?;
    Ok(Person { points: points(list).map_err(|problem| format!("person {id}: {problem}"))?, id })
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

/// `[[x, y, score], ..]`, `[[x, y], ..]`, or all numbers in a row.
fn points(value: &Value) -> Result<Vec<Point>, String> {
    let list = value.as_array().ok_or("keypoints are no list")?;
    let found: Vec<Point> = if list.iter().all(Value::is_number) && !list.is_empty() {
        let numbers: Vec<f32> = list.iter().map(number).collect::<Result<_, _>>()?;
        let width = match numbers.len() {
            34 => 2,
            51 | 75 => 3,
            other => return Err(format!("{other} numbers, expected 51 or 34 (17 joints) or 75 (25 joints)")),
        };
        numbers.chunks(width).map(point).collect()
    } else {
        list.iter()
            .enumerate()
            .map(|(joint, own)| match own {
                Value::Null => Ok(Point::default()),
                Value::Array(parts) if parts.iter().all(Value::is_null) && !parts.is_empty() => {
                    Ok(Point::default())
                }
                Value::Array(parts) if (2..=3).contains(&parts.len()) => {
                    let numbers: Result<Vec<f32>, String> = parts.iter().map(number).collect();
                    numbers
                        .map(|numbers| point(&numbers))
                        .map_err(|problem| format!("joint {joint}: {problem}"))
                }
                other => Err(format!("joint {joint} is {other}, expected [x, y] or [x, y, score]")),
            })
            .collect::<Result<_, _>>()?
    };
    match found.len() {
        17 | 25 => Ok(found),
        count => Err(format!("{count} joints, expected 17 (COCO, Human3.6M) or 25 (OpenPose)")),
    }
}

fn number(value: &Value) -> Result<f32, String> {
    value
        .as_f64()
        .map(|number| number as f32)
        .filter(|number| number.is_finite())
        .ok_or_else(|| format!("{value} is no finite number"))
}

fn point(numbers: &[f32]) -> Point {
    let score = numbers.get(2).copied().unwrap_or(1.0);
    // Detectors write zeros for what they have not found.
    let absent = numbers[0] == 0.0 && numbers[1] == 0.0;
    Point { x: numbers[0], y: numbers[1], score: if absent { 0.0 } else { score } }
}
