//! The grid lifting network.

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use ocelli_nn::{BatchNorm, BatchNormConfig, Dropout, Taps};

use super::config::{Config, Variant};
use crate::grid::{
    Attention, AttentionConfig, GridConv, GridConvConfig, Naming, Neighbours, Padding, map_of,
};
use crate::sgt::{
    Assignment, LearnableSgt, forward_matrix, gumbel_noise, inverse_matrix, to_grid, to_joints,
};
use crate::skeleton::JOINTS;

/// `w1`, residual blocks, `w2` on the grid; joints in, joints out.
#[derive(Module, Debug)]
pub struct GridNet {
    /// First layer, 2 -> hidden.
    pub w1: GridConv,
    /// Behind it.
    pub batch_norm1: BatchNorm,
    /// Its attention.
    pub atten_conv1: Option<Attention>,
    /// Residual blocks.
    pub linear_stages: Vec<Stage>,
    /// Last layer, hidden -> 3, without bias.
    pub w2: GridConv,
    /// Its attention.
    pub atten_conv2: Option<Attention>,
    /// The learnt assignment of AutoGrids.
    pub sgt_layer: Option<LearnableSgt>,
    /// Drops whole channels.
    pub dropout: Dropout,
    /// Height and width of the grid.
    #[module(skip)]
    pub grid: [usize; 2],
    /// What the branches see beyond the border.
    #[module(skip)]
    pub padding: [Padding; 2],
    /// How the assignment acts in training.
    #[module(skip)]
    pub assignment: Assignment,
}

/// `y + f(y)`, where `f` is twice layer, norm, ReLU, dropout.
#[derive(Module, Debug)]
pub struct Stage {
    /// First layer.
    pub w1: GridConv,
    /// Behind it.
    pub batch_norm1: BatchNorm,
    /// Second layer.
    pub w2: GridConv,
    /// Behind it.
    pub batch_norm2: BatchNorm,
    /// Attention of the first layer.
    pub atten_conv1: Option<Attention>,
    /// Attention of the second.
    pub atten_conv2: Option<Attention>,
}

/// What all layers of a pass share.
struct Pass {
    neighbours: Neighbours,
    temperature: f64,
    grid: [usize; 2],
}

impl GridNet {
    /// Builds the network; a random prior is a function of `seed`.
    pub fn new(config: &Config, seed: u64, device: &Device) -> Self {
        let (hidden, cells) = (config.hidden, config.cells());
        let naming = if config.is_dynamic() { Naming::Dynamic } else { Naming::Static };
        let conv = |channels_in, channels_out, bias| {
            GridConvConfig { channels_in, channels_out, bias, naming }.init(device)
        };
        let attention =
            |channels| config.is_dynamic().then(|| AttentionConfig::new(channels, cells).init(device));
        let norm = || BatchNormConfig::new(hidden).init(device);
        let stage = |_| Stage {
            w1: conv(hidden, hidden, true),
            batch_norm1: norm(),
            w2: conv(hidden, hidden, true),
            batch_norm2: norm(),
            atten_conv1: attention(hidden),
            atten_conv2: attention(hidden),
        };
        Self {
            w1: conv(2, hidden, true),
            batch_norm1: norm(),
            atten_conv1: attention(2),
            linear_stages: (0..config.blocks).map(stage).collect(),
            w2: conv(hidden, 3, false),
            atten_conv2: attention(hidden),
            sgt_layer: (config.variant == Variant::AutoGrids)
                .then(|| LearnableSgt::new(config.prior, cells, seed, device)),
            dropout: Dropout::new(config.dropout),
            grid: config.grid,
            padding: config.padding,
            assignment: config.assignment,
        }
    }

    /// `[batch, 17, 2]` -> `[batch, 17, 3]`.
    pub fn forward(&self, joints: Tensor<3>, temperature: f64) -> Tensor<3> {
        self.forward_tapped(joints, temperature, &mut Taps::none())
    }

    /// As [`forward`](Self::forward), offering the places called as in the reference.
    pub fn forward_tapped(&self, joints: Tensor<3>, temperature: f64, taps: &mut Taps) -> Tensor<3> {
        let (to, back) = self.assignments(&joints.device());
        let grid = self.forward_cells(to_grid(to, joints), temperature, taps);
        match back {
            Inverse::Mean(assignment) => to_joints(assignment, grid),
            Inverse::Product(matrix) => to_grid(matrix, grid),
        }
    }

    /// What the loss of training compares: grids where the grid was made by hand, joints where it is learnt.
    /// `[batch, 17, 2]` and `[batch, 17, 3]` -> two tensors of one shape.
    pub fn compared(&self, joints: Tensor<3>, target: Tensor<3>, temperature: f64) -> (Tensor<3>, Tensor<3>) {
        if self.sgt_layer.is_some() {
            return (self.forward(joints, temperature), target);
        }
        let (to, _) = self.assignments(&joints.device());
        let found = self.forward_cells(to_grid(to.clone(), joints), temperature, &mut Taps::none());
        (found, to_grid(to, target))
    }

    /// On the grid: `[batch, cells, 2]` -> `[batch, cells, 3]`.
    pub fn forward_cells(&self, x: Tensor<3>, temperature: f64, taps: &mut Taps) -> Tensor<3> {
        let neighbours = Neighbours::new(self.grid, self.padding, &x.device());
        let pass = Pass { neighbours, temperature, grid: self.grid };
        let y = pass.layer(&self.w1, self.atten_conv1.as_ref(), x, ["w1", "atten_conv1"], taps);
        let mut y = self.after(&self.batch_norm1, y);
        for (index, stage) in self.linear_stages.iter().enumerate() {
            let inner = taps.within(format!("linear_stages.{index}"), |taps| {
                let names = ["w1", "atten_conv1"];
                let z = pass.layer(&stage.w1, stage.atten_conv1.as_ref(), y.clone(), names, taps);
                let z = self.after(&stage.batch_norm1, z);
                let names = ["w2", "atten_conv2"];
                let z = pass.layer(&stage.w2, stage.atten_conv2.as_ref(), z, names, taps);
                self.after(&stage.batch_norm2, z)
            });
            y = y.add(inner);
            pass.see(&format!("linear_stages.{index}"), &y, taps);
        }
        pass.layer(&self.w2, self.atten_conv2.as_ref(), y, ["w2", "atten_conv2"], taps)
    }

    /// Norm, ReLU and dropout of whole channels.
    fn after(&self, norm: &BatchNorm, y: Tensor<3>) -> Tensor<3> {
        let [batch, cells, channels] = y.dims();
        let y = norm.forward(y.reshape([batch * cells, channels]));
        let y = relu(y).reshape([batch, cells, channels]);
        self.dropout.forward_alike(y, [1])
    }

    fn assignments(&self, device: &Device) -> (Tensor<3>, Inverse) {
        let constant = |values: Vec<f32>, rows: usize| {
            let columns = values.len() / rows;
            Tensor::from_data(TensorData::new(values, [1, rows, columns]), device)
        };
        match &self.sgt_layer {
            None => {
                let cells = self.grid[0] * self.grid[1];
                let inverse = Inverse::Product(constant(inverse_matrix(), JOINTS));
                (constant(forward_matrix(), cells), inverse)
            }
            Some(own) => {
                let assignment = if device.is_autodiff() {
                    let noise = match self.assignment {
                        Assignment::StraightThrough => None,
                        _ => Some(gumbel_noise(self.grid[0] * self.grid[1], device)),
                    };
                    own.trained(self.assignment, noise)
                } else {
                    own.fixed()
                };
                (assignment.clone(), Inverse::Mean(assignment))
            }
        }
    }
}

/// The way back from cells to joints.
enum Inverse {
    /// A fixed matrix `[1, 17, cells]`.
    Product(Tensor<3>),
    /// The mean over the cells of an assignment `[1, cells, 17]`.
    Mean(Tensor<3>),
}

impl Pass {
    fn layer(
        &self,
        layer: &GridConv,
        attention: Option<&Attention>,
        x: Tensor<3>,
        [name, attention_name]: [&str; 2],
        taps: &mut Taps,
    ) -> Tensor<3> {
        let factors = attention.map(|attention| {
            let factors = attention.forward(x.clone(), self.temperature);
            let [batch, taps_, _] = factors.dims();
            if taps.wants(attention_name) {
                taps.see(
                    attention_name,
                    &factors.clone().reshape([batch, taps_, self.grid[0], self.grid[1]]),
                );
            }
            factors.swap_dims(1, 2)
        });
        let y = layer.forward(x, &self.neighbours, factors);
        self.see(name, &y, taps);
        y
    }

    fn see(&self, name: &str, y: &Tensor<3>, taps: &mut Taps) {
        if taps.wants(name) {
            taps.see(name, &map_of(y.clone(), self.grid));
        }
    }
}
