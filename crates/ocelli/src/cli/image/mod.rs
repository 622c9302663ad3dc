//! `ocelli image`.

mod binary;
pub(in crate::cli) mod config;
mod eval;
mod predict;
mod report;
pub(in crate::cli) mod train;
mod train_args;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

pub use config::RunConfig;
pub(super) use train::{Finished, start};

use super::Global;

/// Train, evaluate and use image networks.
#[derive(Debug, Subcommand)]
pub enum Image {
    /// Train a network on a folder of pictures, CIFAR, or IDX (MNIST) files
    Train(Box<train::Train>),
    /// Measure a model on labelled pictures
    Eval(eval::Eval),
    /// Say what pictures show
    Predict(predict::Predict),
}

impl Image {
    pub(super) fn run(self, global: &Global) -> Result<ExitCode> {
        match self {
            Self::Train(command) => command.run(global),
            Self::Eval(command) => command.run(global),
            Self::Predict(command) => command.run(global),
        }
    }
}
