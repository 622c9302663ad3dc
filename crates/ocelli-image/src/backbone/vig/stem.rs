//! The first convolutions.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_nn::{Activation, BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Slot};

/// One place of the stem's sequential.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
enum Layer {
    Conv(Conv2d),
    Norm(BatchNorm),
    /// The non-linearity, which has no parameters.
    Activation(Slot),
}

/// 3x3 convolutions with norms, each but the last of stride 2 and followed by a non-linearity, channels doubling up to
/// the last two.
#[derive(Module, Debug)]
pub struct Stem {
    convs: Vec<Layer>,
    #[module(skip)]
    activation: Activation,
}

impl Stem {
    /// To `channels` channels at `stride` pixels (a power of two).
    pub fn new(
        channels_in: usize,
        channels: usize,
        stride: usize,
        activation: Activation,
        device: &Device,
    ) -> Self {
        let halvings = stride.max(2).ilog2() as usize;
        let mut convs = Vec::new();
        let mut from = channels_in;
        for step in 0..=halvings {
            let to = if step < halvings { channels >> (halvings - 1 - step) } else { channels };
            let stride = if step < halvings { 2 } else { 1 };
            convs.push(Layer::Conv(Conv2dConfig::new(from, to, 3).stride(stride).bias(true).init(device)));
            convs.push(Layer::Norm(BatchNormConfig::new(to).init(device)));
            if step < halvings {
                convs.push(Layer::Activation(Slot {}));
            }
            from = to;
        }
        Self { convs, activation }
    }

    /// `[batch, channels_in, h, w]` → `[batch, channels, ⌈h / stride⌉, ⌈w / stride⌉]`
    pub fn forward(&self, mut x: Tensor<4>) -> Tensor<4> {
        for (place, layer) in self.convs.iter().enumerate() {
            x = match layer {
                Layer::Conv(conv) => conv.forward(x),
                Layer::Norm(norm) if place + 1 < self.convs.len() => norm.forward_then(x, self.activation),
                Layer::Norm(norm) => norm.forward(x),
                // Applied by the norm before it.
                Layer::Activation(_) => x,
            };
        }
        x
    }
}
