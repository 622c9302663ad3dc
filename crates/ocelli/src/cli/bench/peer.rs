//! A process that loads a network and times it on request.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

/// A running peer; it ends with this value.
pub(super) struct Peer {
    /// What it calls itself.
    pub title: String,
    /// Milliseconds from the file to a loaded network, and of the first run.
    pub load_ms: f64,
    pub first_ms: f64,
    /// Times of all runs so far.
    pub times: Vec<f64>,
    /// Most memory it held.
    pub peak_bytes: Option<u64>,
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts `command`, which answers as `peer.py` does, and waits until its network is loaded.
    ///
    /// # Errors
    /// If it cannot be started, or says why it cannot run the network.
    pub fn start(mut command: Command) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().with_context(|| format!("cannot start {program}"))?;
        let (Some(requests), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
            bail!("{program}: no pipes");
        };
        let answers = BufReader::new(answers);
        let mut peer = Self {
            title: program,
            load_ms: 0.0,
            first_ms: 0.0,
            times: Vec::new(),
            peak_bytes: None,
            process,
            requests,
            answers,
        };
        let ready = peer.answer()?;
        peer.title = ready["title"].as_str().unwrap_or(&peer.title).to_string();
        peer.load_ms = ready["load_ms"].as_f64().unwrap_or(f64::NAN);
        peer.first_ms = ready["first_ms"].as_f64().unwrap_or(f64::NAN);
        Ok(peer)
    }

    fn answer(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            bail!("{} ended without an answer", self.title);
        }
        let answer: Value =
            serde_json::from_str(&line).map_err(|_| anyhow!("{}: {}", self.title, line.trim()))?;
        match answer["error"].as_str() {
            Some(error) => bail!("{error}"),
            None => Ok(answer),
        }
    }

    fn ask(&mut self, request: &str) -> Result<Value> {
        writeln!(self.requests, "{request}").with_context(|| format!("{} has ended", self.title))?;
        self.requests.flush()?;
        self.answer()
    }

    /// Runs the network `count` times and remembers the times.
    pub fn run(&mut self, count: usize) -> Result<()> {
        let answer = self.ask(&format!("run\t{count}"))?;
        let times = answer["ms"].as_array().context("times")?;
        self.times.extend(times.iter().filter_map(Value::as_f64));
        self.peak_bytes = answer["peak_bytes"].as_u64().or(self.peak_bytes);
        Ok(())
    }

    /// Runs the network on the numbers in `input` and returns the result's.
    pub fn check(&mut self, input: &Path, output: &Path) -> Result<Vec<f32>> {
        self.ask(&format!("check\t{}\t{}", input.display(), output.display()))?;
        let bytes = std::fs::read(output)?;
        Ok(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
    }

    /// The time of every step of the engine, the best of `count` runs.
    pub fn profile(&mut self, count: usize) -> Result<Value> {
        Ok(self.ask(&format!("profile\t{count}"))?["steps"].take())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended on its own.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
