//! `ocelli image predict`.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use ocelli_data::{DecodeLimits, decode_bytes, decode_file, list_images};
use ocelli_image::classify::{Classification, Classifier};
use serde_json::json;

use crate::cli::Global;
use crate::cli::output::{Format, line, peak_memory, si};
use crate::model_ref::ModelRef;

/// Say what pictures show.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  ocelli image predict cat.jpg --model runs/pets-1\n  \
    ocelli image predict 'photos/*.jpg' holiday/ --model hf://timm/ghostnet_100.in1k --top-k 3\n  \
    curl -s https://example.org/cat.jpg | ocelli image predict - --model pets.safetensors --format json")]
pub struct Predict {
    /// Pictures: files, folders, glob patterns, or - for one picture on standard input
    #[arg(required = true, value_name = "IMG")]
    images: Vec<String>,
    /// Model file, run folder, hf://org/repo, or a registered name with --weights
    #[arg(long, value_name = "REF")]
    model: String,
    /// Weights for a registered name
    #[arg(long, value_name = "FILE")]
    weights: Option<String>,
    /// Load what fits of weights that do not fit wholly
    #[arg(long)]
    lenient: bool,
    /// Guesses per picture
    #[arg(long, default_value_t = 5, value_name = "N")]
    top_k: usize,
    /// Pictures per batch
    #[arg(long, default_value_t = 8, value_name = "N")]
    batch_size: usize,
    /// Leave unreadable pictures out instead of stopping at the first
    #[arg(long)]
    skip_bad: bool,
    /// How to print: a table, or one JSON object a line
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Where a run's time went.
#[derive(Default)]
struct Clock {
    load: Duration,
    decode: Duration,
    network: Duration,
}

impl Predict {
    pub(in crate::cli) fn run(self, global: &Global) -> Result<ExitCode> {
        if self.top_k == 0 || self.batch_size == 0 {
            bail!("--top-k and --batch-size must be at least 1");
        }
        let start = Instant::now();
        let names = self.names()?;
        let device = global.device()?;
        let mut model = ModelRef::parse(&self.model)?.open(self.weights.as_deref(), self.lenient, &device)?;
        global.accelerate(&mut model)?;
        if global.verbose {
            eprintln!("{}: {} classes, {:?}", model.name, model.labels.len(), model.preprocess);
        }
        let mut clock = Clock { load: start.elapsed(), ..Default::default() };
        let mut skipped = 0;
        for chunk in names.chunks(self.batch_size) {
            let begun = Instant::now();
            let mut kept = Vec::new();
            let mut inputs = Vec::new();
            for (name, input) in chunk.iter().zip(prepare_all(&model, chunk)) {
                match input {
                    Ok(input) => {
                        kept.push(name);
                        inputs.push(input);
                    }
                    Err(error) if self.skip_bad => {
                        skipped += 1;
                        eprintln!("skipped {error:#}");
                    }
                    Err(error) => return Err(error),
                }
            }
            clock.decode += begun.elapsed();
            let begun = Instant::now();
            let results = model.classify_prepared(&inputs, self.top_k)?;
            clock.network += begun.elapsed();
            for (name, result) in kept.iter().zip(results) {
                self.print(name, &result, names.len() > 1)?;
            }
        }
        if skipped == names.len() {
            bail!("none of the {skipped} pictures could be read");
        }
        if !global.quiet {
            let memory =
                peak_memory().map_or(String::new(), |bytes| format!(", peak memory {} MiB", bytes >> 20));
            eprintln!(
                "{} picture{} in {:.3} s (model {:.3}, decode {:.3}, network {:.3}){memory}{}",
                names.len() - skipped,
                if names.len() - skipped == 1 { "" } else { "s" },
                start.elapsed().as_secs_f64(),
                clock.load.as_secs_f64(),
                clock.decode.as_secs_f64(),
                clock.network.as_secs_f64(),
                if skipped > 0 { format!(", {skipped} skipped") } else { String::new() },
            );
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The pictures meant, `-` for standard input.
    fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for image in &self.images {
            if image == "-" {
                names.push("-".to_string());
            } else {
                names.extend(
                    list_images(std::slice::from_ref(image))?.into_iter().map(|p| p.display().to_string()),
                );
            }
        }
        if names.iter().filter(|name| *name == "-").count() > 1 {
            bail!("standard input holds one picture: name - once");
        }
        Ok(names)
    }

    fn print(&self, name: &str, result: &Classification, several: bool) -> Result<()> {
        if self.format == Format::Json {
            let mut shown = json!({"image": name, "predictions": result.guesses});
            if let Some(decision) = &result.decision {
                shown["resolution"] = decision.resolution.into();
                shown["macs"] = decision.macs.into();
            }
            return line(&shown.to_string());
        }
        // What a network that chooses the resolution chose, and what that cost.
        let spent = result.decision.map(|own| format!("{} px, {}MACs", own.resolution, si(own.macs as f64)));
        match spent {
            Some(spent) if several => line(&format!("{name}  ({spent})"))?,
            Some(spent) => line(&format!("  {spent}"))?,
            None if several => line(name)?,
            None => {}
        }
        let width = result.guesses.iter().map(|guess| guess.label.chars().count()).max().unwrap_or_default();
        for guess in &result.guesses {
            let bar = "█".repeat((20.0 * guess.probability).round() as usize);
            let pad = " ".repeat(width - guess.label.chars().count());
            line(format!("  {}{pad}  {:5.1} %  {bar}", guess.label, 100.0 * guess.probability).trim_end())?;
        }
        Ok(())
    }
}

/// Decodes and prepares pictures side by side, in order.
fn prepare_all(model: &Classifier, names: &[String]) -> Vec<Result<Vec<f32>>> {
    if names.len() == 1 {
        return vec![prepare(model, &names[0])];
    }
    std::thread::scope(|scope| {
        let workers: Vec<_> = names.iter().map(|name| scope.spawn(move || prepare(model, name))).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|_| bail!("a decoding thread failed")))
            .collect()
    })
}

fn prepare(model: &Classifier, name: &str) -> Result<Vec<f32>> {
    let limits = DecodeLimits::default();
    let picture = if name == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).context("standard input")?;
        decode_bytes("standard input", &bytes, &limits)?
    } else {
        decode_file(Path::new(name), &limits)?
    };
    Ok(model.prepare(&picture)?)
}
