//! The serialisable description of a TNT.

use serde::{Deserialize, Serialize};

/// A TNT.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Side of the picture the position embeddings are stored for, in pixels.
    pub image_size: usize,
    /// Side of a patch, in pixels.
    pub patch_size: usize,
    /// Distance of the words in a patch, in pixels.
    pub inner_stride: usize,
    /// Width of a patch's token.
    pub outer_dim: usize,
    /// Attention heads over patches.
    pub outer_heads: usize,
    /// Width of a word.
    pub inner_dim: usize,
    /// Attention heads over words.
    pub inner_heads: usize,
    /// Blocks.
    pub depth: usize,
    /// Hidden units of the feed-forward layers per unit of width.
    pub mlp_ratio: f64,
    /// Biases of query, key and value.
    #[serde(default)]
    pub qkv_bias: bool,
    /// Squeeze-and-excitation over tokens behind the outer feed-forward layer.
    #[serde(default)]
    pub squeeze_excite: bool,
    /// Whether blocks have their inner half; without it the network is a plain vision transformer on the same tokens.
    #[serde(default = "yes")]
    pub inner_transformer: bool,
    /// Stochastic depth of the last block; grows linearly from 0 at the first.
    #[serde(default)]
    pub drop_path: f64,
    /// Channels of the input.
    pub in_channels: usize,
    /// Classes.
    pub num_classes: usize,
    /// Dropout of embeddings and layers.
    pub drop_rate: f64,
}

fn yes() -> bool {
    true
}

impl Config {
    /// A published network: patches of 16 pixels, words 4 pixels apart, twelve blocks, for 224 pixels and 1000 classes.
    pub fn new(outer_dim: usize, outer_heads: usize, inner_dim: usize, inner_heads: usize) -> Self {
        Self {
            image_size: 224,
            patch_size: 16,
            inner_stride: 4,
            outer_dim,
            outer_heads,
            inner_dim,
            inner_heads,
            depth: 12,
            mlp_ratio: 4.0,
            qkv_bias: false,
            squeeze_excite: false,
            inner_transformer: true,
            drop_path: 0.0,
            in_channels: 3,
            num_classes: 1000,
            drop_rate: 0.0,
        }
    }

    /// Patches per side of the picture.
    pub fn grid(&self) -> usize {
        self.image_size / self.patch_size
    }

    /// Words per side of a patch.
    pub fn words(&self) -> usize {
        self.patch_size.div_ceil(self.inner_stride)
    }

    /// `value` as the next multiple of `heads` that is at most a tenth below it.
    pub(super) fn per_head(value: usize, heads: usize) -> usize {
        ocelli_nn::make_divisible(value as f64, heads, 0.9)
    }
}
