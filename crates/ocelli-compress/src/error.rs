//! Errors.

/// Why a network could not be compressed.
#[derive(Debug, thiserror::Error)]
pub enum CompressError {
    /// A setting that makes no sense.
    #[error("{0}")]
    Setting(String),
    /// There is nothing to calibrate with.
    #[error("no pictures to calibrate with")]
    NoData,
    /// A number that is none.
    #[error("{place}: {problem}")]
    Number {
        /// The layer or value.
        place: String,
        /// What was found.
        problem: String,
    },
    /// The network has no layer that could be quantised.
    #[error("'{0}' has no convolution or linear layer with constant weights")]
    NoLayers(String),
    /// The engine cannot run the network.
    #[error(transparent)]
    Engine(#[from] ocelli_engine::EngineError),
}
