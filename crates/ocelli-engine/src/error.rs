//! What can go wrong.

use std::path::PathBuf;

/// Errors of compiling, loading and running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The graph has an operation the engine does not run.
    #[error("{node}: the engine does not run {op}")]
    Unsupported {
        /// Name of the node.
        node: String,
        /// The operation and why.
        op: String,
    },
    /// The graph contradicts itself.
    #[error("{node}: {problem}")]
    Malformed {
        /// Name of the node.
        node: String,
        /// What is wrong.
        problem: String,
    },
    /// An input or output has another size than the network's.
    #[error("{what}: expected {expected} elements, found {found}")]
    Size {
        /// Which.
        what: String,
        /// Elements needed.
        expected: usize,
        /// Elements given.
        found: usize,
    },
    /// There is not enough memory for the weights or the working buffers.
    #[error("no memory for {bytes} bytes")]
    Memory {
        /// Bytes needed.
        bytes: usize,
    },
    /// A compiled model file cannot be used.
    #[error("{path}: {problem}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what was expected.
        problem: String,
    },
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}
