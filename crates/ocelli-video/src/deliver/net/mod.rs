//! The super-resolution networks, modulated. Pixels are RGB from 0 to 255.

pub mod edsr;
mod espcn;
pub mod rcan;
mod srcnn;
mod vdsr;

pub use edsr::Edsr;
pub use espcn::Espcn;
pub use rcan::Rcan;
pub use srcnn::Srcnn;
pub use vdsr::Vdsr;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use ocelli_nn::{Conv2d, Conv2dConfig, Slot, Taps};

use super::bicubic::upsample;
use super::cafm::Chunk;
use super::config::{Backbone, Config, Residual};

/// The mean of each colour over DIV2K, of pixels from 0 to 255.
pub const MEAN: [f32; 3] = [0.4488 * 255.0, 0.4371 * 255.0, 0.4040 * 255.0];

/// The layers of a network of any family, under the published names.
#[derive(Module, Debug)]
// A handful exist.
#[allow(clippy::large_enum_variant)]
pub enum Net {
    /// See [`Espcn`].
    Espcn(Espcn),
    /// See [`Srcnn`].
    Srcnn(Srcnn),
    /// See [`Vdsr`].
    Vdsr(Vdsr),
    /// See [`Edsr`].
    Edsr(Edsr),
    /// See [`Rcan`].
    Rcan(Rcan),
}

impl Config {
    /// The network with zeros for parameters, but for the mean colours; see [`initialize`](super::init::initialize).
    pub fn build(&self, device: &Device) -> Net {
        match self.backbone {
            Backbone::Espcn => Net::Espcn(Espcn::new(self, device)),
            Backbone::Srcnn => Net::Srcnn(Srcnn::new(self, device)),
            Backbone::Vdsr => Net::Vdsr(Vdsr::new(self, device)),
            Backbone::Edsr => Net::Edsr(Edsr::new(self, device)),
            Backbone::Rcan => Net::Rcan(Rcan::new(self, device)),
        }
    }

    /// What `net`, which this configuration built, makes of `x`: `[batch, 3, height, width]` → `[batch, 3, scale · height, scale · width]`,
    /// neither rounded nor clamped.
    pub fn enlarge(&self, net: &Net, x: Tensor<4>, chunk: Chunk, taps: &mut Taps) -> Tensor<4> {
        let bicubic = self.residual == Residual::Bicubic;
        let enlarged = (bicubic || self.takes_enlarged()).then(|| upsample(x.clone(), self.scale));
        match enlarged {
            Some(enlarged) if self.takes_enlarged() => {
                taps.see("upsample", &enlarged);
                let y = net.forward(enlarged.clone(), chunk, taps);
                // VDSR adds its input by itself.
                let adds = bicubic && self.backbone != Backbone::Vdsr;
                if adds { y.add(enlarged) } else { y }
            }
            // The mean colour is the enlarged picture's already.
            Some(enlarged) => net.correction(x, chunk, taps).add(enlarged),
            None => net.forward(x, chunk, taps),
        }
    }
}

impl Net {
    /// What the network itself computes; SRCNN and VDSR take the enlarged picture.
    pub fn forward(&self, x: Tensor<4>, chunk: Chunk, taps: &mut Taps) -> Tensor<4> {
        match self {
            Self::Espcn(net) => net.forward(x, chunk, taps),
            Self::Srcnn(net) => net.forward(x, chunk, taps),
            Self::Vdsr(net) => net.forward(x, chunk, taps),
            Self::Edsr(net) => net.forward(x, chunk, taps),
            Self::Rcan(net) => net.forward(x, chunk, taps),
        }
    }

    /// What is added to the enlarged picture: the output without the mean colour.
    fn correction(&self, x: Tensor<4>, chunk: Chunk, taps: &mut Taps) -> Tensor<4> {
        match self {
            Self::Edsr(net) => net.core(net.sub_mean.forward(x), chunk, taps, Order::Published),
            Self::Rcan(net) => net.core(net.sub_mean.forward(x), chunk, taps, Order::Published),
            other => other.forward(x, chunk, taps),
        }
    }

    /// The network between the mean colours, without ESPCN's last shuffle and without VDSR's last sum: what an engine runs.
    pub fn core(&self, x: Tensor<4>, chunk: Chunk, order: Order) -> Tensor<4> {
        let taps = &mut Taps::none();
        match self {
            Self::Espcn(net) => net.core(x, chunk, taps),
            Self::Srcnn(net) => net.forward(x, chunk, taps),
            Self::Vdsr(net) => net.core(x, chunk, taps),
            Self::Edsr(net) => net.core(x, chunk, taps, order),
            Self::Rcan(net) => net.core(x, chunk, taps, order),
        }
    }
}

/// How the channels before a shuffle are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `c r² + i r + j`, as published.
    Published,
    /// `(i r + j) C + c`: what lies beside each other after the shuffle does so before it, where maps are stored channels-last.
    ChannelsLast,
}

/// A convolution that keeps the extent, with a bias: the only kind there is here.
fn conv(channels_in: usize, channels_out: usize, kernel: usize, device: &Device) -> Conv2d {
    Conv2dConfig::new(channels_in, channels_out, kernel).bias(true).init(device)
}

/// Takes the mean colour away or puts it back: a convolution of one pixel whose weights are constants.
fn mean_shift(sign: f32, device: &Device) -> Conv2d {
    let mut shift = conv(3, 3, 1, device);
    let identity: Vec<f32> = (0..9).map(|i| f32::from(u8::from(i % 4 == 0))).collect();
    let weight = Tensor::from_data(TensorData::new(identity, [3, 3, 1, 1]), device);
    shift.weight = Param::initialized(shift.weight.id, weight);
    if let Some(bias) = shift.bias.take() {
        let means: Vec<f32> = MEAN.iter().map(|mean| sign * mean).collect();
        shift.bias =
            Some(Param::initialized(bias.id, Tensor::from_data(TensorData::new(means, [3]), device)));
    }
    shift
}

/// `out[c, y r + i, x r + j] = in[c r² + i r + j, y, x]`: `[batch, channels r², height, width]` → `[batch, channels, height r, width r]`.
pub fn pixel_shuffle(x: Tensor<4>, r: usize) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let channels = channels / (r * r);
    x.reshape([batch, channels, r, r, height, width]).permute([0, 1, 4, 2, 5, 3]).reshape([
        batch,
        channels,
        height * r,
        width * r,
    ])
}

/// As [`pixel_shuffle`] of channels numbered [`Order::ChannelsLast`].
pub fn pixel_shuffle_last(x: Tensor<4>, r: usize) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let channels = channels / (r * r);
    x.permute([0, 2, 3, 1])
        .reshape([batch, height, width, r, r * channels])
        .permute([0, 1, 3, 2, 4])
        .reshape([batch, height * r, width * r, channels])
        .permute([0, 3, 1, 2])
}

/// EDSR's upsampler: a convolution and a shuffle, twice for a factor of 4.
#[derive(Module, Debug)]
// There is one a network.
#[allow(clippy::large_enum_variant)]
pub enum Upsampler {
    /// Factor 2 or 3.
    Once([Conv2d; 1]),
    /// Factor 4.
    Twice((Conv2d, Slot, Conv2d)),
}

impl Upsampler {
    fn new(feats: usize, scale: usize, device: &Device) -> Self {
        if scale == 4 {
            let step = || conv(feats, 4 * feats, 3, device);
            Self::Twice((step(), Slot {}, step()))
        } else {
            Self::Once([conv(feats, scale * scale * feats, 3, device)])
        }
    }

    fn forward(&self, x: Tensor<4>, order: Order) -> Tensor<4> {
        let step = |conv: &Conv2d, x: Tensor<4>| {
            let channels = x.dims()[1];
            let y = conv.forward(x);
            let r = if y.dims()[1] / channels == 9 { 3 } else { 2 };
            match order {
                Order::Published => pixel_shuffle(y, r),
                Order::ChannelsLast => pixel_shuffle_last(y, r),
            }
        };
        match self {
            Self::Once([conv]) => step(conv, x),
            Self::Twice((first, _, second)) => step(second, step(first, x)),
        }
    }
}
