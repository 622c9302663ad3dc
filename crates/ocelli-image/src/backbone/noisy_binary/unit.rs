//! Binary convolution, batch norm, shortcut, slope.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use ocelli_nn::binary::{BinaryConv2d, BinaryConv2dConfig, PRelu, half_pool};
use ocelli_nn::init::zeros;
use ocelli_nn::{Activation, BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Slot};

use super::config::{Labels, Supervision};

/// `act(bn(conv(sign(x))) + shortcut)`; the filters are signs alone, since a batch norm follows.
#[derive(Module, Debug)]
pub struct Unit {
    /// The binary convolution.
    pub conv: BinaryConv2d,
    label: Option<Param<Tensor<4>>>,
    bn: BatchNorm,
    down: Option<(Slot, Conv2d, BatchNorm)>,
    act: PRelu,
    stride: usize,
}

impl Unit {
    /// `channels_in → channels_out`, stride 1 or 2; where either changes the shape, a real-valued 1x1 convolution of the (pooled)
    /// input is the shortcut.
    pub fn new(
        channels_in: usize,
        channels_out: usize,
        stride: usize,
        supervision: Option<&Supervision>,
        device: &Device,
    ) -> Self {
        let plain = Conv2dConfig::new(channels_in, channels_out, 3).stride(stride);
        let bound = 1.0 / (9.0 * channels_in.max(1) as f64).sqrt();
        let conv = BinaryConv2dConfig::new(plain)
            .scaled(false)
            .range(-bound, bound)
            .mapping(supervision.map(|own| own.skip));
        let norm = || BatchNormConfig::new(channels_out).init(device);
        let projects = stride != 1 || channels_in != channels_out;
        let frozen = supervision.is_some_and(|own| own.labels == Labels::Frozen);
        Self {
            conv: conv.init(device),
            label: frozen.then(|| zeros([channels_out, channels_in, 3, 3], device)),
            bn: norm(),
            down: projects
                .then(|| (Slot {}, Conv2dConfig::new(channels_in, channels_out, 1).init(device), norm())),
            act: PRelu::new(channels_out, device),
            stride,
        }
    }

    /// The labels of the weights' signs, `[channels_out, channels_in, 3, 3]`, without gradient.
    pub fn labels(&self) -> Tensor<4> {
        let present = self.conv.latent_signs();
        match &self.label {
            // Zero where nothing was loaded.
            Some(label) => {
                let label = label.val().detach();
                let unset = label.clone().abs().neg().add_scalar(1.0);
                label.add(unset.mul(present))
            }
            None => present,
        }
    }

    /// Whether labels are stored.
    pub(super) fn has_frozen_labels(&self) -> bool {
        self.label.is_some()
    }

    /// `[batch, channels_in, h, w]` → `[batch, channels_out, ⌈h / stride⌉, ⌈w / stride⌉]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.conv.forward(x.clone());
        self.finish(x, y)
    }

    /// [`forward`](Self::forward) with these filters.
    pub fn forward_with(&self, x: Tensor<4>, filters: Tensor<4>) -> Tensor<4> {
        let y = self.conv.forward_with(x.clone(), filters);
        self.finish(x, y)
    }

    fn finish(&self, x: Tensor<4>, y: Tensor<4>) -> Tensor<4> {
        let shortcut = match &self.down {
            Some((_, conv, norm)) => {
                let x = if self.stride == 2 { half_pool(x) } else { x };
                norm.forward(conv.forward(x))
            }
            None => x,
        };
        self.act.forward(self.bn.forward_add(y, shortcut, Activation::Identity))
    }
}
