//! Running an experiment: every arm with every seed, one after the other, on the same data and budget.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use ocelli_data::dataset::Subset;
use ocelli_data::{
    AugmentConfig, DatasetPair, EvalTransform, Loader, LoaderConfig, Preprocess, SplitOptions,
    TrainTransform, open_split,
};
use ocelli_image::NetworkConfig;
use ocelli_image::classify::ClassifyTask;
use ocelli_image::model_file::{Description, FORMAT_VERSION};
use ocelli_train::{
    OptimizerConfig, OptimizerKind, Outcome, ProgressStyle, RunFolder, SavedProgress, TrainConfig, Trainer,
};

use super::{Arm, ArmResults, Experiment, Recipe, Results};

/// How to run an experiment.
pub struct RunOptions {
    /// Pictures to use.
    pub data: PathBuf,
    /// Seeds per arm.
    pub seeds: u64,
    /// Epochs; the experiment's own if not said.
    pub epochs: Option<usize>,
    /// Side of the input, in pixels.
    pub side: usize,
    /// Whether progress is shown.
    pub style: ProgressStyle,
    /// Device of the training, without autodiff.
    pub device: Device,
}

/// Pictures per step.
const BATCH: usize = 64;

/// Runs all arms with all seeds; `say` is told what happens.
pub fn run(experiment: &Experiment, options: &RunOptions, say: impl Fn(&str)) -> Result<Results> {
    if let Some(own) = experiment.own {
        return own(experiment, options, &say);
    }
    if options.seeds == 0 {
        bail!("--seeds must be at least 1");
    }
    let data = open_split(&options.data, &SplitOptions::default())?;
    let started = Instant::now();
    let epochs = options.epochs.unwrap_or(experiment.epochs);
    let preprocess = preprocess(options.side);
    let mut results = begun(experiment, options, &data, epochs, Vec::new());
    for arm in &experiment.arms {
        let mut network = arm.network.clone();
        network.set_num_classes(data.classes.len());
        network.set_image_size(options.side);
        let built = network.init(&options.device);
        if let Err(problem) = built.check_size([options.side; 2]) {
            bail!("--img-size {}: {}: {problem}", options.side, arm.name);
        }
        let macs = built.macs(preprocess.input_size);
        results.arms.push(ArmResults { macs, ..ArmResults::new(arm.name, built.parameter_count()) });
    }
    // Seed by seed, so that a run cut short still compares like with like.
    for seed in 0..options.seeds {
        for (arm, found) in experiment.arms.iter().zip(&mut results.arms) {
            let progress = train(experiment, arm, &data, &preprocess, epochs, seed, options)?;
            let last = progress.history.last().context("a training without epochs")?;
            let accuracy = last.metrics.get("top1").copied().unwrap_or_default();
            found.accuracy.push(accuracy);
            found.train_loss.push(last.train_loss);
            found.seconds.push(progress.history.iter().map(|epoch| epoch.seconds).sum());
            say(&format!(
                "{:<28} seed {seed}  accuracy {:.2} %  train loss {:.3}  ({:.0} s so far)",
                arm.name,
                100.0 * accuracy,
                last.train_loss,
                started.elapsed().as_secs_f64()
            ));
        }
    }
    results.seconds = started.elapsed().as_secs_f64();
    Ok(results)
}

/// Whole pictures of `side` pixels with CIFAR-10's mean and deviation.
pub(super) fn preprocess(side: usize) -> Preprocess {
    Preprocess {
        input_size: [3, side, side],
        crop_pct: 1.0,
        mean: vec![0.4914, 0.4822, 0.4465],
        std: vec![0.2470, 0.2435, 0.2616],
        ..Default::default()
    }
}

/// The settings of `recipe`, judged after the last epoch.
pub(super) fn recipe(recipe: Recipe, epochs: usize, seed: u64) -> TrainConfig {
    let (lr, optimizer) = match recipe {
        Recipe::Sgd { lr } => (lr, OptimizerConfig { weight_decay: 5e-4, ..Default::default() }),
        Recipe::AdamW { lr, decay } => {
            (lr, OptimizerConfig { kind: OptimizerKind::AdamW, weight_decay: decay, ..Default::default() })
        }
    };
    TrainConfig { epochs, seed, lr, warmup_epochs: 0.0, optimizer, eval_every: epochs, ..Default::default() }
}

/// Classification of `data` by `network`, pictures shifted by 4 pixels and mirrored.
pub(super) fn task(
    name: &str,
    network: NetworkConfig,
    data: &DatasetPair,
    preprocess: &Preprocess,
    seed: u64,
    device: &Device,
) -> Result<ClassifyTask> {
    let loading =
        LoaderConfig { batch_size: BATCH, seed, workers: 1, cache_bytes: 1 << 30, ..LoaderConfig::train() };
    let judging =
        LoaderConfig { batch_size: 2 * BATCH, cache_bytes: 1 << 30, workers: 1, ..LoaderConfig::eval() };
    let augment = TrainTransform::new(preprocess, &AugmentConfig::small())?;
    Ok(ClassifyTask {
        train: Loader::new(data.train.clone(), loading, Arc::new(augment))?,
        val: Loader::new(data.val.clone(), judging, Arc::new(EvalTransform::new(preprocess)?))?,
        device: device.clone(),
        description: Description {
            format: FORMAT_VERSION,
            name: name.to_string(),
            config: network,
            labels: data.classes.clone(),
            preprocess: preprocess.clone(),
            training: Default::default(),
        },
        mixing: false,
    })
}

fn train(
    experiment: &Experiment,
    arm: &Arm,
    data: &DatasetPair,
    preprocess: &Preprocess,
    mut epochs: usize,
    seed: u64,
    options: &RunOptions,
) -> Result<SavedProgress> {
    let mut network: NetworkConfig = arm.network.clone();
    network.set_num_classes(data.classes.len());
    network.set_image_size(options.side);
    let mut data = data.clone();
    if let Some(pictures) = arm.pictures.filter(|&pictures| pictures < data.train.len()) {
        // As many steps as with all pictures.
        epochs = (epochs * data.train.len()).div_ceil(pictures);
        // Datasets are often sorted: every so many-th.
        let all = data.train.len();
        let chosen = (0..pictures).map(|i| i * all / pictures).collect();
        data.train = Arc::new(Subset::new(data.train.clone(), chosen)?);
    }
    let task = task(arm.name, network.clone(), &data, preprocess, seed, &options.device)?;
    let network = network.init(&options.device.clone().autodiff()).initialize(seed);
    let mut config = recipe(experiment.recipe, epochs, seed);
    config.penal.tau = arm.penal_tau;
    config.optimizer.weight_decay = arm.weight_decay.unwrap_or(config.optimizer.weight_decay);
    let scratch = tempfile::tempdir().context("a folder for the run")?;
    let folder = RunFolder::open(scratch.path(), false)?;
    let trainer = Trainer::new(config, options.style, Arc::new(AtomicBool::new(false)))?;
    match trainer.run(&task, network, &folder, arm.name)? {
        Outcome::Finished(progress) | Outcome::Interrupted(progress) => Ok(progress),
    }
}

/// An experiment of which nothing is measured yet.
pub(super) fn begun(
    experiment: &Experiment,
    options: &RunOptions,
    data: &DatasetPair,
    epochs: usize,
    arms: Vec<ArmResults>,
) -> Results {
    Results {
        experiment: experiment.name.to_string(),
        data: data_name(&options.data, data),
        train_pictures: data.train.len(),
        test_pictures: data.val.len(),
        side: options.side,
        epochs,
        arms,
        seconds: 0.0,
    }
}

fn data_name(path: &Path, data: &DatasetPair) -> String {
    let folder =
        path.file_name().map_or_else(|| path.display().to_string(), |name| name.display().to_string());
    format!("{folder} ({})", data.format)
}
