//! `ocelli repro`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use ocelli_report::atomic::write_atomic;
use ocelli_train::ProgressStyle;

use super::Global;
use super::output::{line, table};
use super::quickstart::unpack;
use crate::repro::{RunOptions, cafm, chart, experiment, experiments, gridconv, markdown, run};

/// Re-run the papers' claims in small.
#[derive(Debug, Subcommand)]
pub enum Repro {
    /// List the experiments and the claims they test
    List,
    /// Run one experiment: all arms, several seeds
    #[command(after_help = "Examples:\n  ocelli repro run senet --data cifar-10-batches-bin\n  \
        ocelli repro run ghostnet --seeds 1 --epochs 2\n\n\
        Without --data the pictures that ship with ocelli are used (hands showing digits).")]
    Run {
        /// Which one
        name: String,
        /// CIFAR-10 binary files, or any other pictures; motion capture for gridconv; films for cafm
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// Seeds per arm
        #[arg(long, default_value_t = 3, value_name = "N")]
        seeds: u64,
        /// Passes over the training pictures [default: the experiment's]
        #[arg(long, value_name = "N")]
        epochs: Option<usize>,
        /// Optimiser steps; cafm only [default: 2500]
        #[arg(long, value_name = "N")]
        steps: Option<usize>,
        /// Side of the input in pixels
        #[arg(long, default_value_t = 32, value_name = "PIXELS")]
        img_size: usize,
        /// Where the results go
        #[arg(long, default_value = "runs/repro", value_name = "DIR")]
        output: PathBuf,
        /// Train only arms that the results in --output lack; gridconv only
        #[arg(long)]
        extend: bool,
    },
}

impl Repro {
    pub(super) fn run(self, global: &Global) -> Result<ExitCode> {
        match self {
            Self::List => {
                let mut rows: Vec<Vec<String>> = experiments()
                    .iter()
                    .map(|e| vec![e.name.to_string(), e.arms.len().to_string(), e.expectation.to_string()])
                    .collect();
                rows.push(vec![
                    gridconv::NAME.into(),
                    gridconv::ARMS.to_string(),
                    gridconv::EXPECTATION.into(),
                ]);
                rows.push(vec![cafm::NAME.into(), cafm::ARMS.to_string(), cafm::EXPECTATION.into()]);
                line(&table(&["name", "arms", "expectation"], &rows, &[1]))?;
            }
            Self::Run { name, data, seeds, epochs, output, extend, .. } if name == gridconv::NAME => {
                let Some(data) = data else {
                    bail!(
                        "{name} needs motion capture: name it with --data (what `ocelli pose train` takes)"
                    );
                };
                poses(data, seeds, epochs, &output, extend, global)?;
            }
            Self::Run { name, data, seeds, steps, output, .. } if name == cafm::NAME => {
                let Some(data) = data else {
                    bail!("{name} needs a film, or a folder of films: name it with --data");
                };
                films(data, seeds, steps, &output, global)?;
            }
            Self::Run { name, data, seeds, epochs, img_size, output, extend, .. } => {
                if extend {
                    bail!("--extend goes with {} only, not with {name}", gridconv::NAME);
                }
                let Some(experiment) = experiment(&name) else {
                    let mut known: Vec<&str> = experiments().iter().map(|e| e.name).collect();
                    known.extend([gridconv::NAME, cafm::NAME]);
                    bail!("no experiment called '{name}'; there are {}", known.join(", "));
                };
                std::fs::create_dir_all(&output).with_context(|| output.display().to_string())?;
                let shown = data.as_ref().map_or(String::new(), |data| {
                    let name =
                        data.file_name().map_or(data.display().to_string(), |n| n.display().to_string());
                    format!(" --data {name}")
                });
                let data = match data {
                    Some(data) => data,
                    None => {
                        let shipped = output.join("data");
                        unpack(&shipped)?;
                        shipped
                    }
                };
                let style = if global.quiet { ProgressStyle::Quiet } else { ProgressStyle::Auto };
                let options =
                    RunOptions { data, seeds, epochs, side: img_size, style, device: global.device()? };
                eprintln!("claim: {}\n", experiment.claim);
                let results = run(&experiment, &options, |text| {
                    if !global.quiet {
                        eprintln!("{text}");
                    }
                })?;
                let mut command = format!("ocelli repro run {name}{shown} --seeds {seeds}");
                if let Some(epochs) = epochs {
                    command += &format!(" --epochs {epochs}");
                }
                if img_size != 32 {
                    command += &format!(" --img-size {img_size}");
                }
                let page = markdown(&experiment, &results, &command);
                for (file, text) in [
                    (format!("{name}.md"), page.clone()),
                    (format!("{name}.json"), serde_json::to_string_pretty(&results)?),
                    (format!("{name}.svg"), chart(&results)),
                ] {
                    let path = output.join(file);
                    write_atomic(&path, text.as_bytes()).with_context(|| path.display().to_string())?;
                }
                line(&page)?;
                eprintln!("written to {}", output.display());
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Writes what an experiment of its own kind came to.
fn write(name: &str, output: &Path, page: &str, json: &str, chart: &str) -> Result<()> {
    std::fs::create_dir_all(output).with_context(|| output.display().to_string())?;
    for (ending, text) in [("md", page), ("json", json), ("svg", chart)] {
        let path = output.join(format!("{name}.{ending}"));
        write_atomic(&path, text.as_bytes()).with_context(|| path.display().to_string())?;
    }
    line(page)?;
    eprintln!("written to {}", output.display());
    Ok(())
}

/// The experiment on films, whose results are decibels.
fn films(data: PathBuf, seeds: u64, steps: Option<usize>, output: &Path, global: &Global) -> Result<()> {
    let name = data.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut command = format!("ocelli repro run {} --data {name} --seeds {seeds}", cafm::NAME);
    if let Some(steps) = steps {
        command += &format!(" --steps {steps}");
    }
    let threads = global.threads();
    let options = cafm::Options { data, seeds, steps, style: ProgressStyle::Quiet, threads };
    let results = cafm::run(&options, &|text| {
        if !global.quiet {
            eprintln!("{text}");
        }
    })?;
    let page = cafm::markdown(&results, &command);
    write(cafm::NAME, output, &page, &serde_json::to_string_pretty(&results)?, &cafm::chart(&results))
}

/// The experiment on poses, whose results are millimetres.
fn poses(
    data: PathBuf,
    seeds: u64,
    epochs: Option<usize>,
    output: &Path,
    extend: bool,
    global: &Global,
) -> Result<()> {
    std::fs::create_dir_all(output).with_context(|| output.display().to_string())?;
    let name = data.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut command = format!("ocelli repro run {} --data {name} --seeds {seeds}", gridconv::NAME);
    if let Some(epochs) = epochs {
        command += &format!(" --epochs {epochs}");
    }
    if let Some(threads) = global.threads {
        command += &format!(" --threads {threads}");
    }
    let style = if global.quiet { ProgressStyle::Quiet } else { ProgressStyle::Auto };
    let path = output.join(format!("{}.json", gridconv::NAME));
    let earlier = match extend {
        true => {
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            Some(serde_json::from_str(&text).with_context(|| path.display().to_string())?)
        }
        false => None,
    };
    let options = gridconv::Options { data, seeds, epochs, style, device: global.device()?, earlier };
    let results = gridconv::run(&options, &|text| {
        if !global.quiet {
            eprintln!("{text}");
        }
    })?;
    let page = gridconv::markdown(&results, &command);
    write(gridconv::NAME, output, &page, &serde_json::to_string_pretty(&results)?, &gridconv::chart(&results))
}
