//! Batch norms go into the convolution or product before them: both are linear.

use super::util::{Links, replace};
use crate::ir::{Constant, Graph, ValueId};
use crate::op::Op;

/// Folds every batch norm that directly follows a convolution or linear layer nobody else reads.
pub fn fold_batch_norms(graph: &mut Graph) {
    let links = Links::of(graph);
    for index in 0..graph.nodes.len() {
        let Op::BatchNorm { epsilon } = graph.nodes[index].op else { continue };
        let input = graph.nodes[index].inputs[0];
        let (Some(maker), Some(_)) = (links.maker[input.index()], links.only_reader(input)) else { continue };
        fold(graph, index, maker, epsilon);
    }
    // Folded norms read nothing and are read by nobody.
    graph.nodes.retain(|node| !node.outputs.is_empty());
    super::remove_dead(graph);
}

fn fold(graph: &mut Graph, norm: usize, layer: usize, epsilon: f32) -> Option<()> {
    let per_channel = |place: usize| graph.constant_f32(graph.nodes[norm].inputs[place]);
    let (scale, shift, mean, variance) = (per_channel(1)?, per_channel(2)?, per_channel(3)?, per_channel(4)?);
    let weight_id = graph.nodes[layer].inputs[1];
    let weight = graph.constant_f32(weight_id)?;
    let (has_bias, columns_last) = match &graph.nodes[layer].op {
        Op::Conv { bias, residual: false, activation: None, .. } => (*bias, false),
        Op::Linear { bias, residual: false, activation: None } => (*bias, true),
        _ => return None,
    };
    let channels = scale.len();
    if channels == 0 || weight.len() % channels != 0 {
        return None;
    }
    let old_bias = if has_bias { Some(graph.constant_f32(graph.nodes[layer].inputs[2])?) } else { None };
    let factors: Vec<f64> = (0..channels)
        .map(|c| f64::from(scale[c]) / (f64::from(variance[c]) + f64::from(epsilon)).sqrt())
        .collect();
    let bias: Vec<f32> = (0..channels)
        .map(|c| {
            let own = old_bias.map_or(0.0, |bias| f64::from(bias[c]));
            (f64::from(shift[c]) + (own - f64::from(mean[c])) * factors[c]) as f32
        })
        .collect();
    let per_row = weight.len() / channels;
    let weight: Vec<f32> = weight
        .iter()
        .enumerate()
        .map(|(i, &w)| {
            let c = if columns_last { i % channels } else { i / per_row };
            (f64::from(w) * factors[c]) as f32
        })
        .collect();
    // The weight may be shared with another layer: the folded one is a constant of its own.
    let (name, shape) = (graph.value(weight_id).name.clone(), graph.value(weight_id).shape.clone());
    let element = graph.value(weight_id).element;
    let folded = graph.add_value(format!("{name}#norm"), shape, element);
    graph.constants.insert(folded, Constant::F32(weight.into()));
    let layer_name = graph.nodes[layer].name.clone();
    let bias_id: ValueId = graph.add_constant(format!("{layer_name}.bias#norm"), &[channels], bias);
    let output = graph.nodes[norm].outputs[0];
    let node = &mut graph.nodes[layer];
    node.inputs[1] = folded;
    if has_bias {
        node.inputs[2] = bias_id;
    } else {
        node.inputs.insert(2, bias_id);
    }
    match &mut node.op {
        Op::Conv { bias, .. } | Op::Linear { bias, .. } => *bias = true,
        _ => {}
    }
    let own = graph.nodes[layer].outputs[0];
    graph.nodes[norm].inputs.clear();
    graph.nodes[norm].outputs.clear();
    replace(graph, output, own);
    Some(())
}
