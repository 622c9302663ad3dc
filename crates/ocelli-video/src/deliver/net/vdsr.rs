//! VDSR: a deep chain that corrects the enlarged picture.

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use ocelli_nn::{Conv2d, Rectified, Taps};

use super::{conv, mean_shift};
use crate::deliver::cafm::{Chunk, Form, Site, modulate, site};
use crate::deliver::config::Config;

/// One convolution with its modulation, before the ReLU.
#[derive(Module, Debug)]
pub struct Link {
    /// feats → feats.
    pub conv1: Conv2d,
    /// After it.
    pub cafms: Site,
}

/// The chain.
#[derive(Module, Debug)]
pub struct Vdsr {
    /// Takes the mean colour away.
    pub sub_mean: Conv2d,
    /// Puts it back.
    pub add_mean: Conv2d,
    /// 3 → feats.
    pub head: [Conv2d; 1],
    /// All but the first and the last convolution.
    pub body: Vec<Link>,
    /// feats → 3.
    pub tail: [Conv2d; 1],
}

impl Vdsr {
    pub(super) fn new(config: &Config, device: &Device) -> Self {
        let f = config.feats;
        let link =
            |_| Link { conv1: conv(f, f, 3, device), cafms: site(config.chunks, f, Form::Depthwise, device) };
        Self {
            sub_mean: mean_shift(-1.0, device),
            add_mean: mean_shift(1.0, device),
            head: [conv(3, f, 3, device)],
            body: (2..config.blocks).map(link).collect(),
            tail: [conv(f, 3, 3, device)],
        }
    }

    pub(super) fn forward(&self, x: Tensor<4>, chunk: Chunk, taps: &mut Taps) -> Tensor<4> {
        let input = self.sub_mean.forward(x);
        self.add_mean.forward(self.core(input.clone(), chunk, taps).add(input))
    }

    /// What is added to the enlarged picture.
    pub(super) fn core(&self, x: Tensor<4>, chunk: Chunk, taps: &mut Taps) -> Tensor<4> {
        let mut x = relu(self.head[0].forward(x));
        taps.see("head", &x);
        for (at, link) in self.body.iter().enumerate() {
            x = modulate(&link.cafms, link.conv1.forward(x), chunk, Rectified::After);
            taps.see(format_args!("body.{at}"), &x);
        }
        x = self.tail[0].forward(x);
        taps.see("tail", &x);
        x
    }
}
