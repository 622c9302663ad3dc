//! The image networks, one folder each, and what they have in common.

pub mod ghostnet;
pub mod mobilenetv2;
pub mod resnet;
pub mod senet;
pub mod tnt;
pub mod versatile_filters;
pub mod vgg;
pub mod vig;

use std::borrow::Cow;

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_nn::{InitScheme, Taps};

/// What every image network offers.
pub trait Backbone {
    /// Stem and stages: `[batch, channels, height, width]` → the last map `[batch, features, h, w]`.
    ///
    /// `taps` is offered every named intermediate map (the names of [`feature_info`](Self::feature_info) at
    /// least).
    fn forward_features(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<4>;

    /// Pooling and classifier: the last map → logits `[batch, classes]`.
    fn forward_head(&self, features: Tensor<4>, taps: &mut Taps) -> Tensor<2>;

    /// The maps a detector or segmenter taps, finest first.
    fn feature_info(&self) -> Vec<FeatureInfo>;

    /// Name of the last linear layer, the part that changes with the number of classes.
    fn classifier(&self) -> &'static str;

    /// How training from scratch starts.
    fn init_scheme(&self) -> InitScheme {
        InitScheme::KAIMING
    }

    /// Name in the published checkpoint of the tensor that is called `ours` here.
    fn published_name<'a>(&self, ours: &'a str) -> Cow<'a, str> {
        Cow::Borrowed(ours)
    }

    /// Published name of the tensor that another known layout calls `foreign`, such as Caffe's.
    fn adopt(&self, _foreign: &str) -> Option<String> {
        None
    }

    /// `data`, loaded for the tensor called `published`, in the network's own `shape`: other layouts may write the same
    /// numbers in another shape, and position embeddings may be meant for pictures of another size.
    fn fit(&self, _published: &str, data: TensorData, _shape: &[usize]) -> TensorData {
        data
    }

    /// Refuses pictures of `[height, width]` pixels that the network cannot look at; the error says why.
    fn check_size(&self, _size: [usize; 2]) -> Result<(), String> {
        Ok(())
    }

    /// Whether the tensor called `published` may be absent from a file: the network computes it then.
    fn optional(&self, _published: &str) -> bool {
        false
    }

    /// Whether published checkpoints hold a tensor called `published` that no forward reads.
    fn ignored(&self, _published: &str) -> bool {
        false
    }
}

/// A serialisable description from which a network is built.
pub trait BackboneConfig {
    /// What it builds.
    type Net: Backbone;

    /// Builds the network with lazy parameters on `device`.
    fn init(&self, device: &Device) -> Self::Net;

    /// Prepares the network for pictures of `side` pixels, where it stores something that depends on their size.
    fn set_image_size(&mut self, _side: usize) {}
}

/// One map of [`Backbone::feature_info`].
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FeatureInfo {
    /// Name of the place that produces it.
    pub module: String,
    /// Channels of the map.
    pub channels: usize,
    /// Pixels of the input per pixel of the map.
    pub reduction: usize,
}

impl FeatureInfo {
    pub(crate) fn new(module: impl Into<String>, channels: usize, reduction: usize) -> Self {
        Self { module: module.into(), channels, reduction }
    }
}
