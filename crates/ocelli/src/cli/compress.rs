//! `ocelli compress`.

mod adder;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use ocelli_compress::Batch;
use ocelli_compress::ptq::{LayerReport, Quantised, Settings, quantise};
use ocelli_compress::quantiser::WeightRange;
use ocelli_compress::range::Estimator;
use ocelli_data::{BadImages, DecodeLimits, EvalTransform, Loader, LoaderConfig, decode_file, open_eval};
use ocelli_engine::{Model, RunOptions};
use ocelli_graph::codes::Rounding;
use ocelli_graph::{Graph, onnx, passes};
use ocelli_image::classify::evaluate;
use ocelli_image::{Runner, deploy};
use ocelli_report::atomic::write_atomic;
use ocelli_report::chart::{Bar, BarChart};
use ocelli_report::html::Page;
use serde::Serialize;

use super::Global;
use super::output::{line, si, table};
use crate::model_ref::ModelRef;

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
    ocelli compress runs/adder-1 --method adder --bits 4 --calibrate photos/train -o adder4.ocelli"
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
    /// Pictures to calibrate with: a folder of pictures (labels are not used), CIFAR binary or IDX
    #[arg(long, value_name = "DIR")]
    calibrate: PathBuf,
    /// How many of them, evenly chosen
    #[arg(long, default_value_t = 512, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pictures: u32,
    /// Labelled pictures to measure the accuracy on, before and after
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
    /// Groups of filters with a scale each (--method adder)
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    groups: u8,
    /// Scales of adder layers (--method adder)
    #[arg(long, value_enum, default_value_t, value_name = "RULE")]
    scales: adder::ScaleRule,
    /// Round sums as ONNX Runtime does, instead of the same way on every machine
    #[arg(long)]
    float_rounding: bool,
    /// Where to write: .ocelli or .onnx
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// How a model is made smaller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Method {
    /// Post-training quantisation: minutes, no labels
    #[default]
    Ptq,
    /// Adder layers on codes: groups of filters with a scale each, weights clamped without loss; no labels
    Adder,
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

/// What is written beside the model.
#[derive(Serialize)]
struct Report {
    model: String,
    settings: Settings,
    /// Pictures looked at.
    calibration: usize,
    before: Side,
    after: Side,
    /// Layers that stayed in floating point.
    float: Vec<String>,
    layers: Vec<LayerReport>,
}

/// The float or the quantised model.
#[derive(Clone, Serialize)]
struct Side {
    /// Share of the labelled pictures that are told right.
    #[serde(skip_serializing_if = "Option::is_none")]
    top1: Option<f64>,
    /// Bytes of weights.
    bytes: u64,
    /// Multiply-accumulates of one picture, and how many of them are integers.
    macs: u64,
    integer_macs: u64,
    /// Milliseconds of one picture (median).
    ms: f64,
}

/// Pictures of a batch while calibrating.
const BATCH: usize = 16;

impl Compress {
    pub(super) fn run(self, global: &Global) -> Result<ExitCode> {
        let ending =
            self.output.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        if ending != "ocelli" && ending != "onnx" {
            bail!("{}: the ending says no format; end it in .ocelli or .onnx", self.output.display());
        }
        if self.method == Method::Adder {
            return adder::run(&self, global, &ending);
        }
        let device = global.device()?;
        let model = ModelRef::parse(&self.model)?.open(self.weights.as_deref(), self.lenient, &device)?;
        let description = deploy::Description::of(&model);
        let Runner::Burn { network, .. } = &model.runner else {
            bail!("{}: a compiled model; name the model file it was made from", self.model);
        };
        let mut graph = network.graph(model.preprocess.input_size)?;
        graph.name.clone_from(&model.name);
        let batches = self.calibration(&model.preprocess)?;
        let settings = self.settings()?;
        let threads = global.threads.unwrap_or(RunOptions::default().threads);
        let options = RunOptions { threads, pin: false };
        let mut said = Said::new(global.quiet);
        let own =
            quantise(graph.clone(), &batches, &settings, options, &mut |what, at, of| said.say(what, at, of))
                .with_context(|| format!("'{}'", self.model))?;
        said.end();

        let float = deploy::compile_graph(graph.clone(), Some(&description))?;
        let rounding = if self.float_rounding { Rounding::Float } else { Rounding::Fixed };
        let coded = compile_integers(own.graph.clone(), rounding, Some(&description))?;
        match ending.as_str() {
            "onnx" => write_atomic(&self.output, &onnx::export(&own.graph)?)
                .with_context(|| format!("{}", self.output.display()))?,
            _ => coded.save(&self.output)?,
        }
        let [before, after] = [&float, &coded].map(|model| side(model, &batches[0], options));
        let (mut before, mut after) = (before?, after?);
        if let Some(data) = &self.data {
            for (side, model) in [(&mut before, &float), (&mut after, &coded)] {
                side.top1 = Some(self.accuracy(data, model, &description, options)?);
            }
        }
        let quantised: BTreeSet<&str> = own.layers.iter().map(|layer| layer.name.as_str()).collect();
        let float_layers = coded
            .graph()
            .nodes
            .iter()
            .filter(|node| {
                matches!(node.op, ocelli_graph::Op::Conv { .. } | ocelli_graph::Op::Linear { .. })
                    && !quantised.contains(node.name.as_str())
            })
            .map(|node| node.name.clone())
            .collect();
        let Quantised { layers, .. } = own;
        let report = Report {
            model: model.name.clone(),
            settings,
            calibration: batches.iter().map(|batch| batch.count).sum(),
            before,
            after,
            float: float_layers,
            layers,
        };
        self.write(&report)?;
        print(&report, &self.output)?;
        Ok(ExitCode::SUCCESS)
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

    /// The calibration pictures, evenly chosen.
    fn calibration(&self, preprocess: &ocelli_data::Preprocess) -> Result<Vec<Batch>> {
        let transform = EvalTransform::new(preprocess)?;
        let wanted = self.pictures as usize;
        let pixels: Vec<Vec<f32>> = match open_eval(&self.calibrate, None, DecodeLimits::default()) {
            Ok(set) => even(set.data.len(), wanted)
                .map(|i| Ok(transform.apply(&set.data.load(i)?)?))
                .collect::<Result<_>>()?,
            Err(_) => {
                let mut files = Vec::new();
                pictures(&self.calibrate, &mut files)?;
                files.sort();
                even(files.len(), wanted)
                    .map(|i| Ok(transform.apply(&decode_file(&files[i], &DecodeLimits::default())?)?))
                    .collect::<Result<_>>()?
            }
        };
        if pixels.is_empty() {
            bail!("{}: no pictures to calibrate with; a few hundred are wanted", self.calibrate.display());
        }
        Ok(pixels.chunks(BATCH).map(|part| Batch { count: part.len(), data: part.concat() }).collect())
    }

    fn accuracy(
        &self,
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

    fn write(&self, report: &Report) -> Result<()> {
        let json = serde_json::to_vec_pretty(report)?;
        write_atomic(self.output.with_extension("json"), &json)?;
        write_atomic(self.output.with_extension("html"), page(report).as_bytes())?;
        Ok(())
    }
}

/// Compiles a graph with codes: integers wherever they can.
pub(super) fn compile_integers(
    mut graph: Graph,
    rounding: Rounding,
    description: Option<&deploy::Description>,
) -> Result<Model> {
    passes::lower_to_integers(&mut graph, rounding);
    passes::fuse_code_sums(&mut graph);
    Ok(deploy::compile_graph(graph, description)?)
}

/// `wanted` of `count` indices, evenly spread.
fn even(count: usize, wanted: usize) -> impl Iterator<Item = usize> {
    let wanted = wanted.min(count);
    (0..wanted).map(move |i| i * count / wanted)
}

/// The pictures in a folder and those below it.
fn pictures(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("{}", folder.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("{}", folder.display()))?.path();
        let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        if path.is_dir() {
            pictures(&path, found)?;
        } else if ["jpg", "jpeg", "png", "bmp", "webp", "gif", "tif", "tiff"].contains(&ending.as_str()) {
            found.push(path);
        }
    }
    Ok(())
}

/// What is known of a compiled model by looking at it and running it.
fn side(model: &Model, batch: &Batch, options: RunOptions) -> Result<Side> {
    let picture = &batch.data[..batch.data.len() / batch.count];
    let mut times: Vec<f64> = Vec::new();
    for _ in 0..9 {
        let begun = Instant::now();
        model.run(1, options, &[picture])?;
        times.push(1e3 * begun.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let graph = model.graph();
    let integer = |node: &ocelli_graph::Node| {
        matches!(node.op, ocelli_graph::Op::ConvCodes { .. } | ocelli_graph::Op::LinearCodes { .. })
            || matches!(&node.op, ocelli_graph::Op::AdderConv(own) if own.codes.is_some())
    };
    let macs = |only: bool| {
        let nodes = graph.nodes.iter().filter(|node| !only || integer(node));
        nodes.map(|node| ocelli_graph::cost::macs(graph, node)).sum()
    };
    Ok(Side {
        top1: None,
        bytes: model.weight_bytes(),
        macs: macs(false),
        integer_macs: macs(true),
        ms: times[times.len() / 2],
    })
}

fn print(report: &Report, output: &Path) -> Result<()> {
    let rows: Vec<Vec<String>> = report
        .layers
        .iter()
        .map(|layer| {
            vec![
                layer.name.clone(),
                layer.weight_bits.to_string(),
                layer.input_bits.to_string(),
                format!("{:.1}", layer.sqnr),
                format!("{:.3}", 100.0 * layer.clipped),
                format!("{:.1}", 100.0 * layer.zeros),
            ]
        })
        .collect();
    line(&table(
        &["layer", "weight bits", "input bits", "SQNR dB", "clipped %", "zeros %"],
        &rows,
        &[1, 2, 3, 4, 5],
    ))?;
    for name in &report.float {
        line(&format!("{name}: kept in floating point"))?;
    }
    let accuracy = |side: &Side| side.top1.map_or("-".into(), |top1| format!("{:.2} %", 100.0 * top1));
    let rows = [("before", &report.before), ("after", &report.after)].map(|(name, side)| {
        vec![
            name.to_string(),
            accuracy(side),
            format!("{}B", si(side.bytes as f64)),
            si(side.macs as f64),
            format!("{:.0} %", 100.0 * side.integer_macs as f64 / side.macs.max(1) as f64),
            format!("{:.2}", side.ms),
        ]
    });
    line("")?;
    line(&table(&["", "top-1", "weights", "MACs", "integer", "ms"], &rows, &[1, 2, 3, 4, 5]))?;
    line(&format!(
        "\n{} ({} pictures; report in {})",
        output.display(),
        report.calibration,
        output.with_extension("html").display()
    ))
}

/// The report as a page of its own.
fn page(report: &Report) -> String {
    let share = |part: u64, of: u64| format!("{:.0} %", 100.0 * part as f64 / of.max(1) as f64);
    let sides = [("before", &report.before), ("after", &report.after)].map(|(name, side)| {
        vec![
            name.to_string(),
            side.top1.map_or("–".to_string(), |top1| format!("{:.2} %", 100.0 * top1)),
            format!("{:.2}", side.bytes as f64 / 1e6),
            format!("{:.1}", side.macs as f64 / 1e6),
            share(side.integer_macs, side.macs),
            format!("{:.2}", side.ms),
        ]
    });
    let rows: Vec<Vec<String>> = report
        .layers
        .iter()
        .map(|layer| {
            vec![
                layer.name.clone(),
                layer.weight_bits.to_string(),
                layer.input_bits.to_string(),
                format!("{:.4}", layer.input_range[0]),
                format!("{:.4}", layer.input_range[1]),
                format!("{:.3}", 100.0 * layer.clipped),
                format!("{:.1}", 100.0 * layer.zeros),
                format!("{:.1}", layer.sqnr),
            ]
        })
        .collect();
    let chart = BarChart {
        title: "Signal to noise of every layer's output".into(),
        x_label: "dB".into(),
        bars: report.layers.iter().map(|layer| Bar::new(&layer.name, layer.sqnr)).collect(),
        ..BarChart::default()
    };
    let mut page = Page::new(format!("{}, quantised", report.model))
        .subtitle(format!(
            "Weights {} bits, activations {} bits, ranges by {}, {} calibration pictures",
            report.settings.weight_bits,
            report.settings.activation_bits,
            report.settings.activations.name(),
            report.calibration
        ))
        .section("Before and after")
        .table(&["", "top-1", "weights MB", "MACs M", "in integers", "ms"], &sides)
        .section("Layers")
        .svg(chart.to_svg())
        .table(
            &["layer", "weight bits", "input bits", "input from", "to", "clipped %", "zeros %", "SQNR dB"],
            &rows,
        );
    if !report.float.is_empty() {
        page = page.section("In floating point").list(&report.float);
    }
    page.render()
}

/// Progress on standard error: one line that is written over, or plain lines where that makes no sense.
struct Said {
    quiet: bool,
    terminal: bool,
    last: String,
}

impl Said {
    fn new(quiet: bool) -> Self {
        use std::io::IsTerminal;
        Self { quiet, terminal: std::io::stderr().is_terminal(), last: String::new() }
    }

    fn say(&mut self, what: &str, at: usize, of: usize) {
        if self.quiet {
            return;
        }
        if self.terminal {
            eprint!("\r\x1b[K{what} {}/{of}", at + 1);
        } else if self.last != what {
            eprintln!("{what}");
        }
        self.last = what.to_string();
    }

    fn end(&self) {
        if !self.quiet && self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}
