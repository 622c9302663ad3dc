//! `ocelli image train`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use clap::Args;
use ocelli_data::{
    BadImages, DatasetPair, EvalTransform, Loader, LoaderConfig, Preprocess, SplitOptions, TrainTransform,
    open_split,
};
use ocelli_image::backbone::noisy_binary::Supervision;
use ocelli_image::classify::{ClassifyTask, EvaluationReport};
use ocelli_image::model_file::{self, Description, FORMAT_VERSION};
use ocelli_image::zoo::{self, Options};
use ocelli_image::{Network, NetworkConfig};
use ocelli_nn::weights::WeightFile;
use ocelli_train::{Outcome, ProgressStyle, RunFolder, Trainer};

use super::binary::BinaryArgs;
use super::config::{RunConfig, default_workers};
use super::report;
use super::train_args::{AugmentArgs, DynamicArgs, InputArgs, OptimiseArgs, set};
use crate::cli::Global;
use crate::cli::output::line;
use crate::model_ref::local_weights;

/// Train a network on a folder of pictures, CIFAR, or IDX (MNIST) files.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    ocelli image train --data photos --split 0.2 --model ghostnet_100 --img-size 128\n  \
    ocelli image train --data cifar-10-batches-bin --model resnet20_cifar --epochs 60 --auto-augment rand-m9-mstd0.5\n  \
    ocelli image train --data photos --model resnet18 --weights resnet18.safetensors --lr 0.005   (fine-tuning)\n  \
    ocelli image train --data photos --weights runs/bnn_resnet20_cifar-1 --binarize noisy --opt adamw --lr 1e-4 --weight-decay 0\n  \
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
    #[command(flatten, next_help_heading = "Networks that choose the resolution")]
    dynamic: DynamicArgs,
    #[command(flatten, next_help_heading = "Networks with binary layers")]
    binary: BinaryArgs,
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
        set(&mut config.model, &self.model);
        set(&mut config.data, &self.data);
        self.input.apply(&mut config);
        self.augment.apply(&mut config)?;
        self.optimise.apply(&mut config, self.config.is_none())?;
        self.dynamic.apply(&mut config)?;
        self.binary.apply(&mut config.binary)?;
        Ok(config)
    }
}

/// `runs/NAME-1`, or the next free number.
pub fn next_folder(model: &str) -> PathBuf {
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
    let mut prepared = prepare(&config, network_config, data, &device)?;
    // What a resumed run's checkpoint holds is past that.
    if let (Some(supervision), false) = (config.binary.supervision(), resume) {
        prepared.warm_up(supervision);
    }
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
pub(in crate::cli) fn network_of_weights(config: &mut RunConfig) -> Result<()> {
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
pub(in crate::cli) fn network_config(config: &RunConfig) -> Result<NetworkConfig> {
    let options = Options { drop_rate: config.drop_rate, ..Default::default() };
    let mut network = match &config.network {
        Some(network) => {
            network.check().map_err(|problem| anyhow::anyhow!("[network]: {problem}"))?;
            network.clone()
        }
        None => zoo::entry(&config.model)?.config_with(&options),
    };
    config.dynamic.apply(&mut network)?;
    config.binary.apply(&mut network, &config.model)?;
    if let Some(rate) = config.drop_path {
        if !(0.0..1.0).contains(&rate) {
            bail!("--drop-path must lie in [0, 1), found {rate}");
        }
        if !network.set_drop_path(rate) {
            bail!("--drop-path: {} has no stochastic depth", config.model);
        }
    }
    Ok(network)
}

/// Most steps that mapping networks learn their labels before anything else does.
const WARM_UP: usize = 400;

/// A task ready to run.
pub(in crate::cli) struct Prepared {
    pub(in crate::cli) task: ClassifyTask,
    pub(in crate::cli) network: Network,
    pub(in crate::cli) pictures: usize,
    held_out: usize,
    started_from: Option<String>,
}

pub(in crate::cli) fn prepare(
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
    network_config.set_image_size(side);
    network_config
        .init(device)
        .check_size([side; 2])
        .map_err(|problem| anyhow::anyhow!("--img-size {side}: {}: {problem}", config.model))?;
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
    /// Lets mapping networks learn the signs they begin with.
    fn warm_up(&mut self, supervision: &Supervision) {
        if let Network::NoisyBinary(net) = &self.network {
            self.network = Network::NoisyBinary(net.clone().warmed_up(supervision, WARM_UP));
        }
        if let (Some(rate), Some(from)) = (self.network.flip_rate(), &mut self.started_from) {
            *from += &format!(", {:.2} % of the signs mapped otherwise", 100.0 * rate);
        }
    }

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
pub(in crate::cli) fn on_interrupt(stop: Arc<AtomicBool>) {
    ctrlc::set_handler(move || {
        if stop.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("\nstopping after this step, writing a checkpoint (Ctrl-C again to leave at once)");
    })
    .ok();
}
