//! The image networks, one folder each, and what they have in common.

pub mod drnet;
pub mod ghostnet;
pub mod mobilenetv2;
pub mod parameternet;
pub mod resnet;
pub mod senet;
pub mod tnt;
pub mod versatile_filters;
pub mod vgg;
pub mod vig;

use std::borrow::Cow;
use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData, activation::log_softmax};
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

    /// Images → logits `[batch, classes]`: features and head, unless the network decides on the way.
    fn forward(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<2> {
        let features = self.forward_features(x, taps);
        self.forward_head(features, taps)
    }

    /// Loss `[1]` and logits `[batch, classes]` of a training step on `targets` `[batch, classes]`, which may be soft:
    /// the cross entropy, unless the method minimises something else.
    fn training_loss(&self, x: Tensor<4>, targets: Tensor<2>) -> (Tensor<1>, Tensor<2>) {
        let logits = self.forward(x, &mut Taps::none());
        (cross_entropy(logits.clone(), targets), logits)
    }

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

    /// The tensors of a file of another known layout, where one of its names stands for several here or the whole file
    /// tells what a name means; [`adopt`](Self::adopt) comes after.
    fn rearrange(&self, tensors: BTreeMap<String, TensorData>) -> BTreeMap<String, TensorData> {
        tensors
    }

    /// Prefix of the published names of a part that fine-tuning starts afresh where a file has none of it.
    fn starts_fresh(&self) -> Option<&'static str> {
        None
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

/// Mean over the batch of the cross entropy of `logits` with `targets`, both `[batch, classes]`.
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    let [batch, _] = logits.dims();
    log_softmax(logits, 1).mul(targets).sum().div_scalar(-(batch as f64))
}

/// A serialisable description from which a network is built.
pub trait BackboneConfig {
    /// What it builds.
    type Net: Backbone;

    /// Builds the network with lazy parameters on `device`.
    fn init(&self, device: &Device) -> Self::Net;

    /// Prepares the network for pictures of `side` pixels, where it stores something that depends on their size.
    fn set_image_size(&mut self, _side: usize) {}

    /// Changes the stochastic depth of the last block (linear from 0 at the first); false if the network has none.
    fn set_drop_path(&mut self, _rate: f64) -> bool {
        false
    }
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
