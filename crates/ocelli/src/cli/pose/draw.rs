//! `ocelli pose draw`, and pictures of what `ocelli pose lift` lifts.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use ocelli_pose::data::{self, OpenOptions};
use ocelli_pose::output::{Picture, gif, png, read_lifted, svg};
use ocelli_report::atomic::write_atomic;

use crate::cli::output::line;

/// Draw lifted poses or motion capture, without lifting anything.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    ocelli pose draw lifted.json --output lifted.gif\n  \
    ocelli pose draw walk.bvh --output walk.svg\n  \
    ocelli pose draw cmu17.safetensors --sequence 131_03 --frames 90 --output clip.gif")]
pub struct Draw {
    /// What ocelli pose lift wrote (.json, .jsonl), or motion capture: .bvh, a compact .safetensors, VideoPose3D's .npz
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Picture to write: .svg and .gif are animated for several frames, .png is the first
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Which sequence of motion capture [default: the first]
    #[arg(long, value_name = "NAME")]
    sequence: Option<String>,
    /// Which joints of BVH files are the 17, as JSON [default: known families are recognised]
    #[arg(long, value_name = "FILE")]
    joint_map: Option<PathBuf>,
    /// Frames per second [default: what the file says, else 30]
    #[arg(long, value_name = "RATE")]
    fps: Option<f64>,
    /// Leave out so many frames at the beginning
    #[arg(long, default_value_t = 0, value_name = "N")]
    skip: usize,
    /// Draw so many frames [default: all]
    #[arg(long, value_name = "N")]
    frames: Option<usize>,
}

impl Draw {
    pub(in crate::cli) fn run(self) -> Result<ExitCode> {
        check_ending("--output", &self.output)?;
        if let Some(fps) = self.fps.filter(|fps| !(fps.is_finite() && *fps > 0.0)) {
            bail!("--fps {fps}: expected a number above 0");
        }
        let mut picture = self.picture()?;
        if let Some(fps) = self.fps {
            picture.rate = fps;
        }
        let whole = picture.frames.len();
        if self.skip >= whole || self.frames == Some(0) {
            bail!("{}: no frame is left of {whole}", self.file.display());
        }
        picture.frames.drain(..self.skip);
        picture.frames.truncate(self.frames.unwrap_or(whole));
        if picture.frames.iter().flatten().all(|shown| shown.input.is_none() && shown.lifted.is_none()) {
            bail!("{}: nobody in {} frames", self.file.display(), picture.frames.len());
        }
        write_picture(&self.output, &picture)?;
        line(&format!("{} frames of {} in {}", picture.frames.len(), picture.title, self.output.display()))?;
        Ok(ExitCode::SUCCESS)
    }

    fn picture(&self) -> Result<Picture> {
        let ending = self.file.extension().unwrap_or_default().to_ascii_lowercase();
        if ["bvh", "safetensors", "npz"].iter().all(|own| ending != *own) && !self.file.is_dir() {
            if let Some(name) = &self.sequence {
                bail!("--sequence {name}: {} is no motion capture", self.file.display());
            }
            return Ok(read_lifted(&self.file, 30.0)?);
        }
        let options = OpenOptions { joint_map: self.joint_map.clone(), z_up: None, rate: None };
        let sequences = data::open(&self.file, &options)?;
        let found = match &self.sequence {
            Some(name) => sequences.iter().find(|own| own.name == *name),
            None => sequences.first(),
        };
        let Some(sequence) = found else {
            let names: Vec<&str> = sequences.iter().map(|own| own.name.as_str()).take(20).collect();
            bail!(
                "{}: no sequence '{}'; there are {}{}",
                self.file.display(),
                self.sequence.as_deref().unwrap_or_default(),
                names.join(", "),
                if sequences.len() > names.len() { ", .." } else { "" }
            );
        };
        Ok(Picture::of_sequence(sequence))
    }
}

fn ending(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

/// Refuses a name that says no kind of picture before anything is done.
pub(super) fn check_ending(option: &str, path: &Path) -> Result<()> {
    match ending(path).as_str() {
        "svg" | "gif" | "png" => Ok(()),
        _ => bail!("{option} {}: expected a name ending in .svg, .gif or .png", path.display()),
    }
}

/// Writes the picture as its ending says.
pub(super) fn write_picture(path: &Path, picture: &Picture) -> Result<()> {
    let bytes = match ending(path).as_str() {
        "gif" => gif(picture)?,
        "png" => png(picture)?,
        _ => svg(picture).into_bytes(),
    };
    write_atomic(path, &bytes).with_context(|| path.display().to_string())
}
