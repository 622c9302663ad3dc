//! `ocelli compress --method adder`: adder networks on codes of 4 to 8 bits.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use clap::ValueEnum;
use ocelli_compress::Batch;
use ocelli_compress::adder::assemble::assemble;
use ocelli_compress::adder::energy::{Arithmetic, Operations};
use ocelli_compress::adder::network::{self, Layer};
use ocelli_compress::adder::{Scales, Settings, plan_with};
use ocelli_engine::RunOptions;
use ocelli_graph::{Graph, Op, cost, onnx};
use ocelli_image::classify::{AdderAwareTask, AdderLayer, CODES};
use ocelli_image::{Network, Runner, deploy, model_file};
use ocelli_nn::adder::FakeCodes;
use ocelli_report::atomic::write_atomic;
use ocelli_report::html::Page;
use serde::Serialize;

use super::calibrate::Said;
use super::report::Stage;
use super::{Compress, accuracy, ending, qat};
use crate::cli::Global;
use crate::cli::image::train::{network_of_weights, on_interrupt};
use crate::cli::output::{line, si, table};
use crate::model_ref::ModelRef;

/// Which scales an adder layer has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum ScaleRule {
    /// One per group of filters, weights clamped without loss: the method
    #[default]
    Groups,
    /// One per group, as far as its weights reach
    Unclamped,
    /// One, as far as activations reach
    Activations,
    /// One, as far as weights reach
    Weights,
}

impl ScaleRule {
    fn scales(self) -> Scales {
        match self {
            Self::Groups => Scales::Groups,
            Self::Unclamped => Scales::GroupsUnclamped,
            Self::Activations => Scales::SharedActivations,
            Self::Weights => Scales::SharedWeights,
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
    stages: Vec<Stage>,
    operations: Operations,
    /// Microjoules of one picture in its adder layers and others (45 nm): in float32, and adder layers on codes.
    energy: [f64; 2],
    /// Share of the calibration pictures that both networks give the same class.
    agreement: f64,
    layers: Vec<LayerReport>,
}

/// What one layer became.
#[derive(Serialize)]
struct LayerReport {
    name: String,
    filters: usize,
    /// How far activations reach.
    reach: f32,
    /// Scale and filters of every group.
    groups: Vec<(f32, usize)>,
    /// Share of the filters that were clamped.
    clamped: f64,
}

fn tensor(batch: &Batch, size: [usize; 3], device: &Device) -> Tensor<4> {
    let [channels, height, width] = size;
    Tensor::from_data(TensorData::new(batch.data.clone(), [batch.count, channels, height, width]), device)
}

/// The classes a network gives the pictures of `batch`.
fn classes(network: &Network, x: Tensor<4>) -> Vec<usize> {
    let logits = network.forward(x);
    let [_, count] = logits.dims();
    let values: Vec<f32> = logits.into_data().iter::<f32>().collect();
    let best = |row: &[f32]| row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(i, _)| i);
    values.chunks_exact(count.max(1)).map(best).collect()
}

pub(super) fn run(own: &Compress, global: &Global) -> Result<ExitCode> {
    let settings =
        Settings { groups: own.groups.into(), scales: own.scales.scales(), ..Settings::new(own.bits) };
    settings.check()?;
    let device = global.device()?;
    let reference = ModelRef::parse(&own.model)?;
    let open = |device: &Device| reference.open(own.weights.as_deref(), own.lenient, device);
    let model = open(&device)?;
    let description = deploy::Description::of(&model);
    // Norms look at their batch on a device that records gradients.
    let learning = device.clone().autodiff();
    let (Runner::Burn { network: plain, .. }, Runner::Burn { network: trained, .. }) =
        (model.runner, open(&learning)?.runner)
    else {
        bail!("{}: a compiled model; name the model file it was made from", own.model);
    };
    let size = model.preprocess.input_size;
    let batches = own.batches(&model.preprocess)?;
    let options = RunOptions { threads: global.threads(), pin: false };
    let mut said = Said::new(global.quiet);
    let mut float_graph = plain.graph(size)?;
    float_graph.name.clone_from(&model.name);
    let float = deploy::compile_graph(float_graph, Some(&description))?;

    let inputs = |device: &Device| -> Vec<Tensor<4>> {
        batches.iter().map(|batch| tensor(batch, size, device)).collect()
    };
    let mut at = 0;
    let mut before = Vec::new();
    let inner = trained.valid();
    let reaches = network::calibrate(inputs(&device), settings.alpha, |x| {
        said.say("looking at activations", at, batches.len());
        at += 1;
        before.extend(classes(&inner, x));
    });
    let keep = own.keep.iter().cloned().collect();
    let mut layers = network::plan_all(&*trained, &reaches, &settings, &keep)
        .with_context(|| format!("'{}'", own.model))?;
    let mut stages = vec![Stage::of("float", &float, &batches[0], options)?];
    let mut graph;
    if own.qat.trains() {
        said.end();
        let Some((tuned, planned)) = train(own, global, (&model.name, size[1]), &layers, &settings)? else {
            return Ok(ExitCode::from(130));
        };
        layers = planned;
        graph = assemble(tuned.graph(size)?, &layers, &settings)?;
    } else {
        let codes = network::codes(&layers, &settings);
        at = 0;
        network::reestimate_with(&codes, inputs(&learning), |x| {
            said.say("re-estimating norms", at, batches.len());
            at += 1;
            drop(trained.forward(x));
        });
        said.end();
        let (settled, mismatch) = plain.load_state_dict(trained.state_dict());
        if !mismatch.is_empty() {
            bail!("'{}':{mismatch}", own.model);
        }
        graph = assemble(settled.graph(size)?, &layers, &settings)?;
    }
    graph.name.clone_from(&model.name);
    let coded = deploy::compile_graph(graph.clone(), Some(&description))?;
    for output in &own.output {
        match ending(output).as_str() {
            "onnx" => write_atomic(output, &onnx::export(&graph)?)
                .with_context(|| format!("{}", output.display()))?,
            _ => coded.save(output)?,
        }
    }
    stages.push(Stage::of("integers", &coded, &batches[0], options)?);
    if let Some(data) = &own.data {
        for (side, model) in stages.iter_mut().zip([&float, &coded]) {
            side.top1 = Some(accuracy(data, model, &description, options)?);
        }
    }
    let mut after = Vec::new();
    for batch in &batches {
        let rows = coded.run(batch.count, options, &[&batch.data])?.swap_remove(0);
        let count = rows.len() / batch.count.max(1);
        let best =
            |row: &[f32]| row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(i, _)| i);
        after.extend(rows.chunks_exact(count.max(1)).map(best));
    }
    let same = before.iter().zip(&after).filter(|(a, b)| a == b).count();
    let operations = operations(&graph);
    let stem = Operations { distances: 0, ..operations };
    let adders = Operations { macs: 0, ..operations };
    let report = Report {
        model: model.name,
        calibration: before.len(),
        stages,
        operations,
        energy: [
            operations.microjoules(Arithmetic::Float32),
            stem.microjoules(Arithmetic::Float32) + adders.microjoules(Arithmetic::Int(settings.bits)),
        ],
        agreement: same as f64 / before.len().max(1) as f64,
        layers: layers.iter().map(layer_report).collect(),
        settings,
    };
    write_atomic(own.output[0].with_extension("json"), &serde_json::to_vec_pretty(&report)?)?;
    write_atomic(own.output[0].with_extension("html"), page(&report).as_bytes())?;
    print(&report, &own.output[0])?;
    Ok(ExitCode::SUCCESS)
}

/// Fine-tunes with codes in place: the network, and its layers with the scales it has learned. Nothing if it was interrupted.
fn train(
    own: &Compress,
    global: &Global,
    (name, side): (&str, usize),
    layers: &[Layer],
    settings: &Settings,
) -> Result<Option<(Network, Vec<Layer>)>> {
    let data = own.data.clone().context("--epochs trains: name labelled pictures with --data DIR")?;
    let mut config = own.run_config(data, name, side, 5e-4)?;
    network_of_weights(&mut config)?;
    config.check()?;
    let prepared = own.prepared(&config, global)?;
    let coding = settings.coding();
    let learned = layers
        .iter()
        .map(|Layer { found, plan }| AdderLayer {
            name: found.name.clone(),
            codes: FakeCodes { coding, labels: plan.labels.clone(), reach: plan.reach },
            scales: plan.scales.clone(),
        })
        .collect();
    let task = AdderAwareTask { base: prepared.task, layers: learned };
    let begun = task.model(prepared.network);
    let folder = own.run_folder(name);
    let fingerprint =
        format!("adder codes of {} bits, {}", settings.bits, config.fingerprint(prepared.pictures)?);
    let stop = Arc::new(AtomicBool::new(false));
    on_interrupt(stop.clone());
    if !qat::run(&task, begun, &config, &folder, &fingerprint, &stop, global, "training with codes")? {
        return Ok(None);
    }
    let best = folder.join("best.safetensors");
    let (network, description) = model_file::load(&best, &Device::flex())?;
    let scales = description.training.get(CODES).cloned().unwrap_or_default();
    let mut scales: BTreeMap<String, Vec<f32>> = serde_json::from_value(scales)
        .with_context(|| format!("{}: its codes are damaged", best.display()))?;
    let mut found: BTreeMap<String, network::Found> =
        network::layers(&network).into_iter().map(|found| (found.name.clone(), found)).collect();
    let tuned = layers.iter().map(|Layer { found: before, plan }| {
        let name = &before.name;
        let (Some(found), Some(scales)) = (found.remove(name), scales.remove(name)) else {
            bail!("{}: says nothing of {name}", best.display());
        };
        let plan = plan_with(&found.weights, plan.reach, plan.labels.clone(), scales, settings)?;
        Ok(Layer { found, plan })
    });
    let tuned = tuned.collect::<Result<Vec<_>>>()?;
    Ok(Some((network, tuned)))
}

/// Products and distances of one picture.
fn operations(graph: &Graph) -> Operations {
    let mut found = Operations::default();
    for node in &graph.nodes {
        let count = cost::macs(graph, node);
        if matches!(node.op, Op::AdderConv(_)) { found.distances += count } else { found.macs += count }
    }
    found
}

fn layer_report(Layer { found, plan }: &Layer) -> LayerReport {
    let groups = plan.scales.iter().enumerate().map(|(group, &scale)| {
        (scale, plan.labels.iter().filter(|&&label| usize::from(label) == group).count())
    });
    LayerReport {
        name: found.name.clone(),
        filters: plan.labels.len(),
        reach: plan.reach,
        groups: groups.collect(),
        clamped: plan.extra.iter().filter(|extra| **extra < 0.0).count() as f64
            / plan.extra.len().max(1) as f64,
    }
}

fn layer_rows(report: &Report) -> Vec<Vec<String>> {
    report
        .layers
        .iter()
        .map(|layer| {
            let scales: Vec<String> = layer.groups.iter().map(|(scale, _)| format!("{scale:.3}")).collect();
            let filters: Vec<String> = layer.groups.iter().map(|(_, count)| count.to_string()).collect();
            vec![
                layer.name.clone(),
                format!("{:.3}", layer.reach),
                scales.join(" / "),
                filters.join(" / "),
                format!("{:.0}", 100.0 * layer.clamped),
            ]
        })
        .collect()
}

fn side_rows(report: &Report) -> Vec<Vec<String>> {
    let row = |(stage, energy): (&Stage, f64)| {
        vec![
            stage.name.to_string(),
            stage.top1.map_or("-".into(), |top1| format!("{:.2} %", 100.0 * top1)),
            format!("{}B", si(stage.bytes as f64)),
            format!("{energy:.1}"),
            format!("{:.2}", stage.ms),
        ]
    };
    report.stages.iter().zip(report.energy).map(row).collect()
}

const SIDES: [&str; 5] = ["", "top-1", "weights", "energy uJ", "ms"];
const LAYERS: [&str; 5] = ["layer", "activations reach", "scales", "filters", "clamped %"];

fn print(report: &Report, output: &Path) -> Result<()> {
    line(&table(&LAYERS, &layer_rows(report), &[1, 4]))?;
    line("")?;
    line(&table(&SIDES, &side_rows(report), &[1, 2, 3, 4]))?;
    line(&format!(
        "\nthe same class as before for {:.1} % of {} pictures; {} products and {} distances a picture",
        100.0 * report.agreement,
        report.calibration,
        si(report.operations.macs as f64),
        si(report.operations.distances as f64)
    ))?;
    line(&format!("{} (report in {})", output.display(), output.with_extension("html").display()))
}

/// The report as a page of its own.
fn page(report: &Report) -> String {
    Page::new(format!("{}, adder layers on codes", report.model))
        .subtitle(format!(
            "{} bits, at most {} groups, {} calibration pictures; the same class as before for {:.1} % of them",
            report.settings.bits,
            report.settings.groups,
            report.calibration,
            100.0 * report.agreement
        ))
        .section("Before and after")
        .table(&SIDES, &side_rows(report))
        .section("Layers")
        .table(&LAYERS, &layer_rows(report))
        .render()
}
