//! `ocelli pose eval`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use ocelli_pose::Runner;
use ocelli_pose::data::Pairs;
use ocelli_pose::metrics::Figures;
use ocelli_pose::train::evaluate;

use super::model::{self, SHIPPED_NAME};
use super::train::DataArgs;
use crate::cli::Global;
use crate::cli::output::{Format, line, table};

/// Judge a lifting network by the held-out part of motion capture.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    ocelli pose eval --data mocap --model runs/pose-1\n  \
    ocelli pose eval --data data_3d_h36m.npz --model model.pth.tar --padding c,r --format json")]
pub struct Eval {
    /// Model file, run folder, reference checkpoint, or the shipped network
    #[arg(long, default_value = SHIPPED_NAME, value_name = "REF")]
    model: String,
    /// Borders of a reference checkpoint, which does not say them: c,r or c,z
    #[arg(long, value_name = "A,B")]
    padding: Option<String>,
    #[command(flatten, next_help_heading = "Data")]
    data: DataArgs,
    /// How results are printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

impl Eval {
    pub(in crate::cli) fn run(self, global: &Global) -> Result<ExitCode> {
        let device = global.device()?;
        let config = self.data.config()?;
        let model = model::open(&self.model, self.padding.as_deref(), &device)?;
        let (parts, cameras) = config.open()?;
        let pairs = Pairs::new(parts.val, cameras, config.val_stride);
        if pairs.is_empty() {
            bail!("{}: no camera sees a held-out frame whole", config.data.display());
        }
        let threads = global.threads();
        let runner = Runner::new(&model.lifter, model.description.temperature, threads)?;
        let report = evaluate(&pairs, |poses| runner.lift(poses))?;
        if self.format == Format::Json {
            let mut value = serde_json::to_value(&report)?;
            value["model"] = model.description.name.into();
            value["pairs"] = pairs.len().into();
            value["split"] = parts.how.into();
            value["auc_thresholds_mm"] = "0, 5, .., 150".into();
            line(&serde_json::to_string_pretty(&value)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        let row = |name: &str, own: &Figures| {
            let axes = own.per_axis.map(|axis| format!("{axis:.1}")).join(" / ");
            vec![
                name.to_string(),
                own.poses.to_string(),
                format!("{:.1}", own.mpjpe),
                format!("{:.1}", own.pa_mpjpe),
                format!("{:.1}", 100.0 * own.pck150),
                format!("{:.1}", 100.0 * own.auc),
                axes,
            ]
        };
        let mut rows: Vec<Vec<String>> =
            report.actions.iter().map(|(name, figures)| row(name, figures)).collect();
        rows.push(row("mean over actions", &report.mean_over_actions));
        rows.push(row("all poses", &report.all_poses));
        let header = ["action", "poses", "MPJPE", "PA-MPJPE", "PCK150 %", "AUC %", "x / y / z"];
        line(&table(&header, &rows, &[1, 2, 3, 4, 5]))?;
        if !global.quiet {
            eprintln!(
                "errors in mm; {}; AUC over 0, 5, .., 150 mm; 2D joints are projections, x right, y down, z away",
                parts.how
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}
