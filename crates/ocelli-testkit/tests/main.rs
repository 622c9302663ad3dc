//! Everything about the image networks that a reference or a published table can confirm.

mod caffe;
mod capture;
mod costs;
mod engine;
mod files;
mod goldens;
mod graphs;
mod hostile;
mod names;
mod onnx;
#[path = "../../ocelli-graph/tests/ops/runtime.rs"]
mod onnx_runtime;
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

/// `network` with running statistics that are neither zeros nor ones, as after training. (The golden cases' filler would not do
/// for comparing executors: in very deep networks its signal grows until rounding decides the result.)
fn settled(network: Network) -> Network {
    let mut weights = network.state_dict();
    for (name, data) in &mut weights {
        let shape = data.shape().to_vec();
        let noise = fill::parameter(name, &[shape.iter().product::<usize>()]);
        let statistics: Vec<f32> = if name.ends_with("running_mean") {
            noise.iter().map(|v| 0.1 * v).collect()
        } else if name.ends_with("running_var") {
            noise.iter().map(|v| 1.0 + 0.2 * v.clamp(-1.0, 1.0)).collect()
        } else {
            continue;
        };
        *data = TensorData::new(statistics, shape);
    }
    let (network, mismatch) = network.load_state_dict(weights);
    assert!(mismatch.is_empty());
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
