//! `ocelli compress`.

mod adder;
mod binary;
mod calibrate;
mod qat;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use ocelli_compress::ptq::{Quantised, Settings, quantise};
use ocelli_compress::quantiser::WeightRange;
use ocelli_compress::range::Estimator;
use ocelli_compress::{Batch, mixed};
use ocelli_data::{BadImages, DecodeLimits, EvalTransform, Loader, LoaderConfig, Preprocess, open_eval};
use ocelli_engine::{Model, RunOptions};
use ocelli_graph::codes::Rounding;
use ocelli_graph::{Graph, onnx};
use ocelli_image::classify::{Classifier, evaluate};
use ocelli_image::{Runner, deploy};
use ocelli_report::atomic::write_atomic;

use super::Global;
use crate::codes::compile_integers;
use crate::model_ref::ModelRef;
use calibrate::{Said, calibration, calibration_of};
use qat::QatArgs;
use report::{Report, Stage};

/// Make a model smaller and faster: quantise it to 8 bits or fewer.
///
/// Weights and activations become 8-bit codes, by what a few hundred pictures show; no labels are needed. Written are a
/// compiled model, which the engine computes in integers, or an ONNX file with QuantizeLinear and DequantizeLinear, and
/// beside it a report (.json, .html): accuracy before and after, noise of every layer, size, time.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  ocelli compress runs/pets-1 --method ptq --calibrate photos/train --data photos/val -o pets8.ocelli\n  \
    ocelli compress resnet18 --weights resnet18.safetensors --method ptq --calibrate imagenet/train -o resnet18.onnx\n  \
    ocelli compress runs/pets-1 --method ptq --calibrate photos --bits 4 --activation-bits 8 -o pets4.ocelli\n  \
    ocelli compress runs/pets-1 --method ptq --calibrate photos --average-bits 5 -o pets5.ocelli -o pets5.onnx\n  \
    ocelli compress runs/pets-1 --method qat --data photos --bits 4 --epochs 10 --sparsity 0.3 -o pets4.ocelli\n  \
    ocelli compress runs/adder-1 --method adder --bits 4 --calibrate photos/train -o adder4.ocelli\n  \
    ocelli compress runs/reactnet-1 --method binary --data photos/val -o binary.ocelli"
)]
pub struct Compress {
    /// Model file, run folder, hf://org/repo, or a registered name with --weights
    #[arg(value_name = "MODEL")]
    model: String,
    /// How
    #[arg(long, value_enum, default_value_t)]
    method: Method,
    /// Weights for a registered name
    #[arg(long, value_name = "FILE")]
    weights: Option<String>,
    /// Load what fits of weights that do not fit wholly
    #[arg(long)]
    lenient: bool,
    /// Pictures to calibrate with: a folder of pictures (labels are not used), CIFAR binary or IDX [default with qat: the training part of --data]
    #[arg(long, value_name = "DIR", required_if_eq("method", "ptq"))]
    calibrate: Option<PathBuf>,
    /// How many of them, evenly chosen
    #[arg(long, default_value_t = 512, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pictures: u32,
    /// Labelled pictures: to measure the accuracy on, before and after, and to train on with qat
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Bits of weights (the last layer keeps 8)
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u8).range(2..=8))]
    bits: u8,
    /// Bits of activations
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u8).range(2..=8))]
    activation_bits: u8,
    /// How far activations reach [default: percentile at 8 bits, mse below]
    #[arg(long, value_enum)]
    range: Option<RangeRule>,
    /// One scale for all channels of a layer, with ranges shared out between layers (equalisation)
    #[arg(long)]
    per_tensor: bool,
    /// Round weights to the nearest code, whatever their bits
    #[arg(long)]
    no_round: bool,
    /// Steps of learned rounding per layer (at 6 bits and fewer)
    #[arg(long, default_value_t = 1000, value_name = "N")]
    round_steps: usize,
    /// Leave biases as they are
    #[arg(long)]
    no_correct: bool,
    /// Layers that stay in floating point (repeat, or separate by commas)
    #[arg(long, value_name = "LAYER", value_delimiter = ',')]
    keep: Vec<String>,
    /// Bits of single layers' weights, as LAYER=BITS
    #[arg(long, value_name = "LAYER=BITS", value_delimiter = ',')]
    layer_bits: Vec<String>,
    /// Round sums as ONNX Runtime does, instead of the same way on every machine
    #[arg(long)]
    float_rounding: bool,
    /// Groups of filters with a scale each (--method adder)
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    groups: u8,
    /// Scales of adder layers (--method adder)
    #[arg(long, value_enum, default_value_t, value_name = "RULE")]
    scales: adder::ScaleRule,
    /// Choose every layer's bits by how much the network minds, so many on average
    #[arg(long, value_name = "N", conflicts_with = "bits")]
    average_bits: Option<f64>,
    /// Where to write: .ocelli or .onnx (repeat for both)
    #[arg(short, long, value_name = "FILE", required = true)]
    output: Vec<PathBuf>,
    #[command(
        flatten,
        next_help_heading = "Training with codes in place (--method qat, or adder with --epochs)"
    )]
    qat: QatArgs,
}

/// How a model is made smaller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Method {
    /// Post-training quantisation: minutes, no labels
    #[default]
    Ptq,
    /// Quantisation-aware training: fine-tunes on labelled pictures with the codes in place, pruned too with --sparsity
    Qat,
    /// Adder layers on codes: groups of filters with a scale each, weights clamped without loss; no labels
    Adder,
    /// Binary layers as bits: for networks trained with binary layers
    Binary,
}

/// How far activations reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RangeRule {
    /// Smallest and largest number
    MinMax,
    /// Moving average of both
    MovingAverage,
    /// 99.99 % of all numbers
    Percentile,
    /// Least squared error
    Mse,
    /// Best kept direction
    Cosine,
    /// Least told apart (entropy)
    Kl,
}

impl RangeRule {
    fn estimator(self) -> Estimator {
        match self {
            Self::MinMax => Estimator::MinMax,
            Self::MovingAverage => Estimator::MovingAverage { momentum: 0.9 },
            Self::Percentile => Estimator::Percentile(99.99),
            Self::Mse => Estimator::Mse,
            Self::Cosine => Estimator::Cosine,
            Self::Kl => Estimator::Kl,
        }
    }
}

/// What all methods need: the model, its graph, and pictures.
struct Subject {
    model: Classifier,
    description: deploy::Description,
    graph: Graph,
    batches: Vec<Batch>,
    options: RunOptions,
}

impl Compress {
    pub(super) fn run(self, global: &Global) -> Result<ExitCode> {
        for output in &self.output {
            if !matches!(ending(output).as_str(), "ocelli" | "onnx") {
                bail!("{}: the ending says no format; end it in .ocelli or .onnx", output.display());
            }
        }
        match self.method {
            Method::Ptq => self.ptq(global),
            Method::Qat => self.qat(global),
            Method::Adder => adder::run(&self, global),
            Method::Binary => binary::run(&self, global),
        }
    }

    /// Opens the model `reference`.
    fn open(&self, reference: &str, weights: Option<&str>, global: &Global) -> Result<Subject> {
        let model = ModelRef::parse(reference)?.open(weights, self.lenient, &global.device()?)?;
        let description = deploy::Description::of(&model);
        let Runner::Burn { network, .. } = &model.runner else {
            bail!("{reference}: a compiled model; name the model file it was made from");
        };
        let mut graph = network.graph(model.preprocess.input_size)?;
        graph.name.clone_from(&model.name);
        let batches = self.batches(&model.preprocess)?;
        let threads = global.threads();
        Ok(Subject { model, description, graph, batches, options: RunOptions { threads, pin: false } })
    }

    /// The pictures to calibrate with.
    fn batches(&self, preprocess: &Preprocess) -> Result<Vec<Batch>> {
        let wanted = self.pictures as usize;
        match (&self.calibrate, &self.data) {
            (Some(folder), _) => calibration(folder, wanted, preprocess),
            (None, Some(data)) => calibration_of(data, self.qat.split(), wanted, preprocess),
            (None, None) => bail!("--calibrate DIR: pictures to calibrate with are needed"),
        }
    }

    fn ptq(&self, global: &Global) -> Result<ExitCode> {
        if let Some(option) = self.qat.given() {
            bail!("{option}: only --method qat trains");
        }
        let subject = self.open(&self.model, self.weights.as_deref(), global)?;
        let mut settings = self.settings()?;
        let mut said = Said::new(global.quiet);
        let mut say = |what: &str, at, of| said.say(what, at, of);
        let mut sensitivity = Vec::new();
        if let Some(average) = self.average_bits {
            let (graph, batch) = (subject.graph.clone(), &subject.batches[0]);
            sensitivity = mixed::choose(graph, batch, &settings, average, subject.options, &mut say)?;
            let mut bits = mixed::bits(&sensitivity);
            bits.append(&mut settings.layer_bits);
            settings.layer_bits = bits;
        }
        let own = quantise(subject.graph.clone(), &subject.batches, &settings, subject.options, &mut say)
            .with_context(|| format!("'{}'", self.model))?;
        said.end();
        let float = deploy::compile_graph(subject.graph.clone(), Some(&subject.description))?;
        let before = self.stage("float", &float, &subject)?;
        self.finish(&subject, "ptq", settings, own, vec![before], sensitivity)
    }

    /// Writes the quantised network and the report.
    fn finish(
        &self,
        subject: &Subject,
        method: &'static str,
        settings: Settings,
        own: Quantised,
        mut stages: Vec<Stage>,
        sensitivity: Vec<mixed::Sensitivity>,
    ) -> Result<ExitCode> {
        let coded = self.compiled(&own.graph, subject)?;
        for output in &self.output {
            match ending(output).as_str() {
                "onnx" => write_atomic(output, &onnx::export(&own.graph)?)
                    .with_context(|| format!("{}", output.display()))?,
                _ => coded.save(output)?,
            }
        }
        stages.push(self.stage("integers", &coded, subject)?);
        let quantised: BTreeSet<&str> = own.layers.iter().map(|layer| layer.name.as_str()).collect();
        let float = coded
            .graph()
            .nodes
            .iter()
            .filter(|node| {
                matches!(node.op, ocelli_graph::Op::Conv { .. } | ocelli_graph::Op::Linear { .. })
                    && !quantised.contains(node.name.as_str())
            })
            .map(|node| node.name.clone())
            .collect();
        let report = Report {
            model: subject.model.name.clone(),
            method,
            settings,
            calibration: subject.batches.iter().map(|batch| batch.count).sum(),
            stages,
            float,
            layers: own.layers,
            sensitivity,
        };
        report.write(&self.output[0])?;
        report.print(&self.output)?;
        Ok(ExitCode::SUCCESS)
    }

    fn compiled(&self, graph: &Graph, subject: &Subject) -> Result<Model> {
        let rounding = if self.float_rounding { Rounding::Float } else { Rounding::Fixed };
        compile_integers(graph.clone(), rounding, Some(&subject.description))
    }

    /// A model measured.
    fn stage(&self, name: &'static str, model: &Model, subject: &Subject) -> Result<Stage> {
        let mut stage = Stage::of(name, model, &subject.batches[0], subject.options)?;
        if let Some(data) = &self.data {
            stage.top1 = Some(accuracy(data, model, &subject.description, subject.options)?);
        }
        Ok(stage)
    }

    fn settings(&self) -> Result<Settings> {
        let mut settings = Settings::guideline(self.bits, self.activation_bits);
        if let Some(rule) = self.range {
            settings.activations = rule.estimator();
        }
        if self.per_tensor {
            settings.per_channel = false;
            settings.equalise = true;
            settings.weights = Some(WeightRange::MinMax);
        }
        settings.round_steps = (!self.no_round).then_some(self.round_steps);
        settings.correct = !self.no_correct;
        settings.keep = self.keep.iter().cloned().collect();
        let mut layer_bits = BTreeMap::new();
        for text in &self.layer_bits {
            let (name, bits) =
                text.rsplit_once('=').with_context(|| format!("--layer-bits {text}: LAYER=BITS is meant"))?;
            let bits: u8 =
                bits.parse().with_context(|| format!("--layer-bits {text}: '{bits}' is no number"))?;
            layer_bits.insert(name.to_string(), bits);
        }
        settings.layer_bits = layer_bits;
        Ok(settings)
    }
}

/// Share of the labelled pictures in `data` that a compiled model tells right.
fn accuracy(
    data: &Path,
    model: &Model,
    description: &deploy::Description,
    options: RunOptions,
) -> Result<f64> {
    let dataset = open_eval(data, Some(&description.labels), DecodeLimits::default())?.data;
    let config = LoaderConfig { batch_size: 32, bad_images: BadImages::Error, ..LoaderConfig::eval() };
    let transform = Arc::new(EvalTransform::new(&description.preprocess)?);
    let loader = Loader::new(dataset, config, transform)?;
    let runner = Runner::Engine { model: model.clone(), options };
    let report =
        evaluate(|pixels, shape| runner.answers(pixels, shape), &loader, &description.labels, |_| {})?;
    Ok(report.top1)
}

/// A file name's ending, in lower case.
fn ending(path: &Path) -> String {
    path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase()
}
