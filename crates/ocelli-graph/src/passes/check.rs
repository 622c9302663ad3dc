//! Whether a graph is sound: executors index without looking twice.

use std::collections::HashSet;

use super::infer::{MOST_ELEMENTS, elements, infer};
use crate::ir::{Constant, Dim, Graph, Node, Value, ValueId};
use crate::op::Op;

/// What is wrong with a graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// A list refers to a value that does not exist, or the graph as a whole cannot be run.
    #[error("{0}")]
    Graph(String),
    /// A value is not as it should be.
    #[error("value '{value}': {problem}")]
    Value {
        /// Its name.
        value: String,
        /// What is wrong.
        problem: String,
    },
    /// A node is not as it should be.
    #[error("node '{node}' ({op}): {problem}")]
    Node {
        /// Its name.
        node: String,
        /// What it computes.
        op: &'static str,
        /// What is wrong.
        problem: String,
    },
}

/// Most dimensions of a value.
const MOST_DIMENSIONS: usize = 16;

/// Checks everything an executor relies on: identities, order, numbers of inputs and outputs, attributes, and that
/// recorded shapes are those that follow from the operations.
///
/// A weight of a convolution or linear layer (input 1) may be absent from the constants: compiled models keep weights
/// elsewhere.
///
/// # Errors
/// Names the first value or node that is not sound.
pub fn check(graph: &Graph) -> Result<(), GraphError> {
    let mut total = 0usize;
    for (i, value) in graph.values.iter().enumerate() {
        let known = graph.constants.contains_key(&ValueId(i as u32));
        total = total.saturating_add(check_value(value, known)?);
    }
    if total > MOST_ELEMENTS {
        return Err(GraphError::Graph(format!("more than {MOST_ELEMENTS} elements in all")));
    }
    for (&id, constant) in &graph.constants {
        check_constant(get(graph, id)?, constant)?;
    }
    let mut defined: HashSet<ValueId> = graph.constants.keys().copied().collect();
    for &id in &graph.inputs {
        let value = get(graph, id)?;
        if !defined.insert(id) {
            return Err(wrong(value, "an input that is given twice or is a constant"));
        }
    }
    let mut absent = HashSet::new();
    for node in &graph.nodes {
        check_node(graph, node, &mut defined, &mut absent)?;
    }
    if graph.outputs.is_empty() {
        return Err(GraphError::Graph("there is no output".into()));
    }
    for &id in &graph.outputs {
        let value = get(graph, id)?;
        if !defined.contains(&id) {
            return Err(wrong(value, "an output that nothing computes"));
        }
    }
    Ok(())
}

fn get(graph: &Graph, id: ValueId) -> Result<&Value, GraphError> {
    let missing = || GraphError::Graph(format!("value {} of {}", id.0, graph.values.len()));
    graph.values.get(id.index()).ok_or_else(missing)
}

fn wrong(value: &Value, problem: impl Into<String>) -> GraphError {
    GraphError::Value { value: value.name.clone(), problem: problem.into() }
}

/// The elements of a value that takes up memory while the graph runs.
fn check_value(value: &Value, constant: bool) -> Result<usize, GraphError> {
    if value.shape.len() > MOST_DIMENSIONS {
        return Err(wrong(value, format!("{} dimensions; at most {MOST_DIMENSIONS}", value.shape.len())));
    }
    if value.shape.iter().any(|dim| matches!(dim, Dim::Fixed(0) | Dim::Batch(0))) {
        return Err(wrong(value, "an extent of 0"));
    }
    let (count, _) = elements(&value.shape).map_err(|refused| wrong(value, refused.0))?;
    Ok(if constant { 0 } else { count })
}

fn check_constant(value: &Value, constant: &Constant) -> Result<(), GraphError> {
    if value.shape.iter().any(|dim| matches!(dim, Dim::Batch(_))) {
        return Err(wrong(value, "a constant whose shape follows the batch"));
    }
    let count: usize = value.shape_at(1).iter().product();
    if count != constant.len() {
        return Err(wrong(value, format!("{} elements for a shape of {count}", constant.len())));
    }
    if constant.element() == value.element { Ok(()) } else { Err(wrong(value, "a constant of another type")) }
}

fn check_node(
    graph: &Graph,
    node: &Node,
    defined: &mut HashSet<ValueId>,
    absent: &mut HashSet<ValueId>,
) -> Result<(), GraphError> {
    let refuse = |problem: String| GraphError::Node { node: node.name.clone(), op: node.op.kind(), problem };
    let mut inputs = Vec::with_capacity(node.inputs.len());
    for (place, &id) in node.inputs.iter().enumerate() {
        let value = get(graph, id)?;
        if !defined.contains(&id) {
            let weight = place == 1
                && matches!(
                    node.op,
                    Op::Conv { .. }
                        | Op::Linear { .. }
                        | Op::DynamicConv { .. }
                        | Op::BinaryConv(_)
                        | Op::AdderConv(_)
                        | Op::ConvCodes { .. }
                        | Op::LinearCodes { .. }
                );
            if !weight {
                return Err(refuse(format!("it reads '{}' before that is computed", value.name)));
            }
            absent.insert(id);
        }
        inputs.push(value);
    }
    let outputs: Result<Vec<&Value>, _> = node.outputs.iter().map(|&id| get(graph, id)).collect();
    let outputs = outputs?;
    let inferred = infer(&node.op, &inputs, &outputs).map_err(|refused| refuse(refused.0))?;
    for ((shape, element), value) in inferred.iter().zip(&outputs) {
        if *shape != value.shape {
            return Err(refuse(format!(
                "'{}' is recorded as {:?}, but {shape:?} follows",
                value.name, value.shape
            )));
        }
        if *element != value.element {
            return Err(refuse(format!(
                "'{}' is recorded as {:?}, but {element:?} follows",
                value.name, value.element
            )));
        }
    }
    check_indices(graph, node, &inputs).map_err(refuse)?;
    for &id in &node.outputs {
        if absent.contains(&id) || !defined.insert(id) {
            return Err(refuse(format!("'{}' is computed twice or too late", graph.value(id).name)));
        }
    }
    Ok(())
}

/// Known indices must lie inside of the dimension they choose from.
fn check_indices(graph: &Graph, node: &Node, inputs: &[&Value]) -> Result<(), String> {
    let (place, extent) = match node.op {
        Op::Gather { axis } | Op::GatherElements { axis } => (1, inputs[0].shape[axis].at(1)),
        Op::MaxRelative => (2, inputs[1].shape[2..].iter().map(|dim| dim.at(1)).product()),
        _ => return Ok(()),
    };
    let Some(Constant::I64(indices)) = graph.constants.get(&node.inputs[place]) else { return Ok(()) };
    let extent = extent as i64;
    match indices.iter().find(|&&index| !(0..extent).contains(&index)) {
        Some(index) => Err(format!("index {index} of {extent}")),
        None => Ok(()),
    }
}
