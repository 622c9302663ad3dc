//! `ocelli compress`: every method on a small trained network, what it writes, and what it refuses.

use serde_json::Value;

use crate::common::{dataset, fails, run, train_args, trained};

/// A file's JSON.
fn json(path: &str) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn quantised_after_and_in_training() {
    let dir = tempfile::tempdir().unwrap();
    let model = trained(dir.path());
    let model = model.to_str().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    let (data, val) = (path("data"), path("data/val"));

    let (compiled, onnx, report) = (path("p.ocelli"), path("p.onnx"), path("p.json"));
    let few = ["--pictures", "12", "--threads", "1"];
    let ptq = ["compress", model, "--calibrate", &data, "--data", &val, "-o", &compiled, "-o", &onnx];
    let (out, _) = run(&[&ptq[..], &few].concat(), 0);
    assert!(out.contains("100 %") && out.contains("layer1.0.conv1"), "{out}");
    let found = json(&report);
    assert_eq!(found["stages"][1]["macs"], found["stages"][1]["integer_macs"]);
    let bytes = |stage: usize| found["stages"][stage]["bytes"].as_u64().unwrap();
    assert!(3 * bytes(1) < bytes(0), "{found}");
    assert!(std::fs::read_to_string(path("p.html")).unwrap().contains("layer1.0.conv1"));
    run(&["image", "eval", "--model", &compiled, "--data", &val], 0);
    let (out, _) = run(&["models", "show", &compiled, "--format", "json"], 0);
    let shown: Value = serde_json::from_str(&out).unwrap();
    assert!(shown["layers"].as_array().unwrap().iter().all(|layer| layer["arithmetic"] == "u8 × i8 → i32"));

    // Fewer bits where the network minds least, so many on average.
    let mixed = path("m.ocelli");
    run(
        &[
            &["compress", model, "--calibrate", &data, "--average-bits", "5", "--no-round", "-o", &mixed][..],
            &few,
        ]
        .concat(),
        0,
    );
    let found = json(&path("m.json"));
    let sum =
        |of: &dyn Fn(&Value) -> f64| -> f64 { found["layers"].as_array().unwrap().iter().map(of).sum() };
    let number = |value: &Value| value.as_f64().unwrap();
    let weights = sum(&|layer| number(&layer["weights"]));
    assert!(sum(&|layer| number(&layer["weights"]) * number(&layer["weight_bits"])) <= 5.0 * weights);

    // Pruned, then trained with codes; run again, both stages are found done.
    let (tuned, folder) = (path("q.ocelli"), path("q"));
    let qat = ["compress", model, "--method", "qat", "--data", &data, "--bits", "4", "--sparsity", "0.5"];
    let more = ["--epochs", "1", "--batch-size", "6", "--lr", "0.001", "--run", &folder, "-o", &tuned];
    run(&[&qat[..], &more, &few].concat(), 0);
    let found = json(&path("q.json"));
    let names: Vec<&str> =
        found["stages"].as_array().unwrap().iter().map(|stage| stage["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["float", "pruned", "quantised", "integers"]);
    let layers = found["layers"].as_array().unwrap();
    let zeros: f64 = layers.iter().map(|layer| number(&layer["zeros"]) * number(&layer["weights"])).sum();
    assert!(zeros >= 0.5 * weights, "what was pruned is code 0: {zeros} of {weights}");
    let before = std::fs::read(&tuned).unwrap();
    let (_, told) = run(&[&qat[..], &more, &few].concat(), 0);
    assert_eq!(told.matches("(resumed)").count(), 2, "{told}");
    assert!(std::fs::read(&tuned).unwrap() == before, "the same codes again");
    let other = [
        &["compress", model, "--method", "qat", "--data", &data, "--bits", "3", "--sparsity", "0.5"][..],
        &more,
        &few,
    ];
    assert!(fails(&other.concat()).contains("other settings"));

    let refused = |args: &[&str]| fails(&[&["compress", model, "-o", &path("x.ocelli")][..], args].concat());
    std::fs::create_dir(path("empty")).unwrap();
    assert!(refused(&["--calibrate", &path("empty")]).contains("no pictures"));
    assert!(refused(&[]).contains("--calibrate"));
    assert!(refused(&["--calibrate", &data, "--keep", "nowhere"]).contains("nowhere"));
    assert!(refused(&["--calibrate", &data, "--average-bits", "2"]).contains("3 to 8"));
    assert!(refused(&["--calibrate", &data, "--epochs", "2"]).contains("--method qat"));
    assert!(refused(&["--method", "qat"]).contains("--data"));
    assert!(refused(&["--method", "qat", "--data", &data, "--sparsity", "1.5"]).contains("--sparsity"));
    assert!(refused(&["--method", "adder", "--calibrate", &data]).contains("no adder layer"));
    assert!(refused(&["--method", "binary"]).contains("no binary layers"));
    assert!(
        fails(&["compress", &compiled, "--calibrate", &data, "-o", &path("x.ocelli")]).contains("compiled")
    );
    assert!(
        fails(&["compress", model, "--calibrate", &data, "-o", &path("x.txt")]).contains(".ocelli or .onnx")
    );
    assert!(!dir.path().join("x.ocelli").exists());
}

#[test]
fn adder_networks_after_and_in_training() {
    let dir = tempfile::tempdir().unwrap();
    let data = dataset(dir.path(), 6);
    let data = data.to_str().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    let (float, compiled, tuned, folder) = (path("float"), path("a.ocelli"), path("t.ocelli"), path("t"));
    let mut train = train_args(data, &float);
    let model = train.iter().position(|arg| *arg == "resnet20_cifar").unwrap();
    train[model] = "adder_resnet20";
    run(&train, 0);
    let few = ["--pictures", "6", "--threads", "1", "--bits", "6"];
    let adder = ["compress", &float, "--method", "adder", "--data", data];
    run(&[&adder[..], &["-o", &compiled], &few].concat(), 0);
    run(
        &[&adder[..], &["--epochs", "1", "--batch-size", "6", "--run", &folder, "-o", &tuned], &few].concat(),
        0,
    );
    for file in [&compiled, &tuned] {
        let (out, _) = run(&["models", "show", file], 0);
        assert!(out.contains("|u8 - i8| → i32"), "{out}");
        run(&["image", "eval", "--model", file, "--data", data], 0);
    }
    assert!(std::fs::read(&compiled).unwrap() != std::fs::read(&tuned).unwrap());
}
