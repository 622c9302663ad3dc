//! Model files: safetensors whose header says everything needed to use the weights; and checkpoints of the reference.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, TensorData};
use ocelli_nn::state_dict::state_dict;
use ocelli_nn::weights::{self, WeightFile, WeightsError};
use serde::{Deserialize, Serialize};

use crate::PoseError;
use crate::grid::Padding;
use crate::lifter::{Config, Lifter, LifterConfig, Variant};
use crate::schedule::MAX_TEMPERATURE;

/// Version of the description written here; files of a later one are refused.
pub const FORMAT_VERSION: u32 = 1;

/// What a model file says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// See [`FORMAT_VERSION`].
    pub format: u32,
    /// Always `pose`.
    pub task: String,
    /// A name.
    pub name: String,
    /// How to build the network.
    pub config: LifterConfig,
    /// Temperature of the attention.
    pub temperature: f64,
    /// Results and circumstances of the training, for people.
    #[serde(default)]
    pub training: serde_json::Map<String, serde_json::Value>,
}

/// A network with its description.
#[derive(Clone, Debug)]
pub struct Model {
    /// What it is.
    pub description: Description,
    /// The network.
    pub lifter: Lifter,
}

impl Model {
    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), PoseError> {
        save(&self.lifter, &self.description, path)
    }

    /// Reads a model file, or a checkpoint of the reference, which holds neither borders nor temperature: `padding` gives the former, the
    /// latter is 30 as in the released evaluation.
    ///
    /// # Errors
    /// If it cannot be read, is neither, or a weight is no finite number.
    pub fn load(path: &Path, padding: Option<[Padding; 2]>, device: &Device) -> Result<Self, PoseError> {
        let file = WeightFile::read(path)?;
        for (name, data) in &file.tensors {
            check_numbers(name, data).map_err(|problem| PoseError::malformed(path, problem))?;
        }
        let description = match &file.description {
            Some(text) => described(path, text)?,
            None => of_reference(path, &file.tensors, padding)?,
        };
        let name = description.name.clone();
        let network = description.config.build(0, device);
        let (lifter, _) = file.load_into(network, &name, false)?;
        Ok(Self { description, lifter })
    }
}

/// Writes `lifter` as a model file.
///
/// # Errors
/// If it cannot be written.
pub fn save(lifter: &Lifter, description: &Description, path: &Path) -> Result<(), PoseError> {
    let text =
        serde_json::to_string(description).map_err(|error| PoseError::malformed(path, error.to_string()))?;
    Ok(weights::write(path, &state_dict(lifter), Some(&text))?)
}

/// Refuses numbers that a network turns into answers of NaN, which would be noticed far from here or never.
fn check_numbers(name: &str, data: &TensorData) -> Result<(), String> {
    let found = |wrong: fn(f32) -> bool| data.iter::<f32>().enumerate().find(|&(_, value)| wrong(value));
    if let Some((place, value)) = found(|value| !value.is_finite()) {
        return Err(format!("tensor '{name}': element {place} is {value}, expected finite numbers"));
    }
    if let (true, Some((place, value))) = (name.ends_with("running_var"), found(|value| value < 0.0)) {
        return Err(format!("tensor '{name}': element {place} is {value}, expected variances of at least 0"));
    }
    Ok(())
}

fn described(path: &Path, text: &str) -> Result<Description, PoseError> {
    let other = |problem: String| PoseError::malformed(path, problem);
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| other(format!("its description is damaged: {error}")))?;
    if value["task"] != "pose" {
        return Err(other("is no pose model: its description is of another kind".into()));
    }
    if value["format"].as_u64().is_some_and(|format| format > u64::from(FORMAT_VERSION)) {
        return Err(other(format!(
            "is of format {}, this program knows formats up to {FORMAT_VERSION}: a newer ocelli wrote it",
            value["format"]
        )));
    }
    let description: Description = serde_json::from_value(value)
        .map_err(|error| other(format!("its description is damaged: {error}")))?;
    description.config.check().map_err(|problem| other(format!("its network has {problem}")))?;
    if !(description.temperature.is_finite() && description.temperature > 0.0) {
        return Err(other(format!("its temperature is {}, expected more than 0", description.temperature)));
    }
    Ok(description)
}

/// What the tensors of a reference checkpoint say.
fn of_reference(
    path: &Path,
    tensors: &BTreeMap<String, TensorData>,
    padding: Option<[Padding; 2]>,
) -> Result<Description, PoseError> {
    let shape = |name: &str| -> Option<Vec<usize>> {
        tensors.get(name).map(|data| data.shape().iter().copied().collect())
    };
    let (kernel, is_static) = match (shape("w1.donut_conv.weight"), shape("w1.branch1_weight")) {
        (Some(kernel), _) => (kernel, true),
        (None, Some(kernel)) => (kernel, false),
        _ => {
            let problem = "holds neither a description nor a grid lifting network (no w1.branch1_weight, no w1.donut_conv.weight)";
            return Err(WeightsError::Malformed { path: path.to_path_buf(), problem: problem.into() }.into());
        }
    };
    let variant = match (is_static, tensors.contains_key("sgt_layer.sgt_trans_mat")) {
        (true, _) => Variant::GridConv,
        (false, false) => Variant::DGridConv,
        (false, true) => Variant::AutoGrids,
    };
    let padding = match (padding, is_static) {
        (Some(padding), _) => padding,
        (None, true) => [Padding::Circular, Padding::Zeros],
        (None, false) => {
            return Err(PoseError::malformed(
                path,
                "a checkpoint of the reference does not say its borders: name them with --padding c,r (trained on true 2D joints) or c,z \
                 (on detected ones)",
            ));
        }
    };
    let stage = |name: &str| name.strip_prefix("linear_stages.")?.split('.').next()?.parse::<usize>().ok();
    let blocks = tensors.keys().filter_map(|name| stage(name)).max().map_or(0, |last| last + 1);
    let config = Config {
        variant,
        hidden: kernel.first().copied().unwrap_or(0),
        blocks,
        padding,
        ..Config::default()
    };
    config.check().map_err(|problem| PoseError::malformed(path, format!("its network has {problem}")))?;
    let config = LifterConfig::Grid(config);
    Ok(Description {
        format: FORMAT_VERSION,
        task: "pose".into(),
        name: format!("{} (reference checkpoint)", config.name()),
        config,
        temperature: MAX_TEMPERATURE,
        training: Default::default(),
    })
}
