//! What can go wrong here.

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The pixel buffer does not hold `width * height * 3` bytes.
    #[error("a {width}x{height} RGB image needs {expected} bytes of pixels, but {got} were given")]
    PixelCount {
        /// Image width in pixels.
        width: u32,
        /// Image height in pixels.
        height: u32,
        /// Bytes such an image needs.
        expected: u64,
        /// Bytes that were given.
        got: u64,
    },
    /// The PNG encoder refused the image.
    #[error("cannot encode the image as PNG: {0}")]
    Png(#[from] png::EncodingError),
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
