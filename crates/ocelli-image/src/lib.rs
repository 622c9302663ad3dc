//! Image networks: one room per system under [`backbone`], the registry [`zoo`], and what they share.

pub mod backbone;
pub mod classify;
mod config_check;
pub mod labels;
pub mod model_file;
pub mod network;
pub mod zoo;

pub use network::{Network, NetworkConfig};
