//! The command line.

mod bench;
mod completions;
mod compress;
mod export;
mod image;
mod models;
mod output;
mod pose;
mod quickstart;
mod repro;
mod video;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use clap::{Args, Parser, Subcommand};
use ocelli_engine::RunOptions;
use ocelli_image::classify::Classifier;

/// Train, compress, run and serve efficient vision networks.
#[derive(Debug, Parser)]
#[command(
    name = "ocelli",
    version,
    arg_required_else_help = true,
    after_help = "Examples:\n  ocelli quickstart\n  ocelli image train --data photos --model ghostnet_100\n  \
                  ocelli image predict cat.jpg --model runs/ghostnet_100-1\n  ocelli models list seresnet\n\n\
                  `ocelli COMMAND --help` shows what each command takes."
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// The most threads that may be asked for.
const MOST_THREADS: usize = 1024;

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// Where networks run: cpu
    #[arg(long, global = true, default_value = "cpu", value_name = "DEVICE", help_heading = "Everywhere")]
    device: String,
    /// Threads of the network [default: all cores]
    #[arg(long, global = true, value_name = "N", help_heading = "Everywhere")]
    threads: Option<usize>,
    /// Say more on standard error: resolved settings, what was opened
    #[arg(short, long, global = true, help_heading = "Everywhere")]
    verbose: bool,
    /// Say nothing but results and errors
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Everywhere")]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a small network on pictures that ship with ocelli, in about two minutes
    Quickstart(quickstart::Quickstart),
    /// Train, evaluate and use image networks
    #[command(subcommand)]
    Image(image::Image),
    /// Lift 2D human poses to 3D; train and judge networks for it
    #[command(subcommand)]
    Pose(Box<pose::Pose>),
    /// Deliver films as a small stream and a little network
    #[command(subcommand)]
    Video(video::Video),
    /// List the networks and show one
    #[command(subcommand)]
    Models(models::Models),
    /// Time networks in the engine, side by side with other runtimes
    Bench(bench::Bench),
    /// Write a network for other programs (ONNX), compiled, or as a drawing
    Export(export::Export),
    /// Make a model smaller and faster: quantise it
    Compress(Box<compress::Compress>),
    /// Re-run the papers' claims in small
    #[command(subcommand)]
    Repro(repro::Repro),
    /// Print a completion script for a shell
    Completions(completions::Completions),
}

impl Global {
    /// The device networks run on.
    fn device(&self) -> Result<Device> {
        match self.device.as_str() {
            "cpu" => Ok(Device::flex()),
            other => bail!("--device {other}: this build runs on the cpu only"),
        }
    }

    /// Lets `model` run in the engine, which is what a CPU runs fastest; OCELLI_ENGINE=off keeps burn, for comparisons.
    fn accelerate(&self, model: &mut Classifier) -> Result<()> {
        if std::env::var("OCELLI_ENGINE").is_ok_and(|value| value == "off") {
            return Ok(());
        }
        Ok(model.use_engine(RunOptions { threads: self.threads(), pin: false })?)
    }

    /// Threads that networks run on.
    fn threads(&self) -> usize {
        self.threads.unwrap_or(RunOptions::default().threads)
    }

    fn start_threads(&self) -> Result<()> {
        let Some(threads) = self.threads else { return Ok(()) };
        if threads == 0 {
            bail!("--threads must be at least 1");
        }
        // Tens of thousands bring a machine to a halt before anything fails.
        if threads > MOST_THREADS {
            bail!("--threads {threads}: expected at most {MOST_THREADS}");
        }
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .context("cannot start the threads")
    }
}

/// Parses the command line, runs the command; 0 done, 1 failed, 2 misused.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            error.print().ok();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run(cli) {
        Ok(code) => code,
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", output::sentence(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    let Cli { global, command } = cli;
    global.start_threads()?;
    match command {
        Command::Quickstart(command) => command.run(&global),
        Command::Image(command) => command.run(&global),
        Command::Pose(command) => command.run(&global),
        Command::Video(command) => command.run(&global),
        Command::Models(command) => command.run(),
        Command::Bench(command) => command.run(&global),
        Command::Export(command) => command.run(&global),
        Command::Compress(command) => command.run(&global),
        Command::Repro(command) => command.run(&global),
        Command::Completions(command) => command.run(),
    }
}
