//! `ocelli video deliver`.

mod bench;
mod encode;
mod inspect;
mod play;
mod report;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::Global;

/// Neural video delivery.
#[derive(Debug, Subcommand)]
pub enum Deliver {
    /// Make a package of a film
    Encode(encode::Encode),
    /// Play a package: to a file, or to a player through a pipe
    Play(play::Play),
    /// Measure packages against their film, interpolation, x264 and x265 at equal bytes
    Report(report::Report),
    /// Show what a package holds, and check every file of it
    Inspect(inspect::Inspect),
    /// Time enlarging with each network
    Bench(bench::Bench),
}

impl Deliver {
    pub(in crate::cli) fn run(self, global: &Global) -> Result<ExitCode> {
        match self {
            Self::Encode(command) => command.run(global),
            Self::Play(command) => command.run(global),
            Self::Report(command) => command.run(global),
            Self::Inspect(command) => command.run(),
            Self::Bench(command) => command.run(global),
        }
    }
}

/// Progress of stages on standard error: a bar on a terminal, a line every few seconds elsewhere.
struct Stages {
    bar: ProgressBar,
    quiet: bool,
    terminal: bool,
    stage: String,
    begun: Instant,
    said: Instant,
}

impl Stages {
    fn new(global: &Global) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = match terminal && !global.quiet {
            true => ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(8)),
            false => ProgressBar::hidden(),
        };
        let style =
            ProgressStyle::with_template("{bar:24.cyan/dim} {percent:>3}% {msg} {per_sec}, {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸━"));
        let now = Instant::now();
        Self { bar, quiet: global.quiet, terminal, stage: String::new(), begun: now, said: now }
    }

    fn show(&mut self, stage: &str, done: u64, total: u64) {
        if self.stage != stage {
            self.stage = stage.to_string();
            (self.begun, self.said) = (Instant::now(), Instant::now());
            self.bar.reset();
            self.bar.set_message(self.stage.clone());
            if !self.terminal && !self.quiet {
                eprintln!("{stage}");
            }
        }
        self.bar.set_length(total);
        self.bar.set_position(done);
        if !self.terminal && !self.quiet && self.said.elapsed() >= Duration::from_secs(15) {
            self.said = Instant::now();
            let rate = done as f64 / self.begun.elapsed().as_secs_f64();
            eprintln!("{stage}: {done} of {total} ({rate:.1} a second)");
        }
        if done >= total {
            self.bar.finish_and_clear();
        }
    }
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{:.1} KB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
