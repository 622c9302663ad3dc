//! Takes factors and offsets per channel into the convolution or linear layer before them.

use super::edit::{Links, add_constant, free_name};
use crate::ir::{Constant, Dim, Graph, Node, ValueId};
use crate::op::{Binary, Op};

/// Folds batch norms, and factors and offsets per channel, into the layer whose result only they read. Returns
/// whether there were any.
pub fn fold_batch_norms(graph: &mut Graph) -> bool {
    let mut changed = false;
    let mut i = 0;
    while i < graph.nodes.len() {
        let links = Links::of(graph);
        match affine(graph, &links, i) {
            Some(affine) => {
                apply(graph, &links, i, affine);
                changed = true;
            }
            None => i += 1,
        }
    }
    changed
}

/// `factor · y + offset` per channel of the result of node `layer`.
struct Affine {
    layer: usize,
    factor: Vec<f64>,
    offset: Vec<f64>,
}

/// What node `i` does to the layer before it, if that is all it does.
fn affine(graph: &Graph, links: &Links, i: usize) -> Option<Affine> {
    let node = &graph.nodes[i];
    let layer_of = |x: ValueId| {
        let layer = links.producer[x.index()]?;
        let own = &graph.nodes[layer];
        let plain = matches!(
            own.op,
            Op::Conv { residual: false, activation: None, .. }
                | Op::Linear { residual: false, activation: None, .. }
                | Op::DynamicConv { activation: None, .. }
        );
        let plain = plain || super::binary::is_affine(graph, layer);
        let adder = super::adder::is_affine(graph, layer);
        // A dynamic convolution's shares are computed.
        let computed = |place: usize| place == 2 && matches!(own.op, Op::DynamicConv { .. });
        let known = (1..own.inputs.len())
            .all(|place| computed(place) || graph.constant_f32(own.inputs[place]).is_some());
        ((adder || plain && known) && links.readers[x.index()] == 1).then_some(layer)
    };
    match &node.op {
        Op::BatchNorm { epsilon } => {
            let layer = layer_of(node.inputs[0])?;
            if channel_axis(graph, &graph.nodes[layer]) != 1 {
                return None;
            }
            let [scale, shift, mean, variance] =
                [1, 2, 3, 4].map(|place| graph.constant_f32(node.inputs[place]));
            let (scale, shift, mean, variance) = (scale?, shift?, mean?, variance?);
            let factor: Vec<f64> = scale
                .iter()
                .zip(variance)
                .map(|(s, v)| f64::from(*s) / (f64::from(*v) + f64::from(*epsilon)).sqrt())
                .collect();
            let offset = shift
                .iter()
                .zip(mean)
                .zip(&factor)
                .map(|((s, m), f)| f64::from(*s) - f64::from(*m) * f)
                .collect();
            Some(Affine { layer, factor, offset })
        }
        Op::Binary { function } => {
            let (a, b) = (node.inputs[0], node.inputs[1]);
            let (x, constant, swapped) =
                if graph.constants.contains_key(&b) { (a, b, false) } else { (b, a, true) };
            let layer = layer_of(x)?;
            if graph.value(x).shape != graph.value(node.outputs[0]).shape {
                return None;
            }
            let numbers = per_channel(graph, constant, &graph.nodes[layer])?;
            let fill = |number: f64| vec![number; numbers.len()];
            let negative = || numbers.iter().map(|v| -v).collect();
            let (factor, offset) = match (function, swapped) {
                (Binary::Add, _) => (fill(1.0), numbers),
                (Binary::Sub, false) => (fill(1.0), negative()),
                (Binary::Sub, true) => (fill(-1.0), numbers),
                (Binary::Mul, _) => (numbers.clone(), fill(0.0)),
                (Binary::Div, false) => (numbers.iter().map(|v| 1.0 / v).collect(), fill(0.0)),
                _ => return None,
            };
            Some(Affine { layer, factor, offset })
        }
        _ => None,
    }
}

/// The dimension of a layer's result that its columns of weights make.
fn channel_axis(graph: &Graph, layer: &Node) -> usize {
    match layer.op {
        Op::Linear { .. } => graph.value(layer.outputs[0]).shape.len() - 1,
        _ => 1,
    }
}

/// `constant` as one number per channel of the layer's result.
fn per_channel(graph: &Graph, constant: ValueId, layer: &Node) -> Option<Vec<f64>> {
    let numbers = graph.constant_f32(constant)?;
    let output = &graph.value(layer.outputs[0]).shape;
    let own = &graph.value(constant).shape;
    let axis = channel_axis(graph, layer);
    let Dim::Fixed(channels) = output[axis] else { return None };
    if numbers.len() == 1 {
        return Some(vec![f64::from(numbers[0]); channels]);
    }
    let missing = output.len().checked_sub(own.len())?;
    let fits = own.iter().enumerate().all(|(d, dim)| *dim == Dim::Fixed(1) || d + missing == axis);
    (fits && numbers.len() == channels).then(|| numbers.iter().map(|v| f64::from(*v)).collect())
}

fn apply(graph: &mut Graph, links: &Links, i: usize, affine: Affine) {
    let Affine { layer, factor, offset } = affine;
    if matches!(graph.nodes[layer].op, Op::BinaryConv(_)) {
        return super::binary::apply(graph, layer, i, &factor, &offset);
    }
    if matches!(graph.nodes[layer].op, Op::AdderConv(_)) {
        super::adder::scale(graph, layer, &factor, &offset);
        graph.nodes[layer].outputs = std::mem::take(&mut graph.nodes[i].outputs);
        graph.nodes.remove(i);
        return;
    }
    let node = graph.nodes[layer].clone();
    let (weight, channels) = (node.inputs[1], factor.len());
    let old = graph.constant_f32(weight).unwrap_or_default();
    let linear = matches!(node.op, Op::Linear { .. });
    // Experts lie one behind the other, each with all channels.
    let experts =
        if matches!(node.op, Op::DynamicConv { .. }) { graph.value(weight).shape_at(1)[0] } else { 1 };
    let per_expert = old.len() / experts;
    let per_channel = per_expert / channels;
    let scaled: Vec<f32> = old
        .iter()
        .enumerate()
        .map(|(at, v)| {
            let channel = if linear { at % channels } else { at % per_expert / per_channel };
            (f64::from(*v) * factor[channel]) as f32
        })
        .collect();
    let has_bias = matches!(
        node.op,
        Op::Conv { bias: true, .. } | Op::Linear { bias: true, .. } | Op::DynamicConv { bias: true, .. }
    );
    let place = if matches!(node.op, Op::DynamicConv { .. }) { 3 } else { 2 };
    let bias: Vec<f32> = match has_bias.then(|| graph.constant_f32(node.inputs[place])).flatten() {
        Some(own) => (0..channels).map(|c| (f64::from(own[c]) * factor[c] + offset[c]) as f32).collect(),
        None => offset.iter().map(|v| *v as f32).collect(),
    };
    let shape = graph.value(weight).shape_at(1);
    let weight = put(graph, links, weight, &shape, scaled);
    let bias = match has_bias {
        true => put(graph, links, node.inputs[place], &[channels], bias),
        false => {
            let wanted = format!("{}.bias", node.name);
            // A bias that was added apart leaves its name to the one that takes its place.
            for id in graph.nodes[i].inputs.clone() {
                if graph.constants.contains_key(&id)
                    && links.readers[id.index()] == 1
                    && graph.value(id).name == wanted
                {
                    graph.values[id.index()].name = free_name(graph, &format!("{wanted}.apart"));
                }
            }
            add_constant(graph, &wanted, &[channels], bias)
        }
    };
    let outputs = std::mem::take(&mut graph.nodes[i].outputs);
    let own = &mut graph.nodes[layer];
    own.inputs.truncate(place);
    own.inputs[1] = weight;
    own.inputs.push(bias);
    own.outputs = outputs;
    if let Op::Conv { bias, .. } | Op::Linear { bias, .. } | Op::DynamicConv { bias, .. } = &mut own.op {
        *bias = true;
    }
    graph.nodes.remove(i);
}

/// New elements for the constant `id`: in its place, unless something else reads it too.
fn put(graph: &mut Graph, links: &Links, id: ValueId, shape: &[usize], data: Vec<f32>) -> ValueId {
    if links.readers[id.index()] == 1 {
        graph.constants.insert(id, Constant::F32(data.into()));
        return id;
    }
    let name = graph.value(id).name.clone();
    add_constant(graph, &name, shape, data)
}
