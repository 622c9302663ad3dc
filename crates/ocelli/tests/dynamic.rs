//! Networks that choose the resolution per picture: both stages of their training, and what they tell in use.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ocelli::train::Checkpoint;
use serde_json::Value;

use crate::common::{dataset, fails, run};

/// A network of two small chains, as a person describes it.
const SETTINGS: &str = r#"
model = "small"
img_size = 32
batch_size = 6

[network]
network = "dr_net"
resolutions = [32, 24, 16]
predictor_input = 16
in_channels = 3
num_classes = 3
drop_rate = 0.0
predictor = { kind = "residual", kernel = 3, stride = 2, pool = false, widths = [4, 8], blocks = [1, 1] }
classifier = { kind = "residual", kernel = 3, stride = 2, pool = false, widths = [8, 16], blocks = [1, 1] }
"#;

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn both_stages_train_and_the_model_tells_what_it_spends() {
    let dir = tempfile::tempdir().unwrap();
    let data = dataset(dir.path(), 10);
    let settings = dir.path().join("small.toml");
    std::fs::write(&settings, SETTINGS).unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    let (data, settings) = (data.to_str().unwrap(), settings.to_str().unwrap());
    let (first, second) = (path("first"), path("second"));
    let common = ["image", "train", "--data", data, "--threads", "1", "--epochs", "3", "--color-jitter", "0"];
    let stage = |more: &[&str]| run(&[&common[..], more].concat(), 0);
    stage(&["--config", settings, "--drnet-stage", "pretrain", "--output", &first]);
    // Before the second stage everything is seen at the largest resolution.
    let eval = |model: &str| {
        let (out, _) = run(&["image", "eval", "--model", model, "--data", data, "--format", "json"], 0);
        parse(&out)["routing"].clone()
    };
    let routing = eval(&first);
    assert_eq!(routing["chosen"].as_array().unwrap().len(), 1, "{routing}");
    assert_eq!(routing["chosen"][0]["resolution"], 32, "{routing}");

    let more =
        ["--config", settings, "--weights", &first, "--drnet-stage", "joint", "--flops-target", "0.0002"];
    stage(&[&more[..], &["--flops-weight", "1", "--predictor-lr", "1", "--output", &second]].concat());
    let routing = eval(&second);
    let pictures: u64 =
        routing["chosen"].as_array().unwrap().iter().map(|own| own["pictures"].as_u64().unwrap()).sum();
    assert_eq!(pictures, 9, "{routing}");
    assert!(routing["mean_macs"].as_f64().unwrap() > 0.0, "{routing}");

    let picture = dir.path().join("data/val/red");
    let picture = picture.to_str().unwrap();
    let (out, _) = run(&["image", "predict", picture, "--model", &second, "--format", "json"], 0);
    for line in out.lines() {
        let line = parse(line);
        assert!([32, 24, 16].contains(&line["resolution"].as_u64().unwrap()), "{line}");
        assert!(line["macs"].as_u64().unwrap() > 0, "{line}");
    }
    let (out, _) = run(&["image", "predict", picture, "--model", &second], 0);
    assert!(out.contains(" px, ") && out.contains("MACs"), "{out}");

    // As one graph it says the same and does not tell.
    let compiled = path("small.ocelli");
    run(&["export", &second, "-o", &compiled], 0);
    let labels = |model: &str| -> Vec<Value> {
        let (out, _) = run(&["image", "predict", picture, "--model", model, "--format", "json"], 0);
        out.lines().map(|line| parse(line)["predictions"][0]["label"].clone()).collect()
    };
    assert_eq!(labels(&compiled), labels(&second));
}

#[test]
fn the_noise_goes_on_where_a_killed_run_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let data = dataset(dir.path(), 10);
    let settings = dir.path().join("small.toml");
    std::fs::write(&settings, SETTINGS).unwrap();
    let (data, settings) = (data.to_str().unwrap(), settings.to_str().unwrap());
    let args = |output: &Path| -> Vec<String> {
        let args =
            ["image", "train", "--data", data, "--config", settings, "--threads", "1", "--epochs", "40"];
        let output = ["--output", output.to_str().unwrap()];
        args.iter().chain(&output).map(|arg| arg.to_string()).collect()
    };
    let model = |run: &Path| Checkpoint::read(&run.join("last.ckpt")).unwrap();
    let (whole, killed) = (dir.path().join("whole"), dir.path().join("killed"));
    run(&args(&whole).iter().map(String::as_str).collect::<Vec<_>>(), 0);
    let mut child = Command::new(env!("CARGO_BIN_EXE_ocelli"))
        .args(args(&killed))
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !killed.join("last.ckpt").exists() && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(model(&killed).progress.epoch < 40, "the run was killed before its end");
    run(&["image", "train", "--resume", killed.to_str().unwrap(), "--threads", "1"], 0);
    assert_eq!(model(&whole).model, model(&killed).model);
}

#[test]
fn settings_for_other_networks_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = dataset(dir.path(), 6);
    let data = data.to_str().unwrap();
    let refused = |model: &str, more: &[&str]| {
        fails(&[&["image", "train", "--data", data, "--model", model][..], more].concat())
    };
    assert!(refused("resnet20_cifar", &["--flops-target", "1"]).contains("choose the resolution"));
    assert!(refused("dr_mobilenetv2", &["--drnet-stage", "third"]).contains("pretrain or joint"));
    assert!(refused("dr_mobilenetv2", &["--flops-weight", "99"]).contains("--flops-weight"));
}
