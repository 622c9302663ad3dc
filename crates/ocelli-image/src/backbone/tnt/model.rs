//! The network.
//!
//! Keys: `cls_token, outer_pos, inner_pos, patch_embed.proj, proj_norm1, proj, proj_norm2, blocks.I.*, norm, head`;
//! published files also hold `outer_tokens`, which nothing reads.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use ocelli_nn::init::{Draw, zeros};
use ocelli_nn::state_dict::Mismatch;
use ocelli_nn::{Dropout, InitScheme, LayerNorm, Linear, LinearConfig, Taps, resize_positions};

use super::{Block, BlockShape, Config, PatchEmbed, weights};
use crate::backbone::{Backbone, BackboneConfig, FeatureInfo};

/// Embedding of words and sentences, blocks, head.
#[derive(Module, Debug)]
pub struct Net {
    cls_token: Param<Tensor<3>>,
    outer_pos: Param<Tensor<3>>,
    inner_pos: Param<Tensor<3>>,
    patch_embed: PatchEmbed,
    proj_norm1: LayerNorm,
    proj: Linear,
    proj_norm2: LayerNorm,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: Linear,
    dropout: Dropout,
    patch_size: usize,
    grid: usize,
}

impl BackboneConfig for Config {
    type Net = Net;

    fn init(&self, device: &Device) -> Net {
        let outer_dim = Config::per_head(self.outer_dim, self.outer_heads);
        let inner_dim = Config::per_head(self.inner_dim, self.inner_heads);
        let (grid, words) = (self.grid(), self.words() * self.words());
        assert!(grid > 0, "pictures of {} pixels have no patch of {}", self.image_size, self.patch_size);
        let block = |index: usize| BlockShape {
            outer_dim,
            outer_heads: self.outer_heads,
            inner_dim,
            inner_heads: self.inner_heads,
            words,
            mlp_ratio: self.mlp_ratio,
            qkv_bias: self.qkv_bias,
            squeeze_excite: self.squeeze_excite,
            inner: self.inner_transformer,
            drop_path: self.drop_path * index as f64 / (self.depth - 1).max(1) as f64,
            drop_rate: self.drop_rate,
        };
        Net {
            cls_token: zeros([1, 1, outer_dim], device),
            outer_pos: zeros([1, grid * grid + 1, outer_dim], device),
            inner_pos: zeros([1, words, inner_dim], device),
            patch_embed: PatchEmbed::new(
                self.in_channels,
                inner_dim,
                self.patch_size,
                self.inner_stride,
                device,
            ),
            proj_norm1: LayerNorm::new(words * inner_dim, device),
            proj: LinearConfig::new(words * inner_dim, outer_dim).init(device),
            proj_norm2: LayerNorm::new(outer_dim, device),
            blocks: (0..self.depth).map(|index| Block::new(block(index), device)).collect(),
            norm: LayerNorm::new(outer_dim, device),
            head: LinearConfig::new(outer_dim, self.num_classes).init(device),
            dropout: Dropout::new(self.drop_rate),
            patch_size: self.patch_size,
            grid,
        }
    }

    fn set_image_size(&mut self, side: usize) {
        self.image_size = side;
    }

    fn set_drop_path(&mut self, rate: f64) -> bool {
        self.drop_path = rate;
        true
    }
}

impl Net {
    /// The positions of the class token and of `[rows, columns]` patches, `[1, 1 + rows · columns, outer_dim]`;
    /// interpolated where the picture is not of the stored size.
    fn positions(&self, [rows, columns]: [usize; 2]) -> Tensor<3> {
        let stored = self.outer_pos.val();
        if [rows, columns] == [self.grid; 2] {
            return stored;
        }
        let [_, tokens, dim] = stored.dims();
        let class = stored.clone().narrow(1, 0, 1);
        let map = stored.narrow(1, 1, tokens - 1).swap_dims(1, 2).reshape([1, dim, self.grid, self.grid]);
        let map = resize_positions(map, [rows, columns]);
        Tensor::cat(vec![class, map.reshape([1, dim, rows * columns]).swap_dims(1, 2)], 1)
    }

    /// Words `[batch · patches, words, inner_dim]` and tokens `[batch, 1 + patches, outer_dim]`, with positions.
    fn embed(&self, x: Tensor<4>, taps: &mut Taps) -> (Tensor<3>, Tensor<3>) {
        let [batch, _, height, width] = x.dims();
        let (rows, columns) = (height / self.patch_size, width / self.patch_size);
        let words = self.patch_embed.forward(x);
        taps.see("patch_embed", &words);
        let inner = words.add(self.inner_pos.val());
        let [_, count, width] = inner.dims();
        let sentence = inner.clone().reshape([batch, rows * columns, count * width]);
        let sentence = self.proj_norm2.forward(self.proj.forward(self.proj_norm1.forward(sentence)));
        taps.see("proj_norm2", &sentence);
        let class = self.cls_token.val();
        let dim = class.dims()[2];
        let outer = Tensor::cat(vec![class.expand([batch, 1, dim]), sentence], 1);
        (inner, self.dropout.forward(outer.add(self.positions([rows, columns]))))
    }

    /// What the class token looks at in the last block: `[batch, heads, rows, columns]` for pictures `x`.
    pub fn class_attention(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, _, height, width] = x.dims();
        let (rows, columns) = (height / self.patch_size, width / self.patch_size);
        let (mut inner, mut outer) = self.embed(x, &mut Taps::none());
        let (last, before) = self.blocks.split_last().expect("a network has a block");
        for block in before {
            (inner, outer) = block.forward(inner, outer, "", &mut Taps::none());
        }
        let weights = last.outer_attention(inner, outer);
        let heads = weights.dims()[1];
        weights.narrow(2, 0, 1).narrow(3, 1, rows * columns).reshape([batch, heads, rows, columns])
    }

    /// How the words of every patch look at each other in the first block:
    /// `[batch · patches, heads, words, words]`. Nothing for a network without inner halves.
    pub fn word_attention(&self, x: Tensor<4>) -> Option<Tensor<4>> {
        let (inner, _) = self.embed(x, &mut Taps::none());
        self.blocks.first()?.inner_attention(inner)
    }
}

impl Backbone for Net {
    /// All tokens as `[batch, outer_dim, 1 + patches, 1]`, the class token first.
    fn forward_features(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
        let [batch, _, height, width] = x.dims();
        let grid = [height / self.patch_size, width / self.patch_size];
        let (mut inner, mut outer) = self.embed(x, taps);
        for (index, block) in self.blocks.iter().enumerate() {
            let name = format!("blocks.{index}");
            (inner, outer) = block.forward(inner, outer, &name, taps);
            taps.see(format_args!("{name}.inner"), &inner);
            taps.see(format_args!("{name}.outer"), &outer);
        }
        let tokens = self.norm.forward(outer);
        taps.see("norm", &tokens);
        let [_, count, dim] = tokens.dims();
        let tokens = tokens.swap_dims(1, 2);
        if taps.wants("tokens") {
            let patches = tokens.clone().narrow(2, 1, count - 1).reshape([batch, dim, grid[0], grid[1]]);
            taps.see("tokens", &patches);
        }
        tokens.reshape([batch, dim, count, 1])
    }

    fn forward_head(&self, features: Tensor<4>, _taps: &mut Taps) -> Tensor<2> {
        self.head.forward(features.narrow(2, 0, 1).flatten::<2>(1, 3))
    }

    fn feature_info(&self) -> Vec<FeatureInfo> {
        let [_, dim] = self.head.weight.lazy_shape().dims();
        vec![FeatureInfo::new("tokens", dim, self.patch_size)]
    }

    fn classifier(&self) -> &'static str {
        "head"
    }

    fn init_scheme(&self) -> InitScheme {
        InitScheme {
            conv: Draw::PyTorchDefault,
            linear: Draw::TruncatedNormal(0.02),
            linear_bias: Draw::Zeros,
            positions: Draw::TruncatedNormal(0.02),
            ..InitScheme::KAIMING
        }
    }

    fn adopt(&self, foreign: &str) -> Option<String> {
        weights::from_timm(foreign)
    }

    fn fit(&self, published: &str, data: TensorData, shape: &[usize]) -> TensorData {
        let fitted = match published {
            "inner_pos" => weights::positions_from_timm(&data),
            "outer_pos" => weights::resized_positions(&data, shape),
            _ => None,
        };
        fitted.unwrap_or(data)
    }

    fn explain(&self, mismatch: &Mismatch) -> Option<&'static str> {
        let legacy = mismatch.unexpected.iter().any(|name| name == "blocks.0.proj.bias");
        legacy.then_some(
            "the file is of the first version of TNT (timm: tnt_s_legacy_patch16_224), which computes another network",
        )
    }

    fn ignored(&self, published: &str) -> bool {
        published == "outer_tokens"
    }

    fn check_size(&self, [height, width]: [usize; 2]) -> Result<(), String> {
        let side = self.patch_size;
        let fits = |size: usize| size >= side && size.is_multiple_of(side);
        if fits(height) && fits(width) {
            return Ok(());
        }
        Err(format!("a picture of {height}x{width} pixels is not made of whole patches of {side}x{side}"))
    }
}
