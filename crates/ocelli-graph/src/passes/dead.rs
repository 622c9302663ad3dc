//! Removes what no output depends on.

use crate::ir::Graph;

/// Removes nodes, constants and values that no output depends on. Returns whether a node went.
pub fn remove_dead(graph: &mut Graph) -> bool {
    let mut needed = vec![false; graph.values.len()];
    for id in &graph.outputs {
        needed[id.index()] = true;
    }
    let mut keep = vec![false; graph.nodes.len()];
    for (i, node) in graph.nodes.iter().enumerate().rev() {
        keep[i] = node.outputs.iter().any(|id| needed[id.index()]);
        if keep[i] {
            node.inputs.iter().for_each(|id| needed[id.index()] = true);
        }
    }
    let before = graph.nodes.len();
    let mut at = 0;
    graph.nodes.retain(|_| {
        at += 1;
        keep[at - 1]
    });
    graph.drop_unused_values();
    graph.nodes.len() != before
}
