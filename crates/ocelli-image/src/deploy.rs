//! Compiled classifiers: network, labels and preprocessing in one file for the engine.

use std::path::Path;

use ocelli_data::Preprocess;
use ocelli_engine::{EngineError, Model};
use ocelli_graph::{Dim, Graph, passes};
use serde::{Deserialize, Serialize};

use crate::classify::Classifier;
use crate::network::Network;

/// Version of the description written here; files of a later one are refused.
pub const FORMAT_VERSION: u32 = 1;

/// What a compiled model says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// See [`FORMAT_VERSION`].
    pub format: u32,
    /// Registry name or a name of the user's.
    pub name: String,
    /// Class names, index = logit.
    pub labels: Vec<String>,
    /// How pictures become inputs.
    pub preprocess: Preprocess,
}

impl Description {
    /// What `classifier` says about itself.
    pub fn of(classifier: &Classifier) -> Self {
        Self {
            format: FORMAT_VERSION,
            name: classifier.name.clone(),
            labels: classifier.labels.clone(),
            preprocess: classifier.preprocess.clone(),
        }
    }
}

/// What goes wrong between a network and a compiled model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeployError {
    /// The network cannot be captured.
    #[error(transparent)]
    Capture(#[from] ocelli_graph::capture::CaptureError),
    /// The engine cannot run, read or write it.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A compiled model's description cannot be used.
    #[error("{path}: {problem}")]
    Description {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
}

/// Compiles `network` for pictures of `[channels, height, width]`.
///
/// # Errors
/// If it has an operation the engine does not run.
pub fn compile(
    network: &Network,
    name: &str,
    picture: [usize; 3],
    description: Option<&Description>,
) -> Result<Model, DeployError> {
    let mut graph = network.graph(picture)?;
    graph.name = name.to_string();
    compile_graph(graph, description)
}

/// As [`compile`], from a captured graph.
///
/// # Errors
/// As [`compile`].
pub fn compile_graph(mut graph: Graph, description: Option<&Description>) -> Result<Model, DeployError> {
    passes::optimize(&mut graph);
    let text = description.map_or_else(String::new, |d| serde_json::json!(d).to_string());
    Ok(Model::compile(graph, text)?)
}

/// Loads a compiled classifier.
///
/// # Errors
/// If the file cannot be read, is damaged or newer than this program, or describes no classifier.
pub fn load(path: &Path) -> Result<(Model, Description), DeployError> {
    let bad = |problem: String| DeployError::Description { path: path.display().to_string(), problem };
    let model = Model::load(path)?;
    if model.description().is_empty() {
        return Err(bad(
            "a compiled network without labels and preprocessing; compile a trained model".into()
        ));
    }
    let description: Description = serde_json::from_str(model.description())
        .map_err(|e| bad(format!("its description is not a classifier's: {e}")))?;
    if description.format > FORMAT_VERSION {
        return Err(bad(format!(
            "is of format {}, this program knows formats up to {FORMAT_VERSION}: a newer ocelli wrote it",
            description.format
        )));
    }
    description.preprocess.validate().map_err(|e| bad(e.to_string()))?;
    let graph = model.graph();
    let shapes = |ids: &[ocelli_graph::ValueId]| -> Vec<Vec<Dim>> {
        ids.iter().map(|&id| graph.value(id).shape.clone()).collect()
    };
    // Any number of pictures: a network for one batch size would refuse the others when it is asked.
    let batch = |rest: &[usize]| -> Vec<Vec<Dim>> {
        vec![std::iter::once(Dim::Batch(1)).chain(rest.iter().map(|&extent| Dim::Fixed(extent))).collect()]
    };
    let [c, h, w] = description.preprocess.input_size;
    let classes = description.labels.len();
    if shapes(&graph.inputs) != batch(&[c, h, w]) || shapes(&graph.outputs) != batch(&[classes]) {
        return Err(bad(format!(
            "its network does not take batches of {c}x{h}x{w} pictures to the {classes} classes it names"
        )));
    }
    Ok((model, description))
}
