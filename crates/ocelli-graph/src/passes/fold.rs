//! Computes beforehand what depends on constants alone.

use std::collections::HashSet;

use super::edit::{fixed, tensor};
use crate::interpret::{Tensor, run_node};
use crate::ir::{Graph, Node};
use crate::op::Op;

/// A result larger than this is stored only if it is no larger than what it is made of.
const SMALL: usize = 1 << 16;
/// A resized table is worth more: resizing it would be done anew for every picture.
const TABLE: usize = 1 << 24;

/// Replaces nodes whose inputs are all constants by their results. Returns whether there were any.
pub fn fold_constants(graph: &mut Graph) -> bool {
    fold(graph, |_| true)
}

/// [`fold_constants`] for resized constants alone, and for what makes them: tables of positions for a picture of another
/// size. Removes tables that nothing reads any more.
pub fn fold_resized(graph: &mut Graph) -> bool {
    let mut wanted = HashSet::new();
    for node in graph.nodes.iter().rev() {
        if matches!(node.op, Op::Resize { .. }) || node.outputs.iter().any(|id| wanted.contains(id)) {
            wanted.extend(node.inputs.iter().chain(&node.outputs).copied());
        }
    }
    let changed = fold(graph, |node| node.outputs.iter().all(|id| wanted.contains(id)));
    if changed {
        graph.drop_unused_values();
    }
    changed
}

fn fold(graph: &mut Graph, wanted: impl Fn(&Node) -> bool) -> bool {
    let mut changed = false;
    for i in 0..graph.nodes.len() {
        let node = &graph.nodes[i];
        if matches!(node.op, Op::Custom { .. }) || !wanted(node) {
            continue;
        }
        let inputs: Option<Vec<Tensor>> = node.inputs.iter().map(|&id| tensor(graph, id)).collect();
        let outputs: Option<Vec<_>> = node
            .outputs
            .iter()
            .map(|&id| Some((fixed(&graph.value(id).shape)?, graph.value(id).element)))
            .collect();
        let (Some(inputs), Some(outputs)) = (inputs, outputs) else { continue };
        let from: usize = inputs.iter().map(|tensor| tensor.data.len()).sum();
        let to: usize = outputs.iter().map(|(shape, _)| shape.iter().product::<usize>()).sum();
        let most = if matches!(node.op, Op::Resize { .. }) { TABLE } else { SMALL };
        if to > most.max(from) {
            continue;
        }
        let Ok(results) = run_node(node, inputs.iter().collect(), outputs) else { continue };
        let ids = graph.nodes[i].outputs.clone();
        for (id, tensor) in ids.into_iter().zip(results) {
            graph.constants.insert(id, tensor.data);
        }
        graph.nodes[i].outputs.clear();
        changed = true;
    }
    graph.nodes.retain(|node| !node.outputs.is_empty());
    changed
}
