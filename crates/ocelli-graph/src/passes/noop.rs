//! Removes what changes nothing.

use super::edit::{replace, rewrite, uniform};
use crate::ir::{Dim, Graph, ValueId};
use crate::op::{Binary, Op, Unary};

/// Removes nodes that change nothing and joins rearrangements that follow one another. Returns whether there were
/// any.
pub fn remove_noops(graph: &mut Graph) -> bool {
    let mut changed = false;
    for i in 0..graph.nodes.len() {
        if let Some(from) = same_as(graph, i) {
            let output = graph.nodes[i].outputs[0];
            replace(graph, output, from);
            graph.nodes[i].outputs.clear();
            changed = true;
        } else {
            changed |= join(graph, i);
        }
    }
    graph.nodes.retain(|node| !node.outputs.is_empty());
    changed
}

/// The input that the result of node `i` equals.
fn same_as(graph: &Graph, i: usize) -> Option<ValueId> {
    let node = &graph.nodes[i];
    let [output] = node.outputs[..] else { return None };
    let x = *node.inputs.first()?;
    let (from, to) = (graph.value(x), graph.value(output));
    let same = from.shape == to.shape && from.element == to.element;
    let nothing = match &node.op {
        Op::Reshape | Op::Expand | Op::Cast => same,
        Op::Transpose { permutation } => permutation.iter().copied().eq(0..permutation.len()),
        Op::Slice { starts, steps, .. } => {
            same && starts.iter().all(|&s| s == 0) && steps.iter().all(|&s| s == 1)
        }
        Op::Pad { before, after, .. } => before.iter().chain(after).all(|&n| n == 0),
        Op::Concat { .. } => node.inputs.len() == 1,
        Op::Resize { .. } | Op::AdaptiveAvgPool => same,
        Op::Flip { axes } => axes.iter().all(|&d| from.shape[d] == Dim::Fixed(1)),
        Op::Unary { function: Unary::Relu } => {
            let made = graph.nodes[..i].iter().rev().find(|node| node.outputs.contains(&x));
            made.is_some_and(|node| match node.op {
                Op::Unary { function: Unary::Relu | Unary::Sigmoid } => true,
                Op::Unary { function: Unary::Clamp { min, .. } } => min >= 0.0,
                _ => false,
            })
        }
        Op::Binary { function } => return neutral(graph, *function, node.inputs[0], node.inputs[1], output),
        _ => false,
    };
    nothing.then_some(x)
}

/// The operand that a neutral other leaves as it is.
fn neutral(graph: &Graph, function: Binary, a: ValueId, b: ValueId, output: ValueId) -> Option<ValueId> {
    let shape = &graph.value(output).shape;
    let is = |id: ValueId, number: f32| uniform(graph, id) == Some(number);
    let keeps = |id: ValueId| graph.value(id).shape == *shape;
    match function {
        Binary::Add if is(b, 0.0) && keeps(a) => Some(a),
        Binary::Add if is(a, 0.0) && keeps(b) => Some(b),
        Binary::Mul if is(b, 1.0) && keeps(a) => Some(a),
        Binary::Mul if is(a, 1.0) && keeps(b) => Some(b),
        Binary::Sub if is(b, 0.0) && keeps(a) => Some(a),
        Binary::Div | Binary::Pow if is(b, 1.0) && keeps(a) => Some(a),
        _ => None,
    }
}

/// Lets node `i` read past a rearrangement of the same kind before it.
fn join(graph: &mut Graph, i: usize) -> bool {
    let node = &graph.nodes[i];
    let Some(&x) = node.inputs.first() else { return false };
    let links = graph.nodes[..i].iter().rev().find(|node| node.outputs.contains(&x));
    let Some(before) = links else { return false };
    let (op, from) = match (&before.op, &node.op) {
        (Op::Reshape, Op::Reshape) => (Op::Reshape, before.inputs[0]),
        (Op::Transpose { permutation: first }, Op::Transpose { permutation: second }) => {
            (Op::Transpose { permutation: second.iter().map(|&d| first[d]).collect() }, before.inputs[0])
        }
        // Rearranging single elements in a row is a matter of shape.
        (_, Op::Transpose { permutation }) => {
            let shape = &graph.value(x).shape;
            let long: Vec<usize> =
                permutation.iter().copied().filter(|&d| shape[d] != Dim::Fixed(1)).collect();
            if !long.is_sorted() {
                return false;
            }
            (Op::Reshape, x)
        }
        _ => return false,
    };
    rewrite(graph, i, op, vec![from]);
    true
}
