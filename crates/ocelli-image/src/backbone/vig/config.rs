//! The serialisable description of a Vision GNN.

use ocelli_nn::Activation;
use serde::{Deserialize, Serialize};

use super::Aggregate;

/// Neighbours of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockConfig {
    /// Neighbours per node.
    pub k: usize,
    /// Of the nearest `k · dilation` nodes every `dilation`-th is a neighbour. Clamped where a picture has too few nodes.
    pub dilation: usize,
}

/// Blocks on maps of one size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Channels.
    pub channels: usize,
    /// Neighbours are chosen on the map averaged over windows of this side, in pixels.
    pub reduce: usize,
    /// The blocks.
    pub blocks: Vec<BlockConfig>,
}

/// What a node's neighbours are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Graph {
    /// The nearest nodes in feature space.
    #[default]
    Nearest,
    /// Itself alone: what the network is without a graph.
    Own,
    /// The 3x3 pixels around it (at the border those that exist, repeated).
    Grid,
}

/// A Vision GNN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Side of the pictures the position tables are stored for, in pixels.
    pub image_size: usize,
    /// Pixels of the picture per node of the first stage, a power of two; later stages halve the map.
    pub stem_stride: usize,
    /// The stages: one for isotropic networks.
    pub stages: Vec<Stage>,
    /// Whether tables of relative positions are added to the distances.
    pub relative_positions: bool,
    /// How neighbours are combined.
    pub aggregate: Aggregate,
    /// The non-linearity.
    pub activation: Activation,
    /// Channel groups of the graph convolution (the paper's heads).
    pub groups: usize,
    /// What a node's neighbours are.
    #[serde(default)]
    pub graph: Graph,
    /// Whether the graph convolution stands between two 1x1 convolutions (the paper's ablation).
    #[serde(default = "yes")]
    pub grapher_fc: bool,
    /// Whether a feed-forward network follows (the paper's ablation).
    #[serde(default = "yes")]
    pub ffn: bool,
    /// Probability, in training, that a block's neighbours are random ones of the nearest `k · dilation`.
    #[serde(default)]
    pub random_neighbours: f64,
    /// Stochastic depth of the last block; grows linearly from 0 at the first.
    #[serde(default)]
    pub drop_path: f64,
    /// Channels of the input.
    pub in_channels: usize,
    /// Classes.
    pub num_classes: usize,
    /// Dropout before the classifier.
    pub drop_rate: f64,
}

fn yes() -> bool {
    true
}

/// Numbers of neighbours that grow evenly from `k` to `2 k`, truncated: the reference's list, in its float32.
fn growing(k: usize, blocks: usize) -> Vec<usize> {
    let (start, end) = (k as f32, 2.0 * k as f32);
    let step = (end - start) / (blocks.max(2) - 1) as f32;
    (0..blocks)
        .map(|i| {
            // PyTorch's linspace counts from the nearer end.
            let value =
                if i < blocks / 2 { start + step * i as f32 } else { end - step * (blocks - 1 - i) as f32 };
            value as usize
        })
        .collect()
}

/// Dilation of the `index`-th block of a network: one more every four blocks, up to `most`.
fn dilation(index: usize, most: usize) -> usize {
    (index / 4 + 1).min(most.max(1))
}

impl Config {
    /// An isotropic network for pictures of `image_size` pixels, 16 pixels per node, `k` to `2 k` neighbours.
    pub fn isotropic(channels: usize, blocks: usize, k: usize, image_size: usize) -> Self {
        let counts = growing(k, blocks);
        let nodes = (image_size / 16).pow(2);
        let most = nodes / counts.last().copied().unwrap_or(k).max(1);
        let blocks = counts
            .into_iter()
            .enumerate()
            .map(|(i, k)| BlockConfig { k, dilation: dilation(i, most) })
            .collect();
        Self {
            image_size,
            stem_stride: 16,
            stages: vec![Stage { channels, reduce: 1, blocks }],
            relative_positions: false,
            ..Self::pyramid([8; 4], [1; 4], k, [1; 4], image_size)
        }
    }

    /// A pyramid of four stages at strides 4 to 32, `k` neighbours in every block.
    pub fn pyramid(
        channels: [usize; 4],
        blocks: [usize; 4],
        k: usize,
        reduce: [usize; 4],
        image_size: usize,
    ) -> Self {
        let most = (image_size / 32).pow(2) / k.max(1);
        let mut index = 0;
        let stages = (0..4)
            .map(|stage| Stage {
                channels: channels[stage],
                reduce: reduce[stage],
                blocks: (0..blocks[stage])
                    .map(|_| {
                        index += 1;
                        BlockConfig { k, dilation: dilation(index - 1, most) }
                    })
                    .collect(),
            })
            .collect();
        Self {
            image_size,
            stem_stride: 4,
            stages,
            relative_positions: true,
            aggregate: Aggregate::MaxRelative,
            activation: Activation::Gelu,
            groups: 4,
            graph: Graph::Nearest,
            grapher_fc: true,
            ffn: true,
            random_neighbours: 0.0,
            drop_path: 0.0,
            in_channels: 3,
            num_classes: 1000,
            drop_rate: 0.0,
        }
    }

    /// Every block with dilation 1.
    pub fn without_dilation(mut self) -> Self {
        self.stages.iter_mut().flat_map(|stage| &mut stage.blocks).for_each(|block| block.dilation = 1);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::growing;

    #[test]
    fn neighbour_counts_are_the_references() {
        assert_eq!(growing(9, 12), [9, 9, 10, 11, 12, 13, 13, 14, 15, 16, 17, 18]);
        assert_eq!(growing(9, 16), [9, 9, 10, 10, 11, 12, 12, 13, 13, 14, 15, 15, 16, 16, 17, 18]);
    }
}
