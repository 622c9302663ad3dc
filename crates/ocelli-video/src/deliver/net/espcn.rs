//! ESPCN: the picture stays small until the last step.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_nn::{Conv2d, Rectified, Taps};

use super::{conv, pixel_shuffle};
use crate::deliver::cafm::{Chunk, Form, Site, modulate, site};
use crate::deliver::config::Config;

/// Four convolutions; the modulation comes after the ReLU.
#[derive(Module, Debug)]
pub struct Espcn {
    /// 3 → feats.
    pub conv1: Conv2d,
    /// feats → feats.
    pub conv2: Conv2d,
    /// feats → feats / 2.
    pub conv3: Conv2d,
    /// feats / 2 → 3 · scale².
    pub conv4: Conv2d,
    /// After conv1.
    pub cafms1: Site,
    /// After conv2.
    pub cafms2: Site,
    /// After conv3.
    pub cafms3: Site,
    scale: usize,
}

impl Espcn {
    pub(super) fn new(config: &Config, device: &Device) -> Self {
        let (f, scale) = (config.feats, config.scale);
        let site = |channels| site(config.chunks, channels, Form::Paired, device);
        Self {
            conv1: conv(3, f, 3, device),
            conv2: conv(f, f, 3, device),
            conv3: conv(f, f / 2, 3, device),
            conv4: conv(f / 2, 3 * scale * scale, 3, device),
            cafms1: site(f),
            cafms2: site(f),
            cafms3: site(f / 2),
            scale,
        }
    }

    pub(super) fn forward(&self, x: Tensor<4>, chunk: Chunk, taps: &mut Taps) -> Tensor<4> {
        pixel_shuffle(self.core(x, chunk, taps), self.scale)
    }

    /// Up to the shuffle: `[batch, 3 · scale², height, width]`
    pub(super) fn core(&self, x: Tensor<4>, chunk: Chunk, taps: &mut Taps) -> Tensor<4> {
        let places = [(&self.conv1, &self.cafms1), (&self.conv2, &self.cafms2), (&self.conv3, &self.cafms3)];
        let mut x = x;
        for (at, (conv, cafms)) in (1..).zip(places) {
            x = conv.forward(x);
            taps.see(format_args!("conv{at}"), &x);
            x = modulate(cafms, x, chunk, Rectified::Before);
            if let Chunk::One(chunk) = chunk {
                taps.see(format_args!("cafms{at}.{chunk}"), &x);
            }
        }
        x = self.conv4.forward(x);
        taps.see("conv4", &x);
        x
    }
}
