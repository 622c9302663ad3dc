//! Names in checkpoints.
//!
//! | tensor | released | here |
//! | --- | --- | --- |
//! | norm of the classifier, resolution j | `bn1.bn_j.weight` | `classifier.bn1.bn_j.weight` |
//! | projection | `layer2.0.down_sample_layer.0.weight` | `classifier.layer2.0.down_sample_layer.0.weight` |
//! | last layer | `end_point.weight` | `classifier.end_point.weight` |
//! | predictor | `conv1.weight` | `predictor.conv1.weight` |
//!
//! The authors keep predictor and classifier in two files, whose tensors MindSpore calls `gamma`, `beta`, `moving_mean`
//! and `moving_variance`. A file of this program holds both under the prefixes of the last column. Files read besides:
//! either of the two released ones alone, and a plain network of the classifier's kind (torchvision, timm), whose norms
//! fill all sets.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::TensorData;

/// MindSpore's names of a norm's tensors and PyTorch's.
const MINDSPORE: [(&str, &str); 4] = [
    ("gamma", "weight"),
    ("beta", "bias"),
    ("moving_mean", "running_mean"),
    ("moving_variance", "running_var"),
];

/// Published names by ours, for a network with `sets` sets in its classifier's norms.
pub(super) fn published_names(ours: &[String], sets: usize) -> BTreeMap<String, String> {
    let norms: BTreeSet<&str> = ours.iter().filter_map(|name| name.strip_suffix(".running_mean")).collect();
    let publish = |name: &str| {
        let (owner, leaf) = name.rsplit_once('.').unwrap_or(("", name));
        let owner = match further(owner) {
            Some((norm, set)) => format!("{norm}.bn_{set}"),
            None if sets > 1 && owner.starts_with("classifier.") && norms.contains(owner) => {
                format!("{owner}.bn_0")
            }
            None => owner.to_string(),
        };
        let parts: Vec<String> = owner.split('.').map(str::to_string).collect();
        let mut renamed = Vec::new();
        let mut parts = parts.into_iter().peekable();
        while let Some(part) = parts.next() {
            renamed.push(match part.as_str() {
                "downsample" => "down_sample_layer".to_string(),
                "fc" => "end_point".to_string(),
                // Stages in a list are published as fields of their own.
                "layers" => {
                    let stage = parts.next().and_then(|stage| stage.parse::<usize>().ok()).unwrap_or(0);
                    format!("layer{}", stage + 1)
                }
                _ => part,
            });
        }
        format!("{}.{leaf}", renamed.join("."))
    };
    ours.iter().map(|name| (name.clone(), publish(name))).collect()
}

/// Norm and set of `NORM.further.K`.
fn further(owner: &str) -> Option<(&str, usize)> {
    let (rest, place) = owner.rsplit_once('.')?;
    Some((rest.strip_suffix(".further")?, place.parse::<usize>().ok()? + 1))
}

/// `tensors` of any known layout under the names of [`published_names`], given ours to published.
pub(super) fn rearrange(
    tensors: BTreeMap<String, TensorData>,
    names: &BTreeMap<String, String>,
) -> BTreeMap<String, TensorData> {
    let mut tensors: BTreeMap<String, TensorData> =
        tensors.into_iter().map(|(name, data)| (from_mindspore(name), data)).collect();
    if tensors.keys().any(|name| name.starts_with("predictor.") || name.starts_with("classifier.bn1.")) {
        return tensors;
    }
    let released = tensors.keys().any(|name| name.contains(".bn_0."));
    let predictor = !released && tensors.contains_key("end_point.weight");
    let mut found = BTreeMap::new();
    let mut used = BTreeSet::new();
    for (ours, published) in names {
        let foreign = match (released, predictor) {
            (true, _) => published.strip_prefix("classifier.").map(str::to_string),
            (_, true) => published.strip_prefix("predictor.").map(str::to_string),
            _ => ours.strip_prefix("classifier.").map(plain),
        };
        if let Some(foreign) = foreign
            && let Some(data) = tensors.get(&foreign)
        {
            found.insert(published.clone(), data.clone());
            used.insert(foreign);
        }
    }
    // What nothing asked for stays, to be named in the error.
    tensors.retain(|name, _| !used.contains(name));
    found.extend(tensors);
    found
}

/// Name in a network without sets.
fn plain(ours: &str) -> String {
    let (owner, leaf) = ours.rsplit_once('.').unwrap_or(("", ours));
    match further(owner) {
        Some((norm, _)) => format!("{norm}.{leaf}"),
        None => ours.to_string(),
    }
}

fn from_mindspore(name: String) -> String {
    let Some((owner, leaf)) = name.rsplit_once('.') else { return name };
    match MINDSPORE.iter().find(|(theirs, _)| *theirs == leaf) {
        Some((_, ours)) => format!("{owner}.{ours}"),
        None => name,
    }
}
