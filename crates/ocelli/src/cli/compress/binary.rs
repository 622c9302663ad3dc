//! `ocelli compress --method binary`: what a binary network becomes when its signs are packed.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use ocelli_compress::Batch;
use ocelli_engine::RunOptions;
use ocelli_graph::{Op, cost, onnx};
use ocelli_image::{Runner, deploy};
use ocelli_report::atomic::write_atomic;
use ocelli_report::html::Page;
use serde::Serialize;

use super::report::Stage;
use super::{Compress, accuracy, ending};
use crate::cli::Global;
use crate::cli::output::{line, si, table};
use crate::model_ref::ModelRef;

/// What is written beside the model.
#[derive(Serialize)]
struct Report {
    model: String,
    /// Bytes of the weights in floating point.
    float_bytes: u64,
    binary: Stage,
    /// Binary layers, and their multiply-accumulates of one picture.
    layers: usize,
    binary_macs: u64,
}

pub(super) fn run(own: &Compress, global: &Global) -> Result<ExitCode> {
    let device = global.device()?;
    let model = ModelRef::parse(&own.model)?.open(own.weights.as_deref(), own.lenient, &device)?;
    let description = deploy::Description::of(&model);
    let Runner::Burn { network, .. } = &model.runner else {
        bail!("{}: a compiled model; name the model file it was made from", own.model);
    };
    let size = model.preprocess.input_size;
    let mut graph = network.graph(size)?;
    graph.name.clone_from(&model.name);
    let float_bytes = 4 * network.parameter_count() as u64;
    let compiled = deploy::compile_graph(graph.clone(), Some(&description))?;
    let binary: Vec<u64> = compiled
        .graph()
        .nodes
        .iter()
        .filter(|node| matches!(node.op, Op::BinaryConv(_)))
        .map(|node| cost::macs(compiled.graph(), node))
        .collect();
    if binary.is_empty() {
        bail!(
            "'{}' has no binary layers; they have to be trained, by ocelli image train --model NAME with \
             reactnet_a, el_mobilenet_v1, bnn_resnet18 or another whose name begins like these",
            model.name
        );
    }
    for output in &own.output {
        match ending(output).as_str() {
            "onnx" => write_atomic(output, &onnx::export(&graph)?)
                .with_context(|| format!("{}", output.display()))?,
            _ => compiled.save(output)?,
        }
    }
    let options = RunOptions { threads: global.threads(), pin: false };
    let picture = Batch { count: 1, data: vec![0.5; size.iter().product()] };
    let mut stage = Stage::of("bits", &compiled, &picture, options)?;
    if let Some(data) = &own.data {
        stage.top1 = Some(accuracy(data, &compiled, &description, options)?);
    }
    let report = Report {
        model: model.name,
        float_bytes,
        binary: stage,
        layers: binary.len(),
        binary_macs: binary.iter().sum(),
    };
    let rows = [report.binary.row()];
    const HEADS: [&str; 6] = ["", "top-1", "weights", "MACs", "integer", "ms"];
    write_atomic(own.output[0].with_extension("json"), &serde_json::to_vec_pretty(&report)?)?;
    let page = Page::new(format!("{}, signs as bits", report.model))
        .subtitle(format!(
            "{} binary layers; {}B of weights in floating point",
            report.layers,
            si(report.float_bytes as f64)
        ))
        .section("As it runs")
        .table(&HEADS, &rows)
        .render();
    write_atomic(own.output[0].with_extension("html"), page.as_bytes())?;
    line(&table(&HEADS, &rows, &[1, 2, 3, 4, 5]))?;
    line(&format!(
        "\n{} binary layers, {} of {} multiply-accumulates; {}B of weights were floating point\n{} (report in {})",
        report.layers,
        si(report.binary_macs as f64),
        si(report.binary.macs as f64),
        si(report.float_bytes as f64),
        own.output.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "),
        own.output[0].with_extension("html").display()
    ))?;
    Ok(ExitCode::SUCCESS)
}
