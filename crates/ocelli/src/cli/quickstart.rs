//! `ocelli quickstart`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use flate2::read::GzDecoder;
use ocelli_data::{DecodeLimits, decode_file, list_images};
use ocelli_image::classify::Classifier;

use super::Global;
use super::image::{Finished, RunConfig, start};
use super::output::line;

/// Photographs of hands showing digits (Apache-2.0; `assets/README.md`).
const PICTURES: &[u8] = include_bytes!("../../assets/sign-digits.tar.gz");
const SETTINGS: &str = include_str!("quickstart.toml");

/// Train a small network on pictures that ship with ocelli, in about two minutes.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  ocelli quickstart\n  ocelli quickstart --output /tmp/try --epochs 4")]
pub struct Quickstart {
    /// Where pictures and run go
    #[arg(long, default_value = "runs/quickstart", value_name = "DIR")]
    output: PathBuf,
    /// Passes over the training pictures [default: what fits about two minutes on two cores]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Seed of weights, order and augmentation
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
}

impl Quickstart {
    pub(super) fn run(self, global: &Global) -> Result<ExitCode> {
        let data = self.output.join("data");
        unpack(&data)?;
        let output = free_name(&self.output);
        let mut config: RunConfig = toml::from_str(SETTINGS).context("the quickstart's settings")?;
        config.data = data.clone();
        config.train.seed = self.seed;
        config.train.epochs = self.epochs.unwrap_or(config.train.epochs);

        eprintln!("A small network learns to read digits off photographs of hands.");
        eprintln!("The students in the held-out part are not among those it learns from.\n");
        let Finished { report, folder, best } = match start(config, &output, false, global)? {
            Some(finished) => finished,
            None => return Ok(ExitCode::from(130)),
        };
        let model = best.display();
        line(&format!(
            "\n{:.1} % of {} held-out photographs right (measured; best epoch's model).\n",
            100.0 * report.top1,
            report.samples
        ))?;
        show_some(&best, &data, global)?;
        line(&format!(
            "\nEverything is in {folder}:\n  report.html        curves, confusion matrix, sample predictions (open it in a browser)\n  \
             best.safetensors   the model: weights, labels and preprocessing in one file\n  \
             curves.svg, metrics.jsonl, config.toml, last.ckpt, TensorBoard events\n\n\
             Try next:\n  ocelli image predict {some}/*.jpg --model {model}\n  \
             ocelli image eval --model {model} --data {data}/val\n\
             On your own pictures, one folder per class:\n  \
             ocelli image train --data YOUR_PICTURES --split 0.2 --model ghostnet_100 --img-size 128\n  \
             ocelli models list",
            folder = folder.display(),
            some = data.join("val").join("3").display(),
            data = data.display(),
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Writes the pictures below `data`, once.
pub(super) fn unpack(data: &Path) -> Result<()> {
    let done = data.join(".complete");
    if done.exists() {
        return Ok(());
    }
    let context = || format!("cannot unpack the pictures to {}", data.display());
    std::fs::create_dir_all(data).with_context(context)?;
    let mut archive = tar::Archive::new(GzDecoder::new(PICTURES));
    for entry in archive.entries().with_context(context)? {
        let mut entry = entry.with_context(context)?;
        // The archive's own top folder is left out: data/train/3/img.jpg.
        let path: PathBuf = entry.path().with_context(context)?.components().skip(1).collect();
        if entry.header().entry_type().is_file() {
            let target = data.join(path);
            if let Some(folder) = target.parent() {
                std::fs::create_dir_all(folder).with_context(context)?;
            }
            entry.unpack(&target).with_context(context)?;
        }
    }
    std::fs::write(&done, "").with_context(context)
}

/// `DIR/run`, or `DIR/run-2`, ... if earlier ones exist.
fn free_name(folder: &Path) -> PathBuf {
    (1..)
        .map(|n| folder.join(if n == 1 { "run".to_string() } else { format!("run-{n}") }))
        .find(|path| !path.exists())
        .unwrap_or_else(|| folder.join("run"))
}

/// Classifies one held-out picture per class.
fn show_some(model: &Path, data: &Path, global: &Global) -> Result<()> {
    let classifier = Classifier::from_file(model, &global.device()?)?;
    line("Some held-out photographs:")?;
    for label in &classifier.labels {
        let folder = data.join("val").join(label);
        let Some(path) = list_images(&[folder.display().to_string()])?.into_iter().nth(7) else { continue };
        let picture = decode_file(&path, &DecodeLimits::default())?;
        let guess = &classifier.classify(&[picture], 1)?[0].guesses[0];
        let mark = if guess.label == *label { "right" } else { "WRONG" };
        line(&format!(
            "  {}  is a {label}: says {} ({:.0} %)  {mark}",
            path.strip_prefix(data).unwrap_or(&path).display(),
            guess.label,
            100.0 * guess.probability
        ))?;
    }
    Ok(())
}
