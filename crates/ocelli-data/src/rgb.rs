//! The picture type that everything in this crate takes and gives.

use crate::error::{DataError, Result};

/// An 8-bit RGB picture: `[height, width, 3]`, row by row, no padding. Never empty.
#[derive(Clone, PartialEq, Eq)]
pub struct RgbImage {
    width: usize,
    height: usize,
    data: Vec<u8>,
}

impl std::fmt::Debug for RgbImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RgbImage({}x{})", self.width, self.height)
    }
}

impl RgbImage {
    /// Wraps `data`, which holds `height * width * 3` bytes.
    ///
    /// # Errors
    /// [`DataError::Invalid`] when a side is 0 or the length does not fit.
    pub fn from_vec(width: usize, height: usize, data: Vec<u8>) -> Result<Self> {
        let bytes = width.checked_mul(height).and_then(|n| n.checked_mul(3));
        if bytes != Some(data.len()) || data.is_empty() {
            return Err(DataError::invalid(
                "RGB buffer",
                format!("{width} x {height} x 3 bytes, not 0"),
                format!("{} bytes", data.len()),
            ));
        }
        Ok(Self { width, height, data })
    }

    /// A picture of one colour.
    ///
    /// # Errors
    /// [`DataError::Invalid`] when a side is 0 or the size overflows.
    pub fn filled(width: usize, height: usize, colour: [u8; 3]) -> Result<Self> {
        let pixels = width.checked_mul(height).filter(|n| *n <= isize::MAX as usize / 3).unwrap_or(0);
        Self::from_vec(width, height, colour.repeat(pixels))
    }

    /// As [`from_vec`](Self::from_vec), for sizes the caller computed itself.
    pub(crate) fn new(width: usize, height: usize, data: Vec<u8>) -> Self {
        debug_assert!(!data.is_empty() && data.len() == width * height * 3);
        Self { width, height, data }
    }

    /// Repeats a grey picture (`[height, width]`) to three channels.
    pub(crate) fn from_grey(width: usize, height: usize, grey: &[u8]) -> Self {
        Self::new(width, height, grey.iter().flat_map(|&v| [v; 3]).collect())
    }

    /// Pixels per row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The bytes, `[height, width, 3]`.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The bytes, `[height, width, 3]`.
    pub fn data_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }

    /// The bytes, `[height, width, 3]`, without a copy.
    pub fn into_vec(self) -> Vec<u8> {
        self.data
    }

    /// One pixel, or `None` outside the picture.
    pub fn pixel(&self, x: usize, y: usize) -> Option<[u8; 3]> {
        if x >= self.width || y >= self.height {
            return None;
        }
        let at = (y * self.width + x) * 3;
        Some([self.data[at], self.data[at + 1], self.data[at + 2]])
    }

    /// One row, `[width, 3]`. The caller keeps `y` below the height.
    pub(crate) fn row(&self, y: usize) -> &[u8] {
        &self.data[y * self.width * 3..(y + 1) * self.width * 3]
    }

    /// Luminance, `[height, width]`: ITU-R 601-2 in 16.16 fixed point, as Pillow's `convert("L")`.
    pub fn luminance(&self) -> Vec<u8> {
        self.data.chunks_exact(3).map(|p| luma(p[0], p[1], p[2])).collect()
    }

    /// The luminance, repeated to three equal channels.
    pub fn to_grey(&self) -> Self {
        Self::from_grey(self.width, self.height, &self.luminance())
    }
}

/// The luminance of one pixel.
pub(crate) fn luma(r: u8, g: u8, b: u8) -> u8 {
    ((u32::from(r) * 19595 + u32::from(g) * 38470 + u32::from(b) * 7471 + 0x8000) >> 16) as u8
}
