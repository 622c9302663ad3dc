//! Removing what does nothing.

use std::collections::HashMap;

use super::util::{Links, replace_all};
use crate::ir::{Graph, ValueId};
use crate::op::Op;

/// Removes nodes whose results nobody reads, and constants that no node reads.
pub fn remove_dead(graph: &mut Graph) {
    let mut read = vec![false; graph.values.len()];
    for id in &graph.outputs {
        read[id.index()] = true;
    }
    let mut keep = vec![false; graph.nodes.len()];
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        if node.outputs.iter().any(|id| read[id.index()]) {
            keep[index] = true;
            for id in &node.inputs {
                read[id.index()] = true;
            }
        }
    }
    let mut index = 0;
    graph.nodes.retain(|_| {
        index += 1;
        keep[index - 1]
    });
    graph.constants.retain(|id, _| read[id.index()]);
    compact(graph);
}

/// Drops values that nothing names any more and numbers the rest anew.
fn compact(graph: &mut Graph) {
    let mut used = vec![false; graph.values.len()];
    let named = graph.nodes.iter().flat_map(|node| node.inputs.iter().chain(&node.outputs));
    for id in named.chain(&graph.inputs).chain(&graph.outputs).chain(graph.constants.keys()) {
        used[id.index()] = true;
    }
    let mut next = 0;
    let new: Vec<ValueId> = used
        .iter()
        .map(|&used| {
            next += u32::from(used);
            ValueId(next.saturating_sub(1))
        })
        .collect();
    let move_to = |id: &mut ValueId| *id = new[id.index()];
    for node in &mut graph.nodes {
        node.inputs.iter_mut().for_each(move_to);
        node.outputs.iter_mut().for_each(move_to);
    }
    graph.inputs.iter_mut().for_each(move_to);
    graph.outputs.iter_mut().for_each(move_to);
    graph.constants =
        std::mem::take(&mut graph.constants).into_iter().map(|(id, c)| (new[id.index()], c)).collect();
    let mut index = 0;
    graph.values.retain(|_| {
        index += 1;
        used[index - 1]
    });
}

/// Removes reshapes, expansions, transpositions, slices and casts that change nothing, and joins what follows itself:
/// two reshapes, two transpositions.
pub fn remove_no_ops(graph: &mut Graph) {
    let mut map = HashMap::new();
    let links = Links::of(graph);
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        let (Some(&input), Some(&output)) = (node.inputs.first(), node.outputs.first()) else { continue };
        let same = graph.value(input).shape == graph.value(output).shape;
        let nothing = match &node.op {
            Op::Reshape | Op::Expand => same,
            Op::Cast => graph.value(input).element == graph.value(output).element,
            Op::Transpose { permutation } => permutation.iter().enumerate().all(|(i, &p)| i == p),
            Op::Slice { starts, steps, .. } => {
                same && starts.iter().all(|&s| s == 0) && steps.iter().all(|&s| s == 1)
            }
            Op::Concat { .. } => node.inputs.len() == 1,
            _ => false,
        };
        if nothing && !graph.inputs.contains(&output) {
            map.insert(output, input);
            continue;
        }
        let Some(before) = links.maker[input.index()] else { continue };
        match (&graph.nodes[before].op, &graph.nodes[index].op) {
            (Op::Reshape, Op::Reshape) => {
                let source = graph.nodes[before].inputs[0];
                graph.nodes[index].inputs[0] = source;
            }
            (Op::Transpose { permutation: first }, Op::Transpose { permutation: second }) => {
                let joined = second.iter().map(|&d| first[d]).collect();
                let source = graph.nodes[before].inputs[0];
                graph.nodes[index].inputs[0] = source;
                graph.nodes[index].op = Op::Transpose { permutation: joined };
            }
            _ => {}
        }
    }
    replace_all(graph, &map);
}
