//! The experiment of noisy supervision: does fine-tuning a binary network through mapping networks beat plain fine-tuning?

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use burn::tensor::TensorData;
use ocelli_data::{DatasetPair, EvalTransform, Loader, LoaderConfig, Preprocess, SplitOptions, open_split};
use ocelli_image::backbone::noisy_binary::{Config, Supervision};
use ocelli_image::classify::evaluate;
use ocelli_image::runner::burn_answers;
use ocelli_image::{Network, NetworkConfig, model_file};
use ocelli_train::{Outcome, RunFolder, Trainer};

use super::run::{RunOptions, begun, preprocess, recipe, task};
use super::{Arm, ArmResults, Experiment, Recipe, Results};

/// Most steps of the mapping networks' warm-up.
const WARM_UP: usize = 400;

/// Learning rate of the network that all arms begin with.
const FIRST_RATE: f64 = 5e-3;

/// What is compared.
pub fn experiment() -> Experiment {
    let noisy = Supervision { mapping_rate: 1.0, ..Supervision::default() };
    let arm = |name, supervision| Arm::new(name, NetworkConfig::NoisyBinary(network(supervision)));
    Experiment {
        name: "noisy_supervision_bnn",
        claim: "fine-tuned with mapping networks under noisy supervision a binary ResNet-20 has 85.78 % on CIFAR-10, against 85.32 % \
                fine-tuned plainly and 85.43 % without the labels' loss; ResNet-18 has 59.4 instead of 59.0 % ImageNet top-1",
        source: "Training Binary Neural Networks through Learning with Noisy Supervision, arXiv 2010.04871",
        expectation: "fewer weights turned round and a slightly higher training loss than in plain fine-tuning; of the accuracy, half a \
                      point in the paper, nothing that stands out of what seeds vary",
        arms: vec![
            arm("plain fine-tuning", None),
            arm("mapping, no labels", Some(Supervision { weight: 0.0, ..noisy })),
            arm("noisy supervision", Some(noisy)),
            arm("noisy supervision, skip", Some(Supervision { skip: true, ..noisy })),
        ],
        order: &[(2, 0), (2, 1), (3, 0)],
        epochs: 16,
        recipe: Recipe::AdamW { lr: 1e-3, decay: 0.0 },
        own: Some(run),
    }
}

/// Six binary convolutions.
fn network(supervision: Option<Supervision>) -> Config {
    Config { widths: vec![8, 16, 32], units: 2, supervision, ..Config::resnet20() }
}

/// Runs all arms with all seeds; `say` is told what happens. Five of eight epochs train the network that all arms of a seed begin
/// with, the others fine-tune it.
pub fn run(experiment: &Experiment, options: &RunOptions, say: &dyn Fn(&str)) -> Result<Results> {
    if options.seeds == 0 {
        bail!("--seeds must be at least 1");
    }
    let data = open_split(&options.data, &SplitOptions::default())?;
    let started = Instant::now();
    let epochs = options.epochs.unwrap_or(experiment.epochs);
    let first = (epochs * 5 / 8).max(1);
    let second = epochs.saturating_sub(first).max(1);
    let preprocess = preprocess(options.side);
    let bench = Bench { data: &data, preprocess: &preprocess, options };
    let plain = |arm: &Arm| bench.config(&arm.network, None).init(&options.device);
    let mut results = begun(experiment, options, &data, first + second, Vec::new());
    for arm in &experiment.arms {
        // What is deployed is the same for all.
        let built = plain(arm);
        let macs = built.macs(preprocess.input_size);
        results.arms.push(ArmResults { macs, ..ArmResults::new(arm.name, built.parameter_count()) });
    }
    for seed in 0..options.seeds {
        let config = bench.config(&NetworkConfig::NoisyBinary(network(None)), None);
        let begun = bench.train(config, Recipe::AdamW { lr: FIRST_RATE, decay: 0.0 }, first, seed, None)?;
        say(&format!("{:<28} seed {seed}  accuracy {:.2} %", "before fine-tuning", 100.0 * begun.accuracy));
        for (arm, found) in experiment.arms.iter().zip(&mut results.arms) {
            let config = bench.config(&arm.network, supervision(arm));
            let tuned = bench.train(config, experiment.recipe, second, seed, Some(&begun))?;
            let flips = flipped(&begun.network.state_dict(), &tuned.network.state_dict());
            say(&format!(
                "{:<28} seed {seed}  accuracy {:.2} %  train loss {:.3}  flipped {:.2} %  ({:.0} s so far)",
                arm.name,
                100.0 * tuned.accuracy,
                tuned.train_loss,
                100.0 * flips,
                started.elapsed().as_secs_f64()
            ));
            found.accuracy.push(tuned.accuracy);
            found.train_loss.push(tuned.train_loss);
            found.seconds.push(tuned.seconds);
            found.flips.push(flips);
        }
    }
    results.seconds = started.elapsed().as_secs_f64();
    Ok(results)
}

fn supervision(arm: &Arm) -> Option<Supervision> {
    match &arm.network {
        NetworkConfig::NoisyBinary(config) => config.supervision,
        _ => None,
    }
}

/// Share of the binary weights whose signs differ.
fn flipped(before: &BTreeMap<String, TensorData>, after: &BTreeMap<String, TensorData>) -> f64 {
    let (mut flips, mut all) = (0usize, 0usize);
    for (name, old) in before.iter().filter(|(name, _)| name.ends_with(".conv.weight")) {
        let Some(new) = after.get(name) else { continue };
        all += old.num_elements();
        flips += old.iter::<f32>().zip(new.iter::<f32>()).filter(|(a, b)| (*a < 0.0) != (*b < 0.0)).count();
    }
    flips as f64 / all.max(1) as f64
}

/// What all arms share.
struct Bench<'a> {
    data: &'a DatasetPair,
    preprocess: &'a Preprocess,
    options: &'a RunOptions,
}

/// What one training came to.
struct Found {
    accuracy: f64,
    train_loss: f64,
    seconds: f64,
    /// As it is deployed.
    network: Network,
}

impl Bench<'_> {
    fn config(&self, network: &NetworkConfig, supervision: Option<Supervision>) -> NetworkConfig {
        let mut network = network.clone();
        if let NetworkConfig::NoisyBinary(config) = &mut network {
            config.supervision = supervision;
        }
        network.set_num_classes(self.data.classes.len());
        network
    }

    /// Trains by `config`, from `from`'s weights where there are any.
    fn train(
        &self,
        config: NetworkConfig,
        with: Recipe,
        epochs: usize,
        seed: u64,
        from: Option<&Found>,
    ) -> Result<Found> {
        let started = Instant::now();
        let device = self.options.device.clone();
        let mut network = config.init(&device.clone().autodiff()).initialize(seed);
        if let Some(from) = from {
            let (loaded, mismatch) = network.load_state_dict(from.network.state_dict());
            if !mismatch.is_empty() {
                bail!("the network does not fit its fine-tuning:{mismatch}");
            }
            network = loaded;
        }
        if let (
            Network::NoisyBinary(net),
            NetworkConfig::NoisyBinary(Config { supervision: Some(own), .. }),
        ) = (&network, &config)
        {
            network = Network::NoisyBinary(net.clone().warmed_up(own, WARM_UP));
        }
        let task = task("noisy", config, self.data, self.preprocess, seed, &device)?;
        let scratch = tempfile::tempdir().context("a folder for the run")?;
        let folder = RunFolder::open(scratch.path(), false)?;
        let trainer =
            Trainer::new(recipe(with, epochs, seed), self.options.style, Arc::new(AtomicBool::new(false)))?;
        let (Outcome::Finished(progress) | Outcome::Interrupted(progress)) =
            trainer.run(&task, network, &folder, "noisy")?;
        let last = progress.history.last().context("a training without epochs")?;
        let seconds = started.elapsed().as_secs_f64();
        // Judged after the last epoch only: the best model is the last.
        let (network, description) = model_file::load(&folder.best(), &device)?;
        let judging = LoaderConfig { batch_size: 128, workers: 1, ..LoaderConfig::eval() };
        let pictures =
            Loader::new(self.data.train.clone(), judging, Arc::new(EvalTransform::new(self.preprocess)?))?;
        let answers = |pixels, shape| Ok(burn_answers(&network, &device, pixels, shape));
        let report = evaluate(answers, &pictures, &description.labels, |_| {})?;
        let accuracy = last.metrics.get("top1").copied().unwrap_or_default();
        Ok(Found { accuracy, train_loss: report.loss, seconds, network })
    }
}
