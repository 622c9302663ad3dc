//! Image networks: one room per system under [`backbone`], the registry [`zoo`], and what they share.

pub mod backbone;
pub mod classify;
mod config_check;
pub mod deploy;
pub mod labels;
pub mod model_file;
pub mod network;
mod routed;
pub mod runner;
pub mod zoo;

pub use network::{Network, NetworkConfig};
pub use routed::RoutedEngine;
pub use runner::{Answers, Runner};
