//! The experiment of adder networks' quantisation: one network is trained per seed, then quantised in every way at every number of
//! bits, its norms re-estimated each time.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use ocelli_compress::adder::network::{calibrate, codes, plan_all, reestimate_with};
use ocelli_compress::adder::{Scales, Settings};
use ocelli_data::{Loader, open_split};
use ocelli_image::backbone::addernet::cifar;
use ocelli_image::classify::{ClassifyTask, evaluate};
use ocelli_image::runner::burn_answers;
use ocelli_image::{Network, NetworkConfig, model_file};
use ocelli_nn::adder::with_codes;
use ocelli_train::{Outcome, RunFolder, Trainer};

use super::run::{RunOptions, begun, preprocess, recipe, task};
use super::{Arm, ArmResults, Experiment, Recipe, Results};

/// Bits, and the ways at each; arm 0 is the float network.
const BITS: [u8; 5] = [8, 6, 5, 4, 3];
const WAYS: [Scales; 3] = [Scales::SharedActivations, Scales::SharedWeights, Scales::Groups];

/// Names of the arms behind the first.
const NAMES: [&str; 15] = [
    "8 bits, one scale (activations)",
    "8 bits, one scale (weights)",
    "8 bits, groups and clamps",
    "6 bits, one scale (activations)",
    "6 bits, one scale (weights)",
    "6 bits, groups and clamps",
    "5 bits, one scale (activations)",
    "5 bits, one scale (weights)",
    "5 bits, groups and clamps",
    "4 bits, one scale (activations)",
    "4 bits, one scale (weights)",
    "4 bits, groups and clamps",
    "3 bits, one scale (activations)",
    "3 bits, one scale (weights)",
    "3 bits, groups and clamps",
];

/// Batches of training pictures that are looked at.
const LOOKED_AT: usize = 8;

/// What is compared.
pub fn experiment() -> Experiment {
    let network = cifar::Config { widths: [16, 32, 64], ..cifar::Config::new(1) };
    let arm = |name| Arm::new(name, NetworkConfig::AdderResNetCifar(network.clone()));
    let names = std::iter::once("float").chain(NAMES);
    Experiment {
        name: "addernet_quant",
        claim: "with filters in four groups of a scale each, weights clamped without loss and outliers of activations cut off, an \
                adder ResNet-18 keeps 66.5 % ImageNet top-1 (67.0 % in float) at 4 bits without retraining, about 8.5 points \
                above one scale for a layer; an adder ResNet-20 has 91.36, 91.21, 90.86 and 90.27 % on CIFAR-10 at 8, 6, 5 \
                and 4 bits",
        source: "Redistribution of Weights and Activations for AdderNet Quantization, arXiv 2212.10200",
        expectation: "groups and clamps above one scale at 4 and 3 bits, close to float from 5 bits on; all alike at 8",
        arms: names.map(arm).collect(),
        order: &[(12, 10), (12, 11), (15, 13), (15, 14)],
        epochs: 20,
        recipe: Recipe::Sgd { lr: 0.1 },
        own: Some(run),
    }
}

/// Runs all arms with all seeds; `say` is told what happens.
pub fn run(experiment: &Experiment, options: &RunOptions, say: &dyn Fn(&str)) -> Result<Results> {
    if options.seeds == 0 {
        bail!("--seeds must be at least 1");
    }
    if !options.side.is_multiple_of(4) {
        bail!("--img-size {}: the network halves its maps twice; a multiple of 4 is wanted", options.side);
    }
    let data = open_split(&options.data, &Default::default())?;
    let started = Instant::now();
    let epochs = options.epochs.unwrap_or(experiment.epochs);
    let preprocess = preprocess(options.side);
    let mut config = experiment.arms[0].network.clone();
    config.set_num_classes(data.classes.len());
    config.set_image_size(options.side);
    let built = config.init(&options.device);
    let (parameters, macs) = (built.parameter_count(), built.macs(preprocess.input_size));
    let arms = experiment.arms.iter();
    let arms = arms.map(|arm| ArmResults { macs, ..ArmResults::new(arm.name, parameters) }).collect();
    let mut results = begun(experiment, options, &data, epochs, arms);
    for seed in 0..options.seeds {
        let task = task("addernet_quant", config.clone(), &data, &preprocess, seed, &options.device)?;
        let begun = Instant::now();
        let (state, loss) = train(experiment, &config, &task, epochs, seed, options)?;
        let seconds = begun.elapsed().as_secs_f64();
        for place in 0..results.arms.len() {
            // Norms are re-estimated in place: every arm starts from the trained network's own.
            let network = config.init(&options.device.clone().autodiff());
            let (network, mismatch) = network.load_state_dict(state.clone());
            if !mismatch.is_empty() {
                bail!("the trained network does not fit itself:{mismatch}");
            }
            let accuracy = match place.checked_sub(1) {
                None => judge(&network.valid(), &task)?,
                Some(at) => {
                    let settings =
                        Settings { scales: WAYS[at % WAYS.len()], ..Settings::new(BITS[at / WAYS.len()]) };
                    quantised(&network, &task, &settings)?
                }
            };
            let arm = &mut results.arms[place];
            arm.accuracy.push(accuracy);
            arm.train_loss.push(loss);
            arm.seconds.push(seconds);
            say(&format!(
                "{:<34} seed {seed}  accuracy {:.2} %  ({:.0} s so far)",
                arm.name,
                100.0 * accuracy,
                started.elapsed().as_secs_f64()
            ));
        }
    }
    results.seconds = started.elapsed().as_secs_f64();
    Ok(results)
}

/// The trained network's tensors, and the training loss of its last epoch.
fn train(
    experiment: &Experiment,
    config: &NetworkConfig,
    task: &ClassifyTask,
    epochs: usize,
    seed: u64,
    options: &RunOptions,
) -> Result<(std::collections::BTreeMap<String, TensorData>, f64)> {
    let network = config.init(&options.device.clone().autodiff()).initialize(seed);
    let scratch = tempfile::tempdir().context("a folder for the run")?;
    let folder = RunFolder::open(scratch.path(), false)?;
    let config = recipe(experiment.recipe, epochs, seed);
    let trainer = Trainer::new(config, options.style, Arc::new(AtomicBool::new(false)))?;
    let (Outcome::Finished(progress) | Outcome::Interrupted(progress)) =
        trainer.run(task, network, &folder, "addernet_quant")?;
    let last = progress.history.last().context("a training without epochs")?;
    // Judged after the last epoch only: the best model is the last.
    let (network, _) = model_file::load(&folder.best(), &options.device)?;
    Ok((network.state_dict(), last.train_loss))
}

fn judge(network: &Network, task: &ClassifyTask) -> Result<f64> {
    let answers = |pixels, shape| Ok(burn_answers(network, &task.device, pixels, shape));
    Ok(evaluate(answers, &task.val, &task.description.labels, |_| {})?.top1)
}

/// Batches of training pictures.
fn pictures(loader: &Loader) -> Result<Vec<(Vec<f32>, [usize; 4])>> {
    let mut found = Vec::new();
    for batch in loader.epoch(0, 0)?.take(LOOKED_AT) {
        let batch = batch?;
        found.push((batch.pixels, batch.shape));
    }
    Ok(found)
}

/// Accuracy of the network of codes.
fn quantised(network: &Network, task: &ClassifyTask, settings: &Settings) -> Result<f64> {
    let batches = pictures(&task.train)?;
    let on = |device: &burn::tensor::Device| -> Vec<Tensor<4>> {
        let one = |(pixels, shape): &(Vec<f32>, [usize; 4])| {
            Tensor::from_data(TensorData::new(pixels.clone(), *shape), device)
        };
        batches.iter().map(one).collect()
    };
    let plain = network.valid();
    let reaches = calibrate(on(&task.device), settings.alpha, |x| drop(plain.forward(x)));
    let layers = plan_all(network, &reaches, settings, &Default::default())?;
    let codes = codes(&layers, settings);
    reestimate_with(&codes, on(&task.device.clone().autodiff()), |x| drop(network.forward(x)));
    with_codes(&codes, || judge(&network.valid(), task))
}
