//! The neighbours of all cells as one product with a matrix of zeros and ones.

use burn::tensor::{Device, Tensor, TensorData};

use super::padding::{Padding, TAPS, neighbour_table};

/// Which cells the taps of both branches read.
#[derive(Clone, Debug)]
pub struct Neighbours {
    /// `[1, cells * 18, cells]`: for every cell the nine taps of the first branch, then those of the second.
    matrix: Tensor<3>,
    cells: usize,
}

impl Neighbours {
    /// The neighbours on a grid of `[height, width]`.
    pub fn new(grid: [usize; 2], padding: [Padding; 2], device: &Device) -> Self {
        let cells = grid[0] * grid[1];
        let tables = padding.map(|padding| neighbour_table(grid, padding));
        let mut values = vec![0.0f32; cells * 2 * TAPS * cells];
        for cell in 0..cells {
            for (branch, table) in tables.iter().enumerate() {
                for tap in 0..TAPS {
                    if let Some(read) = table[cell * TAPS + tap] {
                        values[((cell * 2 + branch) * TAPS + tap) * cells + read] = 1.0;
                    }
                }
            }
        }
        let matrix = Tensor::from_data(TensorData::new(values, [1, cells * 2 * TAPS, cells]), device);
        Self { matrix, cells }
    }

    /// `[batch, cells, channels]` -> `[batch, cells * 18, channels]`.
    pub fn of(&self, x: Tensor<3>) -> Tensor<3> {
        let batch = x.dims()[0];
        self.matrix.clone().expand([batch, self.cells * 2 * TAPS, self.cells]).matmul(x)
    }
}
