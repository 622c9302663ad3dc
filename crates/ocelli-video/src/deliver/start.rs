//! Weights to begin a training with: of another package, or of a checkpoint of the reference.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::TensorData;
use ocelli_nn::state_dict::{load_state_dict, state_dict};
use ocelli_nn::weights::WeightFile;

use super::config::{Backbone, Config};
use super::container::assemble;
use super::net::Net;
use super::package::Package;
use super::train::is_modulation;
use crate::VideoError;

/// `net` with the weights of `path`: a package of the same architecture, or a checkpoint (`.pt`, `.pth`, `.safetensors`) under the published names. Shared
/// weights must all be there; modulations are taken for as many chunks as both have, the others begin as they are.
///
/// # Errors
/// If the file cannot be read or is of another network.
pub fn start_from(path: &Path, net: Net, config: &Config) -> Result<Net, VideoError> {
    let found = if path.is_dir() || path.extension().is_some_and(|ending| ending == "json") {
        of_package(path, config)?
    } else {
        let file = WeightFile::read(path)?;
        file.tensors.into_iter().map(|(name, data)| (published(config, name), data)).collect()
    };
    let mut tensors = state_dict(&net);
    let mut missing = Vec::new();
    for (name, own) in &mut tensors {
        match found.get(name) {
            Some(data) if data.shape() == own.shape() => *own = data.clone(),
            // The mean colours are constants, and a chunk more has no numbers yet.
            None if is_modulation(name) || name.contains("_mean.") => {}
            Some(data) => missing.push(format!(
                "{name} is {:?}, expected {:?}",
                data.shape().to_vec(),
                own.shape().to_vec()
            )),
            None => missing.push(format!("{name} is missing")),
        }
    }
    if let Some(first) = missing.first() {
        let problem = format!(
            "is not of the network {}: {first} ({} tensors do not fit)",
            config.architecture(),
            missing.len()
        );
        return Err(VideoError::malformed(path, problem));
    }
    Ok(load_state_dict(net, tensors).0)
}

/// EDSR's own layout has its convolutions under other names.
fn published(config: &Config, name: String) -> String {
    if config.backbone != Backbone::Edsr || config.upstream {
        return name;
    }
    let parts: Vec<&str> = name.split('.').collect();
    match parts.as_slice() {
        ["body", block, "body", "0", leaf] => format!("body.{block}.conv1.{leaf}"),
        ["body", block, "body", "2", leaf] => format!("body.{block}.conv2.{leaf}"),
        _ => name,
    }
}

fn of_package(path: &Path, config: &Config) -> Result<BTreeMap<String, TensorData>, VideoError> {
    let package = Package::open(path)?;
    let other = package.config();
    if other.architecture() != config.architecture() {
        let problem =
            format!("holds the network {}, expected {}", other.architecture(), config.architecture());
        return Err(VideoError::malformed(path, problem));
    }
    let shared = package.shared()?;
    let mut modulations = Vec::new();
    for chunk in 0..package.manifest.chunks.len() {
        // Chunks after one without a modulation begin afresh: their numbers would be another chunk's.
        let Some(own) = package.modulation(chunk)? else { break };
        modulations.push(own);
    }
    Ok(state_dict(&assemble(other, &shared, &modulations)))
}
