//! The text format.

use std::collections::HashSet;
use std::path::Path;

use super::{Bvh, Channel, Joint};
use crate::error::{PoseError, read_limited};

/// Largest file that is read.
const LARGEST_FILE: u64 = 512 << 20;

/// Most joints of a hierarchy.
const MOST_JOINTS: usize = 4096;

/// The words of a text with their lines.
struct Words<'a> {
    path: &'a Path,
    words: std::iter::Peekable<Box<dyn Iterator<Item = (usize, &'a str)> + 'a>>,
    /// The line read last.
    line: usize,
}

impl<'a> Words<'a> {
    fn new(path: &'a Path, text: &'a str) -> Self {
        let words: Box<dyn Iterator<Item = (usize, &'a str)> + 'a> = Box::new(
            text.lines()
                .enumerate()
                .flat_map(|(number, line)| line.split_whitespace().map(move |word| (number + 1, word))),
        );
        Self { path, words: words.peekable(), line: 1 }
    }

    fn wrong(&self, problem: impl Into<String>) -> PoseError {
        PoseError::Line { path: self.path.to_path_buf(), line: self.line, problem: problem.into() }
    }

    fn next(&mut self, expected: &str) -> Result<&'a str, PoseError> {
        match self.words.next() {
            Some((line, word)) => {
                self.line = line;
                Ok(word)
            }
            None => Err(self.wrong(format!("the file ends where {expected} is expected"))),
        }
    }

    fn literal(&mut self, expected: &str) -> Result<(), PoseError> {
        let found = self.next(expected)?;
        if found.eq_ignore_ascii_case(expected) {
            Ok(())
        } else {
            Err(self.wrong(format!("expected {expected}, found '{found}'")))
        }
    }

    fn number(&mut self, what: &str) -> Result<f64, PoseError> {
        let word = self.next(what)?;
        match word.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err(self.wrong(format!("expected {what}, a finite number, found '{word}'"))),
        }
    }

    fn count(&mut self, what: &str) -> Result<usize, PoseError> {
        let word = self.next(what)?;
        word.parse().map_err(|_| self.wrong(format!("expected {what}, a whole number, found '{word}'")))
    }
}

impl Bvh {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, is not BVH, or ends early.
    pub fn read(path: &Path) -> Result<Self, PoseError> {
        let bytes = read_limited(path, LARGEST_FILE)?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| PoseError::malformed(path, "expected the text of a BVH file, found other bytes"))?;
        let mut words = Words::new(path, text);
        words.literal("HIERARCHY")?;
        words.literal("ROOT")?;
        let mut joints = Vec::new();
        let mut names = HashSet::new();
        hierarchy(&mut words, &mut joints, &mut names)?;
        let channels = joints.iter().map(|joint: &Joint| joint.channels.len()).sum();
        if channels == 0 {
            return Err(words.wrong("the hierarchy has no channels: nothing can move"));
        }
        words.literal("MOTION")?;
        words.literal("Frames:")?;
        let frames = words.count("the number of frames")?;
        words.literal("Frame")?;
        words.literal("Time:")?;
        let frame_time = words.number("the time of a frame")?;
        if frame_time <= 0.0 {
            return Err(words.wrong(format!("a frame takes {frame_time} seconds, expected more than 0")));
        }
        // Not by the header's count: it may promise anything.
        let mut motion = Vec::new();
        let wanted = frames.saturating_mul(channels);
        while motion.len() < wanted {
            if words.words.peek().is_none() {
                return Err(words.wrong(format!(
                    "the file ends after {} of {frames} frames ({channels} numbers each)",
                    motion.len() / channels
                )));
            }
            motion.push(words.number("a channel's value")? as f32);
        }
        if let Some((line, word)) = words.words.next() {
            words.line = line;
            return Err(words.wrong(format!("'{word}' after the last of {frames} frames")));
        }
        if motion.is_empty() {
            return Err(words.wrong("holds no frame"));
        }
        Ok(Self { joints, channels, motion, frame_time })
    }
}

/// All joints from the root's name on; braces are counted, not recursed into.
fn hierarchy(
    words: &mut Words<'_>,
    joints: &mut Vec<Joint>,
    names: &mut HashSet<String>,
) -> Result<(), PoseError> {
    let mut open: Vec<usize> = Vec::new();
    begin(words, joints, names, &mut open, None)?;
    while let Some(&current) = open.last() {
        let word = words.next("a joint or '}'")?;
        match word.to_ascii_uppercase().as_str() {
            "JOINT" => begin(words, joints, names, &mut open, None)?,
            "END" => {
                words.literal("Site")?;
                let name = format!("{}_end", joints[current].name);
                begin(words, joints, names, &mut open, Some(name))?;
            }
            "}" => {
                open.pop();
            }
            "OFFSET" => {
                for axis in 0..3 {
                    joints[current].offset[axis] = words.number("an offset")?;
                }
            }
            "CHANNELS" => {
                let count = words.count("the number of channels")?;
                if count > 6 {
                    return Err(words.wrong(format!("{count} channels, expected at most 6")));
                }
                for _ in 0..count {
                    let name = words.next("a channel")?;
                    let channel = channel(name).ok_or_else(|| {
                        words.wrong(format!("'{name}' is no channel, expected Xposition or the like"))
                    })?;
                    joints[current].channels.push(channel);
                }
            }
            _ => {
                return Err(
                    words.wrong(format!("expected OFFSET, CHANNELS, JOINT, End Site or }}, found '{word}'"))
                );
            }
        }
    }
    Ok(())
}

/// Opens a joint; its name is read unless it is an end site's.
fn begin(
    words: &mut Words<'_>,
    joints: &mut Vec<Joint>,
    names: &mut HashSet<String>,
    open: &mut Vec<usize>,
    end: Option<String>,
) -> Result<(), PoseError> {
    let name = match end {
        Some(name) => name,
        None => words.next("a joint's name")?.to_string(),
    };
    if joints.len() == MOST_JOINTS {
        return Err(words.wrong(format!("more than {MOST_JOINTS} joints")));
    }
    if !names.insert(name.clone()) {
        return Err(words.wrong(format!("a second joint called '{name}'")));
    }
    words.literal("{")?;
    joints.push(Joint { name, parent: open.last().copied(), offset: [0.0; 3], channels: Vec::new() });
    open.push(joints.len() - 1);
    Ok(())
}

fn channel(name: &str) -> Option<Channel> {
    let lower = name.to_ascii_lowercase();
    let axis = "xyz".find(lower.chars().next()?)?;
    match lower.get(1..)? {
        "position" => Some(Channel::Position(axis)),
        "rotation" => Some(Channel::Rotation(axis)),
        _ => None,
    }
}
