//! RCAN: groups of residual blocks with channel attention.

use burn::module::Module;
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Device, Tensor};
use ocelli_nn::{Conv2d, Rectified, Slot, Taps, global_avg_pool};

use super::{Order, Upsampler, conv, mean_shift};
use crate::deliver::cafm::{Chunk, Form, Site, modulate, site};
use crate::deliver::config::Config;

/// The convolutions of a block.
#[derive(Module, Debug)]
pub struct ModulesBody {
    /// feats → feats.
    pub conv1: Conv2d,
    /// feats → feats.
    pub conv2: Conv2d,
    /// Before the ReLU.
    pub cafms1: Site,
    /// Before the attention.
    pub cafms2: Site,
}

/// Channels weighed by what their means say.
#[derive(Module, Debug)]
pub struct ChannelAttention {
    /// feats → feats / 16 → feats.
    pub conv_du: (Conv2d, Slot, Conv2d),
}

/// Residual channel attention block.
#[derive(Module, Debug)]
pub struct Rcab {
    /// The convolutions.
    pub modules_body: ModulesBody,
    /// The attention.
    pub calayer: ChannelAttention,
}

/// What a group is made of.
#[derive(Module, Debug)]
// A handful exist.
#[allow(clippy::large_enum_variant)]
pub enum GroupPart {
    /// A block.
    Block(Rcab),
    /// The convolution at the end.
    Last(Conv2d),
}

/// Blocks around which the input is added.
#[derive(Module, Debug)]
pub struct Group {
    /// Blocks, then a convolution.
    pub body: Vec<GroupPart>,
}

/// What the body is made of.
#[derive(Module, Debug)]
// A handful exist.
#[allow(clippy::large_enum_variant)]
pub enum Part {
    /// A group.
    Group(Group),
    /// The convolution at the end.
    Last(Conv2d),
}

/// The network.
#[derive(Module, Debug)]
pub struct Rcan {
    /// Takes the mean colour away.
    pub sub_mean: Conv2d,
    /// Puts it back.
    pub add_mean: Conv2d,
    /// 3 → feats.
    pub head: [Conv2d; 1],
    /// Groups, then a convolution.
    pub body: Vec<Part>,
    /// The upsampler, feats → 3.
    pub tail: (Upsampler, Conv2d),
}

/// Channels of a map per channel of the attention.
const REDUCTION: usize = 16;

impl Rcan {
    pub(super) fn new(config: &Config, device: &Device) -> Self {
        let f = config.feats;
        let inner = |_| conv(f, f, 3, device);
        let site = || site(config.chunks, f, Form::Depthwise, device);
        let block = |_| {
            GroupPart::Block(Rcab {
                modules_body: ModulesBody {
                    conv1: inner(0),
                    conv2: inner(1),
                    cafms1: site(),
                    cafms2: site(),
                },
                calayer: ChannelAttention {
                    conv_du: (conv(f, f / REDUCTION, 1, device), Slot {}, conv(f / REDUCTION, f, 1, device)),
                },
            })
        };
        let group = |_| {
            let last = GroupPart::Last(inner(0));
            Part::Group(Group { body: (0..config.blocks).map(block).chain([last]).collect() })
        };
        Self {
            sub_mean: mean_shift(-1.0, device),
            add_mean: mean_shift(1.0, device),
            head: [conv(3, f, 3, device)],
            body: (0..config.groups).map(group).chain([Part::Last(inner(0))]).collect(),
            tail: (Upsampler::new(f, config.scale, device), conv(f, 3, 3, device)),
        }
    }

    pub(super) fn forward(&self, x: Tensor<4>, chunk: Chunk, taps: &mut Taps) -> Tensor<4> {
        self.add_mean.forward(self.core(self.sub_mean.forward(x), chunk, taps, Order::Published))
    }

    /// Between the mean colours.
    pub(super) fn core(&self, x: Tensor<4>, chunk: Chunk, taps: &mut Taps, order: Order) -> Tensor<4> {
        let head = self.head[0].forward(x);
        taps.see("head", &head);
        let mut x = head.clone();
        for (at, part) in self.body.iter().enumerate() {
            x = match part {
                Part::Group(group) => {
                    taps.within(format_args!("body.{at}"), |taps| group.forward(x, chunk, taps))
                }
                Part::Last(conv) => conv.forward(x),
            };
            taps.see(format_args!("body.{at}"), &x);
        }
        let x = self.tail.0.forward(x.add(head), order);
        taps.see("tail.0", &x);
        self.tail.1.forward(x)
    }
}

impl Group {
    fn forward(&self, input: Tensor<4>, chunk: Chunk, taps: &mut Taps) -> Tensor<4> {
        let mut x = input.clone();
        for (at, part) in self.body.iter().enumerate() {
            x = match part {
                GroupPart::Block(block) => block.forward(x, chunk),
                GroupPart::Last(conv) => conv.forward(x),
            };
            taps.see(format_args!("body.{at}"), &x);
        }
        x.add(input)
    }
}

impl Rcab {
    fn forward(&self, x: Tensor<4>, chunk: Chunk) -> Tensor<4> {
        let own = &self.modules_body;
        let y = modulate(&own.cafms1, own.conv1.forward(x.clone()), chunk, Rectified::After);
        let y = modulate(&own.cafms2, own.conv2.forward(y), chunk, Rectified::Never);
        let (first, _, second) = &self.calayer.conv_du;
        let mean = global_avg_pool(y.clone());
        let weight = sigmoid(second.forward(relu(first.forward(mean))));
        y.mul(weight).add(x)
    }
}
