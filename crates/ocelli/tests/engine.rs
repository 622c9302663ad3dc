//! Compiled models and the bench, as a person uses them.

use std::path::Path;

use crate::common::{fails, picture, run, trained};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The guesses of `predict` as JSON.
fn guesses(image: &Path, model: &Path) -> serde_json::Value {
    let (out, _) = run(&["image", "predict", text(image), "--model", text(model), "--format", "json"], 0);
    serde_json::from_str(&out).unwrap()
}

#[test]
fn a_compiled_model_answers_like_the_one_it_was_made_from() {
    let dir = tempfile::tempdir().unwrap();
    let model = trained(dir.path());
    let compiled = dir.path().join("colours.ocelli");
    let (out, _) = run(&["export", text(&model), "-o", text(&compiled)], 0);
    assert!(out.contains("colours.ocelli"), "{out}");
    let image = dir.path().join("red.png");
    picture(&image, 24, [220, 30, 30], 3);
    let (a, b) = (guesses(&image, &model), guesses(&image, &compiled));
    let (a, b) = (a["predictions"].as_array().unwrap(), b["predictions"].as_array().unwrap());
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert_eq!(a["label"], b["label"]);
        let (a, b) = (a["probability"].as_f64().unwrap(), b["probability"].as_f64().unwrap());
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }

    // Damaged, cut short, not a model at all.
    let bytes = std::fs::read(&compiled).unwrap();
    let broken = dir.path().join("broken.ocelli");
    let mut damaged = bytes.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    for (content, problem) in [(&damaged[..], "checksum"), (&bytes[..bytes.len() / 3], "cut short")] {
        std::fs::write(&broken, content).unwrap();
        let error = fails(&["image", "predict", text(&image), "--model", text(&broken)]);
        assert!(error.contains("broken.ocelli") && error.contains(problem), "{error}");
    }
}

#[test]
fn the_bench_times_a_compiled_model_and_says_which_peers_are_missing() {
    let dir = tempfile::tempdir().unwrap();
    let model = trained(dir.path());
    let compiled = dir.path().join("colours.ocelli");
    run(&["export", text(&model), "-o", text(&compiled)], 0);
    let few = ["--rounds", "1", "--runs", "2", "--threads", "1", "--format", "json"];
    let (out, _) = run(&[&["bench", text(&compiled)][..], &few].concat(), 0);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    let ours = &report["models"][0]["runtimes"][0];
    assert!(ours["median_ms"].as_f64().unwrap() > 0.0 && ours["runs"] == 2, "{report}");
    assert!(report["models"][0]["macs"].as_u64().unwrap() > 0);

    let peer = ["--against", "onnxruntime", "--python", "no-such-python"];
    let (out, err) = run(&[&["bench", text(&model)][..], &few, &peer].concat(), 0);
    assert!(err.contains("without onnxruntime") && err.contains("no-such-python"), "{err}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["models"][0]["runtimes"].as_array().unwrap().len(), 1);
    assert!(fails(&["bench", "resnet_18"]).contains("resnet18"));
}
