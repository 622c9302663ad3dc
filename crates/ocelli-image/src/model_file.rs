//! Model files: safetensors whose header says everything needed to use the weights.
//!
//! The header's `ocelli` entry is JSON: format version, network configuration, labels, preprocessing and where
//! the model comes from. Tensors carry the published names, so timm and torchvision read the file too.

use std::path::Path;

use burn::tensor::Device;
use ocelli_data::Preprocess;
use ocelli_nn::weights::{self, WeightFile, WeightsError};
use serde::{Deserialize, Serialize};

use crate::network::{Network, NetworkConfig};

/// Version of the description written here; files of a later one are refused.
pub const FORMAT_VERSION: u32 = 1;

/// What a model file says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// See [`FORMAT_VERSION`].
    pub format: u32,
    /// Registry name or a name of the user's.
    pub name: String,
    /// How to build the network.
    pub config: NetworkConfig,
    /// Class names, index = logit.
    pub labels: Vec<String>,
    /// How pictures become inputs.
    pub preprocess: Preprocess,
    /// Results and circumstances of the training, for people.
    #[serde(default)]
    pub training: serde_json::Map<String, serde_json::Value>,
}

/// Only what tells the version, read before anything else is believed.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

/// Writes `network` with its `description`, whole or not at all.
pub fn save(network: &Network, description: &Description, path: &Path) -> Result<(), WeightsError> {
    let text = serde_json::to_string(description)
        .map_err(|error| WeightsError::Malformed { path: path.to_path_buf(), problem: error.to_string() })?;
    weights::write(path, &network.state_dict(), Some(&text))
}

/// Parses the description of a weight file, if ocelli wrote it.
pub fn description(file: &WeightFile) -> Result<Option<Description>, WeightsError> {
    let Some(text) = &file.description else { return Ok(None) };
    let malformed = |problem: String| WeightsError::Malformed { path: file.path.clone(), problem };
    let Version { format } =
        serde_json::from_str(text).map_err(|e| malformed(format!("its description is damaged: {e}")))?;
    if format > FORMAT_VERSION {
        return Err(malformed(format!(
            "is of format {format}, this program knows formats up to {FORMAT_VERSION}: a newer ocelli wrote it"
        )));
    }
    let description: Description =
        serde_json::from_str(text).map_err(|e| malformed(format!("its description is damaged: {e}")))?;
    let (labels, classes) = (description.labels.len(), description.config.num_classes());
    if labels != classes {
        return Err(malformed(format!("it names {labels} labels for {classes} classes")));
    }
    description.config.check().map_err(&malformed)?;
    description.preprocess.validate().map_err(|error| malformed(error.to_string()))?;
    let (channels, pictures) = (description.config.in_channels(), description.preprocess.input_size[0]);
    if channels != pictures {
        return Err(malformed(format!(
            "its network takes {channels} channels, its pictures have {pictures}"
        )));
    }
    Ok(Some(description))
}

/// Reads a model file.
pub fn load(path: &Path, device: &Device) -> Result<(Network, Description), WeightsError> {
    let file = WeightFile::read(path)?;
    let description = description(&file)?.ok_or_else(|| WeightsError::Malformed {
        path: path.to_path_buf(),
        problem: "holds weights but no description of the network; name it with --model NAME --weights FILE"
            .into(),
    })?;
    let name = description.name.clone();
    let (network, _) = description.config.init(device).load_weights(file, &name, false)?;
    Ok((network, description))
}
