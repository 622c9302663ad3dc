//! `ocelli models`.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use clap::Subcommand;
use ocelli_engine::Model;
use ocelli_graph::Op;
use ocelli_graph::cost::{self, NodeCost};
use ocelli_image::zoo::{self, Entry};
use serde_json::json;

use super::output::{Format, line, si, table};

/// List the networks and show one.
#[derive(Debug, Subcommand)]
pub enum Models {
    /// List the registered networks
    #[command(after_help = "Examples:\n  ocelli models list\n  ocelli models list ghost --format json")]
    List {
        /// Only names (or systems) that contain this
        filter: Option<String>,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Show one network: size, cost, input, published accuracy, feature maps; or what a compiled model computes with
    #[command(
        after_help = "Examples:\n  ocelli models show seresnet50\n  ocelli models show ghostnet_100 --input-size 320\n  ocelli models show mobilenetv2_100 --layers\n  \
        ocelli models show pets8.ocelli"
    )]
    Show {
        /// Registered name, or the file of a compiled model
        name: String,
        /// Side of the square input, in pixels, for the cost
        #[arg(long, value_name = "PIXELS")]
        input_size: Option<usize>,
        /// Show what every operation costs: multiply-accumulates, parameters, bytes of results
        #[arg(long)]
        layers: bool,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

impl Models {
    pub(super) fn run(self) -> Result<ExitCode> {
        match self {
            Self::List { filter, format } => list(filter.as_deref().unwrap_or_default(), format)?,
            Self::Show { name, format, .. } if std::path::Path::new(&name).is_file() => {
                show_compiled(std::path::Path::new(&name), format)?
            }
            Self::Show { name, input_size, layers, format } => {
                show(&zoo::entry(&name)?, input_size, layers, format)?
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn list(filter: &str, format: Format) -> Result<()> {
    let entries: Vec<Entry> = zoo::entries()
        .into_iter()
        .filter(|entry| entry.name.contains(filter) || entry.system.contains(filter))
        .collect();
    let rows: Vec<(String, usize, u64, &Entry)> = entries
        .iter()
        .map(|entry| {
            let network = entry.config().init(&Device::flex());
            let input @ [_, height, width] = entry.input_shape();
            // The most a picture can cost: it goes through one candidate only.
            let macs = match network.dynamic() {
                Some(net) => {
                    let costs = net.costs([height, width]);
                    costs.predictor + costs.candidates[0]
                }
                None => network.macs(input),
            };
            (entry.name.to_string(), network.parameter_count(), macs, entry)
        })
        .collect();
    if format == Format::Json {
        let list: Vec<_> = rows
            .iter()
            .map(|(name, params, macs, entry)| {
                json!({"name": name, "system": entry.system, "parameters": params, "macs": macs,
                       "input_size": entry.input_size, "accuracy": entry.accuracy})
            })
            .collect();
        return line(&serde_json::to_string_pretty(&list)?);
    }
    let cells: Vec<Vec<String>> = rows
        .into_iter()
        .map(|(name, params, macs, entry)| {
            vec![
                name,
                entry.system.to_string(),
                si(params as f64),
                si(macs as f64),
                entry.input_size.to_string(),
                entry.accuracy.map_or(String::new(), |accuracy| format!("{:.2}", accuracy.top1)),
            ]
        })
        .collect();
    line(&table(
        &["name", "system", "parameters", "MACs", "input", "published top-1 %"],
        &cells,
        &[2, 3, 4, 5],
    ))
}

fn show(entry: &Entry, input_size: Option<usize>, layers: bool, format: Format) -> Result<()> {
    let network = entry.config().init(&Device::flex());
    let mut input = entry.input_shape();
    if let Some(side) = input_size {
        input = [input[0], side, side];
    }
    let [channels, height, width] = input;
    let graph = network
        .structure(input)
        .with_context(|| format!("'{}' with input {channels}x{height}x{width}", entry.name))?;
    let (params, macs) = (network.parameter_count(), cost::total_macs(&graph));
    let features = network.feature_info();
    let (costs, peak) = (cost::costs(&graph), cost::peak_activation_bytes(&graph));
    if format == Format::Json {
        let mut shown = json!({
            "name": entry.name, "system": entry.system, "parameters": params, "macs": macs, "input": input,
            "peak_activation_bytes": peak, "accuracy": entry.accuracy, "preprocess": entry.preprocess(),
            "features": features, "config": entry.config(),
        });
        if let Some(net) = network.dynamic() {
            shown["costs"] = serde_json::to_value(net.costs([height, width]))?;
        }
        if layers {
            shown["layers"] = serde_json::to_value(&costs)?;
        }
        return line(&serde_json::to_string_pretty(&shown)?);
    }
    line(&format!("{}  (system {})", entry.name, entry.system))?;
    line(&format!("  parameters  {params} ({})", si(params as f64)))?;
    line(&format!("  MACs        {macs} ({}) at {}x{}x{}", si(macs as f64), input[0], input[1], input[2]))?;
    if let Some(net) = network.dynamic() {
        let costs = net.costs([height, width]);
        line("              with every candidate computed; for a picture classified at")?;
        for (index, &macs) in costs.candidates.iter().enumerate() {
            let [side, _] = net.config().candidate_size(index, [height, width]);
            let total = si((costs.predictor + macs) as f64);
            line(&format!("              {side} px {total}, choice of the resolution included"))?;
        }
    }
    line(&format!("  activations {} at most at once, operation by operation", bytes(peak)))?;
    line(&format!(
        "  input       {} px, crop {}, {}, mean {:?}, std {:?}",
        entry.input_size, entry.crop_pct, entry.interpolation, entry.mean, entry.std
    ))?;
    match entry.accuracy {
        Some(a) => {
            let top5 = a.top5.map_or(String::new(), |top5| format!(", top-5 {top5:.2} %"));
            line(&format!("  published   top-1 {:.2} %{top5}  ({})", a.top1, a.source))?
        }
        None => line("  published   none recorded")?,
    }
    line("  feature maps")?;
    for map in features {
        line(&format!(
            "    {:<12} {:>5} channels  1/{} of the input",
            map.module, map.channels, map.reduction
        ))?;
    }
    line(&format!("  classifier  {}", network.classifier()))?;
    if layers {
        line(&layer_table(&costs))?;
    }
    Ok(())
}

/// What every operation costs for one picture, in the order of execution.
fn layer_table(costs: &[NodeCost]) -> String {
    let cells: Vec<Vec<String>> = costs
        .iter()
        .map(|cost| {
            let output: Vec<String> = cost.output.iter().map(usize::to_string).collect();
            vec![
                cost.name.clone(),
                cost.op.clone(),
                output.join("x"),
                cost.macs.to_string(),
                cost.params.to_string(),
                cost.activation_bytes.to_string(),
            ]
        })
        .collect();
    table(&["layer", "operation", "output", "MACs", "parameters", "bytes of results"], &cells, &[3, 4, 5])
}

/// A number of bytes to read.
fn bytes(count: u64) -> String {
    format!("{count} bytes ({:.2} MiB)", count as f64 / f64::from(1 << 20))
}

/// What a layer computes with.
fn arithmetic(op: &Op) -> &'static str {
    match op {
        Op::ConvCodes { .. } | Op::LinearCodes { .. } => "u8 × i8 → i32",
        Op::BinaryConv(_) => "bits: xnor, count",
        Op::AdderConv(own) if own.codes.is_some() => "|u8 - i8| → i32",
        Op::AdderConv(_) => "|float32 - float32|",
        _ => "float32",
    }
}

/// Every layer of a compiled model: arithmetic, kernel, multiply-accumulates, bytes of weights.
fn show_compiled(path: &std::path::Path, format: Format) -> Result<()> {
    if !Model::is_compiled(path) {
        bail!("{}: no compiled model (ocelli export and ocelli compress write them)", path.display());
    }
    let model = Model::load(path)?;
    let graph = model.graph();
    let layers: Vec<_> = model
        .layers()
        .map(|(node, kernel, bytes)| {
            (node.name.clone(), arithmetic(&node.op), kernel, cost::macs(graph, node), bytes)
        })
        .collect();
    let shape = graph.inputs.first().map(|&id| graph.value(id).shape_at(1)).unwrap_or_default();
    let macs = cost::total_macs(graph);
    if format == Format::Json {
        let list: Vec<_> = layers
            .iter()
            .map(|(name, arithmetic, kernel, macs, bytes)| {
                json!({"name": name, "arithmetic": arithmetic, "kernel": kernel, "macs": macs, "bytes": bytes})
            })
            .collect();
        return line(&serde_json::to_string_pretty(&json!({
            "name": graph.name, "input": shape, "macs": macs, "weight_bytes": model.weight_bytes(), "layers": list,
        }))?);
    }
    let rows: Vec<Vec<String>> = layers
        .iter()
        .map(|(name, arithmetic, kernel, macs, bytes)| {
            let kernel = kernel.to_string();
            vec![
                name.clone(),
                arithmetic.to_string(),
                kernel,
                si(*macs as f64),
                format!("{}B", si(*bytes as f64)),
            ]
        })
        .collect();
    line(&table(&["layer", "arithmetic", "kernel", "MACs", "weights"], &rows, &[3, 4]))?;
    line(&format!(
        "\n{}, input {shape:?}, {} MACs, {}B of weights and constants",
        graph.name,
        si(macs as f64),
        si(model.weight_bytes() as f64)
    ))
}
