//! What a person sees while a run goes on.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget};

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressStyle {
    /// A bar on a terminal, plain lines elsewhere.
    Auto,
    /// Nothing but results.
    Quiet,
}

/// Progress on standard error: a bar with rate, loss, accuracy and time left on a terminal, a plain line every
/// few seconds where the output is a file or a pipe.
#[derive(Debug)]
pub struct Console {
    bar: ProgressBar,
    plain: bool,
    last_line: Instant,
    started: Instant,
    start: u64,
    total: u64,
}

const LINE_EVERY: Duration = Duration::from_secs(15);

impl Console {
    /// A console for `total` batches in all, `done` of them behind.
    pub fn new(style: ProgressStyle, total: usize, done: usize) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let plain = style == ProgressStyle::Auto && !terminal;
        let bar = if style == ProgressStyle::Auto && terminal {
            let bar =
                ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr_with_hz(8));
            bar.set_style(
                indicatif::ProgressStyle::with_template("{bar:24.cyan/dim} {percent:>3}% {msg}")
                    .unwrap_or_else(|_| indicatif::ProgressStyle::default_bar())
                    .progress_chars("━╸━"),
            );
            bar.set_position(done as u64);
            bar
        } else {
            ProgressBar::hidden()
        };
        let now = Instant::now();
        Self { bar, plain, last_line: now, started: now, start: done as u64, total: total as u64 }
    }

    /// Shows that `done` batches of all are behind, with `text` (loss, rate, ...).
    pub fn batch(&mut self, done: usize, text: impl FnOnce() -> String) {
        let done = done as u64;
        if self.plain {
            if self.last_line.elapsed() >= LINE_EVERY {
                self.last_line = Instant::now();
                eprintln!("{}  {}", text(), self.time_left(done));
            }
        } else if !self.bar.is_hidden() {
            self.bar.set_position(done);
            self.bar.set_message(format!("{}  {}", text(), self.time_left(done)));
        }
    }

    fn time_left(&self, done: u64) -> String {
        let fresh = done.saturating_sub(self.start).max(1) as f64;
        let left = self.started.elapsed().as_secs_f64() / fresh * self.total.saturating_sub(done) as f64;
        format!("{} left", duration(left))
    }

    /// A line that stays.
    pub fn line(&self, text: &str) {
        if self.plain {
            eprintln!("{text}");
        } else {
            self.bar.println(text);
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// `1h02m`, `3m20s`, `15s`.
pub(crate) fn duration(seconds: f64) -> String {
    let s = seconds.max(0.0).round() as u64;
    match s {
        3600.. => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
        60.. => format!("{}m{:02}s", s / 60, s % 60),
        _ => format!("{s}s"),
    }
}
