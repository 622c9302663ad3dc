//! `ocelli bench`.

mod peer;
mod worker;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use clap::{Args, ValueEnum};
use ocelli_compress::ptq::{Settings, quantise};
use ocelli_engine::{RunOptions, machine};
use ocelli_graph::codes::Rounding;
use ocelli_graph::{Dim, Graph};
use ocelli_image::zoo::{self, Options};
use ocelli_image::{Runner, deploy};
use serde_json::{Value, json};

use self::peer::Peer;
use super::Global;
use super::output::{Format, line, si, table};
use crate::codes::compile_integers;
use crate::model_ref::ModelRef;

/// Time networks in the engine, side by side with other runtimes.
#[derive(Args, Debug)]
#[command(
    long_about = "Time networks in the engine, side by side with other runtimes.\n\nEvery runtime loads the network in a \
        process of its own; rounds of runs are taken in turns, so that whatever else the machine does \
        hits all of them. Peers are run by the python3 on the path (or --python), where they are installed with pip; \
        one that is missing is said, not failed. A registered name is timed with random weights.",
    after_help = "Examples:\n  ocelli bench resnet50 ghostnet_100 --against onnxruntime\n  \
        ocelli bench runs/pets-1 --threads 1 --batch 8 --profile\n  \
        ocelli bench resnet18 mobilenetv2_100 --int8 --against onnxruntime,float --threads 1\n  \
        ocelli bench mobilenetv2_100 --against onnxruntime,pytorch,tract --threads 1 --format json"
)]
pub struct Bench {
    /// Registered names, model files, run folders or compiled models
    #[arg(required_unless_present = "worker", value_name = "MODEL")]
    models: Vec<String>,
    /// Runtimes to compare with
    #[arg(long, value_delimiter = ',', value_name = "RUNTIME,..")]
    against: Vec<Against>,
    /// Pictures per run
    #[arg(long, default_value_t = 1, value_name = "N")]
    batch: usize,
    /// Side of the square input, in pixels [default: the network's]
    #[arg(long, value_name = "PIXELS")]
    size: Option<usize>,
    /// Rounds taken in turns
    #[arg(long, default_value_t = 10, value_name = "N")]
    rounds: usize,
    /// Runs per round [default: what fills about a fifth of a second]
    #[arg(long, value_name = "N")]
    runs: Option<usize>,
    /// Keep each of the engine's threads on one processor (Linux)
    #[arg(long)]
    pin: bool,
    /// Quantise the networks to 8 bits first; peers run the same codes from ONNX
    #[arg(long)]
    int8: bool,
    /// Also print the time of every step of the engine
    #[arg(long)]
    profile: bool,
    /// The Python that runs the peers
    #[arg(long, default_value = "python3", env = "OCELLI_PYTHON", value_name = "PROGRAM")]
    python: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Serve requests for one compiled model on standard input (used by this command itself)
    #[arg(long, hide = true, value_name = "FILE")]
    worker: Option<PathBuf>,
}

/// Between turns: threads of some runtimes spin on after their last run and would slow the next one's.
const PAUSE: Duration = Duration::from_millis(150);

/// A runtime to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Against {
    Onnxruntime,
    Pytorch,
    Tract,
    /// The engine in floating point, beside --int8
    Float,
}

impl Against {
    fn name(self) -> &'static str {
        match self {
            Self::Onnxruntime => "onnxruntime",
            Self::Pytorch => "pytorch",
            Self::Tract => "tract",
            Self::Float => "float",
        }
    }
}

/// What one runtime did.
struct Measured {
    title: String,
    times: Vec<f64>,
    load_ms: f64,
    first_ms: f64,
    peak_bytes: Option<u64>,
    /// Largest difference to the engine's result, relative to its largest element.
    difference: Option<f64>,
}

impl Measured {
    /// The time below which a share `p` of the runs stayed, in milliseconds.
    fn percentile(&self, p: f64) -> f64 {
        let mut times = self.times.clone();
        times.sort_by(f64::total_cmp);
        let at = (p * (times.len().saturating_sub(1)) as f64).round() as usize;
        times.get(at).copied().unwrap_or(f64::NAN)
    }
}

impl Bench {
    pub(super) fn run(self, global: &Global) -> Result<ExitCode> {
        let threads = global.threads();
        let options = RunOptions { threads, pin: self.pin };
        if let Some(model) = &self.worker {
            worker::serve(model, options, self.batch)?;
            return Ok(ExitCode::SUCCESS);
        }
        if self.batch == 0 || self.rounds == 0 || self.runs == Some(0) || threads == 0 {
            bail!("--batch, --rounds, --runs and --threads must be at least 1");
        }
        let peak = machine::peak_macs(threads);
        if self.format == Format::Table {
            line(&format!(
                "{}, {threads} thread{}, {} MAC/s at best",
                machine::isa(),
                if threads == 1 { "" } else { "s" },
                si(peak)
            ))?;
        }
        let mut reports = Vec::new();
        for model in &self.models {
            let report = self.one(model, threads, peak, global)?;
            if self.format == Format::Json {
                reports.push(report);
            }
        }
        if self.format == Format::Json {
            line(&serde_json::to_string_pretty(&json!({
                "isa": machine::isa(), "threads": threads, "peak_macs_per_s": peak, "models": reports,
            }))?)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn one(&self, reference: &str, threads: usize, peak: f64, global: &Global) -> Result<Value> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        let subject = Subject::prepare(reference, self, folder.path())?;
        let mut ours = self.engine(&subject.compiled, threads).context("the engine")?;
        let mut peers = Vec::new();
        for &against in &self.against {
            match self.peer(against, &subject, threads, folder.path()) {
                Ok(peer) => peers.push(peer),
                Err(error) if !global.quiet => {
                    eprintln!("{reference}: without {}: {error:#}", against.name())
                }
                Err(_) => {}
            }
        }

        let (input, result) = (folder.path().join("input"), folder.path().join("result"));
        let numbers = worker::numbers(1, self.batch * subject.input.iter().product::<usize>());
        std::fs::write(&input, numbers.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())?;
        let expected = ours.check(&input, &result)?;
        let differences: Vec<Option<f64>> = peers
            .iter_mut()
            .map(|peer| peer.check(&input, &result).ok().map(|y| difference(&y, &expected)))
            .collect();

        // As many runs a round as fill about a fifth of a second, by the engine's second run.
        ours.run(2)?;
        let guess = ours.times.last().copied().unwrap_or(1.0).max(0.01);
        let runs = self.runs.unwrap_or((200.0 / guess).clamp(1.0, 200.0) as usize);
        ours.times.clear();
        let steps = if self.profile { Some(ours.profile(20)?) } else { None };
        for _ in 0..self.rounds {
            std::thread::sleep(PAUSE);
            ours.run(runs)?;
            for peer in &mut peers {
                std::thread::sleep(PAUSE);
                peer.run(runs)?;
            }
        }
        let measured = |peer: Peer, difference| Measured {
            title: peer.title.clone(),
            times: peer.times.clone(),
            load_ms: peer.load_ms,
            first_ms: peer.first_ms,
            peak_bytes: peer.peak_bytes,
            difference,
        };
        let mut all = vec![measured(ours, None)];
        all.extend(peers.into_iter().zip(differences).map(|(peer, difference)| measured(peer, difference)));
        let macs = subject.macs * self.batch as u64;
        let report = self.report(reference, &subject, &all, macs, peak, steps.as_ref());
        if self.format == Format::Table {
            self.print(reference, &subject, &all, macs, peak, steps.as_ref())?;
        }
        Ok(report)
    }

    /// A process that runs a compiled model.
    fn engine(&self, model: &Path, threads: usize) -> Result<Peer> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut command = Command::new(program);
        command.arg("bench").arg("--worker").arg(model);
        command.arg("--batch").arg(self.batch.to_string()).arg("--threads").arg(threads.to_string());
        if self.pin {
            command.arg("--pin");
        }
        Peer::start(command)
    }

    fn peer(&self, against: Against, subject: &Subject, threads: usize, folder: &Path) -> Result<Peer> {
        if against == Against::Float {
            let mut peer =
                self.engine(subject.float.as_ref().context("only --int8 has another")?, threads)?;
            peer.title += ", float32";
            return Ok(peer);
        }
        let script = folder.join("peer.py");
        std::fs::write(&script, include_str!("peer.py"))?;
        let model = match against {
            Against::Pytorch => subject.weights.as_ref().context("its weights are not at hand")?,
            _ => subject.onnx.as_ref().context("a compiled model cannot be exported")?,
        };
        let mut command = Command::new(&self.python);
        command
            .arg(&script)
            .arg(against.name())
            .arg(model)
            .arg(threads.to_string())
            .arg(self.batch.to_string());
        command.args(subject.input.map(|extent| extent.to_string())).arg(&subject.name);
        Peer::start(command)
    }

    fn report(
        &self,
        reference: &str,
        subject: &Subject,
        all: &[Measured],
        macs: u64,
        peak: f64,
        steps: Option<&Value>,
    ) -> Value {
        let ours = all[0].percentile(0.5);
        let runtimes: Vec<Value> = all
            .iter()
            .map(|m| {
                let median = m.percentile(0.5);
                json!({
                    "runtime": m.title, "median_ms": median, "min_ms": m.percentile(0.0), "p90_ms": m.percentile(0.9),
                    "p99_ms": m.percentile(0.99), "per_second": 1e3 * self.batch as f64 / median,
                    "macs_per_s": macs as f64 / median * 1e3, "share_of_peak": macs as f64 / median * 1e3 / peak,
                    "peak_bytes": m.peak_bytes, "load_ms": m.load_ms, "first_ms": m.first_ms,
                    "ocelli_time_ratio": ours / median, "difference": m.difference, "runs": m.times.len(),
                })
            })
            .collect();
        json!({
            "model": reference, "batch": self.batch, "input": subject.input, "macs": macs, "runtimes": runtimes,
            "steps": steps,
        })
    }

    fn print(
        &self,
        reference: &str,
        subject: &Subject,
        all: &[Measured],
        macs: u64,
        peak: f64,
        steps: Option<&Value>,
    ) -> Result<()> {
        let [c, h, w] = subject.input;
        line(&format!("\n{reference}  {}x{c}x{h}x{w}, {} MACs", self.batch, si(macs as f64)))?;
        let ours = all[0].percentile(0.5);
        let rows: Vec<Vec<String>> = all
            .iter()
            .map(|m| {
                let median = m.percentile(0.5);
                vec![
                    m.title.clone(),
                    format!("{median:.2}"),
                    format!("{:.2}", m.percentile(0.0)),
                    format!("{:.2}", m.percentile(0.9)),
                    format!("{:.2}", m.percentile(0.99)),
                    format!("{:.1}", 1e3 * self.batch as f64 / median),
                    format!("{:.1}", macs as f64 / median / 1e6),
                    format!("{:.0} %", 1e5 * macs as f64 / median / peak),
                    m.peak_bytes
                        .map_or("-".into(), |bytes| format!("{:.0}", bytes as f64 / f64::from(1 << 20))),
                    format!("{:.1}", m.load_ms + m.first_ms),
                    format!("{:.2}", ours / median),
                    m.difference.map_or(String::new(), |d| format!("{d:.1e}")),
                ]
            })
            .collect();
        line(&table(
            &[
                "runtime",
                "median ms",
                "min",
                "p90",
                "p99",
                "per s",
                "GMAC/s",
                "of peak",
                "MiB",
                "first ms",
                "ocelli/it",
                "differs",
            ],
            &rows,
            &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
        ))?;
        if let Some(Value::Array(steps)) = steps {
            let total: f64 = steps.iter().filter_map(|s| s["ms"].as_f64()).sum();
            let rows: Vec<Vec<String>> = steps
                .iter()
                .filter(|s| s["ms"].as_f64().unwrap_or_default() >= 1e-4)
                .map(|s| {
                    let (ms, macs) =
                        (s["ms"].as_f64().unwrap_or_default(), s["macs"].as_f64().unwrap_or_default());
                    vec![
                        s["name"].as_str().unwrap_or_default().to_string(),
                        s["kernel"].as_str().unwrap_or_default().to_string(),
                        format!("{ms:.4}"),
                        format!("{:.1} %", 100.0 * ms / total),
                        if macs > 0.0 { format!("{:.1}", macs / ms / 1e6) } else { String::new() },
                    ]
                })
                .collect();
            line(&table(&["step", "kernel", "ms", "share", "GMAC/s"], &rows, &[2, 3, 4]))?;
        }
        Ok(())
    }
}

fn difference(found: &[f32], expected: &[f32]) -> f64 {
    if found.len() != expected.len() {
        return f64::NAN;
    }
    let scale = expected.iter().fold(f32::MIN_POSITIVE, |a, b| a.max(b.abs()));
    found.iter().zip(expected).map(|(a, b)| f64::from((a - b).abs() / scale)).fold(0.0, f64::max)
}

/// The graph for one batch size: peers plan best for extents they know.
fn with_batch(graph: &Graph, batch: usize) -> Graph {
    let mut graph = graph.clone();
    for value in &mut graph.values {
        for dim in &mut value.shape {
            *dim = Dim::Fixed(dim.at(batch));
        }
    }
    graph
}

/// The network in 8-bit codes, calibrated on noise: for its time, not its answers.
fn quantised(graph: Graph, input: [usize; 3]) -> Result<Graph> {
    let settings = Settings { correct: false, round_steps: None, ..Settings::guideline(8, 8) };
    let count = 2;
    let data = worker::numbers(2, count * input.iter().product::<usize>());
    let batches = [ocelli_compress::Batch { count, data }];
    Ok(quantise(graph, &batches, &settings, RunOptions::default(), &mut |_, _, _| {})?.graph)
}

/// A network in all the forms the runtimes need.
struct Subject {
    name: String,
    input: [usize; 3],
    macs: u64,
    compiled: PathBuf,
    /// The network before it was quantised.
    float: Option<PathBuf>,
    onnx: Option<PathBuf>,
    weights: Option<PathBuf>,
}

impl Subject {
    fn prepare(reference: &str, bench: &Bench, folder: &Path) -> Result<Self> {
        let Bench { size, batch, against, int8, .. } = bench;
        let (size, batch) = (*size, *batch);
        let path = Path::new(reference);
        if path.is_file() && ocelli_engine::Model::is_compiled(path) {
            if size.is_some() {
                bail!("{reference}: a compiled model has one input size; --size needs the network");
            }
            if *int8 {
                bail!("{reference}: compiled already; --int8 needs the network");
            }
            let model = ocelli_engine::Model::load(path)?;
            let graph = model.graph();
            let shape = graph.inputs.first().map(|&id| graph.value(id).shape_at(1)).unwrap_or_default();
            let [1, c, h, w] = shape[..] else { bail!("{reference}: takes no pictures") };
            return Ok(Self {
                name: graph.name.clone(),
                input: [c, h, w],
                macs: ocelli_graph::cost::total_macs(graph),
                compiled: path.to_path_buf(),
                float: None,
                onnx: None,
                weights: None,
            });
        }
        let device = Device::flex();
        let (name, network, mut input, description) = match ModelRef::parse(reference)? {
            ModelRef::Name(name) => {
                let entry = zoo::entry(&name)?;
                let network = zoo::create(&name, &Options::default(), &device)?.initialize(0);
                (name, network, entry.input_shape(), None)
            }
            other => {
                let classifier = other.open(None, false, &device)?;
                let input = classifier.preprocess.input_size;
                let description = deploy::Description::of(&classifier);
                let name = classifier.name.clone();
                let Runner::Burn { network, .. } = classifier.runner else {
                    bail!("{reference}: neither a network nor a compiled model");
                };
                (name, *network, input, Some(description))
            }
        };
        if let Some(side) = size {
            input = [input[0], side, side];
        }
        let [channels, height, width] = input;
        let mut graph = network
            .graph(input)
            .with_context(|| format!("'{reference}' with input {channels}x{height}x{width}"))?;
        graph.name = name.clone();
        let macs = ocelli_graph::cost::total_macs(&graph);
        let compiled = folder.join("model.ocelli");
        let mut float = None;
        if *int8 {
            let file = folder.join("float.ocelli");
            deploy::compile_graph(graph.clone(), description.as_ref())?.save(&file)?;
            float = Some(file);
            graph = quantised(graph, input)?;
            compile_integers(graph.clone(), Rounding::Fixed, description.as_ref())?.save(&compiled)?;
        } else {
            deploy::compile_graph(graph.clone(), description.as_ref())?.save(&compiled)?;
        }
        let onnx = if against.iter().any(|&a| !matches!(a, Against::Pytorch | Against::Float)) {
            let file = folder.join("model.onnx");
            std::fs::write(&file, ocelli_graph::onnx::export(&with_batch(&graph, batch))?)?;
            Some(file)
        } else {
            None
        };
        let weights = if against.contains(&Against::Pytorch) {
            let file = folder.join("model.safetensors");
            ocelli_nn::weights::write(&file, &network.state_dict(), None)?;
            Some(file)
        } else {
            None
        };
        Ok(Self { name, input, macs, compiled, float, onnx, weights })
    }
}
