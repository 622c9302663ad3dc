//! Graphs of the registered networks.

use burn::tensor::Device;
use ocelli_graph::{Dim, Graph, Op};
use ocelli_image::zoo;

/// The smallest side every network of the registry still has maps for.
const SIDE: usize = 64;

fn small(entry: &zoo::Entry) -> [usize; 3] {
    let [channels, side, _] = entry.input_shape();
    [channels, side.min(SIDE), side.min(SIDE)]
}

#[test]
fn every_network_becomes_a_graph_of_few_operators() {
    for entry in zoo::entries() {
        let network = entry.config().init(&Device::flex());
        let graph: Graph = network.structure(small(&entry)).unwrap_or_else(|e| panic!("{}: {e}", entry.name));
        assert_eq!(graph.inputs.len(), 1, "{}", entry.name);
        let output = graph.value(graph.outputs[0]);
        assert_eq!(output.shape[0], Dim::Batch(1), "{}", entry.name);
        assert!(graph.nodes.iter().any(|node| matches!(node.op, Op::Conv { .. })));
        if std::env::var("SHOW").is_ok_and(|name| name == entry.name) {
            for node in &graph.nodes {
                let inputs: Vec<_> = node.inputs.iter().map(|id| &graph.value(*id).name).collect();
                let out = graph.value(node.outputs[0]);
                println!("{:30} {:?} {inputs:?} -> {:?}", node.name, node.op, out.shape);
            }
        }
    }
}
