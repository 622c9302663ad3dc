//! Comparing what a builder produced with what a case expects.

use std::collections::BTreeMap;

use burn::tensor::TensorData;

use crate::case::{Case, Expected, Measure};

/// How one output compares.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Name of the output.
    pub output: String,
    /// As the case measures it, usually `max|a-b| / max|b|`.
    pub error: f64,
    /// What is admitted.
    pub tolerance: f64,
    /// The verdict.
    pub verdict: Verdict,
}

/// Whether an output agrees.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Within the tolerance.
    Ok,
    /// Outside, absent or misshapen; the reason where it is not the error itself.
    Fail(String),
    /// The reference itself is chaotic here.
    Skipped(String),
}

/// Compares all outputs of `case`.
pub fn compare(case: &Case, produced: &BTreeMap<String, TensorData>) -> Vec<Comparison> {
    case.expected().iter().map(|expected| one(case, expected, produced.get(&expected.name))).collect()
}

fn one(case: &Case, expected: &Expected, found: Option<&TensorData>) -> Comparison {
    let stored = case.stored.get(&expected.name);
    // Counts and indices are exact.
    let exact = stored.is_some_and(|data| !data.dtype().is_float())
        && !matches!(
            expected.measure,
            Measure::Given | Measure::Codes | Measure::LooseCodes | Measure::Differing | Measure::Steps
        );
    let tolerance = if exact { 0.0 } else { expected.tolerance };
    let result =
        |error: f64, verdict| Comparison { output: expected.name.clone(), error, tolerance, verdict };
    let fail = |reason: String| result(f64::NAN, Verdict::Fail(reason));
    let Some(found) = found else { return fail("not produced".into()) };
    if expected.measure == Measure::Given {
        let error = found.iter::<f64>().fold(0.0, f64::max);
        return result(error, if error <= tolerance { Verdict::Ok } else { Verdict::Fail(String::new()) });
    }
    let Some(want) = stored else { return fail("not stored in the case".into()) };
    let found_shape: Vec<usize> = found.shape().iter().copied().collect();
    // A scalar counts as a vector of one.
    let single = |shape: &[usize]| shape.len() < 2 && shape.iter().product::<usize>() == 1;
    let same = found_shape == expected.shape || single(&found_shape) && single(&expected.shape);
    if !same {
        return fail(format!("shape {found_shape:?}, expected {:?}", expected.shape));
    }
    if let Some(differing) = differing_words(found, want) {
        let verdict = if differing == 0 { Verdict::Ok } else { Verdict::Fail("other words".into()) };
        return result(differing as f64, verdict);
    }
    let (Some(found), Some(want)) = (numbers(found), numbers(want)) else {
        return fail("neither float32 nor integers".into());
    };
    let picked = match expected.flat_stride {
        Some(step) => found.iter().copied().step_by(step.max(1)).collect(),
        None => strided(&found, &expected.shape, &expected.stride),
    };
    if picked.len() != want.len() {
        return fail(format!("{} elements picked, {} stored", picked.len(), want.len()));
    }
    let largest = |values: &mut dyn Iterator<Item = f64>| {
        values.fold(0.0, |a: f64, b| if b.is_nan() { b } else { a.max(b) })
    };
    let scale = largest(&mut want.iter().map(|v| v.abs()));
    let difference = largest(&mut picked.iter().zip(&want).map(|(a, b)| (a - b).abs()));
    let error = match expected.measure {
        Measure::Zero => largest(&mut picked.iter().map(|v| v.abs())),
        Measure::Absolute | Measure::Given | Measure::Steps => difference,
        Measure::MostAbsolute => {
            let mut all: Vec<f64> = picked.iter().zip(&want).map(|(a, b)| (a - b).abs()).collect();
            all.sort_by(f64::total_cmp);
            all[(all.len() * 995).div_ceil(1000) - 1]
        }
        Measure::Differing => picked.iter().zip(&want).filter(|(a, b)| a != b).count() as f64,
        Measure::Cosine => {
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            1.0 - dot(&picked, &want) / (dot(&picked, &picked) * dot(&want, &want)).sqrt()
        }
        Measure::Codes if difference > 1.0 => f64::INFINITY,
        Measure::Codes => {
            let other = picked.iter().zip(&want).filter(|(a, b)| a != b).count();
            other as f64 / want.len().max(1) as f64
        }
        Measure::Relative if scale == 0.0 => difference,
        Measure::Relative | Measure::LooseCodes => difference / scale,
    };
    let verdict = match &expected.not_comparable {
        Some(reason) => Verdict::Skipped(reason.clone()),
        None if error <= tolerance => Verdict::Ok,
        None if expected.measure == Measure::Codes => {
            let other = picked.iter().zip(&want).filter(|(a, b)| a != b).count();
            let far = picked.iter().zip(&want).filter(|(a, b)| (*a - *b).abs() > 1.0).count();
            let of = want.len();
            Verdict::Fail(format!("{other} of {of} differ, {far} by more than 1, at most by {difference}"))
        }
        None => Verdict::Fail(String::new()),
    };
    result(error, verdict)
}

/// How many of two lists' whole numbers differ, where some are too large for a float64: words of bits.
fn differing_words(found: &TensorData, want: &TensorData) -> Option<usize> {
    let (found, want) = (found.as_slice::<i64>().ok()?, want.as_slice::<i64>().ok()?);
    let large = |numbers: &[i64]| numbers.iter().any(|number| number.unsigned_abs() > 1 << 53);
    let words = found.len() == want.len() && (large(found) || large(want));
    words.then(|| found.iter().zip(want).filter(|(a, b)| a != b).count())
}

/// The elements of float32 and integer tensors.
fn numbers(data: &TensorData) -> Option<Vec<f64>> {
    if let Ok(values) = data.as_slice::<f32>() {
        return Some(values.iter().map(|&v| f64::from(v)).collect());
    }
    if let Ok(values) = data.as_slice::<i32>() {
        return Some(values.iter().map(|&v| f64::from(v)).collect());
    }
    data.as_slice::<i64>().ok().map(|values| values.iter().map(|&v| v as f64).collect())
}

/// Every `stride[i]`-th element along axis `i`, row-major.
fn strided(values: &[f64], shape: &[usize], stride: &[usize]) -> Vec<f64> {
    if stride.iter().all(|&s| s == 1) {
        return values.to_vec();
    }
    let mut offsets = vec![0usize];
    for (axis, (&size, &step)) in shape.iter().zip(stride).enumerate() {
        let inner: usize = shape[axis + 1..].iter().product();
        offsets =
            offsets.iter().flat_map(|&base| (0..size).step_by(step).map(move |i| base + i * inner)).collect();
    }
    offsets.into_iter().map(|offset| values[offset]).collect()
}
