//! From channels to positions.

use super::{Bvh, Channel};

type Matrix = [[f64; 3]; 3];

const IDENTITY: Matrix = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

fn product(a: &Matrix, b: &Matrix) -> Matrix {
    std::array::from_fn(|i| std::array::from_fn(|j| (0..3).map(|k| a[i][k] * b[k][j]).sum()))
}

/// Around an axis of the coordinate system.
fn rotation(axis: usize, degrees: f64) -> Matrix {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let (a, b) = ((axis + 1) % 3, (axis + 2) % 3);
    let mut matrix = IDENTITY;
    matrix[a][a] = cos;
    matrix[a][b] = -sin;
    matrix[b][a] = sin;
    matrix[b][b] = cos;
    matrix
}

impl Bvh {
    /// Where all joints are in `frame`, in the file's units; rotations multiply in the order in which a joint lists them. Nothing past the
    /// last frame.
    pub fn positions(&self, frame: usize) -> Option<Vec<[f64; 3]>> {
        let values = self.motion.chunks_exact(self.channels).nth(frame)?;
        Some(self.place(values))
    }

    /// Where all joints are with every rotation at 0 and the root at its offset.
    pub fn rest(&self) -> Vec<[f64; 3]> {
        let mut places: Vec<[f64; 3]> = Vec::with_capacity(self.joints.len());
        for joint in &self.joints {
            let from = joint.parent.map_or([0.0; 3], |parent| places[parent]);
            places.push(std::array::from_fn(|axis| from[axis] + joint.offset[axis]));
        }
        places
    }

    fn place(&self, values: &[f32]) -> Vec<[f64; 3]> {
        let mut values = values.iter().map(|&value| f64::from(value));
        let mut turns: Vec<Matrix> = Vec::with_capacity(self.joints.len());
        let mut places: Vec<[f64; 3]> = Vec::with_capacity(self.joints.len());
        for joint in &self.joints {
            let mut shift = joint.offset;
            let mut turn = IDENTITY;
            for channel in &joint.channels {
                let value = values.next().unwrap_or(0.0);
                match *channel {
                    // The root moves from its offset; a joint that has a position of its own stands there instead.
                    Channel::Position(axis) if joint.parent.is_none() => shift[axis] += value,
                    Channel::Position(axis) => shift[axis] = value,
                    Channel::Rotation(axis) => turn = product(&turn, &rotation(axis, value)),
                }
            }
            let (world, from) = match joint.parent {
                Some(parent) => (turns[parent], places[parent]),
                None => (IDENTITY, [0.0; 3]),
            };
            places
                .push(std::array::from_fn(|i| from[i] + (0..3).map(|k| world[i][k] * shift[k]).sum::<f64>()));
            turns.push(product(&world, &turn));
        }
        places
    }
}
