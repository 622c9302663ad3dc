//! One node for what modules spell out: products with parameters, means over maps, gated activations.

use super::util::{Links, fixed, scalar};
use crate::ir::{Dim, Graph, ValueId};
use crate::op::{Binary, Op, Reduction, Unary};

/// Rewrites spelled-out forms; what they leave unread is removed by [`remove_dead`](super::remove_dead).
pub fn canonicalize(graph: &mut Graph) {
    let links = Links::of(graph);
    for index in 0..graph.nodes.len() {
        linear(graph, index);
        mean_over_map(graph, &links, index);
        hard_sigmoid(graph, &links, index);
        gated(graph, &links, index);
        gelu(graph, &links, index);
    }
}

/// A product with a constant matrix, and the bias added to it.
fn linear(graph: &mut Graph, index: usize) {
    let node = &graph.nodes[index];
    if node.op == Op::MatMul && graph.constants.contains_key(&node.inputs[1]) {
        let rank = graph.value(node.inputs[1]).shape.len();
        if rank == 2 {
            graph.nodes[index].op = Op::Linear { bias: false, residual: false, activation: None };
        }
    }
}

/// The node that makes `id`, if nobody else reads it.
fn private_maker(graph: &Graph, links: &Links, id: ValueId) -> Option<usize> {
    links.only_reader(id)?;
    let maker = links.maker[id.index()]?;
    graph.nodes[maker].outputs.contains(&id).then_some(maker)
}

/// `[n, c, h, w]` reshaped to `[n, c, h·w]`, its mean over the last dimension, reshaped: one mean over the map. Two means one
/// after the other likewise.
fn mean_over_map(graph: &mut Graph, links: &Links, index: usize) {
    let node = &graph.nodes[index];
    let Op::Reduce { reduction: Reduction::Mean, axes, keep_dims } = &node.op else { return };
    let Some(before) = private_maker(graph, links, node.inputs[0]) else { return };
    let source = graph.nodes[before].inputs.first().copied();
    let Some(source) = source else { return };
    match &graph.nodes[before].op {
        Op::Reshape if axes == &[2] => {
            let (from, to) = (&graph.value(source).shape, &graph.value(node.inputs[0]).shape);
            let (&[n, c, Dim::Fixed(h), Dim::Fixed(w)], &[m, d, Dim::Fixed(area)]) = (&from[..], &to[..])
            else {
                return;
            };
            if n != m || c != d || h * w != area {
                return;
            }
            // The result keeps its shape; a reshape puts the two ones where they belong.
            let output = node.outputs[0];
            let keep = *keep_dims;
            let name = graph.value(output).name.clone() + ":map";
            let element = graph.value(output).element;
            let mean = graph.add_value(name, vec![n, c, Dim::Fixed(1), Dim::Fixed(1)], element);
            let _ = keep;
            let own = &mut graph.nodes[index];
            own.op = Op::Reduce { reduction: Reduction::Mean, axes: vec![2, 3], keep_dims: true };
            own.inputs[0] = source;
            own.outputs[0] = mean;
            let reshape = crate::ir::Node {
                name: own.name.clone() + ".reshape",
                op: Op::Reshape,
                inputs: vec![mean],
                outputs: vec![output],
            };
            // In the place of the reshape before, which nobody reads any more: order matters, so swap the two.
            graph.nodes[before] = std::mem::replace(&mut graph.nodes[index], reshape);
        }
        Op::Reduce { reduction: Reduction::Mean, axes: first, keep_dims: true } if *keep_dims => {
            let mut all: Vec<usize> = axes.iter().chain(first).copied().collect();
            all.sort_unstable();
            all.dedup();
            if all.len() == axes.len() + first.len() {
                graph.nodes[index].inputs[0] = source;
                graph.nodes[index].op = Op::Reduce { reduction: Reduction::Mean, axes: all, keep_dims: true };
            }
        }
        _ => {}
    }
}

/// The operand and number of `function(x, number)`.
fn with_number(graph: &Graph, index: usize, function: Binary) -> Option<(ValueId, f32)> {
    let node = &graph.nodes[index];
    if node.op != (Op::Binary { function }) {
        return None;
    }
    let (a, b) = (node.inputs[0], node.inputs[1]);
    let commutes = matches!(function, Binary::Add | Binary::Mul);
    let found = scalar(graph, b).map(|number| (a, number));
    let (x, number) = found.or_else(|| scalar(graph, a).filter(|_| commutes).map(|number| (b, number)))?;
    (graph.value(x).shape == graph.value(node.outputs[0]).shape).then_some((x, number))
}

/// `clamp(x + 3, 0, 6) / 6` and its like.
fn hard_sigmoid(graph: &mut Graph, links: &Links, index: usize) {
    let factor = with_number(graph, index, Binary::Div)
        .map(|(x, number)| (x, 1.0 / number))
        .or_else(|| with_number(graph, index, Binary::Mul));
    let Some((clamped, factor)) = factor else { return };
    let Some(clamp) = private_maker(graph, links, clamped) else { return };
    let Op::Unary { function: Unary::Clamp { min, max } } = graph.nodes[clamp].op else { return };
    if min != 0.0 || (max * factor - 1.0).abs() > 1e-6 {
        return;
    }
    let Some(sum) = private_maker(graph, links, graph.nodes[clamp].inputs[0]) else { return };
    let Some((x, offset)) = with_number(graph, sum, Binary::Add) else { return };
    graph.nodes[index].op =
        Op::Unary { function: Unary::HardSigmoid { alpha: factor, beta: offset * factor } };
    graph.nodes[index].inputs = vec![x];
}

/// `x · sigmoid(x)` and `x · hard_sigmoid(x)`.
fn gated(graph: &mut Graph, links: &Links, index: usize) {
    let node = &graph.nodes[index];
    if node.op != (Op::Binary { function: Binary::Mul }) {
        return;
    }
    for (own, other) in [(0, 1), (1, 0)] {
        let (x, gate) = (node.inputs[own], node.inputs[other]);
        let Some(maker) = private_maker(graph, links, gate) else { continue };
        if graph.nodes[maker].inputs.first() != Some(&x) {
            continue;
        }
        let function = match graph.nodes[maker].op {
            Op::Unary { function: Unary::Sigmoid } => Unary::Silu,
            Op::Unary { function: Unary::HardSigmoid { alpha, beta } }
                if (alpha - 1.0 / 6.0).abs() < 1e-6 && (beta - 0.5).abs() < 1e-6 =>
            {
                Unary::HardSwish
            }
            _ => continue,
        };
        graph.nodes[index].op = Op::Unary { function };
        graph.nodes[index].inputs = vec![x];
        return;
    }
}

/// `x · (erf(x / √2) + 1) / 2`, with the factors in any order.
fn gelu(graph: &mut Graph, links: &Links, index: usize) {
    // Collect the factors of a product tree: x, erf(..) + 1 and numbers.
    let node = &graph.nodes[index];
    let is_product = |op: &Op| matches!(op, Op::Binary { function: Binary::Mul | Binary::Div });
    if !is_product(&node.op) {
        return;
    }
    let (mut open, mut factors, mut number) = (vec![index], Vec::new(), 1.0f32);
    while let Some(next) = open.pop() {
        let node = &graph.nodes[next];
        let divides = node.op == Op::Binary { function: Binary::Div };
        for (place, &id) in node.inputs.iter().enumerate() {
            if let Some(own) = scalar(graph, id) {
                number *= if divides && place == 1 { 1.0 / own } else { own };
                continue;
            }
            if divides && place == 1 {
                return;
            }
            match private_maker(graph, links, id) {
                Some(maker) if is_product(&graph.nodes[maker].op) && open.len() < 4 => open.push(maker),
                _ => factors.push(id),
            }
        }
    }
    let [a, b] = factors[..] else { return };
    if (number - 0.5).abs() > 1e-6 {
        return;
    }
    for (x, sum) in [(a, b), (b, a)] {
        let Some(sum) = private_maker(graph, links, sum) else { continue };
        let Some((erf, one)) = with_number(graph, sum, Binary::Add) else { continue };
        let Some(erf) = private_maker(graph, links, erf) else { continue };
        if one != 1.0 || graph.nodes[erf].op != (Op::Unary { function: Unary::Erf }) {
            continue;
        }
        let Some(scaled) = private_maker(graph, links, graph.nodes[erf].inputs[0]) else { continue };
        let factor = with_number(graph, scaled, Binary::Div)
            .map(|(x, n)| (x, 1.0 / n))
            .or_else(|| with_number(graph, scaled, Binary::Mul));
        if factor.is_some_and(|(y, n)| y == x && (n - std::f32::consts::FRAC_1_SQRT_2).abs() < 1e-6)
            && fixed(graph, x) == fixed(graph, graph.nodes[index].outputs[0])
        {
            graph.nodes[index].op = Op::Unary { function: Unary::Gelu };
            graph.nodes[index].inputs = vec![x];
            return;
        }
    }
}
