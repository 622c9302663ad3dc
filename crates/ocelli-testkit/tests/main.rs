//! Everything about the image networks that a reference or a published table can confirm.

mod adder;
mod binary;
mod caffe;
mod capture;
mod costs;
mod drnet;
mod engine;
mod files;
mod goldens;
mod graphs;
mod hostile;
mod names;
mod onnx;
#[path = "../../ocelli-graph/tests/ops/runtime.rs"]
mod onnx_runtime;
mod quantised;
mod zoo;

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::tensor::TensorData;
use ocelli_image::Network;
use ocelli_testkit::fill;

/// A path under `testdata`.
fn testdata(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(path)
}

/// Tensors of these names and shapes, filled by the rule.
fn filled(specs: impl IntoIterator<Item = (String, Vec<usize>)>) -> BTreeMap<String, TensorData> {
    specs
        .into_iter()
        .map(|(name, shape)| {
            let data = TensorData::new(fill::parameter(&name, &shape), shape);
            (name, data)
        })
        .collect()
}

/// `network` with every parameter and running statistic set to something of its own. Gains are halved, so that maps
/// do not grow from block to block until gates become steps, which no two orders of summation take alike.
fn settled(network: Network) -> Network {
    let tensors = network
        .tensor_specs()
        .into_iter()
        .map(|(name, shape)| {
            let mut values = fill::parameter(&name, &shape);
            if shape.len() == 1 && name.ends_with("weight") {
                values.iter_mut().for_each(|gain| *gain *= 0.5);
            }
            (name, TensorData::new(values, shape))
        })
        .collect();
    let (network, mismatch) = network.load_state_dict(tensors);
    assert!(mismatch.is_empty(), "{mismatch}");
    network
}

/// Names and shapes of a case's state dict.
fn keys(case: &str) -> Vec<(String, Vec<usize>)> {
    let text = std::fs::read_to_string(testdata(&format!("goldens/{case}.keys.txt"))).unwrap();
    text.lines()
        .map(|line| {
            let mut words = line.split_whitespace();
            let (name, shape) = (words.next().unwrap(), words.next().unwrap());
            (name.to_string(), shape.split('x').filter_map(|n| n.parse().ok()).collect())
        })
        .collect()
}

/// The smallest side of at least `least` pixels that the network can look at, or the largest below.
fn small_side(network: &Network, least: usize) -> usize {
    (least..=224)
        .chain((1..least).rev())
        .find(|&side| network.check_size([side; 2]).is_ok())
        .expect("a network takes 224 pixels at most")
}
