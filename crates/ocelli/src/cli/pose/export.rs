//! `ocelli pose export`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use ocelli_graph::onnx;
use ocelli_pose::deploy::{self, INPUT, OUTPUT};
use ocelli_report::atomic::write_atomic;

use super::model::{self, SHIPPED_NAME};
use crate::cli::Global;
use crate::cli::output::{line, si};

/// Write a lifting network as ONNX, for other programs.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    ocelli pose export --output lift.onnx\n  \
    ocelli pose export runs/pose-1 --output lift.onnx\n  \
    ocelli pose export model.pth.tar --padding c,r --output lift.onnx\n\n\
    The file has one input and one output, float32, for any number N of poses:\n  \
    joints [N, 17, 2]  2D joints in Human3.6M's order, pelvis first; x right, y down,\n                     \
    per axis (pixel - picture's middle) / (half of the picture's longer side)\n  \
    lifted [N, 17, 3]  metres relative to the pelvis, x right, y down, z away from the camera\n\
    Norms are folded in and the attention's temperature is a constant, as the engine runs the network.")]
pub struct Export {
    /// Model file, run folder, reference checkpoint, or the shipped network
    #[arg(default_value = SHIPPED_NAME, value_name = "MODEL")]
    model: String,
    /// Borders of a reference checkpoint, which does not say them: c,r or c,z
    #[arg(long, value_name = "A,B")]
    padding: Option<String>,
    /// File to write, ending in .onnx
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

impl Export {
    pub(in crate::cli) fn run(self, global: &Global) -> Result<ExitCode> {
        let at = || self.output.display().to_string();
        if self.output.extension().is_none_or(|ending| !ending.eq_ignore_ascii_case("onnx")) {
            bail!("--output {}: expected a name ending in .onnx", at());
        }
        let model = model::open(&self.model, self.padding.as_deref(), &global.device()?)?;
        let name = &model.description.name;
        let mut graph = deploy::exchange_graph(&model.lifter, model.description.temperature)?;
        graph.name = name.clone();
        let bytes = onnx::export(&graph).with_context(|| format!("'{name}'"))?;
        write_atomic(&self.output, &bytes).with_context(at)?;
        line(&format!(
            "{}: {name}, {INPUT} [N, 17, 2] to {OUTPUT} [N, 17, 3], {} nodes, {}B",
            at(),
            onnx::Summary::read(&bytes)?.nodes.len(),
            si(bytes.len() as f64)
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}
