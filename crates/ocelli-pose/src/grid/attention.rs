//! The attention over kernel taps of D-GridConv (`DynamicAttention2D` of the reference).

use burn::module::Module;
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Device, Tensor};
use ocelli_nn::{BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig};

use super::padding::TAPS;

/// How to build an [`Attention`].
#[derive(Clone, Copy, Debug)]
pub struct AttentionConfig {
    /// Channels of the map it looks at.
    pub channels_in: usize,
    /// Cells of the grid.
    pub cells: usize,
    /// Channels of its hidden layer.
    pub hidden: usize,
}

impl AttentionConfig {
    /// The reference's: a sixteenth of the channels, at least 16.
    pub fn new(channels_in: usize, cells: usize) -> Self {
        Self { channels_in, cells, hidden: (channels_in / 16).max(16) }
    }

    /// Builds the layer, its parameters zeros until initialised or loaded.
    pub fn init(&self, device: &Device) -> Attention {
        Attention {
            fc: Conv2dConfig::new(self.channels_in, self.hidden, 1).init(device),
            bn: BatchNormConfig::new(self.hidden).init(device),
            position_fc: Conv2dConfig::new(self.hidden, TAPS * self.cells, 1).bias(true).init(device),
        }
    }
}

/// A factor per cell and tap, from the mean of the map.
#[derive(Module, Debug)]
pub struct Attention {
    /// `channels_in -> hidden`, without bias.
    pub fc: Conv2d,
    /// Over the batch.
    pub bn: BatchNorm,
    /// `hidden -> 9 * cells`; output channel `tap * cells + cell`.
    pub position_fc: Conv2d,
}

impl Attention {
    /// `[batch, cells, channels_in]` -> `[batch, 9, cells]`, within (0, 1). The higher `temperature`, the closer to 1/2.
    pub fn forward(&self, x: Tensor<3>, temperature: f64) -> Tensor<3> {
        let [batch, cells, channels] = x.dims();
        let mean = x.mean_dim(1).reshape([batch, channels, 1, 1]);
        let hidden = relu(self.bn.forward(self.fc.forward(mean)));
        let scores = self.position_fc.forward(hidden).reshape([batch, TAPS, cells]);
        sigmoid(scores.div_scalar(temperature))
    }
}
