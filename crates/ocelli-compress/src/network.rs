//! A network as quantisation sees it: its layers, and the values that become codes.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use ocelli_graph::{Binary, Constant, Dim, ElementType, Graph, Node, Op, Reduction, Unary, ValueId, passes};

use crate::equalise::{self, Layer as ChainLayer};
use crate::error::CompressError;

/// A convolution or linear layer with constant weights.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Its name.
    pub name: String,
    /// Its node in the graph.
    pub node: usize,
    /// Output channels.
    pub channels: usize,
    /// What it reads.
    pub input: ValueId,
    /// What it computes, before an activation.
    pub output: ValueId,
    /// A linear layer's weight is `[in, out]`, a convolution's `[out, in / groups, kernel..]`.
    pub linear: bool,
}

/// A graph prepared for quantisation.
#[derive(Clone, Debug)]
pub struct Network {
    /// Batch norms folded, nothing fused, a bias at every layer.
    pub graph: Graph,
    /// Its layers in order.
    pub layers: Vec<Layer>,
    /// The values that become codes.
    pub points: BTreeSet<ValueId>,
}

impl Network {
    /// Folds batch norms and finds what can be quantised; `keep` are names of layers that stay in floating point.
    ///
    /// # Errors
    /// If no layer can be quantised, a weight is no number, or `keep` names something that is no layer.
    pub fn new(mut graph: Graph, keep: &BTreeSet<String>) -> Result<Self, CompressError> {
        passes::simplify(&mut graph);
        let mut layers = Vec::new();
        let mut unknown = keep.clone();
        for i in 0..graph.nodes.len() {
            let node = &graph.nodes[i];
            let (linear, bias) = match &node.op {
                Op::Conv { bias, residual: false, activation: None, .. } => (false, *bias),
                Op::Linear { bias, residual: false, activation: None } => (true, *bias),
                _ => continue,
            };
            let Some(weights) = graph.constant_f32(node.inputs[1]) else { continue };
            if let Some(w) = weights.iter().find(|w| !w.is_finite()) {
                let problem = format!("a weight is {w}; only finite weights can be quantised");
                return Err(CompressError::Number { place: node.name.clone(), problem });
            }
            if unknown.remove(&node.name) || keep.contains(&node.name) {
                continue;
            }
            let shape = graph.value(node.inputs[1]).shape_at(1);
            let channels = if linear { shape[1] } else { shape[0] };
            let (name, input, output) = (node.name.clone(), node.inputs[0], node.outputs[0]);
            if !bias {
                let zeros = graph.add_constant(format!("{name}.bias"), &[channels], vec![0.0; channels]);
                let node = &mut graph.nodes[i];
                node.inputs.insert(2, zeros);
                if let Op::Conv { bias, .. } | Op::Linear { bias, .. } = &mut node.op {
                    *bias = true;
                }
            }
            layers.push(Layer { name, node: i, channels, input, output, linear });
        }
        if let Some(name) = unknown.first() {
            let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
            return Err(CompressError::Setting(format!(
                "'{name}' is no layer of '{}', whose layers are {}",
                graph.name,
                names.join(", ")
            )));
        }
        if layers.is_empty() {
            return Err(CompressError::NoLayers(graph.name));
        }
        let points = points(&graph, &layers);
        Ok(Self { graph, layers, points })
    }

    /// The weights of `layer`, row by row of its output channels.
    pub fn weights(&self, layer: &Layer) -> Vec<f32> {
        let node = &self.graph.nodes[layer.node];
        let weights = self.graph.constant_f32(node.inputs[1]).unwrap_or_default();
        if layer.linear { transposed(weights, layer.channels) } else { weights.to_vec() }
    }

    /// Its bias.
    pub fn bias(&self, layer: &Layer) -> Vec<f32> {
        let node = &self.graph.nodes[layer.node];
        self.graph.constant_f32(node.inputs[2]).unwrap_or_default().to_vec()
    }

    pub(crate) fn set(&mut self, layer: usize, weights: Vec<f32>, bias: Vec<f32>) {
        let layer = &self.layers[layer];
        let inputs = self.graph.nodes[layer.node].inputs.clone();
        let weights =
            if layer.linear { transposed(&weights, weights.len() / layer.channels) } else { weights };
        // Shared constants stay as they are for their other readers.
        for (place, numbers) in [(1, weights), (2, bias)] {
            let value = self.graph.value(inputs[place]).clone();
            let shape = value.shape_at(1);
            let id = self.graph.add_known(value.name, &shape, Constant::F32(numbers.into()));
            self.graph.nodes[layer.node].inputs[place] = id;
        }
    }

    /// Shares ranges out between consecutive layers that only ReLU or nothing separates. Returns how many pairs there were.
    pub fn equalise(&mut self) -> usize {
        let readers = readers(&self.graph);
        let sole = |id: ValueId| match readers.get(&id).map(Vec::as_slice) {
            Some(&[only]) => only,
            _ => None,
        };
        // The layer that alone reads another's result.
        let next: Vec<Option<usize>> = self
            .layers
            .iter()
            .map(|layer| {
                let mut id = layer.output;
                loop {
                    let reader = sole(id)?;
                    let node = &self.graph.nodes[reader];
                    match &node.op {
                        Op::Unary { function: Unary::Relu } => id = node.outputs[0],
                        Op::Conv { .. } => return self.layers.iter().position(|l| l.node == reader),
                        _ => return None,
                    }
                }
            })
            .collect();
        let mut pairs = 0;
        let mut begun: HashSet<usize> = next.iter().flatten().copied().collect();
        for first in 0..self.layers.len() {
            if !begun.insert(first) {
                continue;
            }
            let mut chain = vec![first];
            while let Some(other) = next[chain[chain.len() - 1]] {
                chain.push(other);
            }
            let mut layers: Vec<ChainLayer> = Vec::new();
            for &i in &chain {
                match self.chain_layer(i) {
                    Some(layer) => layers.push(layer),
                    None => break,
                }
            }
            if layers.len() < 2 {
                continue;
            }
            pairs += layers.len() - 1;
            equalise::equalise(&mut layers);
            for (&i, layer) in chain.iter().zip(layers) {
                self.set(i, layer.weights, layer.bias);
            }
        }
        pairs
    }

    /// Layer `i` as equalisation sees it, if it is a convolution that is dense or depthwise.
    fn chain_layer(&self, i: usize) -> Option<ChainLayer> {
        let layer = &self.layers[i];
        let node = &self.graph.nodes[layer.node];
        let Op::Conv { attrs, .. } = &node.op else { return None };
        let shape = self.graph.value(node.inputs[1]).shape_at(1);
        let inputs = self.graph.value(layer.input).shape_at(1)[1];
        let depthwise = attrs.groups == inputs && layer.channels == inputs && shape[1] == 1;
        if attrs.groups != 1 && !depthwise {
            return None;
        }
        let (weights, bias) = (self.weights(layer), self.bias(layer));
        Some(ChainLayer {
            weights,
            bias,
            channels: layer.channels,
            depth: shape[1],
            depthwise: depthwise && inputs > 1,
        })
    }

    /// The value with this name.
    pub fn value(&self, name: &str) -> Option<ValueId> {
        let found = self.graph.values.iter().position(|value| value.name == name)?;
        Some(ValueId(found as u32))
    }
}

/// `[rows, columns]` with `rows` columns to be rows.
pub(crate) fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    let rows = matrix.len() / columns.max(1);
    (0..matrix.len()).map(|i| matrix[i % rows * columns + i / rows]).collect()
}

/// The nodes that read each value; a graph's output is read by none.
fn readers(graph: &Graph) -> BTreeMap<ValueId, Vec<Option<usize>>> {
    let mut readers: BTreeMap<ValueId, Vec<Option<usize>>> = BTreeMap::new();
    for (i, node) in graph.nodes.iter().enumerate() {
        for id in &node.inputs {
            readers.entry(*id).or_default().push(Some(i));
        }
    }
    for id in &graph.outputs {
        readers.entry(*id).or_default().push(None);
    }
    readers
}

/// Whether the operation moves elements about without changing them.
pub(crate) fn is_mover(op: &Op) -> bool {
    matches!(op, Op::Reshape | Op::Transpose { .. } | Op::Slice { .. } | Op::Expand)
}

/// Whether an activation is a mere bound, which codes have anyway.
fn bounds(function: Unary) -> bool {
    match function {
        Unary::Relu => true,
        Unary::Clamp { min, .. } => min <= 0.0,
        _ => false,
    }
}

/// Whether codes in give codes out: what else can be computed on codes.
fn takes_codes(graph: &Graph, node: &Node) -> bool {
    let maps = |id: &ValueId| !graph.constants.contains_key(id);
    match &node.op {
        Op::Binary { function: Binary::Add } => {
            let [a, b] = [0, 1].map(|i| node.inputs[i]);
            maps(&a) && maps(&b) && graph.value(a).shape == graph.value(b).shape
        }
        Op::Binary { function: Binary::Mul } => {
            let [a, b] = [0, 1].map(|i| &graph.value(node.inputs[i]).shape);
            maps(&node.inputs[0]) && maps(&node.inputs[1]) && is_gated(a, b)
        }
        Op::MaxPool(_) | Op::AvgPool { .. } => true,
        Op::Concat { axis: 1 } => node.inputs.iter().all(maps),
        Op::Reduce { reduction: Reduction::Mean, axes, .. } => {
            axes[..] == [2, 3] && graph.value(node.inputs[0]).shape.len() == 4
        }
        Op::Unary { function } => !matches!(function, Unary::Not),
        op => is_mover(op),
    }
}

/// Whether one is a map and the other a factor for each of its channels, or both are maps.
pub(crate) fn is_gated(a: &[Dim], b: &[Dim]) -> bool {
    let gate = |x: &[Dim], y: &[Dim]| {
        x.len() == 4 && y.len() == 4 && x[..2] == y[..2] && y[2..] == [Dim::Fixed(1), Dim::Fixed(1)]
    };
    a == b || gate(a, b) || gate(b, a)
}

/// The values that become codes: what layers read, and, backwards from there, what is computed into that on codes. What lies
/// between a layer or a sum and its ReLU stays inside.
fn points(graph: &Graph, layers: &[Layer]) -> BTreeSet<ValueId> {
    let producer: BTreeMap<ValueId, &Node> =
        graph.nodes.iter().flat_map(|node| node.outputs.iter().map(move |id| (*id, node))).collect();
    let readers = readers(graph);
    let own: HashSet<usize> = layers.iter().map(|layer| layer.node).collect();
    let is_layer = |node: &Node| own.iter().any(|&i| std::ptr::eq(&graph.nodes[i], node));
    let mut points = BTreeSet::new();
    let mut open: Vec<ValueId> = layers.iter().map(|layer| layer.input).collect();
    while let Some(id) = open.pop() {
        if graph.constants.contains_key(&id)
            || graph.value(id).element != ElementType::F32
            || !points.insert(id)
        {
            continue;
        }
        let Some(node) = producer.get(&id) else { continue };
        // A ReLU that alone reads a layer or a sum belongs to it.
        if let Op::Unary { function } = node.op
            && bounds(function)
            && readers.get(&node.inputs[0]).is_some_and(|all| all.len() == 1)
            && let Some(before) = producer.get(&node.inputs[0])
        {
            if is_layer(before) {
                continue;
            }
            if matches!(before.op, Op::Binary { function: Binary::Add }) && takes_codes(graph, before) {
                open.extend(&before.inputs);
                continue;
            }
        }
        if takes_codes(graph, node) {
            open.extend(&node.inputs);
        }
    }
    points
}
