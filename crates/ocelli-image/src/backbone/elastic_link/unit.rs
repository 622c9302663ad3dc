//! Convolution, batch norm, activation.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_nn::binary::{BinaryConv2d, BinaryConv2dConfig, PRelu};
use ocelli_nn::{Activation, BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig};

/// A binary convolution (with its link), the batch norm of the sum, a slope per channel.
#[derive(Module, Debug)]
pub struct Unit {
    conv: UnitConv,
    bn: BatchNorm,
    act: Option<PRelu>,
}

#[allow(clippy::large_enum_variant)]
#[derive(Module, Debug)]
enum UnitConv {
    Binary(BinaryConv2d),
    Real(Conv2d),
}

impl Unit {
    /// `conv`, which gives `channels` channels, made binary; `act` says whether an activation follows.
    pub fn new(conv: Conv2dConfig, channels: usize, elastic_link: bool, act: bool, device: &Device) -> Self {
        let conv = BinaryConv2dConfig::new(conv).elastic_link(elastic_link).init(device);
        Self::of(UnitConv::Binary(conv), channels, act, device)
    }

    /// `conv` as it is.
    pub fn real(conv: Conv2dConfig, channels: usize, device: &Device) -> Self {
        Self::of(UnitConv::Real(conv.init(device)), channels, true, device)
    }

    fn of(conv: UnitConv, channels: usize, act: bool, device: &Device) -> Self {
        let bn = BatchNormConfig::new(channels).init(device);
        Self { conv, bn, act: act.then(|| PRelu::new(channels, device)) }
    }

    fn sum(&self, x: Tensor<4>) -> Tensor<4> {
        match &self.conv {
            UnitConv::Binary(conv) => conv.forward(x),
            UnitConv::Real(conv) => conv.forward(x),
        }
    }

    /// `[batch, channels_in, h, w]` → `[batch, channels, ⌈h / stride⌉, ⌈w / stride⌉]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.bn.forward(self.sum(x));
        match &self.act {
            Some(act) => act.forward(y),
            None => y,
        }
    }

    /// `bn(conv(x)) + shortcut`: the end of a residual branch.
    pub fn forward_add(&self, x: Tensor<4>, shortcut: Tensor<4>) -> Tensor<4> {
        self.bn.forward_add(self.sum(x), shortcut, Activation::Identity)
    }
}
