//! Graphs of the registered networks.

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_graph::{Dim, Graph, Op, cost, interpret, passes};
use ocelli_image::zoo;
use ocelli_testkit::fill;

use crate::settled;

/// A side most networks of the registry still have maps for; some need larger ones.
const SIDE: usize = 64;

/// Most parameters of a network that is interpreted.
const LARGEST: usize = 40_000_000;

fn small(entry: &zoo::Entry) -> [usize; 3] {
    let [channels, side, _] = entry.input_shape();
    let side = crate::small_side(&entry.config().init(&Device::flex()), side.min(SIDE));
    [channels, side, side]
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
        // The graph's costs are those counted on the recording.
        let costs = cost::costs(&graph);
        let sum = |of: fn(&cost::NodeCost) -> u64| costs.iter().map(of).sum::<u64>();
        assert_eq!(sum(|cost| cost.macs), network.macs(small(&entry)), "{}", entry.name);
        // Where every candidate is computed, the weights of resizing are constants too, and a released network carries
        // norm sets that nothing reads.
        if network.dynamic().is_none() {
            assert_eq!(sum(|cost| cost.params), network.parameter_count() as u64, "{}", entry.name);
        }
        let largest = costs.iter().map(|cost| cost.activation_bytes).max();
        assert!(Some(cost::peak_activation_bytes(&graph)) >= largest, "{}", entry.name);
    }
}

/// Largest difference, relative to the largest element.
fn error(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let largest = a.iter().fold(f32::MIN_POSITIVE, |most, v| most.max(v.abs()));
    let differ =
        a.iter().zip(b).fold(0f32, |most, (a, b)| if (a - b).abs() <= most { most } else { (a - b).abs() });
    differ / largest
}

#[test]
fn graphs_compute_what_the_networks_compute() {
    let device = Device::flex();
    let only = std::env::var("SHOW").ok();
    for entry in zoo::entries() {
        // The largest add nothing but time.
        if only.is_none() && entry.config().init(&device).parameter_count() > LARGEST {
            continue;
        }
        if only.as_ref().is_some_and(|name| name != entry.name) {
            continue;
        }
        let network = settled(entry.config().init(&device));
        let [channels, side, _] = entry.input_shape();
        let side = crate::small_side(&network, side.min(32));
        let input = fill::input("input", &[2, channels, side, side]);
        let shape = [2, channels, side, side];
        let expected = network.forward(Tensor::from_data(TensorData::new(input.clone(), shape), &device));
        let expected = expected.into_data().try_to_vec::<f32>().unwrap();

        let mut graph = network.graph([channels, side, side]).unwrap();
        let input = [interpret::Tensor::new(&shape, input)];
        let raw = interpret::interpret(&graph, &input).unwrap_or_else(|e| panic!("{}: {e}", entry.name));
        let nodes = graph.nodes.len();
        passes::optimize(&mut graph);
        let optimised =
            interpret::interpret(&graph, &input).unwrap_or_else(|e| panic!("{}: {e}", entry.name));
        let errors = [&raw, &optimised].map(|found| error(&expected, &found[0].floats()));
        println!(
            "{:32} {nodes:4} -> {:4} nodes, errors {:.1e} {:.1e}, largest {:.1e}",
            entry.name,
            graph.nodes.len(),
            errors[0],
            errors[1],
            expected.iter().fold(0f32, |m, v| m.max(v.abs()))
        );
        assert!(errors.iter().all(|error| *error <= 1e-4), "{}: {errors:?}", entry.name);
        let left = graph.nodes.iter().filter(|node| matches!(node.op, Op::BatchNorm { .. })).count();
        assert_eq!(left, 0, "{}: batch norms are left", entry.name);
        assert_eq!(
            network.state_dict(),
            settled(entry.config().init(&device)).state_dict(),
            "{}",
            entry.name
        );
    }
}
