//! How a learnable assignment starts.

use ocelli_nn::random;
use serde::{Deserialize, Serialize};

use crate::skeleton::JOINTS;

/// The start of a learnable assignment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prior {
    /// A grid made by hand: the left half first, every cell one joint.
    #[default]
    Standard,
    /// The authors' first learnt grid.
    LearntType1,
    /// Their second.
    LearntType2,
    /// Their third, in which the pelvis has no cell.
    LearntType3,
    /// Random probabilities, for a grid of any size.
    RandomProb,
}

impl Prior {
    /// The joint of every cell of the 5 x 5 grid; nothing for random ones.
    pub fn grid(self) -> Option<[usize; 25]> {
        Some(match self {
            Self::Standard => {
                [7, 7, 7, 7, 7, 0, 8, 8, 8, 0, 4, 11, 9, 14, 1, 5, 12, 9, 15, 2, 6, 13, 10, 16, 3]
            }
            Self::LearntType1 => {
                [7, 4, 7, 1, 0, 0, 8, 8, 8, 0, 4, 11, 9, 14, 1, 5, 12, 9, 15, 2, 6, 13, 10, 16, 3]
            }
            Self::LearntType2 => {
                [0, 15, 7, 1, 0, 1, 14, 8, 7, 0, 4, 0, 9, 13, 1, 2, 6, 11, 10, 2, 5, 12, 14, 16, 3]
            }
            Self::LearntType3 => {
                [9, 7, 7, 10, 7, 13, 8, 10, 15, 16, 9, 12, 7, 14, 1, 4, 5, 7, 3, 11, 7, 6, 9, 2, 14]
            }
            Self::RandomProb => return None,
        })
    }

    /// The initial matrix `[cells, 17]`, row-major; random ones are a function of `seed`.
    pub fn matrix(self, cells: usize, seed: u64) -> Vec<f32> {
        match self.grid() {
            Some(grid) => {
                let mut matrix = vec![0.0; cells * JOINTS];
                for (cell, joint) in grid.into_iter().take(cells).enumerate() {
                    matrix[cell * JOINTS + joint] = 1.0;
                }
                matrix
            }
            None => {
                random::seed_thread(seed, 0x5367_7450);
                let draws = random::uniform(cells * JOINTS);
                draws
                    .chunks(JOINTS)
                    .flat_map(|row| {
                        let sum: f64 = row.iter().map(|u| u.exp()).sum();
                        row.iter().map(move |u| (u.exp() / sum) as f32)
                    })
                    .collect()
            }
        }
    }
}
