//! ocelli trains, compresses, runs and serves efficient vision networks.
//!
//! This crate is the command line ([`cli`]) and the front door of the library: the registry of networks
//! ([`zoo`]), classifiers ([`Classifier`]), and the crates behind them under their short names.
//!
//! ```no_run
//! use ocelli::{Classifier, Device};
//!
//! let classifier = Classifier::from_file("runs/hands/best.safetensors".as_ref(), &Device::flex())?;
//! let picture = ocelli::data::decode_file("hand.jpg", &Default::default())?;
//! for guess in &classifier.classify(&[picture], 3)?[0].guesses {
//!     println!("{} {:.1}%", guess.label, 100.0 * guess.probability);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod cli;
pub mod codes;
pub mod model_ref;
pub mod repro;

pub use burn::tensor::Device;
pub use ocelli_data as data;
pub use ocelli_engine as engine;
pub use ocelli_graph as graph;
pub use ocelli_image as image;
pub use ocelli_image::classify::{Classification, Classifier, Guess};
pub use ocelli_image::{Network, NetworkConfig, zoo};
pub use ocelli_nn as nn;
pub use ocelli_pose as pose;
pub use ocelli_report as report;
pub use ocelli_train as train;
