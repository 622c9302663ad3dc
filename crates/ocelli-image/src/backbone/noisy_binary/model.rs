//! The network.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use ocelli_nn::binary::noisy_loss;
use ocelli_nn::state_dict::state_dict;
use ocelli_nn::{
    BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Dropout, Linear, LinearConfig, MaxPool2d, Taps,
    global_avg_pool,
};

use super::Unit;
use super::config::{Config, Stem, Supervision};
use crate::backbone::{Backbone, BackboneConfig, FeatureInfo, cross_entropy};

/// A binary ResNet.
#[derive(Module, Debug)]
pub struct Net {
    conv1: Conv2d,
    bn1: BatchNorm,
    maxpool: Option<MaxPool2d>,
    pub(super) layer1: Vec<Unit>,
    pub(super) layer2: Vec<Unit>,
    pub(super) layer3: Vec<Unit>,
    pub(super) layer4: Vec<Unit>,
    dropout: Dropout,
    fc: Linear,
    #[module(skip)]
    widths: Vec<usize>,
    #[module(skip)]
    supervision: Option<Supervision>,
}

/// What a supervised training step gives.
#[derive(Debug)]
pub struct Supervised {
    /// `[batch, classes]`
    pub logits: Tensor<2>,
    /// Cross entropy, `[1]`.
    pub cross_entropy: Tensor<1>,
    /// The labels' loss, all layers together, without its factor; `[1]`.
    pub noisy: Tensor<1>,
    /// What is minimised, `[1]`.
    pub total: Tensor<1>,
}

impl BackboneConfig for Config {
    type Net = Net;

    fn init(&self, device: &Device) -> Net {
        assert!((1..=4).contains(&self.widths.len()), "{} stages", self.widths.len());
        let stem = self.widths[0];
        let stage = |index: usize| -> Vec<Unit> {
            let Some(&channels_out) = self.widths.get(index) else { return Vec::new() };
            (0..self.units)
                .map(|unit| {
                    let first = unit == 0;
                    let channels_in =
                        if first { self.widths[index.saturating_sub(1)] } else { channels_out };
                    let stride = if first && index > 0 { 2 } else { 1 };
                    Unit::new(channels_in, channels_out, stride, self.supervision.as_ref(), device)
                })
                .collect()
        };
        let large = self.stem == Stem::Large;
        let (kernel, stride) = if large { (7, 2) } else { (3, 1) };
        Net {
            conv1: Conv2dConfig::new(self.in_channels, stem, kernel).stride(stride).init(device),
            bn1: BatchNormConfig::new(stem).init(device),
            maxpool: large.then(|| MaxPool2d::new(3, 2, 1)),
            layer1: stage(0),
            layer2: stage(1),
            layer3: stage(2),
            layer4: stage(3),
            dropout: Dropout::new(self.drop_rate),
            fc: LinearConfig::new(self.widths[self.widths.len() - 1], self.num_classes).init(device),
            widths: self.widths.clone(),
            supervision: self.supervision,
        }
    }
}

impl Net {
    fn stages(&self) -> impl Iterator<Item = (usize, &Vec<Unit>)> {
        let all = [&self.layer1, &self.layer2, &self.layer3, &self.layer4];
        (1..).zip(all).take(self.widths.len())
    }

    /// The units and their names, in the order of execution.
    pub fn units(&self) -> impl Iterator<Item = (String, &Unit)> {
        self.stages().flat_map(|(stage, units)| {
            units.iter().enumerate().map(move |(place, unit)| (format!("layer{stage}.{place}"), unit))
        })
    }

    /// Stem and stages; `filters` are those of all units, where they are known already.
    fn features(&self, x: Tensor<4>, filters: Option<Vec<Tensor<4>>>, taps: &mut Taps) -> Tensor<4> {
        let mut x = self.bn1.forward(self.conv1.forward(x));
        taps.see("bn1", &x);
        if let Some(pool) = &self.maxpool {
            x = pool.forward(x);
            taps.see("maxpool", &x);
        }
        let mut filters = filters.map(Vec::into_iter);
        for (stage, units) in self.stages() {
            for (place, unit) in units.iter().enumerate() {
                x = match filters.as_mut().and_then(Iterator::next) {
                    Some(filters) => unit.forward_with(x, filters),
                    None => unit.forward(x),
                };
                taps.see(format_args!("layer{stage}.{place}"), &x);
            }
            taps.see(format_args!("layer{stage}"), &x);
        }
        x
    }

    /// A training step's losses on `targets` `[batch, classes]`: cross entropy and the loss of the mapping networks' signs against
    /// noisy labels. Every mapping network is evaluated once.
    pub fn supervise(&self, x: Tensor<4>, targets: Tensor<2>, supervision: &Supervision) -> Supervised {
        let filters: Vec<Tensor<4>> = self.units().map(|(_, unit)| unit.conv.filters()).collect();
        let losses = self.units().zip(&filters).map(|((_, unit), q)| {
            let terms = noisy_loss(q.clone(), unit.labels(), supervision.rates);
            supervision.reduction.of(terms)
        });
        let noisy = losses.reduce(Tensor::add);
        let features = self.features(x, Some(filters), &mut Taps::none());
        let logits = self.forward_head(features, &mut Taps::none());
        let cross_entropy = cross_entropy(logits.clone(), targets);
        let noisy = noisy.unwrap_or_else(|| cross_entropy.zeros_like());
        let total = cross_entropy.clone().add(noisy.clone().mul_scalar(supervision.weight));
        Supervised { logits, cross_entropy, noisy, total }
    }

    /// The tensors of the ordinary network that is deployed: every latent weight is the sign that was learned for it, mapping
    /// networks and labels are gone.
    pub fn baked(&self) -> BTreeMap<String, TensorData> {
        let mut tensors = state_dict(self);
        tensors.retain(|name, _| !name.contains(".conv.map.") && !name.ends_with(".label"));
        for (name, unit) in self.units() {
            tensors.insert(format!("{name}.conv.weight"), unit.conv.filters().into_data());
        }
        tensors
    }

    /// Whether it has mapping networks.
    pub fn is_supervised(&self) -> bool {
        self.supervision.is_some()
    }

    /// Where the parameters are.
    pub(crate) fn device(&self) -> Device {
        self.fc.weight.val().device()
    }

    /// Share of every layer's signs that differ from their labels, by the layer's name.
    pub fn flip_rates(&self) -> Vec<(String, f64)> {
        self.units()
            .map(|(name, unit)| {
                let agree = unit.conv.filters().mul(unit.labels()).mean().into_scalar::<f32>();
                (name, (1.0 - f64::from(agree)) / 2.0)
            })
            .collect()
    }
}

impl Backbone for Net {
    fn forward_features(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
        self.features(x, None, taps)
    }

    fn forward_head(&self, features: Tensor<4>, _taps: &mut Taps) -> Tensor<2> {
        let pooled = global_avg_pool(features).flatten::<2>(1, 3);
        self.fc.forward(self.dropout.forward(pooled))
    }

    fn training_loss(&self, x: Tensor<4>, targets: Tensor<2>) -> (Tensor<1>, Tensor<2>) {
        match &self.supervision {
            Some(supervision) => {
                let step = self.supervise(x, targets, supervision);
                (step.total, step.logits)
            }
            None => {
                let logits = self.forward(x, &mut Taps::none());
                (cross_entropy(logits.clone(), targets), logits)
            }
        }
    }

    fn feature_info(&self) -> Vec<FeatureInfo> {
        let large = self.maxpool.is_some();
        let mut maps = Vec::new();
        if large {
            maps.push(FeatureInfo::new("bn1", self.widths[0], 2));
        }
        let first = if large { 4 } else { 1 };
        let of = |(i, &width): (usize, &usize)| FeatureInfo::new(format!("layer{}", i + 1), width, first << i);
        maps.extend(self.widths.iter().enumerate().map(of));
        maps
    }

    fn classifier(&self) -> &'static str {
        "fc"
    }

    fn rearrange(&self, mut tensors: BTreeMap<String, TensorData>) -> BTreeMap<String, TensorData> {
        // Fine-tuning begins here: the signs that come with the file are the labels.
        for (name, _) in self.units().filter(|(_, unit)| unit.has_frozen_labels()) {
            let Some(weight) = tensors.get(&format!("{name}.conv.weight")) else { continue };
            let signs: Vec<f32> = weight.iter::<f32>().map(|w| if w < 0.0 { -1.0 } else { 1.0 }).collect();
            let signs = TensorData::new(signs, weight.shape().clone());
            tensors.entry(format!("{name}.label")).or_insert(signs);
        }
        tensors
    }

    fn optional(&self, published: &str) -> bool {
        // An ordinary network's file: mapping networks begin afresh.
        published.contains(".conv.map.")
    }
}
