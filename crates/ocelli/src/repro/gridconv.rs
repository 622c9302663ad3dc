//! The experiment of grid convolution: lifting networks on the same motion capture with the same budget. Errors in millimetres, lower is better.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use ocelli_nn::state_dict::parameter_count;
use ocelli_pose::camera::Camera;
use ocelli_pose::data::{self, OpenOptions, Pairs, SplitRule};
use ocelli_pose::grid::Padding;
use ocelli_pose::lifter::{BaselineConfig, Config, LifterConfig, Variant};
use ocelli_pose::model_file::{Description, FORMAT_VERSION};
use ocelli_pose::sgt::Prior;
use ocelli_pose::train::LiftTask;
use ocelli_report::chart::{Bar, BarChart};
use ocelli_train::{OptimizerConfig, OptimizerKind, Outcome, ProgressStyle, RunFolder, TrainConfig, Trainer};
use serde::{Deserialize, Serialize};

use super::{apart, mean_std};

/// Its name on the command line.
pub const NAME: &str = "gridconv";

/// What is expected at this size.
pub const EXPECTATION: &str = "D-GridConv well below GridConv; GridConv at or below the fully connected network of as many parameters; a learnt grid at or below \
                               the same grid kept as it is and the one made by hand";

const CLAIM: &str = "On Human3.6M the grid lifting network (256 channels, 2 blocks, true 2D joints) has an MPJPE of 37.15 mm with the handcrafted grid and of 36.39 mm \
                     with the learnt one. (\"3D Human Pose Lifting with Grid Convolution\", AAAI 2023; the authors' readme)";

/// Pairs per step.
const BATCH: usize = 64;
/// Learning rate.
const RATE: f64 = 2e-3;
/// Factors of the learning rate of learnt grids.
const GRID_RATES: [f64; 2] = [100.0, 10.0];
/// Every so many frames are trained on, and judged by.
const STRIDES: [usize; 2] = [8, 3];
/// Epochs unless the user says otherwise.
const EPOCHS: usize = 8;

/// How to run it.
pub struct Options {
    /// Motion capture.
    pub data: PathBuf,
    /// Seeds per arm.
    pub seeds: u64,
    /// Passes over the training pairs.
    pub epochs: Option<usize>,
    /// Whether progress is shown.
    pub style: ProgressStyle,
    /// Device of the training, without autodiff.
    pub device: Device,
    /// Results of which arms are taken over that were trained on the same pairs, for as long, with as many seeds.
    pub earlier: Option<Results>,
}

/// What is compared.
struct Arm {
    name: &'static str,
    network: LifterConfig,
    /// Factor of the learning rate of a learnt grid; 0 keeps it.
    grid_rate: f64,
}

fn arms() -> [Arm; ARMS] {
    let base = Config { hidden: 32, dropout: 0.0, ..Config::default() };
    let grid = |name, config, grid_rate| Arm { name, network: LifterConfig::Grid(config), grid_rate };
    let baseline = |hidden| BaselineConfig { hidden, blocks: 2, dropout: 0.0 };
    let still =
        Config { variant: Variant::GridConv, padding: [Padding::Circular, Padding::Zeros], ..base.clone() };
    let auto = Config { variant: Variant::AutoGrids, ..base.clone() };
    let random = Config { prior: Prior::RandomProb, ..auto.clone() };
    // Of the authors' three learnt grids the one that keeps all joints and has little of the first left.
    let theirs = Config { prior: Prior::LearntType2, ..auto.clone() };
    [
        Arm { name: "fully connected", network: LifterConfig::Linear(baseline(128)), grid_rate: 0.0 },
        Arm { name: "graph convolution", network: LifterConfig::Graph(baseline(96)), grid_rate: 0.0 },
        grid("GridConv, handcrafted grid", still, 0.0),
        grid("D-GridConv, handcrafted grid", base, 0.0),
        grid("D-GridConv, standard grid, kept", auto.clone(), 0.0),
        grid("D-GridConv, standard grid, learnt", auto.clone(), GRID_RATES[0]),
        grid("D-GridConv, standard grid, learnt slower", auto, GRID_RATES[1]),
        grid("D-GridConv, authors' learnt grid, kept", theirs, 0.0),
        grid("D-GridConv, random grid, kept", random.clone(), 0.0),
        grid("D-GridConv, random grid, learnt", random, GRID_RATES[0]),
    ]
}

/// Pairs `(better, worse)` by which the expectation is judged.
const ORDER: [(usize, usize); 8] = [(3, 2), (2, 0), (2, 1), (5, 4), (6, 4), (9, 8), (5, 3), (7, 4)];

/// How many arms there are.
pub const ARMS: usize = 10;

/// What one arm came to, per seed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ArmResults {
    name: String,
    parameters: usize,
    macs: u64,
    mpjpe: Vec<f64>,
    pa_mpjpe: Vec<f64>,
    train_loss: Vec<f64>,
    seconds: Vec<f64>,
    cells_changed: Vec<f64>,
}

/// What the experiment came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    experiment: String,
    data: String,
    split: String,
    train_pairs: usize,
    val_pairs: usize,
    epochs: usize,
    steps: usize,
    arms: Vec<ArmResults>,
    seconds: f64,
    /// Whether some arms were taken over from an earlier run.
    #[serde(default)]
    extended: bool,
}

/// Runs all arms with all seeds; `say` is told what happens.
pub fn run(options: &Options, say: &dyn Fn(&str)) -> Result<Results> {
    if options.seeds == 0 {
        bail!("--seeds must be at least 1");
    }
    let started = Instant::now();
    let epochs = options.epochs.unwrap_or(EPOCHS);
    let sequences = data::open(&options.data, &OpenOptions::default())?;
    let parts = data::split(sequences, &SplitRule::default())?;
    let [train_stride, val_stride] = STRIDES;
    let train = Pairs::new(parts.train, Camera::four(), train_stride);
    let val = Pairs::new(parts.val, Camera::four(), val_stride);
    if train.len() < BATCH || val.is_empty() {
        bail!(
            "{}: {} training and {} held-out pairs are too few",
            options.data.display(),
            train.len(),
            val.len()
        );
    }
    let mut results = Results {
        experiment: NAME.into(),
        data: options.data.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        split: parts.how,
        train_pairs: train.len(),
        val_pairs: val.len(),
        epochs,
        steps: epochs * (train.len() / BATCH),
        arms: Vec::new(),
        seconds: 0.0,
        extended: false,
    };
    let arms = arms();
    for arm in &arms {
        let built = arm.network.init(0, &options.device);
        let empty = ArmResults {
            name: arm.name.into(),
            parameters: parameter_count(&built),
            macs: arm.network.macs(),
            mpjpe: Vec::new(),
            pa_mpjpe: Vec::new(),
            train_loss: Vec::new(),
            seconds: Vec::new(),
            cells_changed: Vec::new(),
        };
        let earlier =
            options.earlier.as_ref().and_then(|earlier| earlier.arm(&empty, &results, options.seeds));
        if earlier.is_some() {
            say(&format!("{:<40} taken over", arm.name));
        }
        results.extended |= earlier.is_some();
        results.arms.push(earlier.unwrap_or(empty));
    }
    // Seed by seed, so that a run cut short still compares like with like.
    for seed in 0..options.seeds {
        for (arm, found) in arms.iter().zip(&mut results.arms) {
            if found.mpjpe.len() > seed as usize {
                continue;
            }
            let begun = Instant::now();
            let description = Description {
                format: FORMAT_VERSION,
                task: "pose".into(),
                name: arm.name.into(),
                config: arm.network.clone(),
                temperature: 1.0,
                training: Default::default(),
            };
            let mut task = LiftTask::new(train.clone(), val.clone(), description, options.device.clone());
            task.batch = BATCH;
            task.seed = seed;
            task.temperature_epochs = (epochs * 3 / 10).max(1);
            task.grid_rate = arm.grid_rate;
            task.fixed_grid = arm.grid_rate == 0.0;
            let network = arm.network.init(seed, &options.device.clone().autodiff());
            let grid = network.learnt_grid();
            let optimizer =
                OptimizerConfig { kind: OptimizerKind::AdamW, weight_decay: 0.0, ..Default::default() };
            let config = TrainConfig {
                epochs,
                seed,
                lr: RATE,
                warmup_epochs: 0.5,
                optimizer,
                eval_every: epochs,
                ..Default::default()
            };
            let scratch = tempfile::tempdir().context("a folder for the run")?;
            let folder = RunFolder::open(scratch.path(), false)?;
            let trainer = Trainer::new(config, options.style, Arc::new(AtomicBool::new(false)))?;
            let (Outcome::Finished(progress) | Outcome::Interrupted(progress)) =
                trainer.run(&task, network, &folder, arm.name)?;
            let last = progress.history.last().context("a training without epochs")?;
            let figure = |name: &str| last.metrics.get(name).copied().unwrap_or(f64::NAN);
            found.mpjpe.push(figure("mpjpe_mm"));
            found.pa_mpjpe.push(figure("pa_mpjpe_mm"));
            found.train_loss.push(last.train_loss);
            found.seconds.push(begun.elapsed().as_secs_f64());
            let mut changed = String::new();
            if let Some(grid) = grid {
                let model = ocelli_pose::Model::load(&folder.best(), None, &options.device)?;
                let now = model.lifter.learnt_grid().unwrap_or_default();
                let count = grid.iter().zip(&now).filter(|(a, b)| a != b).count();
                found.cells_changed.push(count as f64);
                changed = format!("  {count} cells changed");
            }
            say(&format!(
                "{:<40} seed {seed}  MPJPE {:.1} mm  PA-MPJPE {:.1} mm{changed}  ({:.0} s so far)",
                arm.name,
                figure("mpjpe_mm"),
                figure("pa_mpjpe_mm"),
                started.elapsed().as_secs_f64()
            ));
        }
    }
    results.seconds = results.arms.iter().flat_map(|arm| &arm.seconds).sum();
    Ok(results)
}

impl Results {
    /// What is known of `arm` if it was trained as `now` says, with `seeds` seeds.
    fn arm(&self, arm: &ArmResults, now: &Results, seeds: u64) -> Option<ArmResults> {
        let pairs = |own: &Results| (own.train_pairs, own.val_pairs, own.epochs, own.steps);
        if (&self.data, &self.split, pairs(self)) != (&now.data, &now.split, pairs(now)) {
            return None;
        }
        let known = |own: &&ArmResults| {
            (&own.name, own.parameters, own.macs) == (&arm.name, arm.parameters, arm.macs)
                && [&own.mpjpe, &own.pa_mpjpe, &own.train_loss, &own.seconds]
                    .iter()
                    .all(|values| values.len() as u64 == seeds)
        };
        self.arms.iter().find(known).cloned()
    }
}

/// Markdown for `docs/results/`; `command` is what re-runs it.
pub fn markdown(results: &Results, command: &str) -> String {
    let mut text = format!("# {NAME}\n\n**The paper's claim.** {CLAIM}\n\n");
    let verdicts: Vec<String> =
        ORDER.iter().map(|&(a, b)| compare(&results.arms[a], &results.arms[b])).collect();
    writeln!(text, "**Expected at this size.** {EXPECTATION}.\n\n**Measured.** {}\n", verdicts.join(" "))
        .ok();
    text += "| arm | parameters | MACs | MPJPE mm (seeds) | mean ± std | PA-MPJPE mm | train loss | cells changed | training s |\n\
             | --- | ---: | ---: | --- | ---: | ---: | ---: | --- | ---: |\n";
    for arm in &results.arms {
        let ((mean, std), pa) = (mean_std(&arm.mpjpe), mean_std(&arm.pa_mpjpe).0);
        let list = |values: &[f64], decimals: usize| {
            values.iter().map(|v| format!("{v:.decimals$}")).collect::<Vec<_>>().join(", ")
        };
        writeln!(
            text,
            "| {} | {} | {:.2} M | {} | {mean:.1} ± {std:.1} | {pa:.1} | {:.4} | {} | {:.0} |",
            arm.name,
            arm.parameters,
            arm.macs as f64 / 1e6,
            list(&arm.mpjpe, 1),
            mean_std(&arm.train_loss).0,
            if arm.cells_changed.is_empty() { "-".into() } else { list(&arm.cells_changed, 0) },
            mean_std(&arm.seconds).0
        )
        .ok();
    }
    let seeds = results.arms.first().map_or(0, |arm| arm.mpjpe.len());
    writeln!(
        text,
        "\nMPJPE and PA-MPJPE: mean over actions after the last epoch. {} training pairs (every {}th frame) and {} held-out pairs (every {}rd) of {}, {}; four virtual \
         cameras, true projections as 2D joints; {} epochs, {} steps of {BATCH} pairs, {seeds} seed{}; Adam {RATE}, cosine, no dropout, temperature 30 to 1 in the first 30 %. The train losses \
         of handcrafted grids count joints as often as cells repeat them. Grids are learnt straight through at {} times the learning rate, \"slower\" at {}. Small-scale results: not comparable with published full-data figures. {:.0} minutes in all{}.\n",
        results.train_pairs,
        STRIDES[0],
        results.val_pairs,
        STRIDES[1],
        results.data,
        results.split,
        results.epochs,
        results.steps,
        if seeds == 1 { "" } else { "s" },
        GRID_RATES[0],
        GRID_RATES[1],
        results.seconds / 60.0,
        if results.extended { ", on more than one occasion: the arms' times do not compare" } else { "" }
    )
    .ok();
    writeln!(text, "```\n{command}\n```").ok();
    text
}

/// Smaller errors are what is expected.
fn compare(a: &ArmResults, b: &ArmResults) -> String {
    let (less, noise, word) = apart(&b.mpjpe, &a.mpjpe);
    format!(
        "\"{}\" {:+.1} mm against \"{}\" (two standard errors {noise:.1}): {word}.",
        a.name, -less, b.name
    )
}

/// Mean and seeds of every arm.
pub fn chart(results: &Results) -> String {
    let highest = results.arms.iter().flat_map(|arm| arm.mpjpe.iter().copied()).fold(0.0, f64::max);
    BarChart {
        title: format!("{NAME}: MPJPE on held-out sequences, lower is better"),
        x_label: "MPJPE, mm".into(),
        bars: results.arms.iter().map(|arm| Bar::of_seeds(arm.name.clone(), &arm.mpjpe)).collect(),
        x_range: Some((0.0, (highest / 10.0).ceil() * 10.0 + 10.0)),
        ..Default::default()
    }
    .to_svg()
}
