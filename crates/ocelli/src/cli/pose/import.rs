//! `ocelli pose import`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use ocelli_pose::data::{self, OpenOptions};

use crate::cli::output::line;

/// Turn BVH files or VideoPose3D's data into the compact format: NAME.safetensors and NAME.json.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  ocelli pose import mocap --rate 30 --output mocap.safetensors")]
pub struct Import {
    /// Folder of .bvh files, one .bvh, or data_3d_*.npz
    #[arg(value_name = "PATH")]
    data: PathBuf,
    /// Which joints of BVH files are the 17, as JSON
    #[arg(long, value_name = "FILE")]
    joint_map: Option<PathBuf>,
    /// Frames per second to keep of faster clips
    #[arg(long, value_name = "RATE")]
    rate: Option<f64>,
    /// File to write, ending in .safetensors
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

impl Import {
    pub(in crate::cli) fn run(self) -> Result<ExitCode> {
        if self.output.extension().is_none_or(|ending| ending != "safetensors") {
            bail!("--output {}: expected a name ending in .safetensors", self.output.display());
        }
        let options = OpenOptions { joint_map: self.joint_map, z_up: None, rate: self.rate };
        let sequences = data::open(&self.data, &options)?;
        data::write_compact(&self.output, &sequences)?;
        let frames: usize = sequences.iter().map(|sequence| sequence.frames.len()).sum();
        line(&format!("{frames} frames of {} sequences in {}", sequences.len(), self.output.display()))?;
        Ok(ExitCode::SUCCESS)
    }
}
