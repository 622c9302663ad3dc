//! Lets layers with weights take in what follows them: a residual sum and an activation.

use super::binary;
use super::edit::{Links, function};
use crate::ir::{Graph, ValueId};
use crate::op::{Binary, Op, Unary};

/// Fuses sums and activations into the convolution or linear layer whose result only they read. Returns whether there
/// were any.
pub fn fuse_epilogues(graph: &mut Graph) -> bool {
    let mut changed = false;
    let mut i = 0;
    while i < graph.nodes.len() {
        let links = Links::of(graph);
        let fused = fuse_residual(graph, &links, i)
            || fuse_activation(graph, &links, i)
            || binary::fuse(graph, &links, i);
        changed |= fused;
        // A node has gone, or the layer stands in its place and may take in more.
        i = if fused { i.saturating_sub(1) } else { i + 1 };
    }
    changed
}

/// The layer that makes `id` and can take in more.
fn open_layer(graph: &Graph, links: &Links, id: ValueId) -> Option<usize> {
    let layer = links.producer[id.index()]?;
    let open = matches!(
        graph.nodes[layer].op,
        Op::Conv { activation: None, .. }
            | Op::Linear { activation: None, .. }
            | Op::DynamicConv { activation: None, .. }
    ) || matches!(&graph.nodes[layer].op, Op::AdderConv(own) if own.activation.is_none());
    let open = open || binary::takes_residual(graph, layer);
    (open && links.readers[id.index()] == 1).then_some(layer)
}

fn takes_residual(graph: &Graph, layer: usize) -> bool {
    matches!(graph.nodes[layer].op, Op::Conv { residual: false, .. } | Op::Linear { residual: false, .. })
        || binary::takes_residual(graph, layer)
        || matches!(&graph.nodes[layer].op, Op::AdderConv(own) if !own.residual)
}

/// Node `i` adds a shortcut to a layer's result.
fn fuse_residual(graph: &mut Graph, links: &Links, i: usize) -> bool {
    let node = &graph.nodes[i];
    let Op::Binary { function: Binary::Add } = node.op else { return false };
    let (a, b) = (node.inputs[0], node.inputs[1]);
    if a == b || graph.value(a).shape != graph.value(b).shape {
        return false;
    }
    let layer = |id: ValueId| open_layer(graph, links, id).filter(|&layer| takes_residual(graph, layer));
    // Of two layers the later one: its residual is there when it runs. An earlier one moves to the sum's place, and does so for
    // a convolution of signs, which can take in what follows the sum as well.
    let signs = |layer: usize| matches!(graph.nodes[layer].op, Op::BinaryConv(_));
    let (layer, residual) = match (layer(a), layer(b)) {
        (Some(first), Some(second)) if signs(first) && !signs(second) => (first, b),
        (Some(first), Some(second)) if signs(second) && !signs(first) => (second, a),
        (Some(first), Some(second)) if first > second => (first, b),
        (Some(first), None) => (first, b),
        (_, Some(second)) => (second, a),
        (None, None) => return false,
    };
    let outputs = std::mem::take(&mut graph.nodes[i].outputs);
    let mut fused = graph.nodes[layer].clone();
    fused.outputs = outputs;
    if matches!(fused.op, Op::BinaryConv(_)) {
        graph.nodes[i] = fused;
        binary::add_residual(graph, i, residual);
        graph.nodes.remove(layer);
        return true;
    }
    fused.inputs.push(residual);
    if let Op::Conv { residual, .. } | Op::Linear { residual, .. } = &mut fused.op {
        *residual = true;
    }
    if let Op::AdderConv(own) = &mut fused.op {
        own.residual = true;
    }
    graph.nodes[i] = fused;
    graph.nodes.remove(layer);
    true
}

/// Node `i` is a function of a layer's result.
fn fuse_activation(graph: &mut Graph, links: &Links, i: usize) -> bool {
    let node = &graph.nodes[i];
    let Some(own) = function(node).filter(|own| *own != Unary::Not) else { return false };
    let Some(layer) = open_layer(graph, links, node.inputs[0]) else { return false };
    if matches!(graph.nodes[layer].op, Op::BinaryConv(_)) {
        return false;
    }
    let outputs = std::mem::take(&mut graph.nodes[i].outputs);
    let target = &mut graph.nodes[layer];
    target.outputs = outputs;
    if let Op::Conv { activation, .. } | Op::Linear { activation, .. } | Op::DynamicConv { activation, .. } =
        &mut target.op
    {
        *activation = Some(own);
    }
    if let Op::AdderConv(layer) = &mut target.op {
        layer.activation = Some(own);
    }
    graph.nodes.remove(i);
    true
}
