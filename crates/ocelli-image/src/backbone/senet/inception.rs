//! BN-Inception, plain or with squeeze-and-excitation behind every module, under the layer names of the
//! authors' Caffe release.

use std::borrow::Cow;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_nn::{
    Activation, BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Dropout, Linear, LinearConfig, MaxPool2d,
    Taps, avg_pool2d, global_avg_pool,
};
use serde::{Deserialize, Serialize};

use crate::backbone::{Backbone, BackboneConfig, FeatureInfo};

const RELU: Activation = Activation::Relu;

/// What the pooling branch of a module does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pool {
    /// 3x3 average with stride 1, dividing by 9 at the borders too.
    Avg,
    /// 3x3 maximum with stride 1.
    Max,
    /// 3x3 maximum with stride 2 and ceil rounding; both other branches have stride 2 as well.
    Down,
}

/// One Inception module; channel counts of its branches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleConfig {
    /// Name, such as `3a`.
    pub name: String,
    /// The 1x1 branch, where there is one.
    pub single: Option<usize>,
    /// Reduction and convolution of the 3x3 branch.
    pub triple: [usize; 2],
    /// Reduction and both convolutions of the double 3x3 branch.
    pub double: [usize; 3],
    /// The pooling branch.
    pub pool: Pool,
    /// Projection behind the pooling, where there is one.
    pub proj: Option<usize>,
}

impl ModuleConfig {
    fn channels_out(&self, channels_in: usize) -> usize {
        self.single.unwrap_or(0) + self.triple[1] + self.double[2] + self.proj.unwrap_or(channels_in)
    }
}

/// A BN-Inception.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The modules in order.
    pub modules: Vec<ModuleConfig>,
    /// Channels per hidden unit of the gates (truncated); none for the plain network.
    pub reduction: Option<usize>,
    /// Channels of the input.
    pub in_channels: usize,
    /// Classes.
    pub num_classes: usize,
    /// Dropout before the classifier.
    pub drop_rate: f64,
}

impl Config {
    /// The published network.
    pub fn new(reduction: Option<usize>) -> Self {
        let module = |name: &str, single, triple, double, pool, proj| ModuleConfig {
            name: name.into(),
            single,
            triple,
            double,
            pool,
            proj,
        };
        use Pool::{Avg, Down, Max};
        Self {
            modules: vec![
                module("3a", Some(64), [64, 64], [64, 96, 96], Avg, Some(32)),
                module("3b", Some(64), [64, 96], [64, 96, 96], Avg, Some(64)),
                module("3c", None, [128, 160], [64, 96, 96], Down, None),
                module("4a", Some(224), [64, 96], [96, 128, 128], Avg, Some(128)),
                module("4b", Some(192), [96, 128], [96, 128, 128], Avg, Some(128)),
                module("4c", Some(160), [128, 160], [128, 160, 160], Avg, Some(128)),
                module("4d", Some(96), [128, 192], [160, 192, 192], Avg, Some(128)),
                module("4e", None, [128, 192], [192, 256, 256], Down, None),
                module("5a", Some(352), [192, 320], [160, 224, 224], Avg, Some(128)),
                module("5b", Some(352), [192, 320], [192, 224, 224], Max, Some(128)),
            ],
            reduction,
            in_channels: 3,
            num_classes: 1000,
            drop_rate: 0.0,
        }
    }
}

/// Convolution, norm, ReLU.
#[derive(Module, Debug)]
struct ConvNorm {
    conv: Conv2d,
    bn: BatchNorm,
}

impl ConvNorm {
    fn new(channels_in: usize, channels_out: usize, kernel: usize, stride: usize, device: &Device) -> Self {
        Self {
            conv: Conv2dConfig::new(channels_in, channels_out, kernel).stride(stride).init(device),
            bn: BatchNormConfig::new(channels_out).init(device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.bn.forward_then(self.conv.forward(x), RELU)
    }
}

/// Four branches over the same map, concatenated and gated.
#[derive(Module, Debug)]
struct Inception {
    single: Option<ConvNorm>,
    triple_reduce: ConvNorm,
    triple: ConvNorm,
    double_reduce: ConvNorm,
    double_a: ConvNorm,
    double_b: ConvNorm,
    proj: Option<ConvNorm>,
    down: Option<Conv2d>,
    up: Option<Conv2d>,
    #[module(skip)]
    config: ModuleConfig,
}

/// Our field and the published layer, behind `inception_NAME`.
const LAYERS: [(&str, &str); 9] = [
    ("single", "/1x1"),
    ("triple_reduce", "/3x3_reduce"),
    ("triple", "/3x3"),
    ("double_reduce", "/double3x3_reduce"),
    ("double_a", "/double3x3a"),
    ("double_b", "/double3x3b"),
    ("proj", "/pool_proj"),
    ("down", "_1x1_down"),
    ("up", "_1x1_up"),
];

impl Inception {
    fn new(config: &ModuleConfig, channels_in: usize, reduction: Option<usize>, device: &Device) -> Self {
        let stride = if config.pool == Pool::Down { 2 } else { 1 };
        let conv = |from, to, kernel, stride| ConvNorm::new(from, to, kernel, stride, device);
        let [reduce, triple] = config.triple;
        let [double, a, b] = config.double;
        let channels = config.channels_out(channels_in);
        let gate = |from, to| Conv2dConfig::new(from, to, 1).bias(true).init(device);
        Self {
            single: config.single.map(|channels| conv(channels_in, channels, 1, 1)),
            triple_reduce: conv(channels_in, reduce, 1, 1),
            triple: conv(reduce, triple, 3, stride),
            double_reduce: conv(channels_in, double, 1, 1),
            double_a: conv(double, a, 3, 1),
            double_b: conv(a, b, 3, stride),
            proj: config.proj.map(|channels| conv(channels_in, channels, 1, 1)),
            down: reduction.map(|reduction| gate(channels, channels / reduction)),
            up: reduction.map(|reduction| gate(channels / reduction, channels)),
            config: config.clone(),
        }
    }

    fn forward(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
        let name = &self.config.name;
        let pooled = match self.config.pool {
            Pool::Avg => avg_pool2d(x.clone(), 3, 1, 1),
            Pool::Max => MaxPool2d::new(3, 1, 1).forward(x.clone()),
            Pool::Down => MaxPool2d::caffe(3, 2).forward(x.clone()),
        };
        let branches = [
            self.single.as_ref().map(|conv| conv.forward(x.clone())),
            Some(self.triple.forward(self.triple_reduce.forward(x.clone()))),
            Some(self.double_b.forward(self.double_a.forward(self.double_reduce.forward(x)))),
            Some(match &self.proj {
                Some(conv) => conv.forward(pooled),
                None => pooled,
            }),
        ];
        let x = Tensor::cat(branches.into_iter().flatten().collect(), 1);
        taps.see(format_args!("inception_{name}/concat"), &x);
        let (Some(down), Some(up)) = (&self.down, &self.up) else { return x };
        let logits = up.forward(RELU.forward(down.forward(global_avg_pool(x.clone()))));
        taps.see(format_args!("inception_{name}_1x1_up"), &logits);
        let x = x.mul(Activation::Sigmoid.forward(logits));
        taps.see(format_args!("inception_{name}_scale"), &x);
        x
    }
}

/// Stem, modules, global pooling, linear classifier.
#[derive(Module, Debug)]
pub struct Net {
    conv1: ConvNorm,
    conv2_reduce: ConvNorm,
    conv2: ConvNorm,
    pool: MaxPool2d,
    modules: Vec<Inception>,
    dropout: Dropout,
    classifier: Linear,
}

impl BackboneConfig for Config {
    type Net = Net;

    fn init(&self, device: &Device) -> Net {
        let mut channels = 192;
        let modules = self
            .modules
            .iter()
            .map(|module| {
                let built = Inception::new(module, channels, self.reduction, device);
                channels = module.channels_out(channels);
                built
            })
            .collect();
        Net {
            conv1: ConvNorm::new(self.in_channels, 64, 7, 2, device),
            conv2_reduce: ConvNorm::new(64, 64, 1, 1, device),
            conv2: ConvNorm::new(64, 192, 3, 1, device),
            pool: MaxPool2d::caffe(3, 2),
            modules,
            dropout: Dropout::new(self.drop_rate),
            classifier: LinearConfig::new(channels, self.num_classes).init(device),
        }
    }
}

impl Net {
    /// The published layer of our `layer`, such as `modules.0.triple` → `inception_3a/3x3`.
    fn caffe_layer(&self, layer: &str) -> Option<String> {
        Some(match layer {
            "conv1" => "conv1/7x7_s2".into(),
            "conv2_reduce" => "conv2/3x3_reduce".into(),
            "conv2" => "conv2/3x3".into(),
            _ => {
                let (index, field) = layer.strip_prefix("modules.")?.split_once('.')?;
                let module = &self.modules.get(index.parse::<usize>().ok()?)?.config.name;
                let (_, published) = LAYERS.iter().find(|(ours, _)| *ours == field)?;
                format!("inception_{module}{published}")
            }
        })
    }
}

impl Backbone for Net {
    fn forward_features(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
        let x = self.pool.forward(self.conv1.forward(x));
        taps.see("pool1/3x3_s2", &x);
        let mut x = self.pool.forward(self.conv2.forward(self.conv2_reduce.forward(x)));
        taps.see("pool2/3x3_s2", &x);
        for module in &self.modules {
            x = module.forward(x, taps);
            taps.see(format_args!("inception_{}", module.config.name), &x);
        }
        x
    }

    fn forward_head(&self, features: Tensor<4>, _taps: &mut Taps) -> Tensor<2> {
        let pooled = global_avg_pool(features).flatten::<2>(1, 3);
        self.classifier.forward(self.dropout.forward(pooled))
    }

    fn feature_info(&self) -> Vec<FeatureInfo> {
        // The last map of every resolution, as the modules that halve it begin the next.
        let mut maps = vec![FeatureInfo::new("pool1/3x3_s2", 64, 4)];
        let (mut channels, mut reduction) = (192, 8);
        for (index, module) in self.modules.iter().enumerate() {
            channels = module.config.channels_out(channels);
            reduction *= if module.config.pool == Pool::Down { 2 } else { 1 };
            if self.modules.get(index + 1).is_none_or(|next| next.config.pool == Pool::Down) {
                maps.push(FeatureInfo::new(format!("inception_{}", module.config.name), channels, reduction));
            }
        }
        maps
    }

    fn classifier(&self) -> &'static str {
        "classifier"
    }

    fn published_name<'a>(&self, ours: &'a str) -> Cow<'a, str> {
        let published = || {
            let (layer, leaf) = ours.rsplit_once('.')?;
            if let Some(conv) = layer.strip_suffix(".conv") {
                return Some(format!("{}.{leaf}", self.caffe_layer(conv)?));
            }
            if let Some(conv) = layer.strip_suffix(".bn") {
                // Caffe splits a batch norm: statistics in one layer, gain and shift in the next.
                let norm = if leaf.starts_with("running_") { "bn" } else { "bn/scale" };
                return Some(format!("{}/{norm}.{leaf}", self.caffe_layer(conv)?));
            }
            Some(format!("{}.{leaf}", self.caffe_layer(layer)?))
        };
        published().map_or(Cow::Borrowed(ours), Cow::Owned)
    }
}
