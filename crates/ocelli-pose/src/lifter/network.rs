//! Any lifting network.

use burn::module::Module;
use burn::tensor::Tensor;

use super::baseline::{FullyConnected, GraphNet};
use super::net::GridNet;

/// A lifting network: `[batch, 17, 2]` normalised joints in, `[batch, 17, 3]` metres relative to the pelvis out.
#[derive(Module, Debug)]
// One exists at a time.
#[allow(clippy::large_enum_variant)]
pub enum Lifter {
    /// On a grid.
    Grid(GridNet),
    /// Fully connected.
    Linear(FullyConnected),
    /// Graph convolutions.
    Graph(GraphNet),
}

impl Lifter {
    /// Lifts; `temperature` is that of the attention, where there is one.
    pub fn forward(&self, joints: Tensor<3>, temperature: f64) -> Tensor<3> {
        match self {
            Self::Grid(net) => net.forward(joints, temperature),
            Self::Linear(net) => net.forward(joints),
            Self::Graph(net) => net.forward(joints),
        }
    }

    /// What the loss of training compares, two tensors of one shape.
    pub fn compared(&self, joints: Tensor<3>, target: Tensor<3>, temperature: f64) -> (Tensor<3>, Tensor<3>) {
        match self {
            Self::Grid(net) => net.compared(joints, target, temperature),
            Self::Linear(net) => (net.forward(joints), target),
            Self::Graph(net) => (net.forward(joints), target),
        }
    }

    /// The joint of every cell, where the assignment is learnt.
    pub fn learnt_grid(&self) -> Option<Vec<usize>> {
        match self {
            Self::Grid(net) => net.sgt_layer.as_ref().map(|sgt| sgt.owners()),
            _ => None,
        }
    }
}
