//! Whether a graph is sound.

use crate::ir::Graph;

/// Why a graph is not sound.
#[derive(Debug, thiserror::Error)]
#[error("{node}: {problem}")]
pub struct GraphError {
    /// Name of the node or value.
    pub node: String,
    /// What is wrong.
    pub problem: String,
}

/// Checks `graph`.
///
/// # Errors
/// If it contradicts itself.
pub fn check(graph: &Graph) -> Result<(), GraphError> {
    let mut known = vec![false; graph.values.len()];
    for id in graph.inputs.iter().chain(graph.constants.keys()) {
        known[id.index()] = true;
    }
    for node in &graph.nodes {
        for id in &node.inputs {
            if known.get(id.index()) != Some(&true) {
                return Err(GraphError {
                    node: node.name.clone(),
                    problem: "reads what is not computed".into(),
                });
            }
        }
        for id in &node.outputs {
            known[id.index()] = true;
        }
    }
    Ok(())
}
