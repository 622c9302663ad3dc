//! SRCNN: three convolutions on the enlarged picture.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_nn::{Conv2d, Rectified, Taps};

use super::conv;
use crate::deliver::cafm::{Chunk, Form, Site, modulate, site};
use crate::deliver::config::Config;

/// The modulation comes after the ReLU.
#[derive(Module, Debug)]
pub struct Srcnn {
    /// 3 → feats, 9 x 9.
    pub conv1: Conv2d,
    /// feats → feats / 2, 5 x 5.
    pub conv2: Conv2d,
    /// feats / 2 → 3, 5 x 5.
    pub conv3: Conv2d,
    /// After conv1.
    pub cafms1: Site,
    /// After conv2.
    pub cafms2: Site,
}

impl Srcnn {
    pub(super) fn new(config: &Config, device: &Device) -> Self {
        let f = config.feats;
        let site = |channels| site(config.chunks, channels, Form::Paired, device);
        Self {
            conv1: conv(3, f, 9, device),
            conv2: conv(f, f / 2, 5, device),
            conv3: conv(f / 2, 3, 5, device),
            cafms1: site(f),
            cafms2: site(f / 2),
        }
    }

    pub(super) fn forward(&self, x: Tensor<4>, chunk: Chunk, taps: &mut Taps) -> Tensor<4> {
        let mut x = x;
        for (at, (conv, cafms)) in (1..).zip([(&self.conv1, &self.cafms1), (&self.conv2, &self.cafms2)]) {
            x = conv.forward(x);
            taps.see(format_args!("conv{at}"), &x);
            x = modulate(cafms, x, chunk, Rectified::Before);
            if let Chunk::One(chunk) = chunk {
                taps.see(format_args!("cafms{at}.{chunk}"), &x);
            }
        }
        x = self.conv3.forward(x);
        taps.see("conv3", &x);
        x
    }
}
