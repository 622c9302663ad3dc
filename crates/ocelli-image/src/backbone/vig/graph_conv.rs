//! Graph convolutions: what a node makes of its neighbours.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use ocelli_nn::init::zeros;
use ocelli_nn::{Activation, BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, graph};
use serde::{Deserialize, Serialize};

/// How neighbours are combined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// `nn([h, max_j (y_j - h)])`, channels interleaved: all published networks.
    #[default]
    #[serde(alias = "mr")]
    MaxRelative,
    /// `max_j nn([h, y_j - h])`
    Edge,
    /// `nn2([h, max_j nn1(y_j)])`
    Sage,
    /// `nn((1 + eps) h + Σ_j y_j)`
    Gin,
}

/// 1x1 convolution in groups, norm; the non-linearity is applied after it.
type BasicConv = (Conv2d, BatchNorm);

#[derive(Module, Debug)]
struct Single {
    nn: BasicConv,
}

#[derive(Module, Debug)]
struct Double {
    nn1: BasicConv,
    nn2: BasicConv,
}

#[derive(Module, Debug)]
struct Isomorphism {
    nn: BasicConv,
    eps: Param<Tensor<1>>,
}

#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
enum Kind {
    MaxRelative(Single),
    Edge(Single),
    Sage(Double),
    Gin(Isomorphism),
}

/// Shape of a graph convolution.
#[derive(Clone, Copy, Debug)]
pub struct GraphConvShape {
    /// How neighbours are combined.
    pub aggregate: Aggregate,
    /// Channels of a node.
    pub channels_in: usize,
    /// Channels of the result.
    pub channels_out: usize,
    /// Channel groups.
    pub groups: usize,
    /// The non-linearity.
    pub activation: Activation,
    /// Biases of the convolutions.
    pub bias: bool,
}

/// A graph convolution. The tree of its parameters is `nn` (or `nn1`, `nn2`, `eps`).
#[derive(Module, Debug)]
pub struct GraphConv {
    gconv: Kind,
    #[module(skip)]
    activation: Activation,
}

impl GraphConv {
    /// A convolution with zero parameters.
    pub fn new(shape: GraphConvShape, device: &Device) -> Self {
        let GraphConvShape { channels_in, channels_out, groups, .. } = shape;
        let basic = |from: usize, to: usize| {
            let conv = Conv2dConfig::new(from, to, 1).groups(groups).bias(shape.bias).init(device);
            (conv, BatchNormConfig::new(to).init(device))
        };
        let gconv = match shape.aggregate {
            Aggregate::MaxRelative => Kind::MaxRelative(Single { nn: basic(2 * channels_in, channels_out) }),
            Aggregate::Edge => Kind::Edge(Single { nn: basic(2 * channels_in, channels_out) }),
            Aggregate::Sage => Kind::Sage(Double {
                nn1: basic(channels_in, channels_in),
                nn2: basic(2 * channels_in, channels_out),
            }),
            Aggregate::Gin => {
                Kind::Gin(Isomorphism { nn: basic(channels_in, channels_out), eps: zeros([1], device) })
            }
        };
        Self { gconv, activation: shape.activation }
    }

    fn basic(&self, (conv, norm): &BasicConv, x: Tensor<4>) -> Tensor<4> {
        norm.forward_then(conv.forward(x), self.activation)
    }

    /// Nodes `x` `[batch, channels_in, h, w]`, those of `y` they choose from, and `neighbours` `[batch, nodes, k]` →
    /// `[batch, channels_out, h, w]`
    pub fn forward(&self, x: Tensor<4>, y: Tensor<4>, neighbours: Tensor<3, Int>) -> Tensor<4> {
        let [batch, channels, height, width] = x.dims();
        let k = neighbours.dims()[2];
        match &self.gconv {
            Kind::MaxRelative(own) => self.basic(&own.nn, graph::max_relative(x, y, neighbours)),
            Kind::Edge(own) => {
                let shape = [batch, channels, height * width, k];
                let centre = x.reshape([batch, channels, height * width, 1]).expand(shape);
                let edges = graph::gather(y, neighbours).sub(centre.clone());
                let edges = self.basic(&own.nn, Tensor::cat(vec![centre, edges], 1));
                let [_, channels, ..] = edges.dims();
                edges.max_dim(3).reshape([batch, channels, height, width])
            }
            Kind::Sage(own) => {
                let all = self.basic(&own.nn1, graph::gather(y, neighbours));
                let most = all.max_dim(3).reshape([batch, channels, height, width]);
                self.basic(&own.nn2, Tensor::cat(vec![x, most], 1))
            }
            Kind::Gin(own) => {
                let sum = graph::gather(y, neighbours).sum_dim(3).reshape([batch, channels, height, width]);
                let scale = own.eps.val().add_scalar(1.0).reshape([1, 1, 1, 1]);
                self.basic(&own.nn, x.mul(scale).add(sum))
            }
        }
    }
}
