//! The experiment of quantisation: what each trick of the guideline brings, at several bits, on one trained network; and training
//! with codes, dense and sparse, against it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use burn::module::Module;
use ocelli_compress::Batch;
use ocelli_compress::ptq::{Given, LayerPlan, Settings, quantise};
use ocelli_compress::quantiser::WeightRange;
use ocelli_compress::range::Estimator;
use ocelli_data::{DatasetPair, EvalTransform, Preprocess, SplitOptions, open_split};
use ocelli_engine::RunOptions as Threads;
use ocelli_graph::Graph;
use ocelli_graph::codes::Rounding;
use ocelli_image::backbone::ghostnet::resnet_cifar;
use ocelli_image::classify::{Aware, AwareTask, Sparsity, evaluate};
use ocelli_image::{Network, NetworkConfig, Runner};
use ocelli_train::{RunFolder, Trainer};

use super::run::{RunOptions, begun, preprocess, recipe, task};
use super::{Arm, ArmResults, Experiment, Recipe, Results};
use crate::codes::{aware_layers, compile_integers, given_of};

/// Bits of weights and activations, and what the columns are called.
const BITS: [[u8; 2]; 4] = [[8, 8], [4, 8], [3, 8], [4, 4]];

/// The ladder, by bits: [`STEPS`] arms each, after the float network's.
const STEPS: usize = 6;

const NAMES: [&str; 1 + 4 * STEPS + 5] = [
    "float",
    "W8A8 per tensor, min-max",
    "W8A8 + equalisation",
    "W8A8 per channel, MSE below 8 bits",
    "W8A8 + MSE activations",
    "W8A8 + bias correction",
    "W8A8 + AdaRound",
    "W4A8 per tensor, min-max",
    "W4A8 + equalisation",
    "W4A8 per channel, MSE below 8 bits",
    "W4A8 + MSE activations",
    "W4A8 + bias correction",
    "W4A8 + AdaRound",
    "W3A8 per tensor, min-max",
    "W3A8 + equalisation",
    "W3A8 per channel, MSE below 8 bits",
    "W3A8 + MSE activations",
    "W3A8 + bias correction",
    "W3A8 + AdaRound",
    "W4A4 per tensor, min-max",
    "W4A4 + equalisation",
    "W4A4 per channel, MSE below 8 bits",
    "W4A4 + MSE activations",
    "W4A4 + bias correction",
    "W4A4 + AdaRound",
    "W4A4 trained with codes",
    "W3A8 trained with codes",
    "float, fine-tuned as long",
    "W8A8 trained with codes",
    "W8A8 trained with codes, 30 % sparse",
];

/// Where the last arms stand.
const TRAINED: usize = 1 + 4 * STEPS;

/// What is compared.
pub fn experiment() -> Experiment {
    let network = resnet_cifar::Config { stem_stride: 2, ..resnet_cifar::Config::new(2) };
    Experiment {
        name: "bag_of_tricks_quant",
        claim: "a guideline of tricks quantises ResNet-50 and MobileNetV2 to 8 bits without loss, training with codes helps at \
                fewer, and a quantised MobileNetV2 with 30 % of its weights pruned beats its float original",
        source: "Bag of Tricks with Quantized Convolutional Neural Networks for image classification, arXiv 2303.07080; the tables could \
                 not be seen",
        expectation: "nothing lost at 8 bits; below, every step of the ladder at least keeps what the one before has; training with \
                      codes above the ladder's end; 8 bits and 30 % sparse within noise of the float network trained as long; Ghost \
                      modules have no two layers in a row that could share ranges, so that equalisation changes nothing here",
        arms: NAMES
            .iter()
            .map(|name| Arm::new(name, NetworkConfig::GhostResNetCifar(network.clone())))
            .collect(),
        order: &[
            (6, 0),
            (9, 7),
            (11, 10),
            (12, 11),
            (17, 16),
            (18, 17),
            (22, 21),
            (23, 22),
            (TRAINED, 24),
            (TRAINED + 1, 18),
            (TRAINED + 4, TRAINED + 2),
        ],
        epochs: 12,
        recipe: Recipe::Sgd { lr: 0.1 },
        own: Some(run),
    }
}

/// The settings of one step of the ladder.
fn settings(step: usize, [weights, activations]: [u8; 2]) -> Settings {
    let per_channel = step >= 2;
    let estimator = if step >= 3 { Estimator::Mse } else { Estimator::MinMax };
    Settings {
        weight_bits: weights,
        activation_bits: activations,
        activations: estimator,
        weights: (!per_channel).then_some(WeightRange::MinMax),
        per_channel,
        equalise: step == 1,
        round_steps: (step >= 5).then_some(300),
        correct: step >= 4,
        ..Settings::default()
    }
}

/// Runs all arms with all seeds.
pub fn run(experiment: &Experiment, options: &RunOptions, say: &dyn Fn(&str)) -> Result<Results> {
    if options.seeds == 0 {
        bail!("--seeds must be at least 1");
    }
    let data = open_split(&options.data, &SplitOptions::default())?;
    let started = Instant::now();
    let epochs = options.epochs.unwrap_or(experiment.epochs);
    let preprocess = preprocess(options.side);
    let mut config = experiment.arms[0].network.clone();
    config.set_num_classes(data.classes.len());
    config.set_image_size(options.side);
    let built = config.init(&options.device);
    if let Err(problem) = built.check_size([options.side; 2]) {
        bail!("--img-size {}: {problem}", options.side);
    }
    let (parameters, macs) = (built.parameter_count(), built.macs(preprocess.input_size));
    let arms = NAMES.iter().map(|name| ArmResults { macs, ..ArmResults::new(name, parameters) }).collect();
    let mut results = begun(experiment, options, &data, epochs, arms);
    let mut own = Runs { experiment, options, data, preprocess, config, epochs, seed: 0 };
    for seed in 0..options.seeds {
        own.seed = seed;
        let mut note = |arm: usize, accuracy: f64, loss: f64, seconds: f64| {
            let found = &mut results.arms[arm];
            found.accuracy.push(accuracy);
            found.train_loss.push(loss);
            found.seconds.push(seconds);
            say(&format!(
                "{:<40} seed {seed}  accuracy {:.2} %  ({:.0} s so far)",
                NAMES[arm],
                100.0 * accuracy,
                started.elapsed().as_secs_f64()
            ));
        };
        own.seed(&mut note)?;
    }
    results.seconds = started.elapsed().as_secs_f64();
    Ok(results)
}

struct Runs<'a> {
    experiment: &'a Experiment,
    options: &'a RunOptions,
    data: DatasetPair,
    preprocess: Preprocess,
    config: NetworkConfig,
    epochs: usize,
    seed: u64,
}

/// How pictures per batch are calibrated.
const BATCH: usize = 64;

impl Runs<'_> {
    fn seed(&mut self, note: &mut dyn FnMut(usize, f64, f64, f64)) -> Result<()> {
        let network = self.config.init(&self.options.device.clone().autodiff()).initialize(self.seed);
        let (float, accuracy, loss, seconds) =
            self.train(network, &[], Sparsity::Dense, self.epochs, 0.1, None)?;
        note(0, accuracy, loss, seconds);
        let calibration = self.calibration()?;
        let graph = float.network.graph(self.preprocess.input_size)?;
        let options = Threads::default();
        for (b, bits) in BITS.into_iter().enumerate() {
            for step in 0..STEPS {
                let begun = Instant::now();
                let own =
                    quantise(graph.clone(), &calibration, &settings(step, bits), options, &mut |_, _, _| {})?;
                let accuracy = self.accuracy(&own.graph)?;
                note(1 + b * STEPS + step, accuracy, loss, begun.elapsed().as_secs_f64());
            }
        }
        // Fine-tuning for half as long, everybody the same.
        let epochs = self.epochs.div_ceil(2);
        for (arm, bits) in [(TRAINED, [4, 4]), (TRAINED + 1, [3, 8]), (TRAINED + 3, [8, 8])] {
            let (accuracy, loss, seconds) =
                self.with_codes(&float.network, &calibration, bits, Sparsity::Dense, epochs)?;
            note(arm, accuracy, loss, seconds);
        }
        let (_, accuracy, loss, seconds) =
            self.train(float.network.clone().train(), &[], Sparsity::Dense, epochs, 0.01, None)?;
        note(TRAINED + 2, accuracy, loss, seconds);
        // Half of the time for pruning, half for codes.
        let steps = self.data.train.len() / BATCH * epochs.div_ceil(4).max(1);
        let growing = Sparsity::Growing { share: 0.3, steps };
        let half = epochs.div_ceil(2);
        let (pruned, _, _, before) =
            self.train(float.network.clone().train(), &[], growing, half, 0.01, None)?;
        let (accuracy, loss, seconds) = self.with_codes(
            &pruned.network,
            &calibration,
            [8, 8],
            Sparsity::Kept,
            epochs - half.min(epochs - 1),
        )?;
        note(TRAINED + 4, accuracy, loss, before + seconds);
        Ok(())
    }

    /// Trains `network` with codes and tests its integers.
    fn with_codes(
        &self,
        network: &Network,
        calibration: &[Batch],
        bits: [u8; 2],
        sparsity: Sparsity,
        epochs: usize,
    ) -> Result<(f64, f64, f64)> {
        let graph = network.graph(self.preprocess.input_size)?;
        let mut own = Settings { round_steps: None, correct: false, ..settings(4, bits) };
        let options = Threads::default();
        let plan = quantise(graph, calibration, &own, options, &mut |_, _, _| {})?.plan;
        let (tuned, _, loss, seconds) =
            self.train(network.clone().train(), &plan, sparsity, epochs, 0.01, Some(network.clone()))?;
        own.given = tuned.given;
        let graph = tuned.network.graph(self.preprocess.input_size)?;
        let own = quantise(graph, calibration, &own, options, &mut |_, _, _| {})?;
        Ok((self.accuracy(&own.graph)?, loss, seconds))
    }

    /// Trains, with the codes of `plan` if there are any; judged after the last epoch.
    fn train(
        &self,
        network: Network,
        plan: &[LayerPlan],
        sparsity: Sparsity,
        epochs: usize,
        lr: f64,
        teacher: Option<Network>,
    ) -> Result<(Trained, f64, f64, f64)> {
        let task = task(
            self.experiment.name,
            self.config.clone(),
            &self.data,
            &self.preprocess,
            self.seed,
            &self.options.device,
        )?;
        let layers = aware_layers(&network, plan);
        let names = ocelli_nn::state_dict::specs(&network)
            .into_iter()
            .filter(|spec| spec.shape.len() > 1)
            .filter_map(|spec| Some(spec.name.strip_suffix(".weight")?.to_string()));
        let mut task = AwareTask::new(task, layers, names.collect(), sparsity);
        task.teacher = teacher;
        task.frozen_from = if plan.is_empty() { usize::MAX } else { epochs - epochs / 3 };
        let model: Aware = task.model(network);
        let mut config = recipe(self.experiment.recipe, epochs, self.seed);
        config.lr = lr;
        let scratch = tempfile::tempdir().context("a folder for the run")?;
        let folder = RunFolder::open(scratch.path(), false)?;
        let trainer = Trainer::new(config, self.options.style, Arc::new(AtomicBool::new(false)))?;
        trainer.run(&task, model, &folder, "quantisation")?;
        let file = folder.best();
        let (network, description) = ocelli_image::model_file::load(&file, &self.options.device)?;
        let history = std::fs::read_to_string(folder.metrics()).context("the run's log")?;
        let last: ocelli_train::EpochRecord =
            serde_json::from_str(history.lines().last().context("a training without epochs")?)?;
        let accuracy = last.metrics.get("top1").copied().unwrap_or_default();
        let seconds = history
            .lines()
            .filter_map(|line| serde_json::from_str::<ocelli_train::EpochRecord>(line).ok())
            .map(|epoch| epoch.seconds)
            .sum();
        let given = if plan.is_empty() { Default::default() } else { given_of(&description, &network)? };
        Ok((Trained { network, given }, accuracy, last.train_loss, seconds))
    }

    /// 256 training pictures, evenly chosen, without augmentation.
    fn calibration(&self) -> Result<Vec<Batch>> {
        let transform = EvalTransform::new(&self.preprocess)?;
        let (all, wanted) = (self.data.train.len(), self.data.train.len().min(256));
        let pictures: Vec<Vec<f32>> = (0..wanted)
            .map(|i| Ok(transform.apply(&self.data.train.load(i * all / wanted)?)?))
            .collect::<Result<_>>()?;
        Ok(pictures.chunks(BATCH).map(|part| Batch { count: part.len(), data: part.concat() }).collect())
    }

    /// Test accuracy of a quantised graph in integers.
    fn accuracy(&self, graph: &Graph) -> Result<f64> {
        let model = compile_integers(graph.clone(), Rounding::Fixed, None)?;
        let runner = Runner::Engine { model, options: Threads::default() };
        let task = task(
            self.experiment.name,
            self.config.clone(),
            &self.data,
            &self.preprocess,
            self.seed,
            &self.options.device,
        )?;
        let report = evaluate(
            |pixels, shape| runner.answers(pixels, shape),
            &task.val,
            &task.description.labels,
            |_| {},
        )?;
        Ok(report.top1)
    }
}

/// A trained network and the codes it learned.
struct Trained {
    network: Network,
    given: std::collections::BTreeMap<String, Given>,
}
