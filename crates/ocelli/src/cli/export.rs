//! `ocelli export`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use ocelli_graph::{Graph, draw, onnx};
use ocelli_image::{Network, Runner, deploy, zoo};
use ocelli_report::atomic::write_atomic;

use super::Global;
use super::output::{line, si};
use crate::model_ref::ModelRef;

/// Write a network for other programs (ONNX), compiled for the engine, or as a drawing.
///
/// Networks are written in evaluation mode. An ONNX file takes batches of any size; it wants pictures prepared as
/// `ocelli models show` says.
///
/// A network that chooses the resolution per picture (dr_*) is written with every candidate computed and the chosen one
/// selected: the same answers without the saving. Only the model file itself, run by `ocelli image predict`, saves.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  ocelli export runs/pets-1 -o pets.onnx\n  \
    ocelli export runs/pets-1 -o pets.ocelli\n  \
    ocelli export ghostnet_100 --weights hf://timm/ghostnet_100.in1k -o ghostnet.onnx\n  \
    ocelli export resnet18 --random-init --input-size 64 --optimize -o tiny.onnx\n  \
    ocelli export resnet18 -o resnet18.svg\n  \
    ocelli export resnet18 --format dot -o - | dot -Tpdf > resnet18.pdf")]
pub struct Export {
    /// Model file, run folder, hf://org/repo, or a registered name
    #[arg(value_name = "MODEL")]
    model: String,
    /// What to write [default: what the file's ending says]
    #[arg(long, value_enum)]
    format: Option<ExportFormat>,
    /// Weights for a registered name
    #[arg(long, value_name = "FILE")]
    weights: Option<String>,
    /// Load what fits of weights that do not fit wholly
    #[arg(long)]
    lenient: bool,
    /// Give a registered name freshly drawn weights
    #[arg(long, conflicts_with_all = ["weights", "lenient"])]
    random_init: bool,
    /// Side of the square input, in pixels [default: the model's own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16384))]
    input_size: Option<u32>,
    /// Fold and fuse operations first, which changes results by rounding only
    #[arg(long)]
    optimize: bool,
    /// Where to write; - for standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// What can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ExportFormat {
    /// ONNX, for ONNX Runtime and converters
    Onnx,
    /// Graphviz text
    Dot,
    /// A drawing
    Svg,
    /// Compiled for ocelli's engine
    Compiled,
}

/// What is to be written.
struct Opened {
    name: String,
    network: Network,
    /// `[channels, height, width]`
    input: [usize; 3],
    /// Labels and preprocessing, which a compiled model carries.
    description: Option<deploy::Description>,
}

impl Export {
    pub(super) fn run(self, global: &Global) -> Result<ExitCode> {
        let format = self.format()?;
        let to_stdout = self.output == Path::new("-");
        if !to_stdout {
            check_target(&self.output)?;
        }
        let Opened { name, network, mut input, mut description } = self.open(format, global)?;
        if let Some(side) = self.input_size {
            input = [input[0], side as usize, side as usize];
            if let Some(description) = &mut description {
                description.preprocess.input_size = input;
            }
        }
        if format == ExportFormat::Compiled {
            if to_stdout {
                bail!("a compiled model is mapped from its file: give -o FILE");
            }
            let model = deploy::compile(&network, &name, input, description.as_ref())?;
            model.save(&self.output)?;
            let bytes = std::fs::metadata(&self.output).map_or(0, |file| file.len());
            return self.told(&name, input, model.graph().nodes.len(), bytes).map(|()| ExitCode::SUCCESS);
        }
        let graph = self.graph(&name, &network, input)?;
        let (bytes, count) = match format {
            ExportFormat::Onnx => {
                let file = onnx::export(&graph).with_context(|| format!("'{name}'"))?;
                let count = onnx::Summary::read(&file)?.nodes.len();
                (file, count)
            }
            ExportFormat::Dot => (draw::dot(&graph).into_bytes(), graph.nodes.len()),
            _ => (draw::svg(&graph).into_bytes(), graph.nodes.len()),
        };
        if to_stdout {
            let mut out = std::io::stdout().lock();
            out.write_all(&bytes)?;
            out.flush()?;
        } else {
            write_atomic(&self.output, &bytes).with_context(|| format!("{}", self.output.display()))?;
            self.told(&name, input, count, bytes.len() as u64)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn told(&self, name: &str, [c, h, w]: [usize; 3], nodes: usize, bytes: u64) -> Result<()> {
        let file = self.output.display();
        line(&format!("{file}: {name}, input {c}x{h}x{w}, {nodes} nodes, {}B", si(bytes as f64)))
    }

    fn format(&self) -> Result<ExportFormat> {
        if let Some(format) = self.format {
            return Ok(format);
        }
        let ending = self.output.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        match ending.to_ascii_lowercase().as_str() {
            "onnx" => Ok(ExportFormat::Onnx),
            "dot" | "gv" => Ok(ExportFormat::Dot),
            "svg" => Ok(ExportFormat::Svg),
            "ocelli" => Ok(ExportFormat::Compiled),
            _ => bail!(
                "{}: the ending says no format; give --format onnx, compiled, dot or svg",
                self.output.display()
            ),
        }
    }

    fn open(&self, format: ExportFormat, global: &Global) -> Result<Opened> {
        let device = global.device()?;
        let reference = ModelRef::parse(&self.model)?;
        if let (ModelRef::Name(name), None) = (&reference, &self.weights) {
            let entry = zoo::entry(name)?;
            // A drawing shows no weights.
            let drawing = matches!(format, ExportFormat::Dot | ExportFormat::Svg);
            if !drawing && !self.random_init {
                bail!(
                    "'{name}' names an untrained network: give it --weights FILE (or hf://...), or --random-init to \
                     export freshly drawn weights"
                );
            }
            let mut network = entry.config().init(&device);
            if !drawing {
                network = network.initialize(0);
                if !global.quiet {
                    eprintln!(
                        "note: {name} has freshly drawn weights (--random-init): its outputs mean nothing yet"
                    );
                }
            }
            let input = entry.input_shape();
            return Ok(Opened { name: name.clone(), network, input, description: None });
        }
        if self.random_init {
            bail!("--random-init goes with a registered name, and '{}' holds weights of its own", self.model);
        }
        let model = reference.open(self.weights.as_deref(), self.lenient, &device)?;
        let description = Some(deploy::Description::of(&model));
        let (name, input) = (model.name.clone(), model.preprocess.input_size);
        let Runner::Burn { network, .. } = model.runner else {
            bail!(
                "{}: a compiled model cannot be exported; name the model file it was made from",
                self.model
            );
        };
        Ok(Opened { name, network: *network, input, description })
    }

    fn graph(&self, name: &str, network: &Network, input: [usize; 3]) -> Result<Graph> {
        let mut graph = network
            .graph(input)
            .with_context(|| format!("'{name}' with input {}x{}x{}", input[0], input[1], input[2]))?;
        if self.optimize {
            ocelli_graph::passes::optimize(&mut graph);
        }
        graph.name = name.to_string();
        Ok(graph)
    }
}

/// Refuses a target that cannot be written before the work is done.
fn check_target(path: &Path) -> Result<()> {
    if path.is_dir() {
        bail!("{}: a folder; expected the name of a file", path.display());
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            bail!("{}: no such folder {}", path.display(), folder.display())
        }
        _ => Ok(()),
    }
}
