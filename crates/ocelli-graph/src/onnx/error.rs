//! What can go wrong with an ONNX file.

/// Why a graph cannot be written as ONNX, or a file not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OnnxError {
    /// ONNX has neither the operation nor a way to compose it.
    #[error("node '{node}': {operation} has no counterpart in ONNX")]
    Unsupported {
        /// The node.
        node: String,
        /// What it computes.
        operation: String,
    },
    /// The graph contradicts itself.
    #[error("{place}: {reason}")]
    Malformed {
        /// The node or value.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file would not fit the format.
    #[error("the network takes {bytes} bytes; an ONNX file without external data holds at most {limit}")]
    TooLarge {
        /// Bytes the file would need.
        bytes: u64,
        /// Bytes a file may have.
        limit: u64,
    },
    /// A file that is read is not what it should be.
    #[error("not a readable ONNX file: {0}")]
    Unreadable(String),
}
