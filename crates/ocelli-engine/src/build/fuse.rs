//! Elementwise nodes that share one pass over memory: a gate (`x · g`), the shortcut added to it, and the bounds of
//! an activation. Convolutions take theirs in before, in the graph's own passes.

use ocelli_graph::{Binary, Op, Unary, ValueId};

use super::Builder;

/// What the step of a sum or another function of two does besides.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extra {
    /// Instead of its own operands: `a · b + c`.
    pub product: Option<[ValueId; 3]>,
    /// Bounds of the result.
    pub bounds: Option<(f32, f32)>,
    /// The value that is written instead of the node's own output.
    pub output: Option<ValueId>,
}

impl Builder<'_> {
    /// Finds the groups; only values that nobody else reads disappear.
    pub(super) fn fuse(&mut self) {
        let graph = self.graph;
        let mut reader = vec![None; graph.values.len()];
        let mut maker = vec![None; graph.values.len()];
        for (index, node) in graph.nodes.iter().enumerate() {
            for id in &node.inputs {
                reader[id.index()] = Some(index);
            }
            for id in &node.outputs {
                maker[id.index()] = Some(index);
            }
        }
        let shape = |id: ValueId| &graph.value(id).shape;
        for (index, node) in graph.nodes.iter().enumerate() {
            let Op::Binary { function } = node.op else { continue };
            let output = node.outputs[0];
            let mut extra = Extra::default();
            if function == Binary::Add {
                for (own, other) in [(0, 1), (1, 0)] {
                    let product = node.inputs[own];
                    let Some(from) = maker[product.index()] else { continue };
                    let gated = &graph.nodes[from];
                    let fits = gated.op == Op::Binary { function: Binary::Mul }
                        && self.readers[product.index()] == 1
                        && !self.homes.contains_key(&product)
                        && shape(product) == shape(output)
                        && shape(node.inputs[other]) == shape(output)
                        && node.inputs[other] != product;
                    if fits {
                        // The factor that may be repeated goes second.
                        let [a, b] = [gated.inputs[0], gated.inputs[1]];
                        let (a, b) = if shape(a) == shape(output) { (a, b) } else { (b, a) };
                        if shape(a) == shape(output) {
                            extra.product = Some([a, b, node.inputs[other]]);
                            self.absorbed.insert(from);
                            break;
                        }
                    }
                }
            }
            if self.readers[output.index()] == 1
                && !self.homes.contains_key(&output)
                && let Some(next) = reader[output.index()]
                && let Op::Unary { function } = graph.nodes[next].op
            {
                extra.bounds = match function {
                    Unary::Relu => Some((0.0, f32::INFINITY)),
                    Unary::Clamp { min, max } => Some((min, max)),
                    _ => None,
                };
                if extra.bounds.is_some() {
                    extra.output = Some(graph.nodes[next].outputs[0]);
                    self.absorbed.insert(next);
                }
            }
            if extra.product.is_some() || extra.bounds.is_some() {
                self.extras.insert(index, extra);
            }
        }
    }
}
