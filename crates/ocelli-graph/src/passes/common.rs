//! Computes equal things once.

use std::collections::HashMap;

use super::edit::replace;
use crate::ir::{Constant, Graph, ValueId};

/// Constants of more elements are not compared: equal ones are not to be expected among weights.
const MOST: usize = 1 << 16;

/// Merges nodes that do the same to the same, and equal constants. Returns whether there were any.
pub fn merge_equal(graph: &mut Graph) -> bool {
    let mut changed = false;
    let mut known: HashMap<(String, usize, u64), Vec<ValueId>> = HashMap::new();
    let ids: Vec<ValueId> = graph.constants.keys().copied().collect();
    for id in ids {
        let constant = &graph.constants[&id];
        if constant.len() > MOST {
            continue;
        }
        let key = (format!("{:?}", graph.value(id).shape), constant.len(), fingerprint(constant));
        let same = known.entry(key).or_default();
        match same.iter().find(|other| equal(&graph.constants[other], constant)) {
            Some(&other) => {
                replace(graph, id, other);
                graph.constants.remove(&id);
                changed = true;
            }
            None => same.push(id),
        }
    }
    let mut seen: HashMap<(String, Vec<ValueId>), usize> = HashMap::new();
    for i in 0..graph.nodes.len() {
        let node = &graph.nodes[i];
        // Operations whose argument is the result's shape differ by it.
        let shapes: Vec<_> =
            node.outputs.iter().map(|&id| (&graph.value(id).shape, graph.value(id).element)).collect();
        let key = (format!("{:?}{shapes:?}", node.op), node.inputs.clone());
        match seen.get(&key) {
            Some(&first) => {
                let pairs: Vec<_> =
                    node.outputs.iter().copied().zip(graph.nodes[first].outputs.clone()).collect();
                for (own, other) in pairs {
                    replace(graph, own, other);
                }
                graph.nodes[i].outputs.clear();
                changed = true;
            }
            None => {
                seen.insert(key, i);
            }
        }
    }
    graph.nodes.retain(|node| !node.outputs.is_empty());
    changed
}

/// Equal to the bit: 0 and -0 are told apart, what is no number equals itself.
fn equal(a: &Constant, b: &Constant) -> bool {
    match (a, b) {
        (Constant::F32(a), Constant::F32(b)) => {
            a.iter().map(|v| v.to_bits()).eq(b.iter().map(|v| v.to_bits()))
        }
        _ => a == b,
    }
}

fn fingerprint(constant: &Constant) -> u64 {
    let mix = |sum: u64, bits: u64| (sum ^ bits).wrapping_mul(0x0000_0100_0000_01b3);
    match constant {
        Constant::F32(values) => values.iter().fold(1, |sum, v| mix(sum, u64::from(v.to_bits()))),
        Constant::I64(values) => values.iter().fold(2, |sum, v| mix(sum, *v as u64)),
        Constant::I32(values) => values.iter().fold(4, |sum, v| mix(sum, *v as u64)),
        Constant::U8(values) => values.iter().fold(5, |sum, v| mix(sum, u64::from(*v))),
        Constant::I8(values) => values.iter().fold(6, |sum, v| mix(sum, *v as u64)),
        Constant::Bool(values) => values.iter().fold(3, |sum, v| mix(sum, u64::from(*v))),
    }
}
