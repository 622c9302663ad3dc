//! `ocelli video`.

pub mod deliver;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::cli::Global;

/// Deliver films as a small stream and a little network.
#[derive(Debug, Subcommand)]
pub enum Video {
    /// Neural video delivery: a film of low resolution, one small network, a few numbers per chunk
    #[command(subcommand)]
    Deliver(Box<deliver::Deliver>),
}

impl Video {
    pub(in crate::cli) fn run(self, global: &Global) -> Result<ExitCode> {
        match self {
            Self::Deliver(command) => command.run(global),
        }
    }
}
