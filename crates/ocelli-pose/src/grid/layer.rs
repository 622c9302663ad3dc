//! GridConv and D-GridConv.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use ocelli_nn::init::zeros;

use super::neighbours::Neighbours;
use super::padding::TAPS;

/// What the reference calls a layer's tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// `donut_conv.weight`, `tablet_conv.weight`: GridConv.
    Static,
    /// `branch1_weight`, `branch2_weight`: D-GridConv.
    Dynamic,
}

/// How to build a [`GridConv`].
#[derive(Clone, Copy, Debug)]
pub struct GridConvConfig {
    /// Channels of its input.
    pub channels_in: usize,
    /// Channels of its output.
    pub channels_out: usize,
    /// Whether each branch adds a bias.
    pub bias: bool,
    /// The names of its tensors.
    pub naming: Naming,
}

impl GridConvConfig {
    /// Builds the layer, its parameters zeros until initialised or loaded.
    pub fn init(&self, device: &Device) -> GridConv {
        let weight = || zeros([self.channels_out, self.channels_in, 3, 3], device);
        let bias = || self.bias.then(|| zeros([self.channels_out], device));
        match self.naming {
            Naming::Static => {
                let conv = || BranchConv { weight: weight(), bias: bias() };
                GridConv::Static(StaticBranches { donut_conv: conv(), tablet_conv: conv() })
            }
            Naming::Dynamic => GridConv::Dynamic(DynamicBranches {
                branch1_weight: weight(),
                branch2_weight: weight(),
                branch1_bias: bias(),
                branch2_bias: bias(),
            }),
        }
    }
}

/// Two 3 x 3 convolutions of the same map, each with its own border, and their sum. The kernels stand under their published names.
#[derive(Module, Debug)]
pub enum GridConv {
    /// Of GridConv.
    Static(StaticBranches),
    /// Of D-GridConv.
    Dynamic(DynamicBranches),
}

/// The kernels of GridConv.
#[derive(Module, Debug)]
pub struct StaticBranches {
    /// First branch.
    pub donut_conv: BranchConv,
    /// Second branch.
    pub tablet_conv: BranchConv,
}

/// One kernel.
#[derive(Module, Debug)]
pub struct BranchConv {
    /// `[channels_out, channels_in, 3, 3]`
    pub weight: Param<Tensor<4>>,
    /// `[channels_out]`
    pub bias: Option<Param<Tensor<1>>>,
}

/// The kernels of D-GridConv.
#[derive(Module, Debug)]
pub struct DynamicBranches {
    /// First branch `[channels_out, channels_in, 3, 3]`.
    pub branch1_weight: Param<Tensor<4>>,
    /// Second branch.
    pub branch2_weight: Param<Tensor<4>>,
    /// `[channels_out]`
    pub branch1_bias: Option<Param<Tensor<1>>>,
    /// `[channels_out]`
    pub branch2_bias: Option<Param<Tensor<1>>>,
}

impl GridConv {
    /// Kernels of both branches, `[channels_out, channels_in, 3, 3]` each.
    pub fn weights(&self) -> [Tensor<4>; 2] {
        match self {
            Self::Static(own) => [own.donut_conv.weight.val(), own.tablet_conv.weight.val()],
            Self::Dynamic(own) => [own.branch1_weight.val(), own.branch2_weight.val()],
        }
    }

    /// Sum of the biases `[channels_out]`.
    pub fn bias(&self) -> Option<Tensor<1>> {
        let [a, b] = match self {
            Self::Static(own) => [&own.donut_conv.bias, &own.tablet_conv.bias],
            Self::Dynamic(own) => [&own.branch1_bias, &own.branch2_bias],
        };
        Some(a.as_ref()?.val().add(b.as_ref()?.val()))
    }

    /// `[batch, cells, channels_in]` -> `[batch, cells, channels_out]`. `attention` `[batch, cells, 9]` multiplies what the taps read,
    /// alike in all channels and both branches.
    pub fn forward(&self, x: Tensor<3>, neighbours: &Neighbours, attention: Option<Tensor<3>>) -> Tensor<3> {
        let [batch, cells, channels_in] = x.dims();
        let patches = neighbours.of(x);
        let patches = match attention {
            Some(attention) => {
                let factors = attention.reshape([batch, cells, 1, TAPS, 1]);
                patches.reshape([batch, cells, 2, TAPS, channels_in]).mul(factors)
            }
            None => patches.reshape([batch, cells, 2, TAPS, channels_in]),
        };
        let rows = patches.reshape([batch * cells, 2 * TAPS * channels_in]);
        // [out, in, 3, 3] -> [9 in, out], taps outermost, as the patches have it.
        let kernel = |weight: Tensor<4>| {
            let [channels_out, _, _, _] = weight.dims();
            weight.permute([2, 3, 1, 0]).reshape([TAPS * channels_in, channels_out])
        };
        let kernels = Tensor::cat(self.weights().map(kernel).to_vec(), 0);
        let channels_out = kernels.dims()[1];
        let y = rows.matmul(kernels);
        let y = match self.bias() {
            Some(bias) => y.add(bias.unsqueeze::<2>()),
            None => y,
        };
        y.reshape([batch, cells, channels_out])
    }
}
