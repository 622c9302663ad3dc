//! What a compression came to: a table, JSON and a page.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use ocelli_compress::Batch;
use ocelli_compress::mixed::Sensitivity;
use ocelli_compress::ptq::{LayerReport, Settings};
use ocelli_engine::{Model, RunOptions};
use ocelli_report::atomic::write_atomic;
use ocelli_report::chart::{Bar, BarChart};
use ocelli_report::html::Page;
use serde::Serialize;

use crate::cli::output::{line, si, table};

/// What is written beside the model.
#[derive(Serialize)]
pub(super) struct Report {
    pub model: String,
    pub method: &'static str,
    pub settings: Settings,
    /// Pictures looked at.
    pub calibration: usize,
    /// The model before and after, and what lies between.
    pub stages: Vec<Stage>,
    /// Layers that stayed in floating point.
    pub float: Vec<String>,
    pub layers: Vec<LayerReport>,
    /// How bits were chosen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sensitivity: Vec<Sensitivity>,
}

/// A model on the way.
#[derive(Clone, Serialize)]
pub(super) struct Stage {
    pub name: &'static str,
    /// Share of the labelled pictures that are told right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top1: Option<f64>,
    /// Bytes of weights.
    pub bytes: u64,
    /// Multiply-accumulates of one picture, and how many of them are integers.
    pub macs: u64,
    pub integer_macs: u64,
    /// Milliseconds of one picture (median).
    pub ms: f64,
}

impl Stage {
    /// What is known of a compiled model by looking at it and running it on the first picture of `batch`.
    pub fn of(name: &'static str, model: &Model, batch: &Batch, options: RunOptions) -> Result<Self> {
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
            matches!(
                node.op,
                ocelli_graph::Op::ConvCodes { .. }
                    | ocelli_graph::Op::LinearCodes { .. }
                    | ocelli_graph::Op::BinaryConv(_)
            ) || matches!(&node.op, ocelli_graph::Op::AdderConv(own) if own.codes.is_some())
        };
        let macs = |only: bool| {
            let nodes = graph.nodes.iter().filter(|node| !only || integer(node));
            nodes.map(|node| ocelli_graph::cost::macs(graph, node)).sum()
        };
        Ok(Self {
            name,
            top1: None,
            bytes: model.weight_bytes(),
            macs: macs(false),
            integer_macs: macs(true),
            ms: times[times.len() / 2],
        })
    }

    /// Its line in a table.
    pub fn row(&self) -> Vec<String> {
        vec![
            self.name.to_string(),
            self.top1.map_or("-".into(), |top1| format!("{:.2} %", 100.0 * top1)),
            format!("{}B", si(self.bytes as f64)),
            si(self.macs as f64),
            format!("{:.0} %", 100.0 * self.integer_macs as f64 / self.macs.max(1) as f64),
            format!("{:.2}", self.ms),
        ]
    }
}

impl Report {
    /// Writes `.json` and `.html` beside `output`.
    pub fn write(&self, output: &Path) -> Result<()> {
        write_atomic(output.with_extension("json"), &serde_json::to_vec_pretty(self)?)?;
        write_atomic(output.with_extension("html"), self.page().as_bytes())?;
        Ok(())
    }

    /// Prints layers and stages.
    pub fn print(&self, outputs: &[std::path::PathBuf]) -> Result<()> {
        let rows: Vec<Vec<String>> = self
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
        for name in &self.float {
            line(&format!("{name}: kept in floating point"))?;
        }
        let rows: Vec<Vec<String>> = self.stages.iter().map(Stage::row).collect();
        line("")?;
        line(&table(&["", "top-1", "weights", "MACs", "integer", "ms"], &rows, &[1, 2, 3, 4, 5]))?;
        let names: Vec<String> = outputs.iter().map(|path| path.display().to_string()).collect();
        line(&format!(
            "\n{} ({} pictures; report in {})",
            names.join(", "),
            self.calibration,
            outputs[0].with_extension("html").display()
        ))
    }

    /// The report as a page of its own.
    fn page(&self) -> String {
        let stages: Vec<Vec<String>> = self.stages.iter().map(Stage::row).collect();
        let rows: Vec<Vec<String>> = self
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
            bars: self.layers.iter().map(|layer| Bar::new(&layer.name, layer.sqnr)).collect(),
            ..BarChart::default()
        };
        let mut page = Page::new(format!("{}, quantised", self.model))
            .subtitle(format!(
                "{}: weights {} bits, activations {} bits, ranges by {}, {} calibration pictures",
                self.method,
                self.settings.weight_bits,
                self.settings.activation_bits,
                self.settings.activations.name(),
                self.calibration
            ))
            .section("Before and after")
            .table(&["", "top-1", "weights", "MACs", "in integers", "ms"], &stages)
            .section("Layers")
            .svg(chart.to_svg())
            .table(
                &[
                    "layer",
                    "weight bits",
                    "input bits",
                    "input from",
                    "to",
                    "clipped %",
                    "zeros %",
                    "SQNR dB",
                ],
                &rows,
            );
        if !self.sensitivity.is_empty() {
            let rows: Vec<Vec<String>> = self
                .sensitivity
                .iter()
                .map(|layer| {
                    let damage = layer.damage.iter().map(|damage| format!("{damage:.2e}"));
                    [layer.name.clone(), layer.weights.to_string()]
                        .into_iter()
                        .chain(damage)
                        .chain([layer.bits.to_string()])
                        .collect()
                })
                .collect();
            page = page
                .section("How far the output moves if one layer's weights are rounded (squared, relative)")
                .table(&["layer", "weights", "8 bits", "6", "5", "4", "3", "chosen"], &rows);
        }
        if !self.float.is_empty() {
            page = page.section("In floating point").list(&self.float);
        }
        page.render()
    }
}
