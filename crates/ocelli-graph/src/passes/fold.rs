//! Computing what is known beforehand.

use super::util::fixed;
use crate::ir::{Constant, Graph, ValueId};
use crate::op::{Binary, Op};

/// Replaces reshaped, transposed and expanded constants by constants; a parameter keeps its name. Also the arithmetic of two
/// small constants.
pub fn fold_constants(graph: &mut Graph) {
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        if node.inputs.is_empty() || !node.inputs.iter().all(|id| graph.constants.contains_key(id)) {
            continue;
        }
        let (op, inputs, output) = (node.op.clone(), node.inputs.clone(), node.outputs[0]);
        if let Some(constant) = compute(graph, &op, &inputs, output) {
            let name = graph.value(inputs[0]).name.clone();
            graph.values[output.index()].name = unique(graph, name);
            graph.constants.insert(output, constant);
            graph.nodes[index].inputs.clear();
            graph.nodes[index].outputs.clear();
        }
    }
    graph.nodes.retain(|node| !node.outputs.is_empty());
    super::remove_dead(graph);
    // A parameter that is gone in its old form leaves its name to the new one.
    for index in 0..graph.values.len() {
        if let Some(plain) = graph.values[index].name.strip_suffix(FOLDED)
            && !graph.values.iter().any(|value| value.name == plain)
        {
            graph.values[index].name = plain.to_string();
        }
    }
}

const FOLDED: &str = "#folded";

fn unique(graph: &Graph, name: String) -> String {
    let mut name = if name.ends_with(FOLDED) { name } else { name + FOLDED };
    while graph.values.iter().any(|value| value.name == name) {
        name.insert(0, '_');
    }
    name
}

fn compute(graph: &Graph, op: &Op, inputs: &[ValueId], output: ValueId) -> Option<Constant> {
    let shape = fixed(graph, output)?;
    let constant = graph.constants.get(&inputs[0])?;
    match op {
        Op::Reshape => Some(constant.clone()),
        Op::Transpose { permutation } => {
            let from = fixed(graph, inputs[0])?;
            let strides = strides(&from);
            let strides: Vec<usize> = permutation.iter().map(|&d| strides[d]).collect();
            Some(rearranged(constant, &shape, &strides))
        }
        Op::Expand => {
            let from = fixed(graph, inputs[0])?;
            let own = strides(&from);
            let missing = shape.len().checked_sub(from.len())?;
            let strides: Vec<usize> = (0..shape.len())
                .map(|d| if d < missing || from[d - missing] == 1 { 0 } else { own[d - missing] })
                .collect();
            (shape.iter().product::<usize>() <= 1 << 20).then(|| rearranged(constant, &shape, &strides))
        }
        Op::Binary { function } => {
            let (a, b) = (constant.as_f32()?, graph.constant_f32(inputs[1])?);
            let f = match function {
                Binary::Add => |a, b| a + b,
                Binary::Sub => |a, b| a - b,
                Binary::Mul => |a: f32, b: f32| a * b,
                Binary::Div => |a, b| a / b,
                _ => return None,
            };
            let n = shape.iter().product::<usize>();
            if ![1, n].contains(&a.len()) || ![1, n].contains(&b.len()) {
                return None;
            }
            Some(Constant::F32((0..n).map(|i| f(a[i % a.len()], b[i % b.len()])).collect()))
        }
        _ => None,
    }
}

fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for d in (1..shape.len()).rev() {
        strides[d - 1] = strides[d] * shape[d];
    }
    strides
}

fn rearranged(constant: &Constant, shape: &[usize], strides: &[usize]) -> Constant {
    fn pick<T: Copy>(from: &[T], shape: &[usize], strides: &[usize]) -> Vec<T> {
        let count: usize = shape.iter().product();
        let mut at = vec![0; shape.len()];
        let mut offset = 0;
        let mut picked = Vec::with_capacity(count);
        for _ in 0..count {
            picked.push(from[offset]);
            for d in (0..shape.len()).rev() {
                at[d] += 1;
                offset += strides[d];
                if at[d] < shape[d] {
                    break;
                }
                offset -= strides[d] * shape[d];
                at[d] = 0;
            }
        }
        picked
    }
    match constant {
        Constant::F32(numbers) => Constant::F32(pick(numbers, shape, strides).into()),
        Constant::I64(numbers) => Constant::I64(pick(numbers, shape, strides).into()),
        Constant::Bool(values) => Constant::Bool(pick(values, shape, strides).into()),
    }
}
