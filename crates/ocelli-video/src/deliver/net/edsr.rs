//! EDSR: residual blocks at low resolution.

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use ocelli_nn::{Conv2d, Rectified, Slot, Taps};

use super::{Order, Upsampler, conv, mean_shift};
use crate::deliver::cafm::{Chunk, Form, Site, modulate, site};
use crate::deliver::config::Config;

/// A residual block with a modulation behind each convolution.
#[derive(Module, Debug)]
pub struct Block {
    /// feats → feats.
    pub conv1: Conv2d,
    /// feats → feats.
    pub conv2: Conv2d,
    /// Before the ReLU.
    pub cafms1: Site,
    /// Before the sum.
    pub cafms2: Site,
}

/// What the body is made of.
#[derive(Module, Debug)]
// A handful exist.
#[allow(clippy::large_enum_variant)]
pub enum Part {
    /// A block.
    Block(Block),
    /// A block as EDSR's authors lay it out.
    Upstream(Upstream),
    /// The convolution at the end.
    Last(Conv2d),
}

/// EDSR's own block.
#[derive(Module, Debug)]
pub struct Upstream {
    /// Both convolutions around a ReLU.
    pub body: (Conv2d, Slot, Conv2d),
}

/// The network.
#[derive(Module, Debug)]
pub struct Edsr {
    /// Takes the mean colour away.
    pub sub_mean: Conv2d,
    /// Puts it back.
    pub add_mean: Conv2d,
    /// 3 → feats.
    pub head: [Conv2d; 1],
    /// Blocks, then a convolution.
    pub body: Vec<Part>,
    /// The upsampler, feats → 3.
    pub tail: (Upsampler, Conv2d),
    res_scale: f64,
}

impl Edsr {
    pub(super) fn new(config: &Config, device: &Device) -> Self {
        let f = config.feats;
        let conv = |channels_in, channels_out| conv(channels_in, channels_out, 3, device);
        let site = || site(config.chunks, f, Form::Depthwise, device);
        let part = |_| match config.upstream {
            true => Part::Upstream(Upstream { body: (conv(f, f), Slot {}, conv(f, f)) }),
            false => {
                Part::Block(Block { conv1: conv(f, f), conv2: conv(f, f), cafms1: site(), cafms2: site() })
            }
        };
        Self {
            sub_mean: mean_shift(-1.0, device),
            add_mean: mean_shift(1.0, device),
            head: [conv(3, f)],
            body: (0..config.blocks).map(part).chain([Part::Last(conv(f, f))]).collect(),
            tail: (Upsampler::new(f, config.scale, device), conv(f, 3)),
            res_scale: config.res_scale,
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
                Part::Last(conv) => conv.forward(x),
                part => {
                    let branch = part.branch(x.clone(), chunk);
                    let branch =
                        if self.res_scale == 1.0 { branch } else { branch.mul_scalar(self.res_scale) };
                    branch.add(x)
                }
            };
            taps.see(format_args!("body.{at}"), &x);
        }
        let x = self.tail.0.forward(x.add(head), order);
        taps.see("tail.0", &x);
        self.tail.1.forward(x)
    }
}

impl Part {
    fn branch(&self, x: Tensor<4>, chunk: Chunk) -> Tensor<4> {
        match self {
            Self::Block(own) => {
                let inner = modulate(&own.cafms1, own.conv1.forward(x), chunk, Rectified::After);
                modulate(&own.cafms2, own.conv2.forward(inner), chunk, Rectified::Never)
            }
            Self::Upstream(Upstream { body: (first, _, second) }) => second.forward(relu(first.forward(x))),
            Self::Last(conv) => conv.forward(x),
        }
    }
}
