//! What rewriting needs to know about a graph, and small changes to it.

use std::collections::HashSet;

use crate::ir::{Constant, Dim, ElementType, Graph, Node, ValueId};
use crate::op::{Op, Unary};

/// Who makes and who reads every value, as of when it was made.
pub(super) struct Links {
    /// The node that computes a value.
    pub producer: Vec<Option<usize>>,
    /// How many places read it; the graph's outputs count.
    pub readers: Vec<usize>,
}

impl Links {
    pub fn of(graph: &Graph) -> Self {
        let count = graph.values.len();
        let mut links = Self { producer: vec![None; count], readers: vec![0; count] };
        for (i, node) in graph.nodes.iter().enumerate() {
            for id in &node.inputs {
                links.readers[id.index()] += 1;
            }
            for id in &node.outputs {
                links.producer[id.index()] = Some(i);
            }
        }
        for id in &graph.outputs {
            links.readers[id.index()] += 1;
        }
        links
    }

    /// The node that computes `id`.
    pub fn made_by<'a>(&self, graph: &'a Graph, id: ValueId) -> Option<&'a Node> {
        self.producer[id.index()].map(|i| &graph.nodes[i])
    }
}

/// Makes every reader of `from` read `to`.
pub(super) fn replace(graph: &mut Graph, from: ValueId, to: ValueId) {
    let ids = graph.nodes.iter_mut().flat_map(|node| &mut node.inputs).chain(&mut graph.outputs);
    ids.filter(|id| **id == from).for_each(|id| *id = to);
}

/// A name nothing has yet.
pub(super) fn free_name(graph: &Graph, wanted: &str) -> String {
    let taken: HashSet<&str> = graph.values.iter().map(|value| value.name.as_str()).collect();
    let numbered = (2..).map(|i| format!("{wanted}_{i}"));
    std::iter::once(wanted.to_string())
        .chain(numbered)
        .find(|name| !taken.contains(name.as_str()))
        .unwrap_or_default()
}

/// A constant beside the others.
pub(super) fn add_constant(graph: &mut Graph, wanted: &str, shape: &[usize], data: Vec<f32>) -> ValueId {
    let name = free_name(graph, wanted);
    graph.add_constant(name, shape, data)
}

/// The number that `id` is everywhere, if it is such a constant.
pub(super) fn uniform(graph: &Graph, id: ValueId) -> Option<f32> {
    let numbers = graph.constant_f32(id)?;
    let first = *numbers.first()?;
    // Large constants are parameters, not numbers.
    (numbers.len() <= 4096 && numbers.iter().all(|v| *v == first)).then_some(first)
}

/// Whether `id` is `number` everywhere, but for the last bits.
pub(super) fn is_number(graph: &Graph, id: ValueId, number: f32) -> bool {
    uniform(graph, id).is_some_and(|own| (own - number).abs() <= 1e-6 * number.abs())
}

/// The extents, if none follows the batch.
pub(super) fn fixed(shape: &[Dim]) -> Option<Vec<usize>> {
    shape
        .iter()
        .map(|dim| match dim {
            Dim::Fixed(extent) => Some(*extent),
            Dim::Batch(_) => None,
        })
        .collect()
}

/// Node `index` becomes `op` of `inputs`; its outputs stay.
pub(super) fn rewrite(graph: &mut Graph, index: usize, op: Op, inputs: Vec<ValueId>) {
    let node = &mut graph.nodes[index];
    (node.op, node.inputs) = (op, inputs);
}

/// A new node right before node `index`, named after it.
pub(super) fn insert_before(
    graph: &mut Graph,
    index: usize,
    op: Op,
    inputs: Vec<ValueId>,
    shape: Vec<Dim>,
    element: ElementType,
) -> ValueId {
    let base = format!("{}.{}", graph.nodes[index].name, op.kind());
    let taken = |name: &str| graph.nodes.iter().any(|node| node.name == name);
    let mut name = base.clone();
    let mut number = 2;
    while taken(&name) {
        name = format!("{base}_{number}");
        number += 1;
    }
    let value = free_name(graph, &name);
    let id = graph.add_value(value, shape, element);
    graph.nodes.insert(index, Node { name, op, inputs, outputs: vec![id] });
    id
}

/// The function of a [`Op::Unary`].
pub(super) fn function(node: &Node) -> Option<Unary> {
    match node.op {
        Op::Unary { function } => Some(function),
        _ => None,
    }
}

/// A known tensor for the interpreter.
pub(super) fn tensor(graph: &Graph, id: ValueId) -> Option<crate::interpret::Tensor> {
    let data: &Constant = graph.constants.get(&id)?;
    Some(crate::interpret::Tensor { shape: graph.value(id).shape_at(1), data: data.clone() })
}
