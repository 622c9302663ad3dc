//! `ocelli export`.

use ocelli::graph::onnx::Summary;

use crate::common::{fails, run, trained};

#[test]
fn a_trained_model_becomes_an_onnx_file() {
    let dir = tempfile::tempdir().unwrap();
    let model = trained(dir.path());
    let model = model.to_str().unwrap();
    let file = dir.path().join("colours.onnx");
    let (out, err) = run(&["export", model, "-o", file.to_str().unwrap()], 0);
    assert!(out.contains("colours.onnx") && out.contains("input 3x16x16") && out.contains("nodes"), "{out}");
    assert!(!err.contains("freshly"), "{err}");
    let summary = Summary::read(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(summary.producer, "ocelli");
    assert_eq!(summary.inputs.len(), 1);
    assert_eq!(summary.inputs[0].shape, ["N", "3", "16", "16"]);
    assert_eq!(summary.outputs[0].shape, ["N", "3"]);
    assert!(summary.initializers.contains_key("layer1.0.conv1.weight"), "{:?}", summary.initializers.keys());

    let small = dir.path().join("small.onnx");
    let small = small.to_str().unwrap();
    run(&["export", model, "--optimize", "--input-size", "24", "-o", small], 0);
    let optimized = Summary::read(&std::fs::read(small).unwrap()).unwrap();
    assert!(optimized.nodes.len() < summary.nodes.len());
    assert!(optimized.nodes.iter().all(|(op, _)| op != "BatchNormalization"), "{:?}", optimized.nodes);
    assert_eq!(optimized.inputs[0].shape, ["N", "3", "24", "24"]);
}

#[test]
fn registered_networks_are_drawn_without_weights() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("resnet18.svg");
    run(&["export", "resnet18", "-o", file.to_str().unwrap()], 0);
    let svg = std::fs::read_to_string(&file).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("layer4.1.conv2"), "{}", &svg[..200]);
    let (out, _) = run(&["export", "resnet20_cifar", "--format", "dot", "-o", "-"], 0);
    assert!(out.starts_with("digraph \"resnet20_cifar\""), "{out}");
}

#[test]
fn fresh_weights_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("fresh.onnx");
    let path = file.to_str().unwrap();
    let error = fails(&["export", "resnet20_cifar", "-o", path]);
    assert!(error.contains("--weights") && error.contains("--random-init"), "{error}");
    assert!(!file.exists());
    let (_, err) = run(&["export", "resnet20_cifar", "--random-init", "-o", path], 0);
    assert!(err.contains("freshly drawn weights"), "{err}");
    assert!(Summary::read(&std::fs::read(&file).unwrap()).is_ok());
    run(&["export", "resnet20_cifar", "--random-init", "--weights", "x", "-o", path], 2);
}

#[test]
fn bad_models_and_bad_paths() {
    let dir = tempfile::tempdir().unwrap();
    let inside = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    let good = inside("good.svg");
    for (model, expected) in [
        ("resnet19", "resnet18"),
        ("no/such/model.safetensors", "no such file"),
        (dir.path().to_str().unwrap(), "best.safetensors"),
    ] {
        let error = fails(&["export", model, "-o", &good]);
        assert!(error.contains(expected), "{error}");
    }
    let broken = inside("broken.safetensors");
    std::fs::write(&broken, "nothing of use").unwrap();
    let error = fails(&["export", &broken, "-o", &good]);
    assert!(error.contains("broken.safetensors"), "{error}");
    let error = fails(&["export", &broken, "--random-init", "-o", &good]);
    assert!(error.contains("--random-init"), "{error}");
    let error = fails(&["export", "resnet18", "-o", &inside("missing/net.svg")]);
    assert!(error.contains("no such folder") && error.contains("missing"), "{error}");
    let error = fails(&["export", "resnet18", "--format", "svg", "-o", dir.path().to_str().unwrap()]);
    assert!(error.contains("a folder"), "{error}");
    let error = fails(&["export", "resnet18", "-o", &inside("net.xyz")]);
    assert!(error.contains("net.xyz") && error.contains("--format"), "{error}");
    run(&["export", "resnet18", "--input-size", "0", "-o", &good], 2);
    let left: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["broken.safetensors"], "nothing is left behind");
}
