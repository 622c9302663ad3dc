//! What goes wrong with films and packages.

use std::path::{Path, PathBuf};

/// Every message names the file, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VideoError {
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
    /// A setting makes no sense.
    #[error("{0}")]
    Config(String),
    /// A film cannot be read or written.
    #[error(transparent)]
    Data(#[from] ocelli_data::DataError),
    /// A weight file cannot be used.
    #[error(transparent)]
    Weights(#[from] ocelli_nn::weights::WeightsError),
    /// Training failed.
    #[error(transparent)]
    Train(#[from] ocelli_train::TrainError),
    /// The network cannot be captured.
    #[error(transparent)]
    Capture(#[from] ocelli_graph::capture::CaptureError),
    /// The network cannot be quantised.
    #[error(transparent)]
    Compress(#[from] ocelli_compress::CompressError),
    /// The engine cannot run it.
    #[error(transparent)]
    Engine(#[from] ocelli_engine::EngineError),
    /// A report cannot be written.
    #[error(transparent)]
    Report(#[from] ocelli_report::Error),
}

impl VideoError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_path_buf(), source }
    }

    pub(crate) fn malformed(path: &Path, problem: impl Into<String>) -> Self {
        Self::Malformed { path: path.to_path_buf(), problem: problem.into() }
    }
}
