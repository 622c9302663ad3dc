//! `ocelli pose`.

mod bench;
mod config;
mod draw;
mod eval;
mod export;
mod import;
mod lift;
mod model;
mod train;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::cli::Global;

/// Lift 2D human poses to 3D; train and judge networks for it.
#[derive(Debug, Subcommand)]
pub enum Pose {
    /// Lift 2D keypoints to 3D skeletons: JSON, BVH, glTF, a picture
    Lift(lift::Lift),
    /// Draw lifted poses or motion capture: SVG, GIF, PNG
    Draw(draw::Draw),
    /// Train a lifting network on motion capture
    Train(train::Train),
    /// Judge a lifting network: MPJPE, PA-MPJPE, PCK, AUC
    Eval(eval::Eval),
    /// Turn motion capture into the compact format
    Import(import::Import),
    /// Write a lifting network as ONNX
    Export(export::Export),
    /// Time a lifting network
    Bench(bench::Bench),
}

impl Pose {
    pub(in crate::cli) fn run(self, global: &Global) -> Result<ExitCode> {
        match self {
            Self::Lift(command) => command.run(global),
            Self::Draw(command) => command.run(),
            Self::Train(command) => command.run(global),
            Self::Eval(command) => command.run(global),
            Self::Import(command) => command.run(),
            Self::Export(command) => command.run(global),
            Self::Bench(command) => command.run(global),
        }
    }
}
