//! Runs a captured network on a CPU.
//!
//! [`Model::compile`] takes an optimised graph, chooses a kernel for every layer and packs its weights; a
//! [`Session`] plans the memory for one batch size and runs. After the first run nothing is allocated. A model is
//! shared between threads ([`Model::run`]); a session belongs to one.
//!
//! Results do not depend on the number of threads: every element is summed in the same order by whichever thread.

mod blob;
mod build;
mod error;
mod file;
pub mod machine;
mod memory;
mod model;
mod pages;
mod pool;
mod prepare;
mod session;
mod steps;
mod view;

pub use error::EngineError;
pub use model::{Model, RunOptions};
pub use session::{Session, StepTime};
