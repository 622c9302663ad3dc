//! `ocelli pose train`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use ocelli_nn::state_dict::parameter_count;
use ocelli_pose::data::Pairs;
use ocelli_pose::grid::Padding;
use ocelli_pose::lifter::{BaselineConfig, Config, LifterConfig, Variant};
use ocelli_pose::model_file::{Description, FORMAT_VERSION};
use ocelli_pose::sgt::{Assignment, Prior};
use ocelli_pose::train::{LiftTask, Loss};
use ocelli_report::atomic::write_atomic;
use ocelli_train::{OptimizerConfig, OptimizerKind, Outcome, ProgressStyle, RunFolder, TrainConfig, Trainer};

use super::config::{DataConfig, RunConfig};
use crate::cli::Global;
use crate::cli::image::train::{next_folder, on_interrupt};
use crate::cli::output::line;

/// Networks by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Network {
    /// Static kernels, grid made by hand
    Gridconv,
    /// Kernels with attention, grid made by hand
    Dgridconv,
    /// Kernels with attention, learnt grid
    Autogrids,
    /// Fully connected (the simple baseline)
    Linear,
    /// Graph convolutions over the bones
    Graph,
}

/// Starts of a learnt grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PriorName {
    Standard,
    LearntType1,
    LearntType2,
    LearntType3,
    RandomProb,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LossName {
    L2,
    Sqrtl2,
    L1,
}

/// Where pairs come from.
#[derive(Args, Debug)]
pub struct DataArgs {
    /// Motion capture: folder of .bvh, VideoPose3D's data_3d_*.npz, or a compact .safetensors
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Virtual cameras as JSON [default: four around the person, 5 m away]
    #[arg(long, value_name = "FILE")]
    pub cameras: Option<PathBuf>,
    /// Which joints of BVH files are the 17, as JSON [default: known families are recognised]
    #[arg(long, value_name = "FILE")]
    pub joint_map: Option<PathBuf>,
    /// Subjects to hold out [default: the data's own parts, S9 and S11, or every fifth subject]
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub val_subjects: Vec<String>,
    /// Hold out this share at the end of every sequence instead of subjects
    #[arg(long, value_name = "SHARE", conflicts_with = "val_subjects")]
    pub val_fraction: Option<f64>,
    /// Frames per second to keep of faster clips
    #[arg(long, value_name = "RATE")]
    pub rate: Option<f64>,
    /// Judge by every so many held-out frames
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub val_stride: usize,
}

impl DataArgs {
    pub fn config(&self) -> Result<DataConfig> {
        let Some(data) = self.data.clone() else { bail!("name the motion capture with --data") };
        Ok(DataConfig {
            data,
            cameras: self.cameras.clone(),
            joint_map: self.joint_map.clone(),
            val_subjects: self.val_subjects.clone(),
            val_fraction: self.val_fraction,
            rate: self.rate,
            val_stride: self.val_stride.max(1),
        })
    }
}

/// Train a lifting network on motion capture, seen by virtual cameras.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    ocelli pose train --data mocap --hidden 64 --epochs 30\n  \
    ocelli pose train --data data_3d_h36m.npz --model dgridconv --hidden 256 --dropout 0.25 --padding c,r\n  \
    ocelli pose train --data cmu17.safetensors --model autogrids --prior random_prob --grid-rate 100\n  \
    ocelli pose train --resume runs/pose-1")]
pub struct Train {
    #[command(flatten, next_help_heading = "Data")]
    data: DataArgs,
    /// Which network
    #[arg(long, value_enum, default_value = "dgridconv")]
    model: Network,
    /// Channels of the hidden layers
    #[arg(long, default_value_t = 64, value_name = "N")]
    hidden: usize,
    /// Residual blocks
    #[arg(long, default_value_t = 2, value_name = "N")]
    blocks: usize,
    /// Height and width of a learnt grid
    #[arg(long, default_value = "5x5", value_name = "HxW")]
    grid: String,
    /// Borders of both branches: c (circular), z (zeros), r (replicate) [default: c,z for gridconv, else c,r]
    #[arg(long, value_name = "A,B")]
    padding: Option<String>,
    /// Start of a learnt grid
    #[arg(long, value_enum, default_value = "standard")]
    prior: PriorName,
    /// Learn the grid with Gumbel noise at this temperature [default: straight through]
    #[arg(long, value_name = "TAU")]
    gumbel: Option<f64>,
    /// Factor of the learning rate of a learnt grid
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    grid_rate: f64,
    /// Share of channels dropped; narrow networks want 0
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    dropout: f64,
    /// Passes over the training pairs
    #[arg(long, default_value_t = 30, value_name = "N")]
    epochs: usize,
    /// Pairs per step
    #[arg(long, default_value_t = 200, value_name = "N")]
    batch_size: usize,
    /// Highest learning rate (Adam, cosine)
    #[arg(long, default_value_t = 2e-3, value_name = "RATE")]
    lr: f64,
    /// What is minimised
    #[arg(long, value_enum, default_value = "l2")]
    loss: LossName,
    /// Epochs over which the attention's temperature falls from 30 to 1 [default: a third of all, at most 10]
    #[arg(long, value_name = "N")]
    temperature_epochs: Option<usize>,
    /// Scale a sequence's bones at random between these two
    #[arg(long, default_value = "1,1", value_name = "LOW,HIGH")]
    scale: String,
    /// Turn people around the vertical axis at random
    #[arg(long)]
    turn: bool,
    /// Noise on the 2D joints, in pixels of a 1000 pixel picture
    #[arg(long, default_value_t = 0.0, value_name = "PIXELS")]
    noise: f64,
    /// Train on every so many frames
    #[arg(long, default_value_t = 1, value_name = "N")]
    stride: usize,
    /// Decay of an average of the weights, which is what is kept
    #[arg(long, value_name = "DECAY")]
    ema: Option<f64>,
    /// Epochs between evaluations
    #[arg(long, default_value_t = 1, value_name = "N")]
    eval_every: usize,
    /// Seed of weights, order and variation
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// Run folder to write [default: runs/pose-N]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Go on with the run in this folder
    #[arg(long, value_name = "DIR", conflicts_with = "output")]
    resume: Option<PathBuf>,
}

impl Train {
    pub(in crate::cli) fn run(self, global: &Global) -> Result<ExitCode> {
        let (config, output) = match &self.resume {
            Some(folder) => {
                let path = folder.join("config.toml");
                if !path.exists() {
                    bail!("{}: holds no run to resume (no config.toml)", folder.display());
                }
                (RunConfig::read(&path)?, folder.clone())
            }
            None => (self.config()?, self.output.clone().unwrap_or_else(|| next_folder("pose"))),
        };
        let finished = start(&config, &output, self.resume.is_some(), global)?;
        Ok(if finished { ExitCode::SUCCESS } else { ExitCode::from(130) })
    }

    fn config(&self) -> Result<RunConfig> {
        let network = self.network()?;
        network.check().map_err(|problem| anyhow::anyhow!("the network has {problem}"))?;
        let pair: Vec<f64> = self.scale.split(',').filter_map(|word| word.trim().parse().ok()).collect();
        let scale = match pair.as_slice() {
            &[low, high] if low > 0.0 && high >= low && high.is_finite() => [low, high],
            _ => bail!("--scale {}: expected two numbers above 0, such as 0.85,1.15", self.scale),
        };
        if !(self.noise.is_finite() && self.noise >= 0.0) {
            bail!("--noise {}: expected a number of at least 0", self.noise);
        }
        if self.batch_size < 2 {
            bail!("--batch-size must be at least 2: batch norms need more than one pose");
        }
        let optimizer =
            OptimizerConfig { kind: OptimizerKind::AdamW, weight_decay: 0.0, ..OptimizerConfig::default() };
        Ok(RunConfig {
            batch_size: self.batch_size,
            loss: match self.loss {
                LossName::L2 => Loss::L2,
                LossName::Sqrtl2 => Loss::SqrtL2,
                LossName::L1 => Loss::L1,
            },
            temperature_epochs: self.temperature_epochs.unwrap_or((self.epochs / 3).clamp(1, 10)),
            grid_rate: self.grid_rate,
            scale,
            turn: self.turn,
            noise: self.noise / 500.0,
            stride: self.stride.max(1),
            data: self.data.config()?,
            network,
            train: TrainConfig {
                epochs: self.epochs,
                seed: self.seed,
                lr: self.lr,
                warmup_epochs: 0.5,
                optimizer,
                ema_decay: self.ema,
                eval_every: self.eval_every,
                ..TrainConfig::default()
            },
        })
    }

    fn network(&self) -> Result<LifterConfig> {
        let variant = match self.model {
            Network::Gridconv => Variant::GridConv,
            Network::Dgridconv => Variant::DGridConv,
            Network::Autogrids => Variant::AutoGrids,
            Network::Linear | Network::Graph => {
                let config =
                    BaselineConfig { hidden: self.hidden, blocks: self.blocks, dropout: self.dropout };
                return Ok(match self.model {
                    Network::Linear => LifterConfig::Linear(config),
                    _ => LifterConfig::Graph(config),
                });
            }
        };
        let sides: Vec<usize> = self.grid.split('x').filter_map(|side| side.parse().ok()).collect();
        let Ok(grid) = <[usize; 2]>::try_from(sides) else {
            bail!("--grid {}: expected HEIGHTxWIDTH, such as 5x5", self.grid);
        };
        if grid != [5, 5] && variant != Variant::AutoGrids {
            bail!("--grid {}: only --model autogrids has another grid than 5x5", self.grid);
        }
        let usual = if variant == Variant::GridConv { "c,z" } else { "c,r" };
        let padding = Padding::pair(self.padding.as_deref().unwrap_or(usual))
            .map_err(|problem| anyhow::anyhow!("--padding {problem}"))?;
        let assignment = match self.gumbel {
            Some(tau) if tau > 0.0 => Assignment::GumbelHard { tau },
            Some(tau) => bail!("--gumbel {tau}: expected a number above 0"),
            None => Assignment::StraightThrough,
        };
        let prior = match self.prior {
            PriorName::Standard => Prior::Standard,
            PriorName::LearntType1 => Prior::LearntType1,
            PriorName::LearntType2 => Prior::LearntType2,
            PriorName::LearntType3 => Prior::LearntType3,
            PriorName::RandomProb => Prior::RandomProb,
        };
        let (hidden, blocks, dropout) = (self.hidden, self.blocks, self.dropout);
        Ok(LifterConfig::Grid(Config { variant, hidden, blocks, grid, padding, dropout, prior, assignment }))
    }
}

/// Trains by `config`; whether all epochs were done.
fn start(config: &RunConfig, output: &Path, resume: bool, global: &Global) -> Result<bool> {
    let device = global.device()?;
    let (parts, cameras) = config.data.open()?;
    let at = || config.data.data.display().to_string();
    let seen = cameras.len();
    let train = Pairs::new(parts.train, cameras.clone(), config.stride);
    let val = Pairs::new(parts.val, cameras, config.data.val_stride);
    if train.len() < config.batch_size {
        bail!(
            "{}: {} training pairs do not fill one batch of {}; lower --batch-size",
            at(),
            train.len(),
            config.batch_size
        );
    }
    if val.is_empty() {
        bail!("{}: no camera sees a held-out frame whole", at());
    }
    let network = config.network.init(config.train.seed, &device.clone().autodiff());
    let name = config.network.name();
    if !global.quiet {
        eprintln!(
            "{name} ({:.1} k parameters, {:.2} M MACs a pose) on {}: {} training and {} held-out pairs of {seen} cameras, {}",
            parameter_count(&network) as f64 / 1e3,
            config.network.macs() as f64 / 1e6,
            at(),
            train.len(),
            val.len(),
            parts.how
        );
        eprintln!("run folder {}{}\n", output.display(), if resume { " (resumed)" } else { "" });
    }
    let data = config.data.data.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let description = Description {
        format: FORMAT_VERSION,
        task: "pose".into(),
        name: name.to_string(),
        config: config.network.clone(),
        temperature: 1.0,
        training: serde_json::Map::from_iter([
            ("data".to_string(), data.into()),
            ("split".to_string(), parts.how.into()),
            ("epochs".to_string(), config.train.epochs.into()),
        ]),
    };
    let fingerprint = format!(
        "{} train {} val {}",
        serde_json::to_string(config).context("the settings")?,
        train.len(),
        val.len()
    );
    let mut task = LiftTask::new(train, val, description, device);
    task.augment = config.augment();
    task.batch = config.batch_size;
    task.seed = config.train.seed;
    task.loss = config.loss;
    task.temperature_epochs = config.temperature_epochs;
    task.grid_rate = config.grid_rate;

    let folder = RunFolder::open(output, resume)?;
    if !folder.config().exists() {
        let text = toml::to_string(config).context("the settings")?;
        write_atomic(folder.config(), text.as_bytes())
            .with_context(|| folder.config().display().to_string())?;
    }
    let style = if global.quiet { ProgressStyle::Quiet } else { ProgressStyle::Auto };
    let stop = Arc::new(AtomicBool::new(false));
    on_interrupt(stop.clone());
    let trainer = Trainer::new(config.train.clone(), style, stop)?;
    match trainer.run(&task, network, &folder, &fingerprint)? {
        Outcome::Interrupted(progress) => {
            eprintln!(
                "stopped in epoch {} after {} steps; go on with: ocelli pose train --resume {}",
                progress.epoch + 1,
                progress.step,
                output.display()
            );
            Ok(false)
        }
        Outcome::Finished(progress) => {
            let best = progress.history.iter().find(|record| record.epoch == progress.best_epoch);
            let figure = |name: &str| best.and_then(|own| own.metrics.get(name)).copied().unwrap_or(f64::NAN);
            line(&format!(
                "MPJPE {:.1} mm, PA-MPJPE {:.1} mm, PCK150 {:.1} %, AUC {:.1} % (mean over actions; epoch {} of {}, the best)",
                figure("mpjpe_mm"),
                figure("pa_mpjpe_mm"),
                100.0 * figure("pck150"),
                100.0 * figure("auc"),
                progress.best_epoch,
                config.train.epochs
            ))?;
            line(&format!("model   {}", folder.best().display()))?;
            Ok(true)
        }
    }
}
