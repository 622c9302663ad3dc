//! Binary networks: trained, fine-tuned with noisy supervision, exported.

use ocelli_nn::weights::WeightFile;
use serde_json::Value;

use crate::common::{dataset, fails, run};

/// A network small enough to be trained here.
const SETTINGS: &str = r#"
model = "small"
img_size = 32
batch_size = 6

[network]
network = "noisy_binary"
stem = "small"
widths = [8, 16]
units = 1
in_channels = 3
num_classes = 3
drop_rate = 0.0
"#;

#[test]
fn fine_tuning_with_noisy_supervision_leaves_a_plain_binary_network() {
    let dir = tempfile::tempdir().unwrap();
    let data = dataset(dir.path(), 10);
    let settings = dir.path().join("small.toml");
    std::fs::write(&settings, SETTINGS).unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    let (data, settings) = (data.to_str().unwrap(), settings.to_str().unwrap());
    let (plain, noisy) = (path("plain"), path("noisy"));
    let common = ["image", "train", "--data", data, "--threads", "1", "--epochs", "2", "--color-jitter", "0"];
    let train = |more: &[&str]| run(&[&common[..], more].concat(), 0);
    train(&["--config", settings, "--output", &plain]);
    let (_, told) = train(&[
        "--weights",
        &plain,
        "--batch-size",
        "6",
        "--binarize",
        "noisy",
        "--noisy-rho",
        "0.05,0.1",
        "--output",
        &noisy,
    ]);
    assert!(told.contains("of the signs mapped otherwise"), "{told}");

    let names = |run: &str| -> Vec<String> {
        let file = WeightFile::read(std::path::Path::new(run).join("best.safetensors")).unwrap();
        file.tensors.into_keys().collect()
    };
    assert_eq!(names(&noisy), names(&plain), "mapping networks and labels stay behind");
    let file = WeightFile::read(std::path::Path::new(&noisy).join("best.safetensors")).unwrap();
    let weights = file.tensors["layer1.0.conv.weight"].try_to_vec::<f32>().unwrap();
    assert!(weights.iter().all(|w| w.abs() == 1.0), "weights are signs");

    // What runs as bits says the same.
    let (compiled, onnx) = (path("noisy.ocelli"), path("noisy.onnx"));
    run(&["export", &noisy, "-o", &compiled], 0);
    run(&["export", &noisy, "-o", &onnx], 0);
    let picture = dir.path().join("data/val/red");
    let labels = |model: &str| -> Vec<Value> {
        let args = ["image", "predict", picture.to_str().unwrap(), "--model", model, "--format", "json"];
        let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        run(&args, 0).0.lines().map(|line| parse(line)["predictions"][0]["label"].clone()).collect()
    };
    assert_eq!(labels(&compiled), labels(&noisy));
    run(&["image", "eval", "--model", &noisy, "--data", data], 0);

    // A finished run resumes to itself; the mapping networks are in its checkpoint.
    run(&["image", "train", "--resume", &noisy, "--threads", "1", "--epochs", "2"], 0);
}

#[test]
fn settings_for_other_networks_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = dataset(dir.path(), 6);
    let data = data.to_str().unwrap();
    let refused = |model: &str, more: &[&str]| {
        fails(&[&["image", "train", "--data", data, "--model", model][..], more].concat())
    };
    assert!(refused("resnet20_cifar", &["--binarize", "sign"]).contains("no binary layers"));
    assert!(refused("resnet20_cifar", &["--elastic-link", "on"]).contains("no Elastic-Link"));
    assert!(refused("bnn_resnet20_cifar", &["--binarize", "noisy"]).contains("--weights"));
    assert!(refused("bnn_resnet20_cifar", &["--noisy-alpha", "1"]).contains("--binarize noisy"));
    assert!(refused("reactnet18", &["--elastic-link", "maybe"]).contains("on or off"));
}
