//! `ocelli pose bench`.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;
use ocelli_pose::Runner;
use ocelli_pose::skeleton::Pose2;

use super::model::{self, SHIPPED_NAME};
use crate::cli::Global;
use crate::cli::output::line;

/// Time a lifting network in the engine: poses per second in batches, and the time of one.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  ocelli pose bench --threads 2\n  ocelli pose bench --model runs/pose-1 --batch 256"
)]
pub struct Bench {
    /// Model file, run folder, reference checkpoint, or the shipped network
    #[arg(long, default_value = SHIPPED_NAME, value_name = "REF")]
    model: String,
    /// Borders of a reference checkpoint
    #[arg(long, value_name = "A,B")]
    padding: Option<String>,
    /// Poses per call
    #[arg(long, default_value_t = 256, value_name = "N")]
    batch: usize,
    /// Calls that are timed
    #[arg(long, default_value_t = 100, value_name = "N")]
    rounds: usize,
}

impl Bench {
    pub(in crate::cli) fn run(self, global: &Global) -> Result<ExitCode> {
        if self.batch == 0 || self.rounds == 0 {
            bail!("--batch and --rounds must be at least 1");
        }
        let device = global.device()?;
        let model = model::open(&self.model, self.padding.as_deref(), &device)?;
        let threads = global.threads();
        let runner = Runner::new(&model.lifter, model.description.temperature, threads)?;
        let pose = |p: usize| -> Pose2 {
            std::array::from_fn(|j| [0.4 * ((p * 17 + j) as f32).sin(), 0.4 * ((p + 3 * j) as f32).cos()])
        };
        let poses: Vec<Pose2> = (0..self.batch).map(pose).collect();
        let (many, one) =
            (timed(&runner, &poses, self.rounds)?, timed(&runner, &poses[..1], 5 * self.rounds)?);
        line(&format!(
            "{}: {:.2} M MACs a pose, {threads} threads",
            model.description.name,
            model.description.config.macs() as f64 / 1e6
        ))?;
        line(&format!(
            "batch {:<5} median {:.3} ms, best {:.3} ms: {:.0} poses/s (median), {:.0} (best)",
            self.batch,
            1e3 * many.0,
            1e3 * many.1,
            self.batch as f64 / many.0,
            self.batch as f64 / many.1
        ))?;
        line(&format!("one pose    median {:.3} ms, best {:.3} ms", 1e3 * one.0, 1e3 * one.1))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Median and best seconds of a call.
fn timed(runner: &Runner, poses: &[Pose2], rounds: usize) -> Result<(f64, f64)> {
    let mut times = Vec::with_capacity(rounds);
    for round in 0..rounds + 5 {
        let start = Instant::now();
        runner.lift(poses)?;
        // The first calls plan memory and wake threads.
        if round >= 5 {
            times.push(start.elapsed().as_secs_f64());
        }
    }
    times.sort_by(f64::total_cmp);
    Ok((times[times.len() / 2], times[0]))
}
