//! What grid networks are compared with: a fully connected residual network and graph convolutions over the skeleton.

use burn::module::{Module, Param};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use ocelli_nn::init::computed;
use ocelli_nn::{BatchNorm, BatchNormConfig, Dropout, Linear, LinearConfig};

use super::config::BaselineConfig;
use crate::skeleton::{JOINTS, PELVIS, bones};

/// "A simple yet effective baseline for 3d human pose estimation" (arXiv 1705.03098): all joints as one vector, residual blocks of two
/// fully connected layers with batch norm, ReLU and dropout.
#[derive(Module, Debug)]
pub struct FullyConnected {
    /// 34 -> hidden.
    pub w1: Linear,
    /// Behind it.
    pub batch_norm1: BatchNorm,
    /// Residual blocks.
    pub linear_stages: Vec<LinearStage>,
    /// hidden -> 51.
    pub w2: Linear,
    /// Of single activations.
    pub dropout: Dropout,
}

/// `y + f(y)`.
#[derive(Module, Debug)]
pub struct LinearStage {
    /// First layer.
    pub w1: Linear,
    /// Behind it.
    pub batch_norm1: BatchNorm,
    /// Second layer.
    pub w2: Linear,
    /// Behind it.
    pub batch_norm2: BatchNorm,
}

impl FullyConnected {
    /// Builds the network, its parameters zeros until initialised or loaded.
    pub fn new(config: &BaselineConfig, device: &Device) -> Self {
        let hidden = config.hidden;
        let linear = |from, to| LinearConfig::new(from, to).init(device);
        let norm = || BatchNormConfig::new(hidden).init(device);
        let stage = |_| LinearStage {
            w1: linear(hidden, hidden),
            batch_norm1: norm(),
            w2: linear(hidden, hidden),
            batch_norm2: norm(),
        };
        Self {
            w1: linear(2 * JOINTS, hidden),
            batch_norm1: norm(),
            linear_stages: (0..config.blocks).map(stage).collect(),
            w2: linear(hidden, 3 * JOINTS),
            dropout: Dropout::new(config.dropout),
        }
    }

    /// `[batch, 17, 2]` -> `[batch, 17, 3]`.
    pub fn forward(&self, joints: Tensor<3>) -> Tensor<3> {
        let batch = joints.dims()[0];
        let layer = |linear: &Linear, norm: &BatchNorm, x: Tensor<2>| {
            self.dropout.forward(relu(norm.forward(linear.forward(x))))
        };
        let mut y = layer(&self.w1, &self.batch_norm1, joints.reshape([batch, 2 * JOINTS]));
        for stage in &self.linear_stages {
            let inner = layer(&stage.w1, &stage.batch_norm1, y.clone());
            y = y.add(layer(&stage.w2, &stage.batch_norm2, inner));
        }
        self.w2.forward(y).reshape([batch, JOINTS, 3])
    }

    pub(super) fn macs(config: &BaselineConfig) -> u64 {
        let (hidden, joints) = (config.hidden as u64, JOINTS as u64);
        5 * joints * hidden + 2 * config.blocks as u64 * hidden * hidden
    }
}

/// Graph convolutions: every joint takes the normalised sum over itself and the joints its bones lead to (arXiv 1609.02907), with weights of
/// its own for itself as lifting networks have it, in residual blocks.
#[derive(Module, Debug)]
pub struct GraphNet {
    /// 2 -> hidden.
    pub w1: GraphConv,
    /// Behind it.
    pub batch_norm1: BatchNorm,
    /// Residual blocks.
    pub stages: Vec<GraphStage>,
    /// hidden -> 3.
    pub w2: GraphConv,
    /// Of single activations.
    pub dropout: Dropout,
    /// The bones, normalised on both sides `[1, 17, 17]`; never trained.
    pub adjacency: Param<Tensor<3>>,
}

/// `self W_0 + neighbours W_1`.
#[derive(Module, Debug)]
pub struct GraphConv {
    /// Of the joint itself.
    pub own: Linear,
    /// Of its neighbours.
    pub others: Linear,
}

/// `y + f(y)`.
#[derive(Module, Debug)]
pub struct GraphStage {
    /// First layer.
    pub w1: GraphConv,
    /// Behind it.
    pub batch_norm1: BatchNorm,
    /// Second layer.
    pub w2: GraphConv,
    /// Behind it.
    pub batch_norm2: BatchNorm,
}

impl GraphNet {
    /// Builds the network, its parameters zeros until initialised or loaded.
    pub fn new(config: &BaselineConfig, device: &Device) -> Self {
        let hidden = config.hidden;
        let conv = |from, to| GraphConv {
            own: LinearConfig::new(from, to).init(device),
            others: LinearConfig::new(from, to).bias(false).init(device),
        };
        let norm = || BatchNormConfig::new(hidden).init(device);
        let stage = |_| GraphStage {
            w1: conv(hidden, hidden),
            batch_norm1: norm(),
            w2: conv(hidden, hidden),
            batch_norm2: norm(),
        };
        Self {
            w1: conv(2, hidden),
            batch_norm1: norm(),
            stages: (0..config.blocks).map(stage).collect(),
            w2: conv(hidden, 3),
            dropout: Dropout::new(config.dropout),
            adjacency: computed([1, JOINTS, JOINTS], device, normalised_bones),
        }
    }

    /// `[batch, 17, 2]` -> `[batch, 17, 3]`, the pelvis at 0.
    pub fn forward(&self, joints: Tensor<3>) -> Tensor<3> {
        let batch = joints.dims()[0];
        let bones = self.adjacency.val().detach().expand([batch, JOINTS, JOINTS]);
        let conv = |layer: &GraphConv, x: Tensor<3>| {
            let others = layer.others.forward(bones.clone().matmul(x.clone()));
            layer.own.forward(x).add(others)
        };
        let layer = |graph: &GraphConv, norm: &BatchNorm, x: Tensor<3>| {
            let y = conv(graph, x);
            let [batch, joints, channels] = y.dims();
            let y = relu(norm.forward(y.reshape([batch * joints, channels])));
            self.dropout.forward(y.reshape([batch, joints, channels]))
        };
        let mut y = layer(&self.w1, &self.batch_norm1, joints);
        for stage in &self.stages {
            let inner = layer(&stage.w1, &stage.batch_norm1, y.clone());
            y = y.add(layer(&stage.w2, &stage.batch_norm2, inner));
        }
        let y = conv(&self.w2, y);
        let root = y.clone().narrow(1, PELVIS, 1);
        y.sub(root)
    }

    pub(super) fn macs(config: &BaselineConfig) -> u64 {
        let (hidden, joints) = (config.hidden as u64, JOINTS as u64);
        let layer = |from: u64, to: u64| joints * (2 * from * to + joints * from);
        layer(2, hidden) + 2 * config.blocks as u64 * layer(hidden, hidden) + layer(hidden, 3)
    }
}

/// `D^-1/2 A D^-1/2` of the skeleton's bones, both ways.
fn normalised_bones() -> Vec<f32> {
    let mut matrix = vec![0.0f32; JOINTS * JOINTS];
    for (a, b) in bones() {
        matrix[a * JOINTS + b] = 1.0;
        matrix[b * JOINTS + a] = 1.0;
    }
    let degree: Vec<f32> = matrix.chunks(JOINTS).map(|row| row.iter().sum()).collect();
    for (place, value) in matrix.iter_mut().enumerate() {
        *value /= (degree[place / JOINTS] * degree[place % JOINTS]).sqrt();
    }
    matrix
}
