//! The one error type of this crate.

use std::path::Path;

/// The result of everything here that can fail.
pub type Result<T, E = DataError> = std::result::Result<T, E>;

/// What went wrong, and with which file.
///
/// Every message names the input, what was expected and what was found, so that it can be shown to a
/// person as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The operating system refused: missing file, no permission, a folder where a file was expected...
    #[error("{path}: cannot {action}: {source}")]
    Io {
        /// The file or folder.
        path: String,
        /// What was being done, as in "cannot *read the file*".
        action: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The content is not what it has to be.
    #[error("{name}: expected {expected}, found {found}")]
    Invalid {
        /// The file, folder or record.
        name: String,
        /// What would have been right.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The input declares more than the limits allow. Nothing was allocated for it.
    #[error("{name}: too large: {found}, the limit is {limit}")]
    TooLarge {
        /// The file.
        name: String,
        /// The declared size.
        found: String,
        /// The limit it breaks.
        limit: String,
    },
    /// A setting makes no sense.
    #[error("setting `{field}`: expected {expected}, found {found}")]
    Config {
        /// The field, spelled as in the configuration.
        field: String,
        /// What would have been right.
        expected: String,
        /// The value given.
        found: String,
    },
    /// Another program failed at its work, or could not be started.
    #[error("{name}: {program} failed: {message}")]
    Program {
        /// The file or the task it worked on.
        name: String,
        /// The program.
        program: String,
        /// What it said, or why it did not start.
        message: String,
    },
    /// A loader thread panicked while it worked on this sample. This is a bug; the loader survives it.
    #[error("{name}: a loader thread panicked: {message}")]
    Panicked {
        /// The sample.
        name: String,
        /// The panic's message.
        message: String,
    },
}

impl DataError {
    pub(crate) fn io(path: &Path, action: &'static str, source: std::io::Error) -> Self {
        Self::Io { path: path.display().to_string(), action, source }
    }

    pub(crate) fn invalid(
        name: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Invalid { name: name.into(), expected: expected.into(), found: found.into() }
    }

    pub(crate) fn program(name: &str, program: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Program { name: name.into(), program: program.into(), message: message.into() }
    }

    pub(crate) fn config(field: &str, expected: impl Into<String>, found: impl ToString) -> Self {
        Self::Config { field: field.into(), expected: expected.into(), found: found.to_string() }
    }
}
