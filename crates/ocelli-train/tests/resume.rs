//! A run that is stopped or killed and resumed ends at the same bits as one that never stopped.

use std::path::Path;

use ocelli_train::{
    Checkpoint, OptimizerConfig, OptimizerKind, Outcome, ProgressStyle, RunFolder, TrainConfig, TrainError,
    Trainer,
};

use crate::toy::{BATCHES, Toy, ToyTask};

fn config() -> TrainConfig {
    TrainConfig {
        epochs: 4,
        lr: 0.1,
        warmup_epochs: 0.5,
        optimizer: OptimizerConfig { weight_decay: 1e-3, ..Default::default() },
        ..Default::default()
    }
}

fn run(task: &ToyTask, config: &TrainConfig, path: &Path, resume: bool) -> Result<Outcome, TrainError> {
    let folder = RunFolder::open(path, resume)?;
    let trainer = Trainer::new(config.clone(), ProgressStyle::Quiet, task.stop.clone())?;
    trainer.run(task, Toy::new(6), &folder, "toy")
}

fn final_state(path: &Path) -> Checkpoint {
    Checkpoint::read(&path.join("last.ckpt")).unwrap()
}

/// Stops after `stop_at` batches, resumes, and compares with an uninterrupted run.
fn resumes_to_the_same_bits(config: TrainConfig, stop_at: usize) {
    let whole = tempfile::tempdir().unwrap();
    assert!(matches!(run(&ToyTask::default(), &config, whole.path(), false), Ok(Outcome::Finished(_))));

    let parts = tempfile::tempdir().unwrap();
    let stopping = ToyTask { stop_at: Some(stop_at), ..Default::default() };
    assert!(matches!(run(&stopping, &config, parts.path(), false), Ok(Outcome::Interrupted(_))));
    assert!(matches!(run(&ToyTask::default(), &config, parts.path(), true), Ok(Outcome::Finished(_))));

    let (a, b) = (final_state(whole.path()), final_state(parts.path()));
    assert!(!a.model.is_empty());
    assert_eq!(a.model, b.model, "weights differ after resuming at batch {stop_at}");
    assert_eq!(a.average, b.average);
    assert_eq!(a.progress.step, b.progress.step);
    for (x, y) in a.progress.history.iter().zip(&b.progress.history) {
        assert_eq!((x.train_loss, x.score), (y.train_loss, y.score));
    }
}

#[test]
fn sgd_in_the_middle_of_an_epoch() {
    resumes_to_the_same_bits(config(), BATCHES + 2);
}

#[test]
fn sgd_at_the_end_of_an_epoch() {
    resumes_to_the_same_bits(config(), 2 * BATCHES);
}

#[test]
fn adamw_with_everything_switched_on() {
    let config = TrainConfig {
        optimizer: OptimizerConfig { kind: OptimizerKind::AdamW, ..Default::default() },
        lr: 0.01,
        ema_decay: Some(0.9),
        clip_grad: Some(0.05),
        accumulate: 2,
        ..config()
    };
    resumes_to_the_same_bits(config, BATCHES + 1);
}

#[test]
fn a_killed_run_goes_on_from_its_last_checkpoint() {
    let whole = tempfile::tempdir().unwrap();
    run(&ToyTask::default(), &config(), whole.path(), false).unwrap();
    // What a kill leaves: the checkpoint of an epoch before, and a temporary file never renamed.
    let killed = tempfile::tempdir().unwrap();
    let stopping = ToyTask { stop_at: Some(2 * BATCHES), ..Default::default() };
    run(&stopping, &config(), killed.path(), false).unwrap();
    std::fs::write(killed.path().join(".last.ckpt.tmp123"), b"half").unwrap();
    run(&ToyTask::default(), &config(), killed.path(), true).unwrap();
    assert_eq!(final_state(whole.path()).model, final_state(killed.path()).model);
}

#[test]
fn a_nan_loss_stops_and_keeps_the_last_good_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let task = ToyTask { nan_at: Some(BATCHES + 3), ..Default::default() };
    match run(&task, &config(), dir.path(), false) {
        Err(TrainError::NotFinite { step, epoch, .. }) => assert_eq!((step, epoch), (BATCHES + 2, 2)),
        other => panic!("expected a NaN error, found {other:?}"),
    }
    let kept = final_state(dir.path());
    assert_eq!(kept.progress.epoch, 1);
    let finite =
        |data: &burn::tensor::TensorData| data.as_slice::<f32>().unwrap().iter().all(|v| v.is_finite());
    assert!(kept.model.values().all(finite));
}

#[test]
fn other_settings_and_other_networks_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    run(&ToyTask::default(), &config(), dir.path(), false).unwrap();
    let folder = RunFolder::open(dir.path(), true).unwrap();
    let task = ToyTask::default();
    let trainer = || Trainer::new(config(), ProgressStyle::Quiet, Default::default()).unwrap();
    let error = trainer().run(&task, Toy::new(6), &folder, "something else").unwrap_err().to_string();
    assert!(error.contains("other settings") && error.contains("last.ckpt"), "{error}");
    let error = trainer().run(&task, Toy::new(7), &folder, "toy").unwrap_err().to_string();
    assert!(error.contains("another network") && error.contains("conv.weight"), "{error}");
}

#[test]
fn damaged_checkpoints_are_named() {
    let dir = tempfile::tempdir().unwrap();
    run(&ToyTask::default(), &config(), dir.path(), false).unwrap();
    let path = dir.path().join("last.ckpt");
    let bytes = std::fs::read(&path).unwrap();
    for damaged in [&bytes[..bytes.len() / 2], &bytes[..5], b"", b"not a checkpoint at all"] {
        std::fs::write(&path, damaged).unwrap();
        let error = Checkpoint::read(&path).unwrap_err().to_string();
        assert!(error.contains("last.ckpt"), "{error}");
    }
    // A changed byte in the optimiser's record, which only its checksum can tell.
    let offset = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let record = Checkpoint::read(&write(&path, &bytes)).unwrap().optimizer;
    let at = offset + bytes[offset..].windows(record.len()).position(|window| window == record).unwrap();
    let mut changed = bytes.clone();
    changed[at + record.len() / 2] ^= 1;
    let error = Checkpoint::read(&write(&path, &changed)).unwrap_err().to_string();
    assert!(error.contains("optimiser's record is damaged"), "{error}");
}

fn write(path: &Path, bytes: &[u8]) -> std::path::PathBuf {
    std::fs::write(path, bytes).unwrap();
    path.to_path_buf()
}

#[test]
fn settings_that_cannot_train_are_refused() {
    let bad = [
        TrainConfig { epochs: 0, ..config() },
        TrainConfig { lr: f64::NAN, ..config() },
        TrainConfig { accumulate: 0, ..config() },
        TrainConfig { ema_decay: Some(1.0), ..config() },
        TrainConfig { clip_grad: Some(-1.0), ..config() },
    ];
    for config in bad {
        assert!(matches!(config.check(), Err(TrainError::Config(_))), "{config:?}");
    }
}
