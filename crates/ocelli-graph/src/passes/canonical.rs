//! Recognises functions that were recorded as several operations.

use super::edit::{Links, fixed, function, insert_before, is_number, rewrite, uniform};
use crate::ir::{Dim, ElementType, Graph, ValueId};
use crate::op::{Binary, Op, PadMode, Reduction, Unary};

/// Rewrites compositions to the operator that stands for them. Returns whether there were any.
pub fn canonicalize(graph: &mut Graph) -> bool {
    let rules: [fn(&mut Graph, &Links, usize) -> bool; 8] = [
        operand_order,
        bounds,
        activations,
        gelu,
        reductions,
        flattened_reduction,
        whole_window,
        zero_border,
    ];
    let mut changed = false;
    let mut i = 0;
    let mut links = Links::of(graph);
    while i < graph.nodes.len() {
        let nodes = graph.nodes.len();
        if rules.iter().any(|rule| rule(graph, &links, i)) {
            changed = true;
            links = Links::of(graph);
            i += graph.nodes.len() - nodes;
        } else {
            i += 1;
        }
    }
    changed
}

fn binary(graph: &Graph, links: &Links, id: ValueId) -> Option<(Binary, ValueId, ValueId)> {
    let node = links.made_by(graph, id)?;
    match node.op {
        Op::Binary { function } => Some((function, node.inputs[0], node.inputs[1])),
        _ => None,
    }
}

/// The function that makes `id`, and of what.
fn unary(graph: &Graph, links: &Links, id: ValueId) -> Option<(Unary, ValueId)> {
    let node = links.made_by(graph, id)?;
    Some((function(node)?, node.inputs[0]))
}

/// The two operands of node `i`, if it is this function of two.
fn operands(graph: &Graph, i: usize, wanted: Binary) -> Option<(ValueId, ValueId)> {
    let node = &graph.nodes[i];
    match node.op {
        Op::Binary { function } if function == wanted => Some((node.inputs[0], node.inputs[1])),
        _ => None,
    }
}

/// Whether the result of node `i` has the shape of `id`: a constant operand may have broadcast it.
fn keeps_shape(graph: &Graph, i: usize, id: ValueId) -> bool {
    graph.value(graph.nodes[i].outputs[0]).shape == graph.value(id).shape
}

/// Constants come second where the order does not matter.
fn operand_order(graph: &mut Graph, _: &Links, i: usize) -> bool {
    let node = &graph.nodes[i];
    let Op::Binary { function: Binary::Add | Binary::Mul | Binary::Min | Binary::Max } = node.op else {
        return false;
    };
    let known = |id: &ValueId| graph.constants.contains_key(id);
    if !known(&node.inputs[0]) || known(&node.inputs[1]) {
        return false;
    }
    graph.nodes[i].inputs.swap(0, 1);
    true
}

/// `max(x, 0)` is a ReLU, `min(max(x, a), b)` a clamp.
fn bounds(graph: &mut Graph, links: &Links, i: usize) -> bool {
    let found = if let Some((x, low)) = operands(graph, i, Binary::Max) {
        match (uniform(graph, low), binary(graph, links, x)) {
            _ if !keeps_shape(graph, i, x) => None,
            (Some(0.0), _) => Some((Unary::Relu, x)),
            (Some(min), Some((Binary::Min, inner, high))) if keeps_shape(graph, i, inner) => {
                uniform(graph, high).filter(|max| min <= *max).map(|max| (Unary::Clamp { min, max }, inner))
            }
            _ => None,
        }
    } else if let Some((x, high)) = operands(graph, i, Binary::Min) {
        match (uniform(graph, high), unary(graph, links, x), binary(graph, links, x)) {
            _ if !keeps_shape(graph, i, x) => None,
            (Some(max), Some((Unary::Relu, inner)), _) if max >= 0.0 => {
                Some((Unary::Clamp { min: 0.0, max }, inner))
            }
            (Some(max), _, Some((Binary::Max, inner, low))) if keeps_shape(graph, i, inner) => {
                uniform(graph, low).filter(|min| *min <= max).map(|min| (Unary::Clamp { min, max }, inner))
            }
            _ => None,
        }
    } else {
        match graph.nodes[i].op {
            Op::Unary { function: Unary::Clamp { min, max } } if min == 0.0 && max >= f32::MAX => {
                Some((Unary::Relu, graph.nodes[i].inputs[0]))
            }
            _ => None,
        }
    };
    let Some((function, x)) = found else { return false };
    if graph.value(x).element != ElementType::F32 {
        return false;
    }
    rewrite(graph, i, Op::Unary { function }, vec![x]);
    true
}

/// `x` of `clamp(x + 3, 0, 6)`.
fn shifted_relu6(graph: &Graph, links: &Links, id: ValueId) -> Option<ValueId> {
    let (Unary::Clamp { min: 0.0, max: 6.0 }, sum) = unary(graph, links, id)? else { return None };
    let (Binary::Add, x, three) = binary(graph, links, sum)? else { return None };
    (is_number(graph, three, 3.0) && graph.value(x).shape == graph.value(id).shape).then_some(x)
}

const HARD_SIGMOID: Unary = Unary::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 };

fn is_hard_sigmoid(function: Unary) -> bool {
    match function {
        Unary::HardSigmoid { alpha, beta } => (alpha * 6.0 - 1.0).abs() < 1e-5 && beta == 0.5,
        _ => false,
    }
}

/// Hard sigmoid, hard swish, SiLU.
fn activations(graph: &mut Graph, links: &Links, i: usize) -> bool {
    // A sixth of something.
    let sixth = operands(graph, i, Binary::Div)
        .filter(|(_, six)| is_number(graph, *six, 6.0))
        .or_else(|| operands(graph, i, Binary::Mul).filter(|(_, sixth)| is_number(graph, *sixth, 1.0 / 6.0)))
        .map(|(x, _)| x)
        .filter(|x| keeps_shape(graph, i, *x));
    if let Some(six_times) = sixth {
        if let Some(x) = shifted_relu6(graph, links, six_times) {
            rewrite(graph, i, Op::Unary { function: HARD_SIGMOID }, vec![x]);
            return true;
        }
        if let Some((Binary::Mul, a, b)) = binary(graph, links, six_times) {
            for (x, other) in [(a, b), (b, a)] {
                if shifted_relu6(graph, links, other) == Some(x) {
                    rewrite(graph, i, Op::Unary { function: Unary::HardSwish }, vec![x]);
                    return true;
                }
            }
        }
    }
    if let Some((a, b)) = operands(graph, i, Binary::Mul) {
        for (x, gate) in [(a, b), (b, a)] {
            let function = match unary(graph, links, gate) {
                Some((Unary::Sigmoid, of)) if of == x => Unary::Silu,
                Some((own, of)) if of == x && is_hard_sigmoid(own) => Unary::HardSwish,
                _ => continue,
            };
            rewrite(graph, i, Op::Unary { function }, vec![x]);
            return true;
        }
    }
    false
}

/// The factors of a product: a number, and whatever is not one.
fn factors(graph: &Graph, links: &Links, id: ValueId, depth: usize) -> (f64, Vec<ValueId>) {
    if let Some(number) = uniform(graph, id) {
        return (f64::from(number), Vec::new());
    }
    if depth > 0 {
        match binary(graph, links, id) {
            Some((Binary::Mul, a, b)) => {
                let (a, b) = (factors(graph, links, a, depth - 1), factors(graph, links, b, depth - 1));
                return (a.0 * b.0, [a.1, b.1].concat());
            }
            Some((Binary::Div, a, b)) => {
                if let Some(number) = uniform(graph, b) {
                    let a = factors(graph, links, a, depth - 1);
                    return (a.0 / f64::from(number), a.1);
                }
            }
            _ => {}
        }
    }
    (1.0, vec![id])
}

/// `x / 2 · (1 + erf(x / √2))`, in any order.
fn gelu(graph: &mut Graph, links: &Links, i: usize) -> bool {
    let Op::Binary { function: Binary::Mul | Binary::Div } = graph.nodes[i].op else { return false };
    let (number, parts) = factors(graph, links, graph.nodes[i].outputs[0], 4);
    let [a, b] = parts[..] else { return false };
    if (number - 0.5).abs() > 1e-6 {
        return false;
    }
    for (x, sum) in [(a, b), (b, a)] {
        let Some((Binary::Add, erf, one)) = binary(graph, links, sum) else { continue };
        let Some((Unary::Erf, inner)) = unary(graph, links, erf) else { continue };
        let (scale, of) = factors(graph, links, inner, 2);
        let right = is_number(graph, one, 1.0)
            && (scale - std::f64::consts::FRAC_1_SQRT_2).abs() < 1e-6
            && of == [x]
            && keeps_shape(graph, i, x);
        if right {
            rewrite(graph, i, Op::Unary { function: Unary::Gelu }, vec![x]);
            return true;
        }
    }
    false
}

/// A reduction of a reduction is one over both's dimensions.
fn reductions(graph: &mut Graph, links: &Links, i: usize) -> bool {
    let node = &graph.nodes[i];
    let Op::Reduce { reduction, axes, keep_dims } = &node.op else { return false };
    let Some(inner) = links.made_by(graph, node.inputs[0]) else { return false };
    let Op::Reduce { reduction: same, axes: first, keep_dims: true } = &inner.op else { return false };
    if reduction != same || links.readers[node.inputs[0].index()] != 1 {
        return false;
    }
    let mut all = [axes.as_slice(), first].concat();
    all.sort_unstable();
    all.dedup();
    let op = Op::Reduce { reduction: *reduction, axes: all, keep_dims: *keep_dims };
    let x = inner.inputs[0];
    rewrite(graph, i, op, vec![x]);
    true
}

/// A reduction over flattened trailing dimensions is one over these.
fn flattened_reduction(graph: &mut Graph, links: &Links, i: usize) -> bool {
    let node = &graph.nodes[i];
    let Op::Reduce { reduction, axes, .. } = &node.op else { return false };
    let Some(flatten) = links.made_by(graph, node.inputs[0]) else { return false };
    let (flat, x) = (&graph.value(node.inputs[0]).shape, flatten.inputs.first());
    let Some(&x) = x.filter(|_| flatten.op == Op::Reshape) else { return false };
    let shape = graph.value(x).shape.clone();
    let last = flat.len() - 1;
    if *axes != [last] || shape.len() <= flat.len() || shape[..last] != flat[..last] {
        return false;
    }
    let op = Op::Reduce { reduction: *reduction, axes: (last..shape.len()).collect(), keep_dims: true };
    let mut kept = shape[..last].to_vec();
    kept.resize(shape.len(), Dim::Fixed(1));
    let element = graph.value(x).element;
    let reduced = insert_before(graph, i, op, vec![x], kept, element);
    rewrite(graph, i + 1, Op::Reshape, vec![reduced]);
    true
}

/// A window over the whole map is a reduction.
fn whole_window(graph: &mut Graph, _: &Links, i: usize) -> bool {
    let node = &graph.nodes[i];
    let shape = |id: ValueId| fixed(&graph.value(id).shape[2..]);
    let whole = |pool: &crate::op::PoolAttrs| {
        pool.pad_begin == [0, 0]
            && pool.pad_end == [0, 0]
            && shape(node.inputs[0]).as_deref() == Some(&pool.kernel)
    };
    let reduction = match &node.op {
        Op::AdaptiveAvgPool if shape(node.outputs[0]).as_deref() == Some(&[1, 1]) => Reduction::Mean,
        Op::AvgPool { pool, .. } if whole(pool) && pool.dilation == [1, 1] => Reduction::Mean,
        Op::MaxPool(pool) if whole(pool) && pool.dilation == [1, 1] => Reduction::Max,
        _ => return false,
    };
    let inputs = node.inputs.clone();
    rewrite(graph, i, Op::Reduce { reduction, axes: vec![2, 3], keep_dims: true }, inputs);
    true
}

/// Zeros before and after are a border.
fn zero_border(graph: &mut Graph, links: &Links, i: usize) -> bool {
    let node = &graph.nodes[i];
    let Op::Concat { axis } = node.op else { return false };
    let zeros = |id: ValueId| {
        let filled = links.made_by(graph, id).is_some_and(|node| node.op == Op::Full { value: 0.0 });
        filled || uniform(graph, id) == Some(0.0)
    };
    let others: Vec<usize> = (0..node.inputs.len()).filter(|&at| !zeros(node.inputs[at])).collect();
    let [place] = others[..] else { return false };
    let rank = graph.value(node.outputs[0]).shape.len();
    if node.inputs.len() == 1 || graph.value(node.inputs[place]).element != ElementType::F32 {
        return false;
    }
    let width = |ids: &[ValueId]| -> Option<usize> {
        ids.iter().map(|&id| fixed(&graph.value(id).shape[axis..=axis]).map(|shape| shape[0])).sum()
    };
    let (Some(first), Some(rest)) = (width(&node.inputs[..place]), width(&node.inputs[place + 1..])) else {
        return false;
    };
    let (mut before, mut after) = (vec![0; rank], vec![0; rank]);
    (before[axis], after[axis]) = (first, rest);
    let x = node.inputs[place];
    rewrite(graph, i, Op::Pad { mode: PadMode::Constant(0.0), before, after }, vec![x]);
    true
}
