//! What goes wrong with poses and their files.

use std::path::{Path, PathBuf};

/// Every message names the file, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoseError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// The content is not what the format demands.
    #[error("{}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found.
        problem: String,
    },
    /// A line of a text file is not what the format demands.
    #[error("{}:{line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What was expected and what was found.
        problem: String,
    },
    /// A setting makes no sense.
    #[error("{0}")]
    Config(String),
    /// A weight file cannot be used.
    #[error(transparent)]
    Weights(#[from] ocelli_nn::weights::WeightsError),
    /// The network cannot be captured.
    #[error(transparent)]
    Capture(#[from] ocelli_graph::capture::CaptureError),
    /// The engine cannot run it.
    #[error(transparent)]
    Engine(#[from] ocelli_engine::EngineError),
}

impl PoseError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_path_buf(), source }
    }

    pub(crate) fn malformed(path: &Path, problem: impl Into<String>) -> Self {
        Self::Malformed { path: path.to_path_buf(), problem: problem.into() }
    }
}

/// The bytes of `path`, refused above `limit` before they are read.
pub(crate) fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, PoseError> {
    let meta = std::fs::metadata(path).map_err(PoseError::io(path))?;
    if meta.is_dir() {
        return Err(PoseError::malformed(path, "is a folder, expected a file"));
    }
    if meta.len() > limit {
        return Err(PoseError::malformed(
            path,
            format!("holds {} bytes, expected at most {limit}", meta.len()),
        ));
    }
    std::fs::read(path).map_err(PoseError::io(path))
}
