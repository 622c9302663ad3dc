//! Any of the image networks as one type.

use std::borrow::Cow;
use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorData};
use ocelli_graph::capture::{self, CaptureError};
use ocelli_graph::{Graph, passes};
use ocelli_nn::ConvKind;
use ocelli_nn::cost::{self, LayerCost};
use ocelli_nn::state_dict::{Mismatch, load_state_dict, parameter_count, specs, state_dict};
use ocelli_nn::weights::{WeightFile, WeightsError};
use ocelli_nn::{InitScheme, Taps, initialize};

use crate::backbone::{BackboneConfig, FeatureInfo, drnet, noisy_binary};
pub use crate::backbone::{Network, NetworkConfig};

impl NetworkConfig {
    /// Whether the network learns binary masks.
    pub fn has_masks(&self) -> bool {
        matches!(self, Self::VersatileVggCifar(config) if matches!(config.conv, ConvKind::Mask { .. }))
    }

    /// Whether some of its convolutions have weights of -1 and +1.
    pub fn is_binary(&self) -> bool {
        matches!(
            self,
            Self::ReActNet(_)
                | Self::ReActResNet(_)
                | Self::ElResNet(_)
                | Self::ElMobileNet(_)
                | Self::NoisyBinary(_)
        )
    }

    /// Gives binary convolutions Elastic-Links or takes them away; false if the network knows none.
    pub fn set_elastic_link(&mut self, wanted: bool) -> bool {
        let own = match self {
            Self::ReActNet(config) => &mut config.elastic_link,
            Self::ReActResNet(config) => &mut config.elastic_link,
            Self::ElResNet(config) => &mut config.elastic_link,
            Self::ElMobileNet(config) => &mut config.elastic_link,
            _ => return false,
        };
        *own = wanted;
        true
    }

    /// Factor of the learning rate of the parameter that the network itself calls `name`.
    pub fn rate(&self, name: &str) -> f64 {
        match self {
            Self::DrNet(config) if name.starts_with("predictor.") => config.training.predictor_lr,
            Self::NoisyBinary(noisy_binary::Config { supervision: Some(own), .. })
                if name.contains(".conv.map.") =>
            {
                own.mapping_rate
            }
            _ => 1.0,
        }
    }
}

impl Network {
    /// Images `[batch, channels, height, width]`, normalised → logits `[batch, classes]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        self.forward_tapped(x, &mut Taps::none())
    }

    /// As [`forward`](Self::forward), offering the named intermediate maps to `taps`.
    pub fn forward_tapped(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<2> {
        self.backbone().forward(x, taps)
    }

    /// Loss `[1]` and logits `[batch, classes]` of a training step on `targets` `[batch, classes]`.
    pub fn training_loss(&self, x: Tensor<4>, targets: Tensor<2>) -> (Tensor<1>, Tensor<2>) {
        self.backbone().training_loss(x, targets)
    }

    /// The network as one that chooses the resolution per picture, if it does.
    pub fn dynamic(&self) -> Option<&drnet::Net> {
        match self {
            Self::DrNet(net) => Some(net),
            _ => None,
        }
    }

    /// What is used after training, and its description, if `config` has parts that serve training alone: of mapping networks the
    /// signs they made are left.
    pub fn deployed(&self, config: &NetworkConfig) -> Option<(Self, NetworkConfig)> {
        let (Self::NoisyBinary(net), NetworkConfig::NoisyBinary(config)) = (self, config) else {
            return None;
        };
        config.supervision?;
        let config = noisy_binary::Config { supervision: None, ..config.clone() };
        let plain = Self::NoisyBinary(config.init(&net.device()));
        let (plain, mismatch) = plain.load_state_dict(net.baked());
        mismatch.is_empty().then_some((plain, NetworkConfig::NoisyBinary(config)))
    }

    /// Mean share of the layers' signs that differ from their labels, while noisy labels supervise them.
    pub fn flip_rate(&self) -> Option<f64> {
        match self {
            Self::NoisyBinary(net) if net.is_supervised() => {
                let rates = net.flip_rates();
                Some(rates.iter().map(|(_, rate)| rate).sum::<f64>() / rates.len().max(1) as f64)
            }
            _ => None,
        }
    }

    /// The last map before pooling, `[batch, features, h, w]`.
    pub fn forward_features(&self, x: Tensor<4>) -> Tensor<4> {
        self.backbone().forward_features(x, &mut Taps::none())
    }

    /// Maps at several scales for detectors, one per entry of [`feature_info`](Self::feature_info) that
    /// `indices` names (all for an empty list), finest first.
    pub fn forward_multi_scale(&self, x: Tensor<4>, indices: &[usize]) -> Vec<Tensor<4>> {
        let names: Vec<String> = self
            .feature_info()
            .into_iter()
            .enumerate()
            .filter(|(i, _)| indices.is_empty() || indices.contains(i))
            .map(|(_, info)| info.module)
            .collect();
        let mut taps = Taps::new(names);
        self.backbone().forward_features(x, &mut taps);
        taps.into_maps().into_iter().map(|(_, map)| map).collect()
    }

    /// What [`forward_multi_scale`](Self::forward_multi_scale) offers.
    pub fn feature_info(&self) -> Vec<FeatureInfo> {
        self.backbone().feature_info()
    }

    /// Refuses pictures of `[height, width]` pixels that the network cannot look at.
    ///
    /// # Errors
    /// Why not.
    pub fn check_size(&self, size: [usize; 2]) -> Result<(), String> {
        self.backbone().check_size(size)
    }

    /// Number of trained parameters.
    pub fn parameter_count(&self) -> usize {
        parameter_count(self)
    }

    /// Names (as published) and shapes of all tensors.
    pub fn tensor_specs(&self) -> Vec<(String, Vec<usize>)> {
        specs(self)
            .into_iter()
            .map(|spec| (self.published_name(&spec.name).into_owned(), spec.shape))
            .collect()
    }

    /// Name in the published checkpoint of the tensor called `ours` here.
    pub fn published_name<'a>(&self, ours: &'a str) -> Cow<'a, str> {
        self.backbone().published_name(ours)
    }

    /// Whether published checkpoints hold a tensor called `published` that no forward reads; loading passes
    /// over it.
    pub fn ignored(&self, published: &str) -> bool {
        self.backbone().ignored(published)
    }

    /// Multiply-accumulates of convolutions and linear layers for one picture of
    /// `[channels, height, width]`. Of a network that chooses the resolution every candidate counts, as its graph
    /// computes them all; what a picture costs says [`drnet::Net::costs`].
    pub fn macs(&self, picture: [usize; 3]) -> u64 {
        self.layer_costs(picture).iter().map(|layer| layer.macs).sum()
    }

    /// What each layer costs for one picture of `[channels, height, width]`, in the order of execution and
    /// under published names. Nothing is computed and no weight is touched.
    pub fn layer_costs(&self, picture: [usize; 3]) -> Vec<LayerCost> {
        let [channels, height, width] = picture;
        let mut layers = cost::layers(self, [1, channels, height, width], |net, x| net.forward(x));
        for layer in &mut layers {
            let weight = format!("{}.weight", layer.name);
            if let Some(published) = self.published_name(&weight).strip_suffix(".weight") {
                layer.name = published.to_string();
            }
        }
        layers
    }

    /// What [`forward`](Self::forward) computes for pictures of `[channels, height, width]`, as a graph: any batch
    /// size, parameters and running statistics under published names, nodes named after their layers. Tables of positions
    /// are those for this size.
    ///
    /// # Errors
    /// If the picture does not suit the network. The network must not be on an autodiff device.
    pub fn graph(&self, picture: [usize; 3]) -> Result<Graph, CaptureError> {
        let rename = |name: &str| self.published_name(name).into_owned();
        self.check_size([picture[1], picture[2]]).map_err(CaptureError::Forward)?;
        let mut graph = capture::capture(self, picture, self.kind(), rename, |net, x| net.forward(x))?;
        passes::fold_resized(&mut graph);
        Ok(graph)
    }

    /// [`graph`](Self::graph) without the parameters' values: for costs and drawings. Touches no weight.
    ///
    /// # Errors
    /// As [`graph`](Self::graph).
    pub fn structure(&self, picture: [usize; 3]) -> Result<Graph, CaptureError> {
        let rename = |name: &str| self.published_name(name).into_owned();
        self.check_size([picture[1], picture[2]]).map_err(CaptureError::Forward)?;
        capture::structure(self, picture, self.kind(), rename, |net, x| net.forward(x))
    }

    /// Name (as published) of the classifier layer.
    pub fn classifier(&self) -> &'static str {
        self.backbone().classifier()
    }

    /// Draws fresh weights, a function of `seed` and the parameters' names only.
    pub fn initialize(self, seed: u64) -> Self {
        let scheme: InitScheme = self.backbone().init_scheme();
        initialize(self, scheme, seed)
    }

    /// All tensors under their published names.
    pub fn state_dict(&self) -> BTreeMap<String, TensorData> {
        state_dict(self)
            .into_iter()
            .map(|(name, data)| (self.published_name(&name).into_owned(), data))
            .collect()
    }

    /// Puts `tensors`, which carry published names or those of another layout the network knows, into the
    /// network; what does not fit is returned.
    pub fn load_state_dict(self, tensors: BTreeMap<String, TensorData>) -> (Self, Mismatch) {
        let ours: BTreeMap<String, String> = specs(&self)
            .into_iter()
            .map(|spec| (self.published_name(&spec.name).into_owned(), spec.name))
            .collect();
        let tensors = self
            .as_published(tensors)
            .into_iter()
            .map(|(name, data)| (ours.get(&name).cloned().unwrap_or(name), data))
            .collect();
        let (network, mut mismatch) = load_state_dict(self, tensors);
        let backbone = network.backbone();
        mismatch.missing.retain(|name| !backbone.optional(&backbone.published_name(name)));
        mismatch.note = backbone.explain(&mismatch).map(str::to_string);
        (network, mismatch)
    }

    /// `tensors` under published names: what nothing reads is left out, names of other layouts are adopted.
    fn as_published(&self, tensors: BTreeMap<String, TensorData>) -> BTreeMap<String, TensorData> {
        let known: BTreeMap<String, Vec<usize>> = self.tensor_specs().into_iter().collect();
        let adopt = |name: String, data: TensorData| {
            let published =
                if known.contains_key(&name) { Some(name.clone()) } else { self.backbone().adopt(&name) };
            let Some((published, shape)) = published.and_then(|published| known.get_key_value(&published))
            else {
                return (name, data);
            };
            let data = self.backbone().fit(published, data, shape);
            // Another layout may write a linear layer as a convolution.
            if *published != name && shape.iter().product::<usize>() == data.num_elements() {
                let (bytes, _, dtype) = data.into_parts();
                return (published.clone(), TensorData::from_bytes(bytes, shape.clone(), dtype));
            }
            (published.clone(), data)
        };
        self.backbone()
            .rearrange(tensors)
            .into_iter()
            .filter(|(name, _)| !self.ignored(name))
            .map(|(name, data)| adopt(name, data))
            .collect()
    }

    /// Loads a weight file, strict unless `lenient`.
    pub fn load_weights(
        self,
        file: WeightFile,
        label: &str,
        lenient: bool,
    ) -> Result<(Self, Mismatch), WeightsError> {
        let WeightFile { path, tensors, .. } = file;
        let (network, mismatch) = self.load_state_dict(tensors);
        if lenient || mismatch.is_empty() {
            Ok((network, mismatch))
        } else {
            Err(WeightsError::Mismatch { path, network: label.to_string(), mismatch: mismatch.into() })
        }
    }

    /// Loads everything but the classifier from `file`, for fine-tuning on other classes; the classifier is
    /// loaded too where its shape fits.
    pub fn load_for_fine_tuning(
        self,
        mut file: WeightFile,
        label: &str,
    ) -> Result<(Self, bool), WeightsError> {
        let layers = self.backbone().head();
        let head = |name: &str| {
            layers.iter().any(|layer| name.strip_prefix(layer).is_some_and(|rest| rest.starts_with('.')))
        };
        file.tensors = self.as_published(file.tensors);
        let fits = self.tensor_specs().into_iter().filter(|(name, _)| head(name)).all(|(name, shape)| {
            file.tensors.get(&name).is_some_and(|data| data.shape().iter().eq(shape.iter()))
        });
        if !fits {
            file.tensors.retain(|name, _| !head(name));
        }
        let WeightFile { path, tensors, .. } = file;
        let fresh = self.backbone().starts_fresh();
        let fresh = fresh.filter(|part| !tensors.keys().any(|name| name.starts_with(part)));
        let (network, mut mismatch) = self.load_state_dict(tensors);
        if let Some(part) = fresh {
            mismatch.missing.retain(|name| !network.published_name(name).starts_with(part));
        }
        if !fits {
            mismatch.missing.retain(|name| !head(&network.published_name(name)));
        }
        if mismatch.is_empty() {
            Ok((network, fits))
        } else {
            Err(WeightsError::Mismatch { path, network: label.to_string(), mismatch: mismatch.into() })
        }
    }
}
