//! The grid of 5 x 5 cells made by hand (`semantic_grid_trans` of the reference).

use crate::skeleton::JOINTS;

/// Joints of every cell, row by row; a cell of several joints holds their middle.
pub const CELL_JOINTS: [&[usize]; 25] = [
    &[7],
    &[7],
    &[7],
    &[7],
    &[7],
    &[0],
    &[8],
    &[8],
    &[8],
    &[0],
    &[1],
    &[14],
    &[8, 9],
    &[11],
    &[4],
    &[2],
    &[15],
    &[9],
    &[12],
    &[5],
    &[3],
    &[16],
    &[10],
    &[13],
    &[6],
];

/// `[25, 17]` row-major: cells = matrix x joints.
pub fn forward_matrix() -> Vec<f32> {
    let mut matrix = vec![0.0; CELL_JOINTS.len() * JOINTS];
    for (cell, joints) in CELL_JOINTS.iter().enumerate() {
        for joint in *joints {
            matrix[cell * JOINTS + joint] = 1.0 / joints.len() as f32;
        }
    }
    matrix
}

/// `[17, 25]` row-major: joints = matrix x cells. A joint is the mean of the cells it has to itself; the shared cell is not read.
pub fn inverse_matrix() -> Vec<f32> {
    let cells = CELL_JOINTS.len();
    let mut matrix = vec![0.0; JOINTS * cells];
    for joint in 0..JOINTS {
        let own: Vec<usize> = (0..cells).filter(|&cell| CELL_JOINTS[cell] == [joint]).collect();
        for &cell in &own {
            matrix[joint * cells + cell] = 1.0 / own.len() as f32;
        }
    }
    matrix
}
