//! The serialisable description of a ResNet.

use ocelli_nn::{Activation, Squeeze, Versatile, make_divisible};
use serde::{Deserialize, Serialize};

/// Kind of residual block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Block {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3, 1x1 with four times the channels at the end.
    Bottleneck,
}

impl Block {
    /// Output channels per plane.
    pub fn expansion(self) -> usize {
        match self {
            Block::Basic => 1,
            Block::Bottleneck => 4,
        }
    }
}

/// First convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stem {
    /// One 7x7 with stride 2, to 64 channels.
    Conv7x7,
    /// Three 3x3, the first with stride 2: to `width`, `width`, then 2 × `width` channels.
    Deep {
        /// Channels of the first two.
        width: usize,
    },
}

/// Where squeeze-and-excitation sits in a residual block (the paper's figure 5 and SE_3×3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SePlacement {
    /// On the residual branch, before the sum.
    #[default]
    Standard,
    /// On the branch's input; the shortcut gets the plain input.
    Pre,
    /// After the sum and its ReLU.
    Post,
    /// On the shortcut, after its projection where there is one.
    Identity,
    /// Inside the bottleneck, after the 3x3's ReLU.
    #[serde(rename = "3x3")]
    Inner,
}

/// Squeeze-and-excitation in every block.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeConfig {
    /// Channels per hidden unit.
    pub reduction: usize,
    /// Round the hidden width to a multiple of this (timm's nets: 8); 1 divides and truncates.
    pub divisor: usize,
    /// Where it sits.
    #[serde(default)]
    pub placement: SePlacement,
    /// Summary over space.
    #[serde(default)]
    pub squeeze: Squeeze,
    /// Gate.
    #[serde(default = "sigmoid")]
    pub gate: Activation,
}

fn sigmoid() -> Activation {
    Activation::Sigmoid
}

impl SeConfig {
    /// timm's modern layout: `1/16` of the channels rounded to a multiple of 8.
    pub const MODERN: Self = Self {
        reduction: 16,
        divisor: 8,
        placement: SePlacement::Standard,
        squeeze: Squeeze::Avg,
        gate: Activation::Sigmoid,
    };

    /// The paper's form: `channels / reduction`, truncated.
    pub const fn paper(reduction: usize) -> Self {
        Self { reduction, divisor: 1, ..Self::MODERN }
    }

    /// Hidden units for `channels`.
    pub fn hidden(&self, channels: usize) -> usize {
        match self.divisor {
            1 => (channels / self.reduction).max(1),
            divisor => make_divisible(channels as f64 / self.reduction as f64, divisor, 0.0),
        }
    }
}

/// Sets of gain, shift and statistics in every batch norm (arXiv 2106.02898), see [`ocelli_nn::with_norm_set`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Norms {
    /// How many; 1 makes ordinary norms.
    pub sets: usize,
    /// Whether the norms of projections always compute with the first set.
    #[serde(default)]
    pub pin_projections: bool,
}

impl Default for Norms {
    fn default() -> Self {
        Self { sets: 1, pin_projections: false }
    }
}

impl Norms {
    fn single(&self) -> bool {
        self.sets == 1
    }
}

/// A ResNet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Kind of block.
    pub block: Block,
    /// Blocks per stage.
    pub layers: [usize; 4],
    /// Groups of the bottleneck's 3x3.
    pub groups: usize,
    /// Width per group at 64 planes (64 for plain ResNets, 4 for 32x4d).
    pub base_width: usize,
    /// First convolutions.
    pub stem: Stem,
    /// 3x3 instead of 1x1 in the projections of stages 2 to 4 (SENet-154).
    #[serde(default)]
    pub down_3x3: bool,
    /// First 1x1 of a bottleneck twice as narrow as its 3x3 (SENet-154).
    #[serde(default)]
    pub reduce_first: bool,
    /// Squeeze-and-excitation.
    pub se: Option<SeConfig>,
    /// Versatile filters in all convolutions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versatile: Option<Versatile>,
    /// Sets in every batch norm, for networks run at several resolutions.
    #[serde(default, skip_serializing_if = "Norms::single")]
    pub norms: Norms,
    /// Channels of the input.
    pub in_channels: usize,
    /// Classes.
    pub num_classes: usize,
    /// Dropout before the classifier.
    pub drop_rate: f64,
}

impl Config {
    /// A plain ResNet for ImageNet.
    pub fn new(block: Block, layers: [usize; 4]) -> Self {
        Self {
            block,
            layers,
            groups: 1,
            base_width: 64,
            stem: Stem::Conv7x7,
            down_3x3: false,
            reduce_first: false,
            se: None,
            versatile: None,
            norms: Norms::default(),
            in_channels: 3,
            num_classes: 1000,
            drop_rate: 0.0,
        }
    }

    /// With timm's squeeze-and-excitation.
    pub fn with_se(mut self) -> Self {
        self.se = Some(SeConfig::MODERN);
        self
    }

    /// With versatile filters.
    pub fn with_versatile(mut self, versatile: Versatile) -> Self {
        self.versatile = Some(versatile);
        self
    }

    /// ResNeXt `groups x base_width d`.
    pub fn with_groups(mut self, groups: usize, base_width: usize) -> Self {
        self.groups = groups;
        self.base_width = base_width;
        self
    }
}
