//! Cases of grid convolution. They name no builder: what is run follows from the case's name and configuration.

mod layers;
mod nets;
mod sgt;
mod tables;

use burn::tensor::TensorData;

use crate::case::{Case, Expected, Measure, Result};
use crate::compare::{Comparison, Verdict, compare};
use crate::run::Outputs;

pub(super) fn check(case: &Case) -> Result<Vec<Comparison>> {
    let has = |key: &str| !case.config[key].is_null();
    match case.name.as_str() {
        "metrics" => return tables::metrics(case),
        "schedules" => return tables::schedules(case),
        _ if case.json["rows"].is_array() => return tables::rows(case),
        _ => {}
    }
    let outputs = if has("steps") {
        nets::training(case)?
    } else if has("model") {
        nets::network(case)?
    } else if has("cameras") {
        tables::projection(case)?
    } else if has("file") {
        tables::bvh(case)?
    } else if has("temperature") {
        layers::attention(case)?
    } else if has("cout") {
        layers::convolution(case)?
    } else if has("prior") {
        sgt::inverse(case)?
    } else if has("taus") {
        sgt::learnable(case)?
    } else if case.json["outputs"][0]["name"].as_str().is_some_and(|name| name.starts_with("prior.")) {
        sgt::priors(case)?
    } else if case.json["outputs"][0]["name"] == "joints17" {
        tables::coco(case)?
    } else {
        sgt::handcrafted(case)?
    };
    Ok(compare(case, &cut(case, outputs)?))
}

/// Outputs of which the case stores the first channels, or every so many-th element, cut likewise.
pub(super) fn cut(case: &Case, mut outputs: Outputs) -> Result<Outputs> {
    for Expected { name, shape, .. } in case.expected() {
        let Some(data) = outputs.get(&name) else { continue };
        let full: Vec<usize> = data.shape().iter().copied().collect();
        if full == shape {
            continue;
        }
        let values: Vec<f32> = data.iter::<f32>().collect();
        let slice = case.json["outputs"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|output| output["name"] == name.as_str())
            .and_then(|output| output["slice"].as_str())
            .unwrap_or_default();
        let kept: Vec<f32> = if let Some(step) = every(slice) {
            values.into_iter().step_by(step).collect()
        } else if full.len() == shape.len() && full.len() > 1 && full[1] > shape[1] && full[0] == shape[0] {
            // `[:, :8]`: the first channels.
            let (own, inner) = (full[1], full[2..].iter().product::<usize>());
            values.chunks(own * inner).flat_map(|sample| sample[..shape[1] * inner].to_vec()).collect()
        } else {
            continue;
        };
        if kept.len() == shape.iter().product::<usize>() {
            outputs.insert(name, TensorData::new(kept, shape));
        }
    }
    Ok(outputs)
}

/// The step of `row-major flattened, every 9th element of [..]`.
fn every(slice: &str) -> Option<usize> {
    let word = slice.split("every ").nth(1)?.split_whitespace().next()?;
    word.trim_end_matches(|c: char| c.is_alphabetic()).parse().ok().filter(|&step| step > 0)
}

/// Numbers computed beside the tensors, compared with `measure`.
pub(super) fn numbers(
    output: &str,
    found: &[f64],
    want: &[f64],
    measure: Measure,
    tolerance: f64,
) -> Comparison {
    let result = |error, verdict| Comparison { output: output.to_string(), error, tolerance, verdict };
    if found.len() != want.len() {
        return result(f64::NAN, Verdict::Fail(format!("{} numbers, expected {}", found.len(), want.len())));
    }
    let largest = |values: &mut dyn Iterator<Item = f64>| {
        values.fold(0.0, |a: f64, b| if b.is_nan() { b } else { a.max(b) })
    };
    let apart = largest(&mut found.iter().zip(want).map(|(a, b)| (a - b).abs()));
    let scale = largest(&mut want.iter().map(|v| v.abs()));
    let error = if measure == Measure::Relative && scale > 0.0 { apart / scale } else { apart };
    result(error, if error <= tolerance { Verdict::Ok } else { Verdict::Fail(String::new()) })
}
