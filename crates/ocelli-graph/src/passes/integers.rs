//! Lets integers compute what lies between `Dequantize` and `Quantize`.

use super::edit::Links;
use super::{fold_constants, remove_dead};
use crate::codes::{CodeLayer, CodeMean, CodeProduct, CodeSum, Codes, Rounding};
use crate::ir::{Constant, Dim, Graph, ValueId};
use crate::op::{Binary, Op, Reduction, Unary};

/// Rewrites operations whose inputs are dequantised and whose result is quantised to operations on codes. What cannot be rewritten
/// stays in floating point, between `Dequantize` and `Quantize`; weights that are read there become numbers.
pub fn lower_to_integers(graph: &mut Graph, rounding: Rounding) {
    type Rule = fn(&mut Graph, &Links, usize, Rounding) -> bool;
    let rules: [Rule; 6] = [layer, sum, product, mean, pool, table];
    let mut i = 0;
    while i < graph.nodes.len() {
        let links = Links::of(graph);
        let nodes = graph.nodes.len();
        rules.iter().any(|rule| rule(graph, &links, i, rounding));
        // Nodes may have come before this one.
        i += 1 + graph.nodes.len() - nodes;
    }
    remove_dead(graph);
    fold_constants(graph);
    remove_dead(graph);
}

/// The codes that `id` is the numbers of.
fn codes_of(graph: &Graph, links: &Links, id: ValueId) -> Option<(ValueId, Codes)> {
    let node = links.made_by(graph, id)?;
    let Op::Dequantize { zero_point, axis: None } = node.op else { return None };
    let scale = *graph.constant_f32(node.inputs[1])?.first()?;
    let codes = node.inputs[0];
    // How many bits they have is what their maker says.
    let bits = bits_of(graph, links, codes)?;
    Some((codes, Codes { scale, zero_point, bits }))
}

/// The bits of codes.
fn bits_of(graph: &Graph, links: &Links, mut id: ValueId) -> Option<u8> {
    loop {
        let node = links.made_by(graph, id)?;
        match &node.op {
            Op::Quantize(codes) => return Some(codes.bits),
            Op::ConvCodes { layer, .. } | Op::LinearCodes { layer } => {
                return layer.sum.map(|sum| sum.output).or(layer.output).map(|codes| codes.bits);
            }
            Op::AddCodes(sum) => return Some(sum.output.bits),
            Op::MulCodes(product) => return Some(product.output.bits),
            Op::MeanCodes { mean, .. } => return Some(mean.output.bits),
            Op::TableCodes | Op::Concat { .. } => return Some(8),
            Op::Reshape
            | Op::Transpose { .. }
            | Op::Slice { .. }
            | Op::Flip { .. }
            | Op::Expand
            | Op::MaxPool(_) => {
                id = node.inputs[0];
            }
            _ => return None,
        }
    }
}

/// The only node that reads `id`.
fn reader(graph: &Graph, links: &Links, id: ValueId) -> Option<usize> {
    if links.readers[id.index()] != 1 {
        return None;
    }
    graph.nodes.iter().position(|node| node.inputs.contains(&id))
}

/// Where the result `id` is quantised, perhaps behind an activation that is a mere bound: the node that does, its codes, and the
/// bounds.
fn quantised(graph: &Graph, links: &Links, id: ValueId) -> Option<(usize, Codes, [u8; 2])> {
    let next = reader(graph, links, id)?;
    let (last, activation) = match &graph.nodes[next].op {
        Op::Unary { function: own @ (Unary::Relu | Unary::Clamp { .. }) } => {
            (reader(graph, links, graph.nodes[next].outputs[0])?, Some(*own))
        }
        _ => (next, None),
    };
    let Op::Quantize(codes) = graph.nodes[last].op else { return None };
    let all = [0, codes.highest() as u8];
    let bounds = match activation {
        None => all,
        Some(Unary::Clamp { min, max }) => [codes.code(min), codes.code(max)],
        Some(_) => [codes.zero_point as u8, all[1]],
    };
    Some((last, codes, bounds))
}

/// Makes node `i` compute what node `last` gave.
fn take_over(graph: &mut Graph, i: usize, last: usize, op: Op, inputs: Vec<ValueId>) -> bool {
    let output = graph.nodes[last].outputs[0];
    let unused = graph.nodes[i].outputs[0];
    // The quantiser now makes what nobody reads.
    graph.nodes[last].outputs[0] = unused;
    let node = &mut graph.nodes[i];
    (node.op, node.inputs, node.outputs) = (op, inputs, vec![output]);
    graph.nodes.remove(last);
    true
}

fn layer(graph: &mut Graph, links: &Links, i: usize, rounding: Rounding) -> bool {
    rewritten_layer(graph, links, i, rounding).is_some()
}

fn rewritten_layer(graph: &mut Graph, links: &Links, i: usize, rounding: Rounding) -> Option<()> {
    let node = &graph.nodes[i];
    let linear = match node.op {
        Op::Conv { bias: true, residual: false, activation: None, .. } => false,
        Op::Linear { bias: true, residual: false, activation: None } => true,
        _ => return None,
    };
    let (x, input) = codes_of(graph, links, node.inputs[0])?;
    let weight = links.made_by(graph, node.inputs[1])?;
    let bias = links.made_by(graph, node.inputs[2])?;
    let (Op::Dequantize { zero_point: 0, axis }, Op::Dequantize { axis: Some(0), .. }) =
        (&weight.op, &bias.op)
    else {
        return None;
    };
    let (weight_codes, bias_codes) = (weight.inputs[0], bias.inputs[0]);
    let (Constant::I8(_), Constant::I32(_)) =
        (graph.constants.get(&weight_codes)?, graph.constants.get(&bias_codes)?)
    else {
        return None;
    };
    if axis.is_some_and(|axis| axis != usize::from(linear)) {
        return None;
    }
    let channels = graph.value(bias_codes).shape_at(1)[0];
    let scales = graph.constant_f32(weight.inputs[1])?;
    let scales = if axis.is_some() { scales.to_vec() } else { vec![scales[0]; channels] };
    // The bias must count in units of the products.
    let units = graph.constant_f32(bias.inputs[1])?;
    if units.iter().zip(&scales).any(|(unit, scale)| *unit != input.scale * scale) {
        return None;
    }
    let per_channel = match axis {
        Some(_) => weight.inputs[1],
        None => {
            let name = format!("{}.weight_scales", node.name);
            graph.add_constant(name, &[channels], scales)
        }
    };
    let output = graph.nodes[i].outputs[0];
    let found = quantised(graph, links, output);
    let layer = CodeLayer {
        input,
        output: found.map(|(_, codes, _)| codes),
        bounds: found.map_or([0, 255], |(_, _, bounds)| bounds),
        rounding,
        sum: None,
    };
    let op = match &graph.nodes[i].op {
        Op::Conv { attrs, .. } => Op::ConvCodes { attrs: attrs.clone(), layer },
        _ => Op::LinearCodes { layer },
    };
    let inputs = vec![x, weight_codes, per_channel, bias_codes];
    match found {
        Some((last, ..)) => {
            take_over(graph, i, last, op, inputs);
        }
        None => (graph.nodes[i].op, graph.nodes[i].inputs) = (op, inputs),
    }
    Some(())
}

/// The codes of both operands of node `i`.
fn operands(graph: &Graph, links: &Links, i: usize, wanted: Binary) -> Option<[(ValueId, Codes); 2]> {
    let node = &graph.nodes[i];
    match node.op {
        Op::Binary { function } if function == wanted => {
            Some([codes_of(graph, links, node.inputs[0])?, codes_of(graph, links, node.inputs[1])?])
        }
        _ => None,
    }
}

fn sum(graph: &mut Graph, links: &Links, i: usize, _: Rounding) -> bool {
    let Some([(a, own), (b, other)]) = operands(graph, links, i, Binary::Add) else { return false };
    let Some((last, output, bounds)) = quantised(graph, links, graph.nodes[i].outputs[0]) else {
        return false;
    };
    if graph.value(a).shape != graph.value(b).shape {
        return false;
    }
    take_over(graph, i, last, Op::AddCodes(CodeSum { own, other, output, bounds }), vec![a, b])
}

fn product(graph: &mut Graph, links: &Links, i: usize, rounding: Rounding) -> bool {
    let Some([(a, own), (b, other)]) = operands(graph, links, i, Binary::Mul) else { return false };
    let Some(last) = reader(graph, links, graph.nodes[i].outputs[0]) else { return false };
    let Op::Quantize(output) = graph.nodes[last].op else { return false };
    let [of_a, of_b] = [a, b].map(|id| graph.value(id).shape.clone());
    let gate = |x: &[Dim], y: &[Dim]| {
        x.len() == 4 && y.len() == 4 && x[..2] == y[..2] && y[2..] == [Dim::Fixed(1), Dim::Fixed(1)]
    };
    // The factor that is repeated goes second.
    if of_a == of_b || gate(&of_a, &of_b) {
        take_over(graph, i, last, Op::MulCodes(CodeProduct { own, other, output, rounding }), vec![a, b])
    } else if gate(&of_b, &of_a) {
        let swapped = CodeProduct { own: other, other: own, output, rounding };
        take_over(graph, i, last, Op::MulCodes(swapped), vec![b, a])
    } else {
        false
    }
}

fn mean(graph: &mut Graph, links: &Links, i: usize, _: Rounding) -> bool {
    let Op::Reduce { reduction: Reduction::Mean, axes, keep_dims } = &graph.nodes[i].op else { return false };
    if axes[..] != [2, 3] {
        return false;
    }
    let keep_dims = *keep_dims;
    let Some((x, input)) = codes_of(graph, links, graph.nodes[i].inputs[0]) else { return false };
    let Some(last) = reader(graph, links, graph.nodes[i].outputs[0]) else { return false };
    let Op::Quantize(output) = graph.nodes[last].op else { return false };
    let fixed = graph.value(x).shape.len() == 4
        && graph.value(x).shape[2..].iter().all(|dim| matches!(dim, Dim::Fixed(_)));
    fixed && take_over(graph, i, last, Op::MeanCodes { mean: CodeMean { input, output }, keep_dims }, vec![x])
}

/// The largest number has the largest code, if both sides have the same codes.
fn pool(graph: &mut Graph, links: &Links, i: usize, _: Rounding) -> bool {
    let Op::MaxPool(_) = graph.nodes[i].op else { return false };
    let Some((x, input)) = codes_of(graph, links, graph.nodes[i].inputs[0]) else { return false };
    let Some(last) = reader(graph, links, graph.nodes[i].outputs[0]) else { return false };
    let Op::Quantize(output) = graph.nodes[last].op else { return false };
    let op = graph.nodes[i].op.clone();
    let same = (input.scale, input.zero_point) == (output.scale, output.zero_point);
    same && take_over(graph, i, last, op, vec![x])
}

/// A function of one number is a table of codes; so are other codes for the parts of a concatenation.
fn table(graph: &mut Graph, links: &Links, i: usize, _: Rounding) -> bool {
    match graph.nodes[i].op {
        Op::Unary { function } => {
            let Some((x, input)) = codes_of(graph, links, graph.nodes[i].inputs[0]) else { return false };
            let Some(last) = reader(graph, links, graph.nodes[i].outputs[0]) else { return false };
            let Op::Quantize(output) = graph.nodes[last].op else { return false };
            let Some(entries) = tabulated(graph, i, function, input, output) else { return false };
            let name = format!("{}.table", graph.nodes[i].name);
            let table = graph.add_known(name, &[256], Constant::U8(entries.into()));
            take_over(graph, i, last, Op::TableCodes, vec![x, table])
        }
        Op::Concat { axis } => concat(graph, links, i, axis).is_some(),
        _ => false,
    }
}

fn tabulated(graph: &Graph, i: usize, function: Unary, input: Codes, output: Codes) -> Option<Vec<u8>> {
    let numbers: Vec<f32> = (0..=255).map(|code| input.number(code)).collect();
    let mut node = graph.nodes[i].clone();
    node.op = Op::Unary { function };
    let x = crate::interpret::Tensor::new(&[256], numbers);
    let shape = (vec![256], crate::ir::ElementType::F32);
    let found = crate::interpret::run_node(&node, vec![&x], vec![shape]).ok()?;
    Some(found.first()?.floats().into_iter().map(|y| output.code(y)).collect())
}

fn concat(graph: &mut Graph, links: &Links, i: usize, axis: usize) -> Option<()> {
    let inputs = graph.nodes[i].inputs.clone();
    let parts: Option<Vec<(ValueId, Codes)>> = inputs.iter().map(|id| codes_of(graph, links, *id)).collect();
    let last = reader(graph, links, graph.nodes[i].outputs[0])?;
    let Op::Quantize(output) = graph.nodes[last].op else { return None };
    let name = graph.nodes[i].name.clone();
    let parts = parts?;
    take_over(graph, i, last, Op::Concat { axis }, Vec::new());
    let mut at = i;
    for (part, (codes, own)) in parts.into_iter().enumerate() {
        let source = if own == output {
            codes
        } else {
            let entries: Vec<u8> = (0..=255).map(|code| output.code(own.number(code))).collect();
            let table = graph.add_known(format!("{name}.table{part}"), &[256], Constant::U8(entries.into()));
            let value = graph.value(codes).clone();
            let to = graph.add_value(format!("{name}.part{part}"), value.shape, value.element);
            let node = crate::ir::Node {
                name: format!("{name}.requantize{part}"),
                op: Op::TableCodes,
                inputs: vec![codes, table],
                outputs: vec![to],
            };
            graph.nodes.insert(at, node);
            at += 1;
            to
        };
        graph.nodes[at].inputs.push(source);
    }
    Some(())
}

/// Sums of codes become part of the layers that make their later operands, where nothing else reads those. Returns whether there were
/// any.
pub fn fuse_code_sums(graph: &mut Graph) -> bool {
    let mut changed = false;
    while fuse_sum(graph) {
        changed = true;
    }
    changed
}

fn fuse_sum(graph: &mut Graph) -> bool {
    let links = Links::of(graph);
    for i in 0..graph.nodes.len() {
        let Op::AddCodes(sum) = graph.nodes[i].op else { continue };
        let makers = [0, 1].map(|place| {
            let id = graph.nodes[i].inputs[place];
            let made = links.producer[id.index()]?;
            let open = match graph.nodes[made].op {
                Op::ConvCodes { layer, .. } | Op::LinearCodes { layer } => layer.sum.is_none(),
                _ => false,
            };
            (open && links.readers[id.index()] == 1).then_some(made)
        });
        let place = match makers {
            [None, None] => continue,
            [a, b] => usize::from(b > a),
        };
        let Some(made) = makers[place] else { continue };
        let swapped = CodeSum { own: sum.other, other: sum.own, ..sum };
        let own = if place == 0 { sum } else { swapped };
        let residual = graph.nodes[i].inputs[1 - place];
        let outputs = graph.nodes[i].outputs.clone();
        let mut node = graph.nodes[made].clone();
        if let Op::ConvCodes { layer, .. } | Op::LinearCodes { layer } = &mut node.op {
            layer.sum = Some(own);
        }
        node.inputs.push(residual);
        node.outputs = outputs;
        graph.nodes[i] = node;
        graph.nodes.remove(made);
        return true;
    }
    false
}
