//! The engine as a process of its own, which answers the same requests as the peers do (see `peer.py`): times and
//! memory are those of a program that does nothing but run one compiled model.

use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use ocelli_engine::{Model, RunOptions};
use serde_json::json;

use crate::cli::output::peak_memory;

/// Serves requests until standard input ends.
pub(super) fn serve(model: &Path, options: RunOptions, batch: usize) -> Result<()> {
    let begun = Instant::now();
    let model = Model::load(model)?;
    let mut session = model.session(batch, options)?;
    let loaded = Instant::now();
    let graph = model.graph();
    let len = |id: &ocelli_graph::ValueId| graph.value(*id).shape_at(batch).iter().product::<usize>();
    let (inputs, outputs) = (graph.inputs.iter().map(len).sum(), graph.outputs.iter().map(len).sum());
    let x: Vec<f32> = numbers(0, inputs);
    let mut y = vec![0.0f32; outputs];
    session.run(&[&x], &mut [&mut y])?;
    let mut stdout = std::io::stdout().lock();
    let milliseconds = |duration: std::time::Duration| 1e3 * duration.as_secs_f64();
    writeln!(
        stdout,
        "{}",
        json!({
            "title": format!("ocelli {}", env!("CARGO_PKG_VERSION")),
            "load_ms": milliseconds(loaded - begun),
            "first_ms": milliseconds(loaded.elapsed()),
        })
    )?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split('\t').collect();
        match words.as_slice() {
            ["run", count] => {
                let count: usize = count.parse().context("a count of runs")?;
                let mut times = Vec::with_capacity(count);
                // Wakes the threads.
                session.run(&[&x], &mut [&mut y])?;
                for _ in 0..count {
                    let begun = Instant::now();
                    session.run(&[&x], &mut [&mut y])?;
                    times.push(milliseconds(begun.elapsed()));
                }
                writeln!(stdout, "{}", json!({"ms": times, "peak_bytes": peak_memory()}))?;
            }
            ["check", input, output] => {
                let bytes = std::fs::read(input).with_context(|| input.to_string())?;
                let given: Vec<f32> = bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
                session.run(&[&given], &mut [&mut y])?;
                let bytes: Vec<u8> = y.iter().flat_map(|v| v.to_le_bytes()).collect();
                std::fs::write(output, bytes).with_context(|| output.to_string())?;
                writeln!(stdout, "{}", json!({"written": output}))?;
            }
            ["profile", count] => {
                let count: usize = count.parse().context("a count of runs")?;
                let mut best = session.profile(&[&x], &mut [&mut y])?;
                for _ in 1..count {
                    for (best, now) in best.iter_mut().zip(session.profile(&[&x], &mut [&mut y])?) {
                        best.time = best.time.min(now.time);
                    }
                }
                let steps: Vec<_> = best
                    .iter()
                    .map(|s| json!({"name": s.name, "kernel": s.kind, "macs": s.macs, "ms": milliseconds(s.time)}))
                    .collect();
                writeln!(stdout, "{}", json!({"steps": steps}))?;
            }
            _ => anyhow::bail!("unknown request '{line}'"),
        }
        stdout.flush()?;
    }
    Ok(())
}

/// `count` numbers, normally distributed.
pub(super) fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut rng = ocelli_data::Rng::for_sample(seed, 0, 0);
    (0..count).map(|_| rng.normal() as f32).collect()
}
