//! Training and validation parts, by subject.

use super::{Part, Sequence};
use crate::PoseError;

/// Human3.6M's test subjects.
const TEST_SUBJECTS: [&str; 2] = ["S9", "S11"];

/// How parts are told apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SplitRule {
    /// Subjects that are held out; else the source's own parts, S9 and S11, or every fifth subject.
    pub val_subjects: Vec<String>,
    /// Share at the end of every sequence that is held out instead of subjects.
    pub val_fraction: Option<f64>,
}

/// Both parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    /// Trained on.
    pub train: Vec<Sequence>,
    /// Held out.
    pub val: Vec<Sequence>,
    /// How they were told apart.
    pub how: String,
}

/// Splits `sequences` by `rule`.
///
/// # Errors
/// If a part would be empty or a subject is unknown.
pub fn split(sequences: Vec<Sequence>, rule: &SplitRule) -> Result<Parts, PoseError> {
    let mut subjects: Vec<String> = sequences.iter().map(|sequence| sequence.subject.clone()).collect();
    subjects.sort();
    subjects.dedup();
    if let Some(fraction) = rule.val_fraction {
        return by_time(sequences, fraction);
    }
    let held: Vec<String> = if !rule.val_subjects.is_empty() {
        if let Some(unknown) = rule.val_subjects.iter().find(|own| !subjects.contains(own)) {
            return Err(PoseError::Config(format!(
                "no subject '{unknown}'; there are {}",
                subjects.join(", ")
            )));
        }
        rule.val_subjects.clone()
    } else if sequences.iter().any(|sequence| sequence.part == Some(Part::Val)) {
        let (val, train): (Vec<_>, Vec<_>) =
            sequences.into_iter().partition(|sequence| sequence.part == Some(Part::Val));
        return both(train, val, "by the parts that the data names".into());
    } else if TEST_SUBJECTS.iter().any(|own| subjects.iter().any(|subject| subject == own)) {
        TEST_SUBJECTS.map(String::from).to_vec()
    } else if subjects.len() > 1 {
        // Every fifth, beginning with the last of the first five.
        let every = subjects.len().min(5);
        subjects.iter().skip(every - 1).step_by(every).cloned().collect()
    } else {
        return Err(PoseError::Config(format!(
            "one subject ({}) cannot be split by subject: name --val-fraction 0.2 to hold out the end of every sequence",
            subjects.join("")
        )));
    };
    let (val, train): (Vec<_>, Vec<_>) =
        sequences.into_iter().partition(|sequence| held.contains(&sequence.subject));
    both(train, val, format!("subjects {} held out", held.join(", ")))
}

fn by_time(sequences: Vec<Sequence>, fraction: f64) -> Result<Parts, PoseError> {
    if !(fraction > 0.0 && fraction < 1.0) {
        return Err(PoseError::Config(format!(
            "--val-fraction {fraction}: expected a share between 0 and 1"
        )));
    }
    let (mut train, mut val) = (Vec::new(), Vec::new());
    for mut sequence in sequences {
        let keep = ((1.0 - fraction) * sequence.frames.len() as f64).round() as usize;
        let tail = sequence.frames.split_off(keep.min(sequence.frames.len()));
        val.push(Sequence { frames: tail, ..sequence.clone() });
        train.push(sequence);
    }
    both(train, val, format!("the last {:.0} % of every sequence held out", 100.0 * fraction))
}

fn both(train: Vec<Sequence>, val: Vec<Sequence>, how: String) -> Result<Parts, PoseError> {
    let frames = |part: &[Sequence]| part.iter().map(|sequence| sequence.frames.len()).sum::<usize>();
    if frames(&train) == 0 || frames(&val) == 0 {
        return Err(PoseError::Config(format!(
            "{how}: {} training and {} held-out frames; both parts need some",
            frames(&train),
            frames(&val)
        )));
    }
    Ok(Parts { train, val, how })
}
