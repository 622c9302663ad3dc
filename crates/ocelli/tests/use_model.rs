//! `ocelli image predict` and `eval` with a trained model.

use crate::common::{COLOURS, finished, ocelli, picture, run, trained};

#[test]
fn a_model_is_used_on_files_folders_patterns_and_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let model = trained(dir.path());
    let model = model.to_str().unwrap();
    for (name, colour) in COLOURS {
        picture(&dir.path().join(format!("new/{name}.png")), 40, colour, 7);
    }
    let folder = dir.path().join("new");
    let red = folder.join("red.png");
    let right = |out: &str| {
        let lines: Vec<serde_json::Value> =
            out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for line in &lines {
            let label = line["predictions"][0]["label"].as_str().unwrap();
            assert!(line["image"].as_str().unwrap().contains(label) || line["image"] == "-", "{line}");
        }
        lines.len()
    };
    let predict = |what: &str| run(&["image", "predict", what, "--model", model, "--format", "json"], 0).0;
    assert_eq!(right(&predict(red.to_str().unwrap())), 1);
    assert_eq!(right(&predict(folder.to_str().unwrap())), 3);
    assert_eq!(right(&predict(&format!("{}/*e*.png", folder.display()))), 3);
    let piped = ocelli()
        .args(["image", "predict", "-", "--model", model, "--format", "json"])
        .write_stdin(std::fs::read(&red).unwrap())
        .output()
        .unwrap();
    let (out, err) = finished(piped, 0);
    assert!(out.contains("\"label\":\"red\"") && err.contains("peak memory"), "{out} {err}");
    // A file named by the run folder's best model is the same.
    let best = format!("{model}/best.safetensors");
    let (out, _) = run(&["image", "predict", red.to_str().unwrap(), "--model", &best, "--top-k", "1"], 0);
    assert_eq!(out.lines().count(), 1);
    assert!(out.trim_start().starts_with("red"), "{out}");
}

#[test]
fn evaluation_counts_what_prediction_says() {
    let dir = tempfile::tempdir().unwrap();
    let model = trained(dir.path());
    let data = dir.path().join("data");
    let args = ["image", "eval", "--model", model.to_str().unwrap(), "--data", data.to_str().unwrap()];
    let (out, _) = run(&[&args[..], &["--format", "json"]].concat(), 0);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["samples"], 9);
    let confusion: Vec<Vec<u64>> = serde_json::from_value(report["confusion"].clone()).unwrap();
    let right: u64 = (0..3).map(|i| confusion[i][i]).sum();
    assert_eq!(confusion.iter().flatten().sum::<u64>(), 9);
    assert!((report["top1"].as_f64().unwrap() - right as f64 / 9.0).abs() < 1e-12);
    assert!(right >= 8, "three plain colours are told apart: {out}");
    let (out, _) = run(&args, 0);
    assert!(out.contains("recall %") && out.contains("confusion"), "{out}");
}
