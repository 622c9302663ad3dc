//! `ocelli image eval`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, bail};
use clap::Args;
use ocelli_data::{BadImages, EvalTransform, Loader, LoaderConfig, open_eval};
use ocelli_image::classify::{EvaluationReport, evaluate};
use ocelli_train::{Console, ProgressStyle};

use crate::cli::Global;
use crate::cli::output::{Format, line, si, table};
use crate::model_ref::ModelRef;

/// Measure a model on labelled pictures.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  ocelli image eval --model runs/hands-1 --data photos/val\n  \
    ocelli image eval --model seresnet50 --weights seresnet50.safetensors --data imagenet/val --format json")]
pub struct Eval {
    /// Model file, run folder, hf://org/repo, or a registered name with --weights
    #[arg(long, value_name = "REF")]
    model: String,
    /// Weights for a registered name
    #[arg(long, value_name = "FILE")]
    weights: Option<String>,
    /// Load what fits of weights that do not fit wholly
    #[arg(long)]
    lenient: bool,
    /// Pictures: class folders (or a folder with val/), CIFAR binary, IDX
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Pictures per batch
    #[arg(long, default_value_t = 32, value_name = "N")]
    batch_size: usize,
    /// Threads that decode pictures [default: all cores]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Leave unreadable pictures out instead of stopping at the first
    #[arg(long)]
    skip_bad: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Eval {
    pub(in crate::cli) fn run(self, global: &Global) -> Result<ExitCode> {
        if self.batch_size == 0 {
            bail!("--batch-size must be at least 1");
        }
        let device = global.device()?;
        let mut model = ModelRef::parse(&self.model)?.open(self.weights.as_deref(), self.lenient, &device)?;
        global.accelerate(&mut model)?;
        let dataset = open_eval(&self.data, Some(&model.labels), Default::default())?.data;
        if global.verbose {
            eprintln!("{}: {} classes, {:?}", model.name, model.labels.len(), model.preprocess);
        }
        let total = dataset.len();
        let config = LoaderConfig {
            batch_size: self.batch_size,
            workers: self.workers.unwrap_or_else(super::config::default_workers),
            bad_images: if self.skip_bad { BadImages::Skip } else { BadImages::Error },
            ..LoaderConfig::eval()
        };
        let loader = Loader::new(dataset, config, Arc::new(EvalTransform::new(&model.preprocess)?))?;
        let style = if global.quiet { ProgressStyle::Quiet } else { ProgressStyle::Auto };
        let mut console = Console::new(style, total, 0);
        let report = evaluate(
            |pixels, shape| model.runner.answers(pixels, shape),
            &loader,
            &model.labels,
            |done| {
                console.batch(done, || format!("{done}/{total} pictures"));
            },
        )?;
        console.finish();
        if report.samples == 0 {
            bail!("{}: none of the pictures could be read", self.data.display());
        }
        for (name, why) in &report.skipped {
            eprintln!("skipped {name}: {why}");
        }
        if !report.skipped.is_empty() {
            eprintln!("{} of {total} pictures skipped", report.skipped.len());
        }
        match self.format {
            Format::Json => line(&serde_json::to_string_pretty(&report)?)?,
            Format::Table => print(&report)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print(report: &EvaluationReport) -> Result<()> {
    let percent = |share: f64| format!("{:.2}", 100.0 * share);
    line(&format!("pictures  {}", report.samples))?;
    line(&format!("top-1     {} %", percent(report.top1)))?;
    line(&format!("top-5     {} %", percent(report.top5)))?;
    line(&format!("loss      {:.4}\n", report.loss))?;
    if let Some(routing) = &report.routing {
        line(&format!("mean cost {}MACs, choice of the resolution included", si(routing.mean_macs)))?;
        let rows: Vec<Vec<String>> = routing
            .chosen
            .iter()
            .map(|own| {
                let share = own.pictures as f64 / report.samples as f64;
                vec![
                    own.resolution.to_string(),
                    own.pictures.to_string(),
                    percent(share),
                    si(own.macs as f64),
                ]
            })
            .collect();
        line(&table(&["resolution", "pictures", "share %", "MACs"], &rows, &[0, 1, 2, 3]))?;
        line("")?;
    }
    let seen: Vec<_> = report.classes.iter().filter(|class| class.support > 0).collect();
    let rows: Vec<Vec<String>> = seen
        .iter()
        .map(|class| {
            vec![
                class.name.clone(),
                class.support.to_string(),
                percent(class.recall),
                percent(class.precision),
                percent(class.f1),
            ]
        })
        .collect();
    line(&table(&["class", "pictures", "recall %", "precision %", "F1 %"], &rows, &[1, 2, 3, 4]))?;
    let n = report.classes.len();
    if n <= 20 {
        line("\nconfusion (rows: truth, columns: guess)")?;
        let names: Vec<&str> = report.classes.iter().map(|class| class.name.as_str()).collect();
        let header: Vec<&str> = std::iter::once("").chain(names.iter().copied()).collect();
        let rows: Vec<Vec<String>> = names
            .iter()
            .zip(&report.confusion)
            .map(|(name, row)| {
                std::iter::once(name.to_string()).chain(row.iter().map(u64::to_string)).collect()
            })
            .collect();
        line(&table(&header, &rows, &(1..=n).collect::<Vec<_>>()))?;
    }
    Ok(())
}
