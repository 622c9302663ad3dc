//! What a graph costs: multiply-accumulates, parameters, memory, node by node.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::ir::{ElementType, Graph, Node, ValueId};
use crate::op::Op;

/// What one node costs for one input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeCost {
    /// Name of the node.
    pub name: String,
    /// Name of the operation.
    pub op: String,
    /// Shape of the first result at batch 1.
    pub output: Vec<usize>,
    /// Multiply-accumulates of convolutions and products.
    pub macs: u64,
    /// Parameters it reads that no earlier node has read.
    pub params: u64,
    /// Bytes of its results.
    pub activation_bytes: u64,
}

/// The cost of every node at batch 1, in the order of execution.
pub fn costs(graph: &Graph) -> Vec<NodeCost> {
    let mut counted: BTreeSet<ValueId> = BTreeSet::new();
    let own = parameters(graph);
    graph
        .nodes
        .iter()
        .map(|node| {
            let elements = |id: &ValueId| graph.value(*id).shape_at(1).iter().product::<usize>() as u64;
            let mut params = 0;
            for id in &node.inputs {
                if own.contains(id) && counted.insert(*id) {
                    params += elements(id);
                }
            }
            NodeCost {
                name: node.name.clone(),
                op: node.op.kind().to_string(),
                output: node.outputs.first().map(|&id| graph.value(id).shape_at(1)).unwrap_or_default(),
                macs: macs(graph, node),
                params,
                activation_bytes: node
                    .outputs
                    .iter()
                    .map(|id| elements(id) * graph.value(*id).element.bytes() as u64)
                    .sum(),
            }
        })
        .collect()
}

/// The graph's parameters: constants but for single numbers and running statistics, and what a graph without its
/// parameters' values (`capture::structure`) reads and nobody computes.
fn parameters(graph: &Graph) -> BTreeSet<ValueId> {
    let computed = computed(graph);
    let trained = |id: &ValueId| {
        let value = graph.value(*id);
        value.element == ElementType::F32 && !value.shape.is_empty() && !is_frozen(&value.name)
    };
    let read = graph.nodes.iter().flat_map(|node| &node.inputs).copied();
    read.filter(|id| !computed.contains(id)).filter(trained).collect()
}

/// Running statistics and computed tables, by name (as in `ocelli_nn::state_dict`, which executors do without).
fn is_frozen(name: &str) -> bool {
    ["running_mean", "running_var", "relative_pos"].iter().any(|end| name.ends_with(end))
}

/// The values that take up memory only while the graph runs.
fn computed(graph: &Graph) -> BTreeSet<ValueId> {
    graph.nodes.iter().flat_map(|node| &node.outputs).chain(&graph.inputs).copied().collect()
}

/// Multiply-accumulates of all nodes at batch 1.
pub fn total_macs(graph: &Graph) -> u64 {
    graph.nodes.iter().map(|node| macs(graph, node)).sum()
}

/// Multiply-accumulates of `node` at batch 1.
pub fn macs(graph: &Graph, node: &Node) -> u64 {
    let shape =
        |place: usize| node.inputs.get(place).map(|&id| graph.value(id).shape_at(1)).unwrap_or_default();
    let output: u64 =
        node.outputs.first().map_or(0, |&id| graph.value(id).shape_at(1).iter().product::<usize>() as u64);
    match &node.op {
        // Distances in the place of products.
        Op::Conv { .. } | Op::ConvCodes { .. } | Op::AdderConv(_) => {
            output * shape(1).iter().skip(1).product::<usize>() as u64
        }
        Op::DynamicConv { .. } => {
            let experts: u64 = shape(1).iter().product::<usize>() as u64;
            let (per_expert, channels) =
                (shape(1)[1] as u64, graph.value(node.outputs[0]).shape[1].at(1) as u64);
            output * (per_expert / channels.max(1)) + shape(2)[0] as u64 * experts
        }
        Op::BinaryConv(_) => {
            let numbers = shape(1).iter().product::<usize>() as u64;
            output * (numbers / (graph.value(node.outputs[0]).shape[1].at(1) as u64).max(1))
        }
        Op::Neighbours { .. } => {
            let targets = shape(1)[2] * shape(1)[3];
            (shape(0).iter().product::<usize>() * targets) as u64
        }
        Op::ConvTranspose { .. } => {
            shape(0).iter().product::<usize>() as u64 * shape(1).iter().skip(1).product::<usize>() as u64
        }
        Op::Linear { .. } | Op::LinearCodes { .. } | Op::MatMul => {
            output * shape(0).last().copied().unwrap_or(0) as u64
        }
        Op::Attention { .. } => {
            let (q, k) = (shape(0), shape(1));
            let tokens = k.len().checked_sub(2).map_or(0, |d| k[d]);
            2 * q.iter().product::<usize>() as u64 * tokens as u64
        }
        _ => 0,
    }
}

/// Most bytes of results that are alive at once at batch 1, if each is kept from the node that makes it to the last that
/// reads it.
pub fn peak_activation_bytes(graph: &Graph) -> u64 {
    let bytes = |id: ValueId| 4 * graph.value(id).shape_at(1).iter().product::<usize>() as u64;
    let mut last = vec![0usize; graph.values.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        for id in node.inputs.iter().chain(&node.outputs) {
            last[id.index()] = index;
        }
    }
    for id in &graph.outputs {
        last[id.index()] = usize::MAX;
    }
    let computed = computed(graph);
    let mut alive: u64 = graph.inputs.iter().map(|&id| bytes(id)).sum();
    let mut peak = alive;
    for (index, node) in graph.nodes.iter().enumerate() {
        alive += node.outputs.iter().map(|&id| bytes(id)).sum::<u64>();
        peak = peak.max(alive);
        let mut ended: Vec<ValueId> = node.inputs.iter().chain(&node.outputs).copied().collect();
        ended.sort_unstable();
        ended.dedup();
        for id in ended {
            if last[id.index()] == index && computed.contains(&id) {
                alive -= bytes(id);
            }
        }
    }
    peak
}
