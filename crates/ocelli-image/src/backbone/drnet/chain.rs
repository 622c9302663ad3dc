//! The resolution predictor: a stem, stages of basic blocks, a linear layer. With several norm sets also the
//! classifier of small experiments.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_nn::{
    Activation, BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, ConvKind, Dropout, Linear, LinearConfig,
    MaxPool2d, Taps, global_avg_pool,
};
use serde::{Deserialize, Serialize};

use crate::backbone::resnet::{BasicBlock, Norms};
use crate::backbone::{Backbone, FeatureInfo};

const RELU: Activation = Activation::Relu;

/// How to build a [`Chain`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainConfig {
    /// Side of the stem's kernel.
    pub kernel: usize,
    /// Stride of the stem.
    pub stride: usize,
    /// Whether a 3x3 max-pooling of stride 2 follows the stem.
    pub pool: bool,
    /// Channels of the stages, the first also the stem's; every stage but the first halves the map.
    pub widths: Vec<usize>,
    /// Basic blocks per stage.
    pub blocks: Vec<usize>,
}

impl ChainConfig {
    /// The paper's predictor: 4,907,331 parameters for three candidates.
    pub fn predictor() -> Self {
        Self { kernel: 7, stride: 2, pool: true, widths: vec![64, 128, 256, 512], blocks: vec![1; 4] }
    }

    /// Builds the network for `outputs` scores or classes.
    ///
    /// # Panics
    /// If the stages are not as many as their widths, or there are none: a mistake in a network's own code.
    pub fn init(
        &self,
        channels_in: usize,
        outputs: usize,
        drop_rate: f64,
        norms: Norms,
        device: &Device,
    ) -> Chain {
        assert!(
            !self.widths.is_empty() && self.widths.len() == self.blocks.len(),
            "{} widths for {} stages",
            self.widths.len(),
            self.blocks.len()
        );
        let stem = self.widths[0];
        let mut from = stem;
        let layers = self
            .widths
            .iter()
            .zip(&self.blocks)
            .enumerate()
            .map(|(stage, (&width, &blocks))| {
                (0..blocks)
                    .map(|block| {
                        let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                        let built =
                            BasicBlock::new(from, width, stride, None, ConvKind::Plain, norms, device);
                        from = width;
                        built
                    })
                    .collect()
            })
            .collect();
        Chain {
            conv1: Conv2dConfig::new(channels_in, stem, self.kernel).stride(self.stride).init(device),
            bn1: BatchNormConfig::new(stem).sets(norms.sets).init(device),
            maxpool: self.pool.then(|| MaxPool2d::new(3, 2, 1)),
            layers,
            dropout: Dropout::new(drop_rate),
            end_point: LinearConfig::new(from, outputs).init(device),
            stride: self.stride,
        }
    }
}

/// The network.
#[derive(Module, Debug)]
pub struct Chain {
    conv1: Conv2d,
    bn1: BatchNorm,
    maxpool: Option<MaxPool2d>,
    layers: Vec<Vec<BasicBlock>>,
    dropout: Dropout,
    end_point: Linear,
    stride: usize,
}

impl Backbone for Chain {
    fn forward_features(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
        let x = self.conv1.forward(x);
        if taps.wants("bn1") {
            taps.see("bn1", &self.bn1.forward(x.clone()));
        }
        let mut x = self.bn1.forward_then(x, RELU);
        if let Some(pool) = &self.maxpool {
            // The release pads by zeros instead: the same, where nothing is negative.
            x = pool.forward(x);
        }
        for (index, stage) in self.layers.iter().enumerate() {
            for block in stage {
                x = block.forward(x, &mut Taps::none());
            }
            taps.see(format_args!("layer{}", index + 1), &x);
        }
        x
    }

    fn forward_head(&self, features: Tensor<4>, _taps: &mut Taps) -> Tensor<2> {
        let pooled = global_avg_pool(features).flatten::<2>(1, 3);
        self.end_point.forward(self.dropout.forward(pooled))
    }

    fn feature_info(&self) -> Vec<FeatureInfo> {
        let first = if self.maxpool.is_some() { 2 * self.stride } else { self.stride };
        self.layers
            .iter()
            .enumerate()
            .filter_map(|(i, stage)| {
                let channels = stage.last()?.channels_out();
                Some(FeatureInfo::new(format!("layer{}", i + 1), channels, first << i))
            })
            .collect()
    }

    fn classifier(&self) -> &'static str {
        "end_point"
    }
}
