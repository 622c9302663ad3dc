//! What lies beyond the border of a grid.

use serde::{Deserialize, Serialize};

/// Taps of a 3 x 3 kernel.
pub const TAPS: usize = 9;

/// What a branch sees beyond the border.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Padding {
    /// The opposite border: the grid is a torus.
    #[serde(rename = "c")]
    Circular,
    /// Zeros.
    #[serde(rename = "z")]
    Zeros,
    /// The border itself.
    #[serde(rename = "r")]
    Replicate,
}

impl Padding {
    /// The reference's letter.
    pub fn letter(self) -> char {
        match self {
            Self::Circular => 'c',
            Self::Zeros => 'z',
            Self::Replicate => 'r',
        }
    }

    /// `c,r` and the like: a letter per branch.
    ///
    /// # Errors
    /// A sentence that says what is expected.
    pub fn pair(text: &str) -> Result<[Self; 2], String> {
        let wrong =
            || format!("'{text}': expected two of c (circular), z (zeros), r (replicate), such as c,r");
        let letters: Vec<Self> = text
            .split(',')
            .map(|letter| match letter.trim() {
                "c" => Ok(Self::Circular),
                "z" => Ok(Self::Zeros),
                "r" => Ok(Self::Replicate),
                _ => Err(wrong()),
            })
            .collect::<Result<_, _>>()?;
        <[Self; 2]>::try_from(letters).map_err(|_| wrong())
    }

    /// The place within `extent` that `at` (counted from one before the first) stands for; nothing for a zero.
    fn resolve(self, at: usize, extent: usize) -> Option<usize> {
        match self {
            Self::Circular => Some((at + extent - 1) % extent),
            Self::Zeros => at.checked_sub(1).filter(|&at| at < extent),
            Self::Replicate => Some(at.saturating_sub(1).min(extent - 1)),
        }
    }
}

/// The cell that tap `t` of cell `p` reads, at `p * 9 + t`; nothing for a zero. Taps and cells row by row.
pub fn neighbour_table([height, width]: [usize; 2], padding: Padding) -> Vec<Option<usize>> {
    let mut table = Vec::with_capacity(height * width * TAPS);
    for y in 0..height {
        for x in 0..width {
            for dy in 0..3 {
                for dx in 0..3 {
                    let (row, column) = (padding.resolve(y + dy, height), padding.resolve(x + dx, width));
                    table.push(row.zip(column).map(|(row, column)| row * width + column));
                }
            }
        }
    }
    table
}
