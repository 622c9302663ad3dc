//! The image networks, one folder each, and what they have in common.

use std::borrow::Cow;
use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData, activation::log_softmax, activation::softmax};
use ocelli_nn::state_dict::Mismatch;
use ocelli_nn::{InitScheme, Taps};
use serde::{Deserialize, Serialize};

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

    /// Layers that change with the number of classes: the classifier, and what follows it.
    fn head(&self) -> Vec<&'static str> {
        vec![self.classifier()]
    }

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

    /// What a file that does not fit probably is.
    fn explain(&self, _mismatch: &Mismatch) -> Option<&'static str> {
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

/// Mean over the batch of the cross entropy of `student` with what `teacher` says, both logits `[batch, classes]`: distillation
/// without labels, as ReActNet is trained. No gradient reaches the teacher.
pub fn distillation(student: Tensor<2>, teacher: Tensor<2>) -> Tensor<1> {
    cross_entropy(student, softmax(teacher.detach(), 1))
}

/// `labels` `[batch, classes]` with the share `smoothing` of every row spread evenly over its classes.
pub fn smoothed(labels: Tensor<2>, smoothing: f64) -> Tensor<2> {
    let [_, classes] = labels.dims();
    labels.mul_scalar(1.0 - smoothing).add_scalar(smoothing / classes as f64)
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

/// Declares the rooms: one line each, `folder { Name, Name(module), ... }`. A room exports `entries()`, and for each of its
/// networks, in the folder itself or in the module, the network as `Net` and its description as `Config`.
macro_rules! rooms {
    ($($room:ident { $($name:ident $(($part:ident))?),* })+) => {
        $(pub mod $room;)+

        /// The registry's lines of all rooms.
        pub fn entries() -> Vec<crate::zoo::Entry> {
            [$($room::entries()),+].into_iter().flatten().collect()
        }

        /// Any of the image networks.
        #[derive(Module, Debug)]
        #[allow(clippy::large_enum_variant)]
        pub enum Network {
            $($(
                #[doc = concat!("See [`", stringify!($room), "`](crate::backbone::", stringify!($room), ").")]
                $name($room$(::$part)?::Net),
            )*)+
        }

        /// The description of any of the image networks, as it is stored in model files.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "network", rename_all = "snake_case")]
        pub enum NetworkConfig {
            $($(
                #[doc = concat!("See [`", stringify!($room), "`](crate::backbone::", stringify!($room), ").")]
                $name($room$(::$part)?::Config),
            )*)+
        }

        impl NetworkConfig {
            /// Builds the network with lazy (zero) parameters on `device`.
            pub fn init(&self, device: &Device) -> Network {
                match self { $($(Self::$name(config) => Network::$name(config.init(device)),)*)+ }
            }

            /// Number of classes.
            pub fn num_classes(&self) -> usize {
                match self { $($(Self::$name(config) => config.num_classes,)*)+ }
            }

            /// Changes the number of classes.
            pub fn set_num_classes(&mut self, classes: usize) {
                match self { $($(Self::$name(config) => config.num_classes = classes,)*)+ }
            }

            /// Channels of the input.
            pub fn in_channels(&self) -> usize {
                match self { $($(Self::$name(config) => config.in_channels,)*)+ }
            }

            /// Changes the channels of the input.
            pub fn set_in_channels(&mut self, channels: usize) {
                match self { $($(Self::$name(config) => config.in_channels = channels,)*)+ }
            }

            /// Prepares the network for square pictures of `side` pixels (position embeddings).
            pub fn set_image_size(&mut self, side: usize) {
                match self { $($(Self::$name(config) => config.set_image_size(side),)*)+ }
            }

            /// Changes the stochastic depth; false if the network has none.
            pub fn set_drop_path(&mut self, rate: f64) -> bool {
                match self { $($(Self::$name(config) => config.set_drop_path(rate),)*)+ }
            }

            /// Changes the dropout before the classifier.
            pub fn set_drop_rate(&mut self, rate: f64) {
                match self { $($(Self::$name(config) => config.drop_rate = rate,)*)+ }
            }
        }

        impl Network {
            /// Name of the kind of network.
            pub(crate) fn kind(&self) -> &'static str {
                match self { $($(Self::$name(_) => stringify!($name),)*)+ }
            }

            pub(crate) fn backbone(&self) -> &dyn Backbone {
                match self { $($(Self::$name(net) => net,)*)+ }
            }
        }
    };
}

rooms! {
    resnet { ResNet, ResNetCifar(cifar) }
    senet { SeNet(legacy), BnInception(inception), MobileNet(mobilenet) }
    ghostnet { GhostNet, GhostResNet50(resnet50), GGhost(g_ghost), GhostResNetCifar(resnet_cifar), VggCifar(vgg_cifar) }
    mobilenetv2 { MobileNetV2 }
    vgg { Vgg }
    tnt { Tnt }
    vig { Vig }
    parameternet {}
    versatile_filters { VersatileVgg(vgg), VersatileVggCifar(vgg_cifar) }
    drnet { DrNet }
    reactnet { ReActNet, ReActResNet(resnet) }
    elastic_link { ElResNet, ElMobileNet(mobilenet) }
    noisy_binary { NoisyBinary }
    addernet { AdderResNet, AdderResNetCifar(cifar) }
}
