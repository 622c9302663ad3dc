//! What happens to every channel by itself can happen before channels are joined.

use super::edit::{Links, add_constant, fixed, function};
use crate::ir::{Graph, Node, ValueId};
use crate::op::{Op, Unary};

/// Moves batch norms and activations of joined channels to the layers that make the parts, where they can be taken into
/// these. Returns whether there were any.
pub fn split_joined(graph: &mut Graph) -> bool {
    let mut changed = false;
    let mut i = 0;
    while i < graph.nodes.len() {
        let links = Links::of(graph);
        match join_before(graph, &links, i) {
            Some(join) => {
                split(graph, i, join);
                changed = true;
            }
            None => i += 1,
        }
    }
    changed
}

/// The join of channels whose result only node `i` reads, and only to change each channel by itself; its parts are results
/// of layers that can still take something in.
fn join_before(graph: &Graph, links: &Links, i: usize) -> Option<usize> {
    let node = &graph.nodes[i];
    match &node.op {
        Op::BatchNorm { .. } => {
            let known = node.inputs[1..].iter().all(|&id| graph.constant_f32(id).is_some());
            known.then_some(())?;
        }
        _ => {
            function(node).filter(|own| *own != Unary::Not)?;
        }
    }
    let join = links.producer[node.inputs[0].index()]?;
    let own = &graph.nodes[join];
    let open = |id: &ValueId| {
        let layer = links.made_by(graph, *id).map(|layer| &layer.op);
        let open = matches!(layer, Some(Op::Conv { residual: false, activation: None, .. }));
        open && links.readers[id.index()] == 1 && fixed(&graph.value(*id).shape[1..2]).is_some()
    };
    let channels = own.op == Op::Concat { axis: 1 } && links.readers[node.inputs[0].index()] == 1;
    (channels && own.inputs.iter().all(open)).then_some(join)
}

/// Puts node `i` before `join`, part by part.
fn split(graph: &mut Graph, i: usize, join: usize) {
    let node = graph.nodes.remove(i);
    let mut first = 0;
    let mut moved = Vec::new();
    for (number, part) in graph.nodes[join].inputs.clone().into_iter().enumerate() {
        let value = graph.value(part).clone();
        let count = fixed(&value.shape[1..2]).map_or(0, |shape| shape[0]);
        let mut inputs = vec![part];
        for &id in &node.inputs[1..] {
            let numbers = graph.constant_f32(id).unwrap_or_default()[first..first + count].to_vec();
            let name = graph.value(id).name.clone();
            inputs.push(add_constant(graph, &name, &[count], numbers));
        }
        let name = format!("{}.{number}", node.name);
        let output = graph.add_value(super::edit::free_name(graph, &name), value.shape, value.element);
        moved.push(Node { name, op: node.op.clone(), inputs, outputs: vec![output] });
        first += count;
    }
    let own = &mut graph.nodes[join];
    own.inputs = moved.iter().map(|node| node.outputs[0]).collect();
    own.outputs = node.outputs;
    graph.nodes.splice(join..join, moved);
}
