//! The predictor of inverted residuals that goes with MobileNetV2.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_nn::{
    Activation, BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Linear, LinearConfig, global_avg_pool,
};

use crate::backbone::mobilenetv2::Block;

/// Channels of the stem.
const STEM: usize = 16;
/// Channels and stride of the blocks, all of expansion 6.
const BLOCKS: [(usize, usize); 4] = [(24, 2), (40, 2), (80, 2), (96, 1)];

/// Stem, inverted residuals, linear layer.
#[derive(Module, Debug)]
pub struct Inverted {
    conv_stem: Conv2d,
    bn1: BatchNorm,
    blocks: Vec<Block>,
    end_point: Linear,
}

impl Inverted {
    pub(super) fn new(channels_in: usize, outputs: usize, device: &Device) -> Self {
        let mut from = STEM;
        let blocks = BLOCKS
            .iter()
            .map(|&(to, stride)| {
                let block = Block::new([from, to], 6, stride, 1, device);
                from = to;
                block
            })
            .collect();
        Self {
            conv_stem: Conv2dConfig::new(channels_in, STEM, 3).stride(2).init(device),
            bn1: BatchNormConfig::new(STEM).init(device),
            blocks,
            end_point: LinearConfig::new(from, outputs).init(device),
        }
    }

    /// `[batch, channels, h, w]` → scores `[batch, candidates]`
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let mut x = self.bn1.forward_then(self.conv_stem.forward(x), Activation::Relu6);
        for block in &self.blocks {
            x = block.forward(x);
        }
        self.end_point.forward(global_avg_pool(x).flatten::<2>(1, 3))
    }
}
