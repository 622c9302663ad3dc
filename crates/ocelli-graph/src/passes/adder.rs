//! Factors and offsets per channel that an adder convolution takes in: its weights cannot, a distance is not linear in them.

use super::edit::add_constant;
use crate::ir::Graph;
use crate::op::Op;

/// Whether node `layer` is an adder convolution whose result is still that of its channels alone, with constant factors.
pub(super) fn is_affine(graph: &Graph, layer: usize) -> bool {
    let node = &graph.nodes[layer];
    let Op::AdderConv(own) = &node.op else { return false };
    let known = node.inputs.iter().skip(2).all(|&id| graph.constant_f32(id).is_some());
    !own.residual && own.activation.is_none() && known
}

/// Gives adder convolution `layer` a factor and an offset per channel, after those it has.
pub(super) fn scale(graph: &mut Graph, layer: usize, factor: &[f64], offset: &[f64]) {
    let node = graph.nodes[layer].clone();
    let channels = factor.len();
    let own = |place: usize, otherwise: f64| -> Vec<f64> {
        match node.inputs.get(place).and_then(|&id| graph.constant_f32(id)) {
            Some(numbers) => numbers.iter().map(|v| f64::from(*v)).collect(),
            None => vec![otherwise; channels],
        }
    };
    let (scale, shift) = (own(2, 1.0), own(3, 0.0));
    let scaled: Vec<f32> = (0..channels).map(|c| (scale[c] * factor[c]) as f32).collect();
    let shifted: Vec<f32> = (0..channels).map(|c| (shift[c] * factor[c] + offset[c]) as f32).collect();
    let scale = add_constant(graph, &format!("{}.scale", node.name), &[channels], scaled);
    let shift = add_constant(graph, &format!("{}.shift", node.name), &[channels], shifted);
    let node = &mut graph.nodes[layer];
    node.inputs.truncate(2);
    node.inputs.extend([scale, shift]);
    if let Op::AdderConv(own) = &mut node.op {
        own.affine = true;
    }
}
