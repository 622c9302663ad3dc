//! The pictures a compression looks at, and what it says meanwhile.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ocelli_compress::Batch;
use ocelli_data::{
    DecodeLimits, EvalTransform, Preprocess, SplitOptions, decode_file, open_eval, open_split,
};

/// Pictures of a batch while calibrating.
const BATCH: usize = 16;

/// `wanted` pictures of `folder` (CIFAR, IDX, class folders or any pictures below it), evenly chosen.
pub(super) fn calibration(folder: &Path, wanted: usize, preprocess: &Preprocess) -> Result<Vec<Batch>> {
    let transform = EvalTransform::new(preprocess)?;
    let pixels: Vec<Vec<f32>> = match open_eval(folder, None, DecodeLimits::default()) {
        Ok(set) => even(set.data.len(), wanted)
            .map(|i| Ok(transform.apply(&set.data.load(i)?)?))
            .collect::<Result<_>>()?,
        Err(_) => {
            let mut files = Vec::new();
            pictures(folder, &mut files)?;
            files.sort();
            even(files.len(), wanted)
                .map(|i| Ok(transform.apply(&decode_file(&files[i], &DecodeLimits::default())?)?))
                .collect::<Result<_>>()?
        }
    };
    if pixels.is_empty() {
        bail!("{}: no pictures to calibrate with; a few hundred are wanted", folder.display());
    }
    Ok(batches(&pixels))
}

/// `wanted` pictures of the training part of `data`, evenly chosen.
pub(super) fn calibration_of(
    data: &Path,
    split: Option<f64>,
    wanted: usize,
    preprocess: &Preprocess,
) -> Result<Vec<Batch>> {
    let transform = EvalTransform::new(preprocess)?;
    let train = open_split(data, &SplitOptions { split, ..Default::default() })?.train;
    let pixels: Vec<Vec<f32>> =
        even(train.len(), wanted).map(|i| Ok(transform.apply(&train.load(i)?)?)).collect::<Result<_>>()?;
    if pixels.is_empty() {
        bail!("{}: no pictures to train with", data.display());
    }
    Ok(batches(&pixels))
}

fn batches(pixels: &[Vec<f32>]) -> Vec<Batch> {
    pixels.chunks(BATCH).map(|part| Batch { count: part.len(), data: part.concat() }).collect()
}

/// `wanted` of `count` indices, evenly spread.
fn even(count: usize, wanted: usize) -> impl Iterator<Item = usize> {
    let wanted = wanted.min(count);
    (0..wanted).map(move |i| i * count / wanted)
}

/// The pictures in a folder and those below it.
fn pictures(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("{}", folder.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("{}", folder.display()))?.path();
        let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        if path.is_dir() {
            pictures(&path, found)?;
        } else if ["jpg", "jpeg", "png", "bmp", "webp", "gif", "tif", "tiff"].contains(&ending.as_str()) {
            found.push(path);
        }
    }
    Ok(())
}

/// Progress on standard error: one line that is written over, or plain lines where that makes no sense.
pub(super) struct Said {
    quiet: bool,
    terminal: bool,
    last: String,
}

impl Said {
    pub fn new(quiet: bool) -> Self {
        use std::io::IsTerminal;
        Self { quiet, terminal: std::io::stderr().is_terminal(), last: String::new() }
    }

    pub fn say(&mut self, what: &str, at: usize, of: usize) {
        if self.quiet {
            return;
        }
        if self.terminal {
            eprint!("\r\x1b[K{what} {}/{of}", at + 1);
        } else if self.last != what {
            eprintln!("{what}");
        }
        self.last = what.to_string();
    }

    pub fn end(&self) {
        if !self.quiet && self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}
