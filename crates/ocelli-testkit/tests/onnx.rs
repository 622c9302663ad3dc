//! Every registered network as an ONNX file, run by ONNX Runtime and compared with the network.

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_graph::onnx::{self, Summary};
use ocelli_graph::{Constant, Graph};
use ocelli_image::Network;
use ocelli_image::zoo::{Entry, Options, entries};
use ocelli_testkit::fill;

use crate::onnx_runtime::{self, Run, Runtime};
use crate::settled;

/// Largest difference allowed, relative to the largest logit.
const TOLERANCE: f64 = 1e-4;
/// Networks with more parameters than this are checked but not run.
const LARGEST: usize = 90_000_000;

/// The network with ten classes, all weights set.
fn network(entry: &Entry) -> Network {
    let options = Options { num_classes: Some(10), ..Options::default() };
    settled(entry.config_with(&options).init(&Device::flex()))
}

/// Names, counts and shapes of the file agree with the network's.
fn check_structure(name: &str, network: &Network, graph: &Graph, file: &[u8], picture: [usize; 3]) {
    let summary = Summary::read(file).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(summary.nodes.len() >= graph.nodes.len(), "{name}");
    let side = picture.map(|extent| extent.to_string());
    assert_eq!(summary.inputs.len(), 1, "{name}");
    assert_eq!(summary.inputs[0].shape, ["N", &side[0], &side[1], &side[2]], "{name}");
    assert_eq!(summary.outputs.len(), 1, "{name}");
    assert_eq!(summary.outputs[0].shape, ["N", "10"], "{name}");
    for (parameter, shape) in network.tensor_specs() {
        if parameter.ends_with("num_batches_tracked") {
            continue;
        }
        // The release's norm sets that nothing reads.
        if name == "dr_resnet50_released"
            && (parameter.contains("down_sample_layer.1.bn_1.")
                || parameter.contains("down_sample_layer.1.bn_2."))
        {
            continue;
        }
        // Tables of positions are in the file as resized for the picture.
        if parameter == "pos_embed" || parameter.ends_with("relative_pos") {
            continue;
        }
        let Some(found) = summary.initializers.get(&parameter) else {
            panic!("{name}: {parameter} is not in the file");
        };
        let count: u64 = found.iter().product();
        assert_eq!(count as usize, shape.iter().product::<usize>(), "{name}: {parameter} {found:?}");
    }
}

fn run(network: &Network, graph: &Graph, batch: usize, [channels, height, width]: [usize; 3]) -> Run {
    let shape = [batch, channels, height, width];
    let input = fill::input("x", &shape);
    let x = Tensor::<4>::from_data(TensorData::new(input.clone(), shape), &Device::flex());
    let logits = network.forward(x);
    let tensor = |id, shape: &[usize], data: Vec<f32>| onnx_runtime::Tensor {
        name: graph.value(id).name.clone(),
        shape: shape.to_vec(),
        data: Constant::F32(data.into()),
    };
    let expected = tensor(graph.outputs[0], &logits.dims(), logits.into_data().try_to_vec().unwrap());
    Run { inputs: vec![tensor(graph.inputs[0], &shape, input)], outputs: vec![expected] }
}

#[test]
fn every_network_computes_the_same_in_onnx_runtime() {
    let mut runtime = Runtime::start();
    let mut failures = Vec::new();
    let (mut worst, mut ran) = ((0.0, String::new()), 0);
    for entry in entries() {
        let name = entry.name;
        let network = network(&entry);
        let side = crate::small_side(&network, entry.input_size.min(64));
        let picture = [3, side, side];
        let graph = network.graph(picture).unwrap_or_else(|error| panic!("{name}: {error}"));
        let file = onnx::export(&graph).unwrap_or_else(|error| panic!("{name}: {error}"));
        check_structure(name, &network, &graph, &file, picture);
        let Some(runtime) = &mut runtime else { continue };
        let runs = match network.parameter_count() > LARGEST {
            true => Vec::new(),
            false => vec![run(&network, &graph, 1, picture), run(&network, &graph, 3, picture)],
        };
        match runtime.check(name, &file, &runs) {
            Ok(error) if error <= TOLERANCE => {
                ran += usize::from(!runs.is_empty());
                if error > worst.0 {
                    worst = (error, name.to_string());
                }
            }
            result => failures.push(format!("{name}: {result:?}")),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    if runtime.is_some() {
        eprintln!("{ran} networks in ONNX Runtime, largest relative error {:.1e} ({})", worst.0, worst.1);
    }
}
