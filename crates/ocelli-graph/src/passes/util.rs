//! What passes share.

use std::collections::HashMap;

use crate::ir::{Dim, Graph, ValueId};

/// Who makes and who reads each value.
pub(super) struct Links {
    /// Index of the node that computes the value.
    pub maker: Vec<Option<usize>>,
    /// Indices of the nodes that read it, one entry per place; graph outputs count as `usize::MAX`.
    pub readers: Vec<Vec<usize>>,
}

impl Links {
    pub fn of(graph: &Graph) -> Self {
        let mut links =
            Self { maker: vec![None; graph.values.len()], readers: vec![vec![]; graph.values.len()] };
        for (index, node) in graph.nodes.iter().enumerate() {
            for id in &node.outputs {
                links.maker[id.index()] = Some(index);
            }
            for id in &node.inputs {
                links.readers[id.index()].push(index);
            }
        }
        for id in &graph.outputs {
            links.readers[id.index()].push(usize::MAX);
        }
        links
    }

    /// The one node that reads `id`, if nothing else does.
    pub fn only_reader(&self, id: ValueId) -> Option<usize> {
        match self.readers[id.index()][..] {
            [reader] if reader != usize::MAX => Some(reader),
            _ => None,
        }
    }
}

/// Lets all readers of `from` read `to`.
pub(super) fn replace(graph: &mut Graph, from: ValueId, to: ValueId) {
    let swap = |id: &mut ValueId| {
        if *id == from {
            *id = to;
        }
    };
    for node in &mut graph.nodes {
        node.inputs.iter_mut().for_each(swap);
    }
    graph.outputs.iter_mut().for_each(swap);
}

/// As [`replace`], for many values at once; chains are followed.
pub(super) fn replace_all(graph: &mut Graph, map: &HashMap<ValueId, ValueId>) {
    let last = |mut id: ValueId| {
        while let Some(&next) = map.get(&id) {
            id = next;
        }
        id
    };
    for node in &mut graph.nodes {
        for id in &mut node.inputs {
            *id = last(*id);
        }
    }
    for id in &mut graph.outputs {
        *id = last(*id);
    }
}

/// The extents, if none depends on the batch.
pub(super) fn fixed(graph: &Graph, id: ValueId) -> Option<Vec<usize>> {
    graph
        .value(id)
        .shape
        .iter()
        .map(|dim| match dim {
            Dim::Fixed(extent) => Some(*extent),
            Dim::Batch(_) => None,
        })
        .collect()
}

/// The one number of a constant of one element.
pub(super) fn scalar(graph: &Graph, id: ValueId) -> Option<f32> {
    match graph.constant_f32(id)? {
        [number] => Some(*number),
        _ => None,
    }
}
