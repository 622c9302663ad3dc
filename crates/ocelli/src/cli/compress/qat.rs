//! Quantisation-aware training: prune, quantise, fine-tune with codes in place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use clap::Args;
use ocelli_compress::ptq::{Given, LayerPlan, quantise};
use ocelli_image::classify::{Aware, AwareTask, Sparsity};
use ocelli_image::{Runner, deploy, model_file};
use ocelli_nn::weights::WeightFile;
use ocelli_train::{Outcome, ProgressStyle, RunFolder, Task, Trainer};

use super::calibrate::Said;
use super::{Compress, Subject};
use crate::cli::Global;
use crate::cli::image::config::RunConfig;
use crate::cli::image::train::{Prepared, network_config, network_of_weights, on_interrupt, prepare};
use crate::codes::{aware_layers, given_of};

/// Options of quantisation-aware training.
#[derive(Args, Debug, Default)]
pub(super) struct QatArgs {
    /// Passes over the training pictures with codes in place [default: 10]; with --method adder, none unless said
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Peak learning rate [default: 0.01]; the codes' units learn at a tenth of it
    #[arg(long, value_name = "X")]
    lr: Option<f64>,
    /// Weight decay [default: 1e-4, 4e-5 where convolutions are depthwise]
    #[arg(long, value_name = "X")]
    weight_decay: Option<f64>,
    /// Pictures per step [default: 32]
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Share of the pictures to hold out where --data has no val part
    #[arg(long, value_name = "SHARE")]
    split: Option<f64>,
    /// Share of the weights that become zero, the smallest first, before codes come in, such as 0.3
    #[arg(long, value_name = "SHARE")]
    sparsity: Option<f64>,
    /// Passes of the pruning: half of them growing, half settling [default: as --epochs]
    #[arg(long, value_name = "N")]
    prune_epochs: Option<usize>,
    /// Learn from labels alone, not from the float network's answers too
    #[arg(long)]
    no_distil: bool,
    /// Seed of order and augmentation [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Run folder; one that was interrupted goes on [default: runs/NAME-qat]
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
}

impl QatArgs {
    /// Whether --method adder is to train.
    pub(super) fn trains(&self) -> bool {
        self.epochs.is_some()
    }

    /// Share of the pictures to hold out.
    pub(super) fn split(&self) -> Option<f64> {
        self.split
    }

    /// An option that was given and means nothing without training.
    pub(super) fn given(&self) -> Option<&'static str> {
        let given = [
            ("--epochs", self.epochs.is_some()),
            ("--lr", self.lr.is_some()),
            ("--weight-decay", self.weight_decay.is_some()),
            ("--batch-size", self.batch_size.is_some()),
            ("--split", self.split.is_some()),
            ("--sparsity", self.sparsity.is_some()),
            ("--prune-epochs", self.prune_epochs.is_some()),
            ("--no-distil", self.no_distil),
            ("--seed", self.seed.is_some()),
            ("--run", self.run.is_some()),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }
}

impl Compress {
    pub(super) fn qat(&self, global: &Global) -> Result<ExitCode> {
        let data =
            self.data.clone().context("--method qat trains: name labelled pictures with --data DIR")?;
        if self.average_bits.is_some() || self.per_tensor {
            bail!("--average-bits and --per-tensor go with --method ptq");
        }
        if let Some(share) = self.qat.sparsity.filter(|share| !(0.0..1.0).contains(share)) {
            bail!("--sparsity must lie in [0, 1), found {share}");
        }
        let subject = self.open(&self.model, self.weights.as_deref(), global)?;
        let depthwise = subject.graph.nodes.iter().any(|node| match &node.op {
            ocelli_graph::Op::Conv { attrs, .. } => attrs.groups > 1,
            _ => false,
        });
        let side = subject.model.preprocess.input_size[1];
        let decay = if depthwise { 4e-5 } else { 1e-4 };
        let mut config = self.run_config(data, &subject.model.name, side, decay)?;
        network_of_weights(&mut config)?;
        config.check()?;
        let folder = self.run_folder(&subject.model.name);
        let stop = Arc::new(AtomicBool::new(false));
        on_interrupt(stop.clone());

        let float = deploy::compile_graph(subject.graph.clone(), Some(&subject.description))?;
        let mut stages = vec![self.stage("float", &float, &subject)?];

        // The network whose weights are made codes of: pruned, or as it came.
        let mut begin = self.model.clone();
        let mut weights = self.weights.clone();
        if let Some(share) = self.qat.sparsity.filter(|share| *share > 0.0) {
            let folder = folder.join("pruned");
            let mut own = config.clone();
            own.train.epochs = self.qat.prune_epochs.unwrap_or(config.train.epochs);
            if !self.train_pruned(own, &subject, share, &folder, &stop, global)? {
                return Ok(ExitCode::from(130));
            }
            begin = folder.display().to_string();
            weights = None;
            config.weights = Some(begin.clone());
        }
        let start = self.open(&begin, weights.as_deref(), global)?;
        if begin != self.model {
            let model = deploy::compile_graph(start.graph.clone(), Some(&start.description))?;
            stages.push(self.stage("pruned", &model, &start)?);
        }

        // Codes to begin with, by the guideline; training finds what rounding and correction would.
        let mut settings = self.settings()?;
        settings.round_steps = None;
        let mut said = Said::new(global.quiet);
        let mut say = |what: &str, at, of| said.say(what, at, of);
        let first = quantise(start.graph.clone(), &start.batches, &settings, start.options, &mut say)?;
        said.end();
        stages.push(self.stage("quantised", &self.compiled(&first.graph, &start)?, &start)?);
        let tuned = folder.join("tuned");
        if !self.train_aware(config, &start, &first.plan, &tuned, &stop, global)? {
            return Ok(ExitCode::from(130));
        }

        let best = tuned.join("best.safetensors");
        let done = self.open(&tuned.display().to_string(), None, global)?;
        settings.given = given(&best)?;
        settings.correct = false;
        let mut said = Said::new(global.quiet);
        let mut say = |what: &str, at, of| said.say(what, at, of);
        let own = quantise(done.graph.clone(), &done.batches, &settings, done.options, &mut say)?;
        said.end();
        self.finish(&done, "qat", settings, own, stages, Vec::new())
    }

    /// Where a training goes.
    pub(super) fn run_folder(&self, name: &str) -> PathBuf {
        let default = || Path::new("runs").join(format!("{}-qat", name.replace(['/', ':'], "-")));
        self.qat.run.clone().unwrap_or_else(default)
    }

    /// The settings of a fine-tuning of the network `name` on pictures of `side` pixels; `decay` is its weight decay unless another is given.
    pub(super) fn run_config(&self, data: PathBuf, name: &str, side: usize, decay: f64) -> Result<RunConfig> {
        let by_name =
            matches!(crate::model_ref::ModelRef::parse(&self.model)?, crate::model_ref::ModelRef::Name(_));
        let mut config = RunConfig {
            model: name.to_string(),
            data,
            split: self.qat.split,
            weights: if by_name { self.weights.clone() } else { Some(self.model.clone()) },
            img_size: Some(side),
            batch_size: self.qat.batch_size.unwrap_or(32),
            ..RunConfig::default()
        };
        if !by_name {
            // The file says which network it is for.
            let path = crate::model_ref::local_weights(&self.model)?;
            if let Some(own) = model_file::description(&WeightFile::read(&path)?)? {
                config.network = Some(own.config);
            }
        }
        config.mix.label_smoothing = 0.0;
        config.train.epochs = self.qat.epochs.unwrap_or(10);
        config.train.lr = self.qat.lr.unwrap_or(0.01);
        config.train.warmup_epochs = 0.0;
        config.train.seed = self.qat.seed.unwrap_or(0);
        config.train.optimizer.weight_decay = self.qat.weight_decay.unwrap_or(decay);
        Ok(config)
    }

    /// Fine-tunes in floating point while the smallest weights become zero. Returns whether it came to its end.
    fn train_pruned(
        &self,
        config: RunConfig,
        subject: &Subject,
        share: f64,
        folder: &Path,
        stop: &Arc<AtomicBool>,
        global: &Global,
    ) -> Result<bool> {
        let prepared = self.prepared(&config, global)?;
        let steps = prepared.task.train.batches() * config.train.epochs.div_ceil(2);
        let names: Vec<String> = layer_names(subject);
        let task = AwareTask::new(prepared.task, Vec::new(), names, Sparsity::Growing { share, steps });
        let model = task.model(prepared.network);
        let fingerprint = format!("pruned {share}, {}", config.fingerprint(prepared.pictures)?);
        run(&task, model, &config, folder, &fingerprint, stop, global, "pruning")
    }

    /// Fine-tunes with codes in place.
    fn train_aware(
        &self,
        config: RunConfig,
        start: &Subject,
        plan: &[LayerPlan],
        folder: &Path,
        stop: &Arc<AtomicBool>,
        global: &Global,
    ) -> Result<bool> {
        let prepared = self.prepared(&config, global)?;
        let names: Vec<String> = plan.iter().map(|layer| layer.name.clone()).collect();
        let layers = aware_layers(&prepared.network, plan);
        if layers.is_empty() {
            bail!("{}: no layer whose codes could be learned", start.model.name);
        }
        for name in names.iter().filter(|name| !layers.iter().any(|layer| layer.name == **name)) {
            eprintln!("{name}: keeps the codes it was given before the training");
        }
        let sparsity = if self.qat.sparsity.is_some() { Sparsity::Kept } else { Sparsity::Dense };
        let mut task = AwareTask::new(prepared.task, layers, names, sparsity);
        let epochs = config.train.epochs;
        task.frozen_from = epochs - epochs / 3;
        if !self.qat.no_distil {
            // The float network as it was, not the pruned one.
            let teacher = self.open(&self.model, self.weights.as_deref(), global)?;
            if let Runner::Burn { network, .. } = teacher.model.runner {
                task.teacher = Some(*network);
            }
        }
        let model = task.model(prepared.network);
        let fingerprint = format!(
            "codes of {} and {} bits, {}, {}",
            self.bits,
            self.activation_bits,
            if self.qat.no_distil { "labels alone" } else { "distilled" },
            config.fingerprint(prepared.pictures)?
        );
        run(&task, model, &config, folder, &fingerprint, stop, global, "training with codes")
    }

    pub(super) fn prepared(&self, config: &RunConfig, global: &Global) -> Result<Prepared> {
        let network = network_config(config)?;
        let options =
            ocelli_data::SplitOptions { split: config.split, seed: config.train.seed, ..Default::default() };
        let data = ocelli_data::open_split(&config.data, &options)?;
        prepare(config, network, data, &global.device()?)
    }
}

/// The layers with weights, by name.
fn layer_names(subject: &Subject) -> Vec<String> {
    let layer = |node: &&ocelli_graph::Node| {
        matches!(node.op, ocelli_graph::Op::Conv { .. } | ocelli_graph::Op::Linear { .. })
    };
    subject.graph.nodes.iter().filter(layer).map(|node| node.name.clone()).collect()
}

/// The codes a training has left in its model file.
fn given(path: &Path) -> Result<BTreeMap<String, Given>> {
    let (network, description) = model_file::load(path, &burn::tensor::Device::flex())?;
    given_of(&description, &network).with_context(|| path.display().to_string())
}

/// Trains in `folder`, going on where it was interrupted. Returns whether it came to its end.
#[allow(clippy::too_many_arguments)]
pub(super) fn run<T: Task<Model = Aware>>(
    task: &T,
    model: Aware,
    config: &RunConfig,
    path: &Path,
    fingerprint: &str,
    stop: &Arc<AtomicBool>,
    global: &Global,
    what: &str,
) -> Result<bool> {
    let resume = path.join("last.ckpt").exists();
    if !resume && path.join("config.toml").exists() {
        std::fs::remove_file(path.join("config.toml")).with_context(|| path.display().to_string())?;
    }
    let folder = RunFolder::open(path, resume)?;
    if !folder.config().exists() {
        ocelli_report::atomic::write_atomic(folder.config(), config.to_toml()?.as_bytes())
            .with_context(|| folder.config().display().to_string())?;
    }
    if !global.quiet {
        eprintln!("{what} in {}{}", path.display(), if resume { " (resumed)" } else { "" });
    }
    let style = if global.quiet { ProgressStyle::Quiet } else { ProgressStyle::Auto };
    let trainer = Trainer::new(config.train.clone(), style, stop.clone())?;
    match trainer.run(task, model, &folder, fingerprint)? {
        Outcome::Finished(_) => Ok(true),
        Outcome::Interrupted(progress) => {
            eprintln!(
                "stopped in epoch {} after {} steps; the same command goes on",
                progress.epoch + 1,
                progress.step
            );
            Ok(false)
        }
    }
}
