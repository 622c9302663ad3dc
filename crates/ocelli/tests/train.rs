//! `ocelli image train`: what a run leaves, stopping and going on.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ocelli::train::Checkpoint;

use crate::common::{dataset, fails, run, train_args, trained};

fn model(run: &Path) -> Checkpoint {
    Checkpoint::read(&run.join("last.ckpt")).unwrap()
}

#[test]
fn a_run_leaves_a_model_metrics_curves_and_a_report() {
    let dir = tempfile::tempdir().unwrap();
    let output = trained(dir.path());
    for file in [
        "best.safetensors",
        "last.ckpt",
        "config.toml",
        "metrics.jsonl",
        "curves.svg",
        "report.html",
        "report.json",
    ] {
        assert!(output.join(file).metadata().is_ok_and(|meta| meta.len() > 100), "{file}");
    }
    let events = std::fs::read_dir(&output).unwrap().flatten();
    assert!(events.into_iter().any(|entry| entry.file_name().to_string_lossy().contains("tfevents")));
    let metrics = std::fs::read_to_string(output.join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 12);
    for line in metrics.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(record["train_loss"].as_f64().is_some_and(f64::is_finite), "{line}");
    }
    let html = std::fs::read_to_string(output.join("report.html")).unwrap();
    assert!(html.contains("green") && !html.contains("src=\"http"), "the report stands alone");
    let config = std::fs::read_to_string(output.join("config.toml")).unwrap();
    assert!(
        config.contains("epochs = 12") && config.contains("momentum = 0.9"),
        "defaults are spelled out: {config}"
    );
}

#[test]
fn killed_runs_resume_to_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let data = dataset(dir.path(), 10);
    let (data, path) = (data.to_str().unwrap(), |name: &str| dir.path().join(name));
    let (whole, killed) = (path("whole"), path("killed"));
    let args = |output| [train_args(data, output), vec!["--mixup", "0.2", "--ema", "0.9"]].concat();
    run(&args(whole.to_str().unwrap()), 0);

    let mut child = Command::new(env!("CARGO_BIN_EXE_ocelli"))
        .args(args(killed.to_str().unwrap()))
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
    let at = model(&killed).progress.epoch;
    assert!(at < 12, "the run was killed before its end");
    run(&["image", "train", "--resume", killed.to_str().unwrap(), "--threads", "1"], 0);

    let (a, b) = (model(&whole), model(&killed));
    assert_eq!(a.model, b.model, "weights differ after a kill in epoch {}", at + 1);
    assert_eq!(a.average, b.average);
    let lines = std::fs::read_to_string(killed.join("metrics.jsonl")).unwrap().lines().count();
    assert_eq!(lines, 12, "every epoch is logged once");
}

#[test]
fn workers_and_cache_do_not_change_the_weights() {
    let dir = tempfile::tempdir().unwrap();
    let data = dataset(dir.path(), 6);
    let data = data.to_str().unwrap();
    let train = |name: &str, more: &[&str]| {
        let output = dir.path().join(name);
        run(&[train_args(data, output.to_str().unwrap()), more.to_vec()].concat(), 0);
        model(&output).model
    };
    let one = train("one", &["--workers", "1", "--cache-mib", "0"]);
    assert_eq!(one, train("three", &["--workers", "3"]));
}

#[cfg(unix)]
#[test]
fn an_interrupt_writes_a_checkpoint_and_says_how_to_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let data = dataset(dir.path(), 10);
    let output = dir.path().join("run");
    let mut args = train_args(data.to_str().unwrap(), output.to_str().unwrap());
    let epochs = args.iter().position(|arg| *arg == "--epochs").unwrap();
    args[epochs + 1] = "100000";
    let child = Command::new(env!("CARGO_BIN_EXE_ocelli"))
        .args(args)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !output.join("last.ckpt").exists() && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
    // The shell's own kill: the program of that name is not on every machine.
    Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap();
    let (_, err) = crate::common::finished(child.wait_with_output().unwrap(), 130);
    assert!(err.contains("--resume"), "{err}");
    assert!(model(&output).progress.step > 0);
}

#[test]
fn a_folder_holds_one_run() {
    let dir = tempfile::tempdir().unwrap();
    let output = trained(dir.path());
    let data = dir.path().join("data");
    let error = fails(&train_args(data.to_str().unwrap(), output.to_str().unwrap()));
    assert!(error.contains("holds a run already") && error.contains("--resume"), "{error}");
    let error = fails(&["image", "train", "--resume", dir.path().to_str().unwrap()]);
    assert!(error.contains("no run to resume"), "{error}");
    // Other settings would not continue the same run.
    let error = fails(&["image", "train", "--resume", output.to_str().unwrap(), "--lr", "0.5"]);
    assert!(error.contains("other settings"), "{error}");
}

#[test]
fn fine_tuning_takes_another_number_of_classes() {
    let dir = tempfile::tempdir().unwrap();
    let first = trained(dir.path());
    let data = dir.path().join("data");
    std::fs::remove_dir_all(data.join("train/red")).unwrap();
    std::fs::remove_dir_all(data.join("val/red")).unwrap();
    let output = dir.path().join("second");
    let mut args = train_args(data.to_str().unwrap(), output.to_str().unwrap());
    let weights = first.join("best.safetensors");
    args.extend(["--weights", weights.to_str().unwrap()]);
    let (_, err) = run(&args, 0);
    assert!(err.contains("fresh classifier"), "{err}");
    // A model file alone says which network it is.
    let model = args.iter().position(|arg| *arg == "--model").unwrap();
    args.drain(model..model + 2);
    let output = dir.path().join("third");
    let at = args.iter().position(|arg| *arg == "--output").unwrap();
    args[at + 1] = output.to_str().unwrap();
    run(&args, 0);
}

#[test]
fn a_config_file_sets_and_flags_override() {
    let dir = tempfile::tempdir().unwrap();
    let data = dataset(dir.path(), 6);
    let config = dir.path().join("run.toml");
    let text = format!(
        "model = \"resnet20_cifar\"\ndata = {:?}\nimg_size = 16\nbatch_size = 6\n[train]\nepochs = 9\nlr = 0.01\n\
         [augment]\nauto_augment = \"rand-m5-n1\"\nre_prob = 0.3\n[mix]\ncutmix_alpha = 1.0\n",
        data.display().to_string()
    );
    std::fs::write(&config, &text).unwrap();
    let output = dir.path().join("run");
    let base = ["image", "train", "--config", config.to_str().unwrap(), "--output", output.to_str().unwrap()];
    run(&[&base[..], &["--epochs", "1"]].concat(), 0);
    let resolved = std::fs::read_to_string(output.join("config.toml")).unwrap();
    assert!(resolved.contains("epochs = 1") && resolved.contains("rand-m5-n1"), "{resolved}");

    std::fs::write(&config, text.replace("[train]", "[train]\nepoch = 3")).unwrap();
    let error = fails(&base);
    assert!(error.contains("run.toml") && error.contains("epoch"), "{error}");
}

#[test]
fn a_loss_that_is_no_number_stops_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let data = dataset(dir.path(), 10);
    let output = dir.path().join("run");
    let mut args = train_args(data.to_str().unwrap(), output.to_str().unwrap());
    let lr = args.iter().position(|arg| *arg == "--lr").unwrap();
    args[lr + 1] = "1e38";
    let error = fails(&args);
    assert!(error.contains("the loss became") && error.contains("at step"), "{error}");
}
