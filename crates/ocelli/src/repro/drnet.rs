//! The experiment of the dynamic resolution network: does choosing the resolution per picture beat one resolution, or
//! a random one, at the same average cost?

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use burn::tensor::{Tensor, TensorData};
use ocelli_data::{Batch, DatasetPair, Preprocess, SplitOptions, open_split};
use ocelli_image::backbone::cross_entropy;
use ocelli_image::backbone::drnet::{
    ChainConfig, ClassifierConfig, Config, PredictorConfig, Stage, Training,
};
use ocelli_image::classify::{ClassifyTask, EvaluationReport, evaluate};
use ocelli_image::{Answers, Network, NetworkConfig, model_file};
use ocelli_nn::random;
use ocelli_train::{Batches, Evaluation, Outcome, RunFolder, Step, Task, TrainError, Trainer};

use super::run::{RunOptions, begun, preprocess, recipe, task};
use super::{Arm, ArmResults, Experiment, Recipe, Results};

/// Candidates in pixels; the input's side stands for the first.
const CANDIDATES: [usize; 3] = [32, 24, 16];

/// Where the arms stand in the table.
const FIXED: usize = 0;
const RANDOM: usize = 3;
const DYNAMIC: usize = 4;
const SHARED: usize = 5;
const CHEAPER: usize = 6;
const FREE: usize = 7;

/// What is compared.
pub fn experiment() -> Experiment {
    let arm = |name, shared| Arm::new(name, NetworkConfig::DrNet(network(shared)));
    Experiment {
        name: "drnet",
        claim: "on ImageNet-100 a ResNet-50 that chooses among 224, 168 and 112 px per picture has 81.4 % top-1 at 2.8 G \
                multiply-accumulates, against 78.5 % at 4.1 G for 224 px alone and 80.3 % with one batch-norm set for all \
                resolutions; on ImageNet-1k it has 75.3 % at 2.3 G where a random choice has 74.65 % at 2.6 G",
        source: "Dynamic Resolution Network, arXiv 2106.02898",
        expectation: "the dynamic network above a random choice of its own proportions and not below the fixed middle \
                      resolution of about its cost; below itself with one norm set; a lower target costs less, and without \
                      the cost's term the choice drifts to the largest resolution",
        arms: vec![
            arm("fixed, largest", false),
            arm("fixed, 3/4", false),
            arm("fixed, 1/2", false),
            arm("random, learned proportions", false),
            arm("DRNet", false),
            arm("DRNet, one norm set", true),
            arm("DRNet, lower target", false),
            arm("DRNet, no cost term", false),
        ],
        order: &[(DYNAMIC, RANDOM), (DYNAMIC, FIXED + 1), (DYNAMIC, SHARED)],
        epochs: 12,
        recipe: Recipe::Sgd { lr: 0.1 },
        own: Some(run),
    }
}

/// Seven convolutions, and a predictor of a twentieth of their cost.
fn network(shared_norms: bool) -> Config {
    let chain = |widths: &[usize]| ChainConfig {
        kernel: 3,
        stride: 2,
        pool: false,
        widths: widths.to_vec(),
        blocks: vec![1; widths.len()],
    };
    Config {
        resolutions: CANDIDATES.to_vec(),
        predictor_input: CANDIDATES[2],
        predictor: PredictorConfig::Residual(chain(&[8, 16])),
        shared_norms,
        num_classes: 10,
        ..Config::new(ClassifierConfig::Residual(chain(&[16, 32, 64])))
    }
}

/// Runs all arms with all seeds; `say` is told what happens.
pub fn run(experiment: &Experiment, options: &RunOptions, say: &dyn Fn(&str)) -> Result<Results> {
    if options.seeds == 0 {
        bail!("--seeds must be at least 1");
    }
    let data = open_split(&options.data, &SplitOptions::default())?;
    let started = Instant::now();
    let epochs = options.epochs.unwrap_or(experiment.epochs);
    if epochs < 2 {
        bail!("--epochs must be at least 2: the two stages share them");
    }
    let preprocess = preprocess(options.side);
    let bench = Bench { data: &data, preprocess: &preprocess, options, epochs };
    let built = |arm: &Arm| bench.config(&arm.network).init(&options.device);
    let arms =
        experiment.arms.iter().map(|arm| ArmResults::new(arm.name, built(arm).parameter_count())).collect();
    let mut results = begun(experiment, options, &data, epochs, arms);
    let mut spent = vec![0.0; experiment.arms.len()];
    for seed in 0..options.seeds {
        for (place, found) in bench.seed(experiment, seed)? {
            spent[place] += found.macs;
            let arm = &mut results.arms[place];
            say(&format!(
                "{:<28} seed {seed}  accuracy {:.2} %  {:.3} MMACs  chosen {:?}  ({:.0} s so far)",
                arm.name,
                100.0 * found.accuracy,
                found.macs / 1e6,
                found.chosen,
                started.elapsed().as_secs_f64()
            ));
            arm.accuracy.push(found.accuracy);
            arm.train_loss.push(found.train_loss);
            arm.seconds.push(found.seconds);
            arm.choices.push(found.chosen);
            arm.macs = (spent[place] / (seed + 1) as f64).round() as u64;
        }
    }
    results.seconds = started.elapsed().as_secs_f64();
    Ok(results)
}

/// What all arms share.
struct Bench<'a> {
    data: &'a DatasetPair,
    preprocess: &'a Preprocess,
    options: &'a RunOptions,
    epochs: usize,
}

/// What one arm came to with one seed.
struct Found {
    accuracy: f64,
    train_loss: f64,
    seconds: f64,
    /// Mean multiply-accumulates per picture.
    macs: f64,
    /// Test pictures per candidate.
    chosen: Vec<u64>,
    /// The trained network.
    network: Network,
}

/// Where pictures go.
#[derive(Clone, Debug)]
enum Way {
    /// All to one candidate.
    Fixed(usize),
    /// Each anywhere, with these probabilities.
    Random(Vec<f64>),
    /// Where the network's stage sends them.
    Own,
}

impl Bench<'_> {
    fn config(&self, network: &NetworkConfig) -> NetworkConfig {
        let mut network = network.clone();
        network.set_num_classes(self.data.classes.len());
        network
    }

    /// All arms with one seed, by their places.
    fn seed(&self, experiment: &Experiment, seed: u64) -> Result<Vec<(usize, Found)>> {
        let mut all = Vec::new();
        for candidate in 0..CANDIDATES.len() {
            let own = self.train(network(false), Way::Fixed(candidate), self.epochs, seed, None)?;
            all.push((FIXED + candidate, own));
        }
        // The second stage is the cheaper one and starts at the full rate again: it gets more.
        let first = (self.epochs / 3).max(1);
        let pretrained = |shared: bool| {
            let training = Training { stage: Stage::Pretrain, ..Default::default() };
            let config = Config { training, ..network(shared) };
            self.train(config, Way::Own, first, seed, None)
        };
        let (sets, one_set) = (pretrained(false)?, pretrained(true)?);
        let side = [self.options.side; 2];
        let costs = sets.network.dynamic().context("a network that chooses")?.costs(side);
        let (c, looking) = (costs.giga(), costs.predictor as f64 / 1e9);
        // With the predictor, what the fixed middle costs; and what its mean with the smallest costs.
        let target = c[1] - looking;
        let lower = 0.5 * (c[1] + c[2]) - looking;
        let joint = |shared: bool, target: f64, weight: f64, from: &Found| {
            // The predictor has few steps here: it learns at the full rate.
            let training = Training {
                flops_target: Some(target),
                flops_weight: weight,
                predictor_lr: 1.0,
                ..Default::default()
            };
            let config = Config { training, ..network(shared) };
            self.train(config, Way::Own, self.epochs - first, seed, Some(from))
        };
        let dynamic = joint(false, target, WEIGHT, &sets)?;
        let total = dynamic.chosen.iter().sum::<u64>().max(1) as f64;
        let proportions = dynamic.chosen.iter().map(|&count| count as f64 / total).collect();
        let random =
            self.train(network(false), Way::Random(proportions), self.epochs - first, seed, Some(&sets))?;
        all.push((RANDOM, random));
        all.push((DYNAMIC, dynamic));
        all.push((SHARED, joint(true, target, WEIGHT, &one_set)?));
        all.push((CHEAPER, joint(false, lower, WEIGHT, &sets)?));
        all.push((FREE, joint(false, target, 0.0, &sets)?));
        debug_assert_eq!(all.len(), experiment.arms.len());
        Ok(all)
    }

    /// Trains by `config`, from `from`'s weights where there are any.
    fn train(
        &self,
        config: Config,
        way: Way,
        epochs: usize,
        seed: u64,
        from: Option<&Found>,
    ) -> Result<Found> {
        let config = self.config(&NetworkConfig::DrNet(config));
        let device = self.options.device.clone();
        let mut network = config.init(&device.clone().autodiff()).initialize(seed);
        if let Some(from) = from {
            let (loaded, mismatch) = network.load_state_dict(from.network.state_dict());
            if !mismatch.is_empty() {
                bail!("the first stage's network does not fit the second's:{mismatch}");
            }
            network = loaded;
        }
        let inner = task("drnet", config, self.data, self.preprocess, seed, &device)?;
        let task = WayTask { inner, way, side: self.options.side };
        let scratch = tempfile::tempdir().context("a folder for the run")?;
        let folder = RunFolder::open(scratch.path(), false)?;
        let trainer = Trainer::new(
            recipe(Recipe::Sgd { lr: 0.1 }, epochs, seed),
            self.options.style,
            Arc::new(AtomicBool::new(false)),
        )?;
        let (Outcome::Finished(progress) | Outcome::Interrupted(progress)) =
            trainer.run(&task, network, &folder, "drnet")?;
        let last = progress.history.last().context("a training without epochs")?;
        // Judged after the last epoch only: the best model is the last.
        let (network, _) = model_file::load(&folder.best(), &device)?;
        let metric = |name: &str| last.metrics.get(name).copied().unwrap_or_default();
        let before = from.map_or(0.0, |from| from.seconds);
        Ok(Found {
            accuracy: metric("top1"),
            train_loss: last.train_loss,
            seconds: before + progress.history.iter().map(|epoch| epoch.seconds).sum::<f64>(),
            macs: metric("gmacs") * 1e9,
            chosen: (0..CANDIDATES.len()).map(|j| metric(&format!("chosen{j}")) as u64).collect(),
            network,
        })
    }
}

/// Weight of the cost in the loss, the paper's.
const WEIGHT: f64 = 0.2;

/// Classification that sends pictures a given way.
struct WayTask {
    inner: ClassifyTask,
    way: Way,
    side: usize,
}

impl WayTask {
    /// The candidates of `batch` pictures, if they are not the network's to choose.
    fn choice(&self, batch: usize) -> Option<Vec<usize>> {
        match &self.way {
            Way::Fixed(candidate) => Some(vec![*candidate; batch]),
            Way::Random(shares) => {
                Some(random::uniform(batch).into_iter().map(|u| place(u, shares)).collect())
            }
            Way::Own => None,
        }
    }

    fn judge(&self, model: &Network) -> Result<EvaluationReport, TrainError> {
        let (device, labels) = (&self.inner.device, &self.inner.description.labels);
        let answers = |pixels, shape: [usize; 4]| {
            let Some((net, choice)) = model.dynamic().zip(self.choice(shape[0])) else {
                return Ok(ocelli_image::runner::burn_answers(model, device, pixels, shape));
            };
            let x = Tensor::<4>::from_data(TensorData::new(pixels, shape), device);
            let logits = net.classify_at(x, &choice).into_data();
            Ok(Answers {
                logits: logits.try_into_vec().expect("logits are float32"),
                decisions: net.spent(&choice, [self.side; 2], false),
            })
        };
        evaluate(answers, &self.inner.val, labels, |_| {}).map_err(TrainError::task)
    }
}

/// Which share of `shares` the number `u` of `[0, 1)` falls into.
fn place(u: f64, shares: &[f64]) -> usize {
    let mut sum = 0.0;
    shares
        .iter()
        .position(|share| {
            sum += share;
            u < sum
        })
        .unwrap_or(shares.len().saturating_sub(1))
}

impl Task for WayTask {
    type Model = Network;
    type Batch = Batch;

    fn batches_per_epoch(&self) -> usize {
        self.inner.batches_per_epoch()
    }

    fn batches<'a>(&'a self, epoch: usize, start: usize) -> Result<Batches<'a, Batch>, TrainError> {
        self.inner.batches(epoch, start)
    }

    fn step(&self, model: &Network, batch: Batch) -> Step {
        let samples = batch.labels.len();
        let Some((net, choice)) = model.dynamic().zip(self.choice(samples)) else {
            return self.inner.step(model, batch);
        };
        let device = self.inner.device.clone().autodiff();
        let classes = self.inner.description.labels.len();
        let mut targets = vec![0f32; samples * classes];
        for (row, &label) in targets.chunks_exact_mut(classes).zip(&batch.labels) {
            row[label] = 1.0;
        }
        let targets = Tensor::<2>::from_data(TensorData::new(targets, [samples, classes]), &device);
        let x = Tensor::<4>::from_data(TensorData::new(batch.pixels, batch.shape), &device);
        let loss = cross_entropy(net.classify_at(x, &choice), targets);
        Step { loss, samples, correct: None }
    }

    fn rate(&self, name: &str) -> f64 {
        self.inner.rate(name)
    }

    fn evaluate(&self, model: &Network) -> Result<Evaluation, TrainError> {
        let report = self.judge(model)?;
        let mut metrics: Vec<(String, f64)> =
            vec![("top1".into(), report.top1), ("loss".into(), report.loss)];
        if let Some(routing) = &report.routing {
            metrics.push(("gmacs".into(), routing.mean_macs / 1e9));
            for own in &routing.chosen {
                let sides = CANDIDATES.map(|side| side * self.side / CANDIDATES[0]);
                let at = sides.iter().position(|side| side.abs_diff(own.resolution) <= 1).unwrap_or(0);
                metrics.push((format!("chosen{at}"), own.pictures as f64));
            }
        }
        Ok(Evaluation { score: report.top1, metrics: metrics.into_iter().collect() })
    }

    fn save(&self, model: &Network, path: &Path, evaluation: &Evaluation) -> Result<(), TrainError> {
        self.inner.save(model, path, evaluation)
    }
}
