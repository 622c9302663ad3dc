//! `ocelli image train`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use clap::Args;
use ocelli_data::transform::TrainCropMode;
use ocelli_data::{
    BadImages, DatasetPair, EvalTransform, Loader, LoaderConfig, Preprocess, SplitOptions, TrainTransform,
    open_split,
};
use ocelli_image::classify::{ClassifyTask, EvaluationReport};
use ocelli_image::model_file::{self, Description, FORMAT_VERSION};
use ocelli_image::zoo::{self, Options};
use ocelli_image::{Network, NetworkConfig};
use ocelli_nn::weights::WeightFile;
use ocelli_train::{OptimizerKind, Outcome, ProgressStyle, RunFolder, ScheduleKind, Trainer};

use super::config::{RunConfig, default_workers};
use super::report;
use crate::cli::Global;
use crate::cli::output::line;
use crate::model_ref::local_weights;

/// Train a network on a folder of pictures, CIFAR, or IDX (MNIST) files.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    ocelli image train --data photos --split 0.2 --model ghostnet_100 --img-size 128\n  \
    ocelli image train --data cifar-10-batches-bin --model resnet20_cifar --epochs 60 --auto-augment rand-m9-mstd0.5\n  \
    ocelli image train --data photos --model resnet18 --weights resnet18.safetensors --lr 0.005   (fine-tuning)\n  \
    ocelli image train --config run.toml --epochs 50\n  \
    ocelli image train --resume runs/ghostnet_100-1")]
pub struct Train {
    /// Registered network (`ocelli models list`); may be left out with --weights MODEL_FILE
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Pictures: train/CLASS and val/CLASS folders, class folders with --split, CIFAR binary, IDX
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Settings from a TOML file; options on the command line override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Run folder to write [default: runs/NAME-N]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Go on with the run in this folder
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "output"])]
    resume: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Data")]
    input: InputArgs,
    #[command(flatten, next_help_heading = "Augmentation")]
    augment: AugmentArgs,
    #[command(flatten, next_help_heading = "Optimisation")]
    optimise: OptimiseArgs,
}

#[derive(Args, Debug)]
struct InputArgs {
    /// Share of the pictures to hold out where there is no val part
    #[arg(long, value_name = "SHARE")]
    split: Option<f64>,
    /// Side of the square input in pixels [default: the network's own]
    #[arg(long, value_name = "PIXELS")]
    img_size: Option<usize>,
    /// Pictures per step [default: 32]
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Threads that decode and augment [default: all cores]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Leave unreadable pictures out instead of stopping at the first
    #[arg(long)]
    skip_bad: bool,
    /// Memory for decoded pictures in MiB [default: 1024]
    #[arg(long, value_name = "MIB")]
    cache_mib: Option<usize>,
    /// Weights to start from: file, run folder or hf://org/repo; another class count is fine
    #[arg(long, value_name = "REF")]
    weights: Option<String>,
}

/// How a training picture gets to the input size.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Crop {
    /// A random part of the picture, resized
    Rrc,
    /// Resized to cover, padded by --padding, cropped
    Pad,
    /// Resized whole, whatever the aspect ratio
    Squash,
}

impl From<Crop> for TrainCropMode {
    fn from(crop: Crop) -> Self {
        match crop {
            Crop::Rrc => Self::Rrc,
            Crop::Pad => Self::RandomCrop,
            Crop::Squash => Self::Squash,
        }
    }
}

#[derive(Args, Debug)]
struct AugmentArgs {
    /// How a picture gets to the input size [default: rrc]
    #[arg(long, value_enum, value_name = "MODE")]
    crop: Option<Crop>,
    /// Pixels added on all sides with --crop pad
    #[arg(long, value_name = "PIXELS")]
    padding: Option<usize>,
    /// Least and largest share of the picture a random crop covers, as MIN,MAX
    #[arg(long, value_name = "MIN,MAX", value_delimiter = ',', num_args = 1)]
    scale: Option<Vec<f64>>,
    /// Least and largest aspect ratio of a random crop, as MIN,MAX
    #[arg(long, value_name = "MIN,MAX", value_delimiter = ',', num_args = 1)]
    ratio: Option<Vec<f64>>,
    /// Probability of mirroring left and right
    #[arg(long, value_name = "P")]
    hflip: Option<f64>,
    /// Probability of mirroring top and bottom
    #[arg(long, value_name = "P")]
    vflip: Option<f64>,
    /// Strength of colour jitter
    #[arg(long, value_name = "X")]
    color_jitter: Option<f64>,
    /// RandAugment policy, such as rand-m9-mstd0.5-inc1, or none
    #[arg(long, value_name = "POLICY")]
    auto_augment: Option<String>,
    /// Probability of random erasing
    #[arg(long, value_name = "P")]
    reprob: Option<f64>,
    /// Mixup alpha, 0 for none
    #[arg(long, value_name = "ALPHA")]
    mixup: Option<f64>,
    /// CutMix alpha, 0 for none
    #[arg(long, value_name = "ALPHA")]
    cutmix: Option<f64>,
    /// Label smoothing [default: 0.1]
    #[arg(long, value_name = "X")]
    smoothing: Option<f64>,
}

#[derive(Args, Debug)]
struct OptimiseArgs {
    /// Passes over the training pictures [default: 30]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// sgd or adamw [default: sgd]
    #[arg(long, value_name = "NAME")]
    opt: Option<String>,
    /// Peak learning rate [default: 0.05, or 0.001 with adamw]
    #[arg(long, value_name = "X")]
    lr: Option<f64>,
    /// cosine, step or constant [default: cosine]
    #[arg(long, value_name = "NAME")]
    sched: Option<String>,
    /// Epochs of linear warm-up [default: 1]
    #[arg(long, value_name = "N")]
    warmup_epochs: Option<f64>,
    /// Epochs between reductions of the step schedule [default: 30]
    #[arg(long, value_name = "N")]
    decay_epochs: Option<f64>,
    /// Factor of a reduction of the step schedule [default: 0.1]
    #[arg(long, value_name = "X")]
    decay_rate: Option<f64>,
    /// Momentum of sgd [default: 0.9]
    #[arg(long, value_name = "X")]
    momentum: Option<f64>,
    /// Weight decay; norms and biases are left out [default: 5e-5]
    #[arg(long, value_name = "X")]
    weight_decay: Option<f64>,
    /// Largest norm of the gradient
    #[arg(long, value_name = "NORM")]
    clip_grad: Option<f64>,
    /// Batches averaged into one step [default: 1]
    #[arg(long, value_name = "N")]
    accumulate: Option<usize>,
    /// Keep a moving average of the weights with this decay, and evaluate that
    #[arg(long, value_name = "DECAY")]
    ema: Option<f64>,
    /// Dropout before the classifier
    #[arg(long, value_name = "P")]
    drop: Option<f64>,
    /// Epochs between evaluations [default: 1]
    #[arg(long, value_name = "N")]
    eval_every: Option<usize>,
    /// Minutes between checkpoints inside an epoch [default: 10]
    #[arg(long, value_name = "N")]
    checkpoint_minutes: Option<f64>,
    /// Seed of weights, order and augmentation [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// What a finished training leaves.
pub struct Finished {
    /// The best model on the held-out part.
    pub report: EvaluationReport,
    /// The run folder.
    pub folder: PathBuf,
    /// The best model's file.
    pub best: PathBuf,
}

impl AugmentArgs {
    /// Sets what was given.
    fn apply(&self, config: &mut RunConfig) -> Result<()> {
        fn set<T: Copy>(target: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *target = value;
            }
        }
        fn pair(name: &str, values: &Option<Vec<f64>>, target: &mut [f64; 2]) -> Result<()> {
            if let Some(values) = values {
                *target = values.as_slice().try_into().map_err(|_| {
                    anyhow::anyhow!("--{name}: expected two numbers MIN,MAX, found {values:?}")
                })?;
            }
            Ok(())
        }
        let augment = &mut config.augment;
        pair("scale", &self.scale, &mut augment.scale)?;
        pair("ratio", &self.ratio, &mut augment.ratio)?;
        if let Some(mode) = self.crop {
            augment.train_crop_mode = mode.into();
        }
        set(&mut augment.padding, self.padding);
        set(&mut augment.hflip, self.hflip);
        set(&mut augment.vflip, self.vflip);
        set(&mut augment.color_jitter, self.color_jitter);
        set(&mut augment.re_prob, self.reprob);
        if let Some(policy) = &self.auto_augment {
            augment.auto_augment = match policy.as_str() {
                "none" => None,
                policy => Some(policy.parse()?),
            };
        }
        set(&mut config.mix.mixup_alpha, self.mixup);
        set(&mut config.mix.cutmix_alpha, self.cutmix);
        set(&mut config.mix.label_smoothing, self.smoothing);
        Ok(())
    }
}

impl Train {
    pub(in crate::cli) fn run(self, global: &Global) -> Result<ExitCode> {
        let (config, output, resume) = match &self.resume {
            Some(folder) => {
                let path = folder.join("config.toml");
                if !path.exists() {
                    bail!("{}: holds no run to resume (no config.toml)", folder.display());
                }
                (self.overridden(RunConfig::read(&path)?)?, folder.clone(), true)
            }
            None => {
                let config = match &self.config {
                    Some(path) => RunConfig::read(path)?,
                    None => RunConfig::default(),
                };
                let config = self.overridden(config)?;
                let output = self.output.clone().unwrap_or_else(|| next_folder(&config.model));
                (config, output, false)
            }
        };
        let Some(finished) = start(config, &output, resume, global)? else { return Ok(ExitCode::from(130)) };
        line(&format!(
            "top-1 {:.2} %, top-5 {:.2} % on {} held-out pictures (best epoch's model)",
            100.0 * finished.report.top1,
            100.0 * finished.report.top5,
            finished.report.samples
        ))?;
        line(&format!("model   {}", finished.best.display()))?;
        line(&format!("report  {}", finished.folder.join("report.html").display()))?;
        Ok(ExitCode::SUCCESS)
    }

    /// `config` with the command line's options.
    fn overridden(&self, mut config: RunConfig) -> Result<RunConfig> {
        fn set<T: Clone>(target: &mut T, value: &Option<T>) {
            if let Some(value) = value {
                *target = value.clone();
            }
        }
        fn some<T: Clone>(target: &mut Option<T>, value: &Option<T>) {
            if value.is_some() {
                target.clone_from(value);
            }
        }
        let (input, optimise) = (&self.input, &self.optimise);
        set(&mut config.model, &self.model);
        set(&mut config.data, &self.data);
        some(&mut config.split, &input.split);
        some(&mut config.img_size, &input.img_size);
        set(&mut config.batch_size, &input.batch_size);
        some(&mut config.workers, &input.workers);
        config.skip_bad |= input.skip_bad;
        set(&mut config.cache_mib, &input.cache_mib);
        some(&mut config.weights, &input.weights);
        some(&mut config.drop_rate, &optimise.drop);
        self.augment.apply(&mut config)?;

        let train = &mut config.train;
        if let Some(name) = &optimise.opt {
            train.optimizer.kind = match name.as_str() {
                "sgd" => OptimizerKind::Sgd,
                "adamw" => OptimizerKind::AdamW,
                other => bail!("--opt {other}: expected sgd or adamw"),
            };
            if train.optimizer.kind == OptimizerKind::AdamW && self.config.is_none() {
                train.lr = 1e-3;
                train.optimizer.weight_decay = 0.05;
            }
        }
        if let Some(name) = &optimise.sched {
            train.schedule = match name.as_str() {
                "cosine" => ScheduleKind::Cosine,
                "step" => ScheduleKind::Step,
                "constant" => ScheduleKind::Constant,
                other => bail!("--sched {other}: expected cosine, step or constant"),
            };
        }
        set(&mut train.epochs, &optimise.epochs);
        set(&mut train.lr, &optimise.lr);
        set(&mut train.warmup_epochs, &optimise.warmup_epochs);
        set(&mut train.decay_epochs, &optimise.decay_epochs);
        set(&mut train.decay_rate, &optimise.decay_rate);
        set(&mut train.optimizer.momentum, &optimise.momentum);
        set(&mut train.optimizer.weight_decay, &optimise.weight_decay);
        some(&mut train.clip_grad, &optimise.clip_grad);
        set(&mut train.accumulate, &optimise.accumulate);
        some(&mut train.ema_decay, &optimise.ema);
        set(&mut train.eval_every, &optimise.eval_every);
        set(&mut train.checkpoint_minutes, &optimise.checkpoint_minutes);
        set(&mut train.seed, &optimise.seed);
        Ok(config)
    }
}

/// `runs/NAME-1`, or the next free number.
fn next_folder(model: &str) -> PathBuf {
    (1..)
        .map(|n| Path::new("runs").join(format!("{model}-{n}")))
        .find(|path| !path.exists())
        .unwrap_or_else(|| Path::new("runs").join(model))
}

/// Trains by `config` into `output`; nothing if it was interrupted.
pub fn start(
    mut config: RunConfig,
    output: &Path,
    resume: bool,
    global: &Global,
) -> Result<Option<Finished>> {
    network_of_weights(&mut config)?;
    config.check()?;
    let network_config = network_config(&config)?;
    let device = global.device()?;
    let data = open_split(
        &config.data,
        &SplitOptions { split: config.split, seed: config.train.seed, ..Default::default() },
    )?;
    let prepared = prepare(&config, network_config, data, &device)?;
    let fingerprint = config.fingerprint(prepared.pictures)?;

    let folder = RunFolder::open(output, resume)?;
    if !folder.config().exists() {
        let text = config.to_toml()?;
        ocelli_report::atomic::write_atomic(folder.config(), text.as_bytes())
            .with_context(|| folder.config().display().to_string())?;
    }
    if !global.quiet {
        eprintln!("{}", prepared.headline(&config));
        eprintln!("run folder {}{}\n", output.display(), if resume { " (resumed)" } else { "" });
    }
    if global.verbose {
        eprintln!("{}", config.to_toml()?);
    }
    let style = if global.quiet { ProgressStyle::Quiet } else { ProgressStyle::Auto };
    let stop = Arc::new(AtomicBool::new(false));
    on_interrupt(stop.clone());
    let trainer = Trainer::new(config.train.clone(), style, stop)?;
    match trainer.run(&prepared.task, prepared.network, &folder, &fingerprint)? {
        Outcome::Interrupted(progress) => {
            eprintln!(
                "stopped in epoch {} after {} steps; go on with: ocelli image train --resume {}",
                progress.epoch + 1,
                progress.step,
                output.display()
            );
            Ok(None)
        }
        Outcome::Finished(progress) => {
            let report = report::write(&config, &prepared.task, &folder, &progress)?;
            Ok(Some(Finished { report, folder: output.to_path_buf(), best: folder.best() }))
        }
    }
}

/// Where no network is named, the weights' own: a model file says what it is.
fn network_of_weights(config: &mut RunConfig) -> Result<()> {
    if !config.model.is_empty() || config.network.is_some() {
        return Ok(());
    }
    let Some(reference) = &config.weights else { return Ok(()) };
    let path = local_weights(reference)?;
    let description = model_file::description(&WeightFile::read(&path)?)?.with_context(|| {
        format!("{}: does not say which network it is for; name it with --model", path.display())
    })?;
    config.img_size = config.img_size.or(Some(description.preprocess.input_size[1]));
    config.model = description.name;
    config.network = Some(description.config);
    Ok(())
}

/// The network to train, before the number of classes is known.
fn network_config(config: &RunConfig) -> Result<NetworkConfig> {
    let options = Options { drop_rate: config.drop_rate, ..Default::default() };
    Ok(match &config.network {
        Some(network) => network.clone(),
        None => zoo::entry(&config.model)?.config_with(&options),
    })
}

/// A task ready to run.
struct Prepared {
    task: ClassifyTask,
    network: Network,
    pictures: usize,
    held_out: usize,
    started_from: Option<String>,
}

fn prepare(
    config: &RunConfig,
    mut network_config: NetworkConfig,
    data: DatasetPair,
    device: &burn::tensor::Device,
) -> Result<Prepared> {
    network_config.set_num_classes(data.classes.len());
    let mut preprocess = match zoo::entry(&config.model) {
        Ok(entry) => entry.preprocess(),
        Err(_) => Preprocess::default(),
    };
    let side = config.img_size.unwrap_or(preprocess.input_size[1]);
    preprocess.input_size = [network_config.in_channels(), side, side];
    let bad_images = if config.skip_bad { BadImages::Skip } else { BadImages::Error };
    let workers = config.workers.unwrap_or_else(default_workers);
    let train_config = LoaderConfig {
        batch_size: config.batch_size,
        workers,
        seed: config.train.seed,
        bad_images,
        mix: Some(config.mix),
        cache_bytes: (config.cache_mib as u64) << 20,
        ..LoaderConfig::train()
    };
    let val_config = LoaderConfig {
        batch_size: config.batch_size,
        workers,
        bad_images,
        cache_bytes: (config.cache_mib as u64) << 18,
        ..LoaderConfig::eval()
    };
    let (pictures, held_out) = (data.train.len(), data.val.len());
    if pictures < config.batch_size {
        bail!(
            "{}: {pictures} training pictures do not fill one batch of {}; lower --batch-size",
            config.data.display(),
            config.batch_size
        );
    }
    let description = Description {
        format: FORMAT_VERSION,
        name: config.model.clone(),
        config: network_config.clone(),
        labels: data.classes.clone(),
        preprocess: preprocess.clone(),
        training: serde_json::Map::from_iter([
            ("data".to_string(), config.data.display().to_string().into()),
            ("pictures".to_string(), pictures.into()),
            ("epochs".to_string(), config.train.epochs.into()),
        ]),
    };
    let task = ClassifyTask {
        train: Loader::new(
            data.train,
            train_config,
            Arc::new(TrainTransform::new(&preprocess, &config.augment)?),
        )?,
        val: Loader::new(data.val, val_config, Arc::new(EvalTransform::new(&preprocess)?))?,
        device: device.clone(),
        description,
        mixing: config.mix.mixup_alpha > 0.0 || config.mix.cutmix_alpha > 0.0,
    };
    let mut network = network_config.init(&device.clone().autodiff()).initialize(config.train.seed);
    let mut started_from = None;
    if let Some(reference) = &config.weights {
        let path = local_weights(reference)?;
        let (loaded, head) = network.load_for_fine_tuning(WeightFile::read(&path)?, &config.model)?;
        network = loaded;
        let head = if head { "" } else { ", fresh classifier" };
        started_from = Some(format!("{}{head}", path.display()));
    }
    Ok(Prepared { task, network, pictures, held_out, started_from })
}

impl Prepared {
    fn headline(&self, config: &RunConfig) -> String {
        let [_, height, width] = self.task.description.preprocess.input_size;
        let from = self.started_from.as_ref().map_or(String::new(), |from| format!(", starting from {from}"));
        format!(
            "{} ({:.2} M parameters, {height}x{width}) on {}: {} pictures of {} classes, {} held out{from}",
            config.model,
            self.network.parameter_count() as f64 / 1e6,
            config.data.display(),
            self.pictures,
            self.task.description.labels.len(),
            self.held_out,
        )
    }
}

/// The first Ctrl-C ends the run at the next step with a checkpoint, the second ends the program.
fn on_interrupt(stop: Arc<AtomicBool>) {
    ctrlc::set_handler(move || {
        if stop.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("\nstopping after this step, writing a checkpoint (Ctrl-C again to leave at once)");
    })
    .ok();
}
