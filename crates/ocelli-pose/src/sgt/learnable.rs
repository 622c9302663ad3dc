//! The learnable assignment of joints to cells (`AutoSGT` of the reference).

use burn::module::{Module, Param};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};
use ocelli_nn::init::computed;
use ocelli_nn::random;
use serde::{Deserialize, Serialize};

use super::Prior;
use crate::skeleton::JOINTS;

/// Added to the number of a joint's cells, after the sum.
const EPSILON: f32 = 1e-8;

/// How the assignment acts in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Assignment {
    /// One joint per cell; the gradient passes as if nothing had been rounded.
    #[default]
    StraightThrough,
    /// `softmax((W + noise) / tau)`: every cell a mixture.
    GumbelSoft {
        /// Temperature of the softmax.
        tau: f64,
    },
    /// One joint per cell, the largest of that softmax; the gradient is the softmax's.
    GumbelHard {
        /// Temperature of the softmax.
        tau: f64,
    },
}

/// The assignment's parameter.
#[derive(Module, Debug)]
pub struct LearnableSgt {
    /// What each joint has to say in each cell `[1, cells, 17]`.
    pub sgt_trans_mat: Param<Tensor<3>>,
}

impl LearnableSgt {
    /// Starts from `prior`; random ones are a function of `seed`.
    pub fn new(prior: Prior, cells: usize, seed: u64, device: &Device) -> Self {
        let shape = [1, cells, JOINTS];
        Self { sgt_trans_mat: computed(shape, device, move || prior.matrix(cells, seed)) }
    }

    /// The joint of every cell in evaluation.
    pub fn owners(&self) -> Vec<usize> {
        owners(&self.sgt_trans_mat.val().into_data())
    }

    /// The assignment of evaluation `[1, cells, 17]`: one-hot, without gradient.
    pub fn fixed(&self) -> Tensor<3> {
        let value = self.sgt_trans_mat.val();
        one_hot(&self.owners(), &value.device())
    }

    /// The assignment of training `[1, cells, 17]`; `noise` of the same shape is for the Gumbel kinds.
    pub fn trained(&self, how: Assignment, noise: Option<Tensor<3>>) -> Tensor<3> {
        let matrix = self.sgt_trans_mat.val();
        match how {
            Assignment::StraightThrough => self.fixed().add(matrix.clone().sub(matrix.detach())),
            Assignment::GumbelSoft { tau } => soft(matrix, noise, tau),
            Assignment::GumbelHard { tau } => {
                let soft = soft(matrix, noise, tau);
                let chosen = owners(&soft.clone().into_data());
                one_hot(&chosen, &soft.device()).add(soft.clone().sub(soft.detach()))
            }
        }
    }
}

fn soft(matrix: Tensor<3>, noise: Option<Tensor<3>>, tau: f64) -> Tensor<3> {
    let logits = match noise {
        Some(noise) => matrix.add(noise),
        None => matrix,
    };
    softmax(logits.div_scalar(tau), 2)
}

/// Gumbel noise `-ln(-ln u)` for `cells` cells, from the thread's generator.
pub fn gumbel_noise(cells: usize, device: &Device) -> Tensor<3> {
    let draw = |u: f64| (-(-(u.max(1e-20)).ln()).max(1e-20).ln()) as f32;
    let values: Vec<f32> = random::uniform(cells * JOINTS).into_iter().map(draw).collect();
    Tensor::from_data(TensorData::new(values, [1, cells, JOINTS]), device)
}

/// The joint with the largest entry in every cell of `[1, cells, 17]`, the first of equals.
pub fn owners(matrix: &TensorData) -> Vec<usize> {
    let values: Vec<f32> = matrix.iter::<f32>().collect();
    let first_largest =
        |row: &[f32]| (0..row.len()).fold(0, |best, joint| if row[joint] > row[best] { joint } else { best });
    values.chunks(JOINTS).map(first_largest).collect()
}

fn one_hot(owners: &[usize], device: &Device) -> Tensor<3> {
    let mut values = vec![0.0f32; owners.len() * JOINTS];
    for (cell, &joint) in owners.iter().enumerate() {
        values[cell * JOINTS + joint] = 1.0;
    }
    Tensor::from_data(TensorData::new(values, [1, owners.len(), JOINTS]), device)
}

/// Cells of joints: `[batch, 17, channels]` -> `[batch, cells, channels]`.
pub fn to_grid(assignment: Tensor<3>, joints: Tensor<3>) -> Tensor<3> {
    let [_, cells, count] = assignment.dims();
    let batch = joints.dims()[0];
    assignment.expand([batch, cells, count]).matmul(joints)
}

/// Joints of cells: the mean of the joint's cells; 0 for a joint without one. `[batch, cells, channels]` -> `[batch, 17, channels]`.
pub fn to_joints(assignment: Tensor<3>, grid: Tensor<3>) -> Tensor<3> {
    let [_, cells, joints] = assignment.dims();
    let batch = grid.dims()[0];
    let counts = assignment.clone().sum_dim(1).add_scalar(EPSILON).swap_dims(1, 2);
    assignment.swap_dims(1, 2).expand([batch, joints, cells]).matmul(grid).div(counts)
}
