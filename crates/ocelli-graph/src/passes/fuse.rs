//! Additions and activations go into the convolution or product before them.

use super::util::{Links, replace};
use crate::ir::{Constant, Graph, ValueId};
use crate::op::{Binary, Op, Unary};

/// Fuses bias, residual and activation into convolutions and linear layers, where nobody else reads what is between.
pub fn fuse(graph: &mut Graph) {
    while step(graph) {}
}

fn step(graph: &mut Graph) -> bool {
    let links = Links::of(graph);
    let mut order: Vec<usize> = (0..graph.nodes.len()).collect();
    // From the end, so that of two convolutions that are added the later one takes the other in.
    order.reverse();
    for index in order {
        let fused = match graph.nodes[index].op {
            Op::Unary { function } => activation(graph, &links, index, function),
            Op::Binary { function: Binary::Add } => addition(graph, &links, index),
            _ => false,
        };
        if fused {
            return true;
        }
    }
    false
}

/// The layer that makes `id` for this one reader.
fn layer(graph: &Graph, links: &Links, id: ValueId) -> Option<usize> {
    links.only_reader(id)?;
    let maker = links.maker[id.index()]?;
    matches!(graph.nodes[maker].op, Op::Conv { activation: None, .. } | Op::Linear { activation: None, .. })
        .then_some(maker)
}

fn absorb(graph: &mut Graph, index: usize, layer: usize) {
    let (from, to) = (graph.nodes[index].outputs[0], graph.nodes[layer].outputs[0]);
    graph.nodes.remove(index);
    replace(graph, from, to);
}

fn activation(graph: &mut Graph, links: &Links, index: usize, function: Unary) -> bool {
    let fits = matches!(
        function,
        Unary::Relu
            | Unary::Clamp { .. }
            | Unary::LeakyRelu { .. }
            | Unary::Gelu
            | Unary::Sigmoid
            | Unary::HardSigmoid { .. }
            | Unary::HardSwish
            | Unary::Silu
            | Unary::Tanh
    );
    let Some(maker) = layer(graph, links, graph.nodes[index].inputs[0]).filter(|_| fits) else {
        return false;
    };
    if let Op::Conv { activation, .. } | Op::Linear { activation, .. } = &mut graph.nodes[maker].op {
        *activation = Some(function);
    }
    absorb(graph, index, maker);
    true
}

fn addition(graph: &mut Graph, links: &Links, index: usize) -> bool {
    let (a, b) = (graph.nodes[index].inputs[0], graph.nodes[index].inputs[1]);
    let output = graph.nodes[index].outputs[0];
    // The layer that is computed last takes the other operand, which is known by then.
    let mut makers: Vec<(usize, ValueId)> = [(a, b), (b, a)]
        .into_iter()
        .filter_map(|(own, other)| Some((layer(graph, links, own)?, other)))
        .collect();
    makers.sort_by_key(|(maker, _)| std::cmp::Reverse(*maker));
    for (maker, other) in makers {
        let own = graph.nodes[maker].outputs[0];
        if a == b || graph.value(own).shape != graph.value(output).shape {
            continue;
        }
        if let Some(constant) = graph.constants.get(&other) {
            let constant = constant.clone();
            if bias(graph, maker, other, &constant) {
                absorb(graph, index, maker);
                return true;
            }
            continue;
        }
        let before = links.maker[other.index()].is_none_or(|other| other < maker);
        if !before || graph.value(other).shape != graph.value(output).shape {
            continue;
        }
        match &mut graph.nodes[maker].op {
            Op::Conv { residual, .. } | Op::Linear { residual, .. } if !*residual => *residual = true,
            _ => continue,
        }
        graph.nodes[maker].inputs.push(other);
        absorb(graph, index, maker);
        return true;
    }
    false
}

/// Adds a constant of one number per channel to the bias of `maker`.
fn bias(graph: &mut Graph, maker: usize, id: ValueId, constant: &Constant) -> bool {
    let Some(numbers) = constant.as_f32() else { return false };
    let (has_bias, residual, axis_from_end) = match &graph.nodes[maker].op {
        Op::Conv { bias, residual, attrs, .. } => (*bias, *residual, attrs.stride.len()),
        Op::Linear { bias, residual, .. } => (*bias, *residual, 0),
        _ => return false,
    };
    if residual {
        return false;
    }
    let output = &graph.value(graph.nodes[maker].outputs[0]).shape;
    let channels = output[output.len() - 1 - axis_from_end].at(1);
    let shape: Vec<usize> = graph.value(id).shape.iter().map(|dim| dim.at(1)).collect();
    let wanted = shape.len().checked_sub(1 + axis_from_end);
    let per_channel = numbers.len() == channels && wanted.is_some_and(|axis| shape[axis] == channels);
    if !per_channel {
        return false;
    }
    let old = if has_bias {
        match graph.constant_f32(graph.nodes[maker].inputs[2]) {
            Some(old) => old.to_vec(),
            None => return false,
        }
    } else {
        vec![0.0; channels]
    };
    let sum: Vec<f32> = old.iter().zip(numbers).map(|(a, b)| a + b).collect();
    let name = format!("{}.bias#sum", graph.nodes[maker].name);
    let sum = graph.add_constant(name, &[channels], sum);
    let node = &mut graph.nodes[maker];
    if has_bias {
        node.inputs[2] = sum;
    } else {
        node.inputs.insert(2, sum);
    }
    if let Op::Conv { bias, .. } | Op::Linear { bias, .. } = &mut node.op {
        *bias = true;
    }
    true
}
