//! Image networks: one room per system under [`backbone`], the registry [`zoo`], and what they share.

pub mod backbone;
pub mod network;
pub mod zoo;

pub use network::{Network, NetworkConfig};
