//! Image networks: one room per system under [`backbone`], the registry [`zoo`], and what they share.

pub mod backbone;
pub mod classify;
mod config_check;
pub mod deploy;
pub mod labels;
pub mod model_file;
pub mod network;
pub mod runner;
pub mod zoo;

pub use network::{Network, NetworkConfig};
pub use runner::Runner;
