//! The registry: names → networks.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use ocelli_image::zoo::{self, Options};
//!
//! let device = Device::flex();
//! let network = zoo::create("resnet18", &Options { num_classes: Some(10), ..Default::default() }, &device)?
//!     .initialize(0);
//! let logits = network.forward(Tensor::zeros([1, 3, 64, 64], &device));
//! assert_eq!(logits.dims(), [1, 10]);
//!
//! // Maps for a detector, strides 4 to 32.
//! let maps = network.forward_multi_scale(Tensor::zeros([1, 3, 64, 64], &device), &[1, 2, 3, 4]);
//! assert_eq!(maps[3].dims(), [1, 512, 2, 2]);
//! # Ok::<(), ocelli_image::zoo::UnknownModel>(())
//! ```

use burn::tensor::Device;
use ocelli_data::{Interpolation, Preprocess};

use crate::backbone;
use crate::network::{Network, NetworkConfig};

/// A registered network.
pub struct Entry {
    /// Name, timm's where timm has the network.
    pub name: &'static str,
    /// The system (specification) it belongs to.
    pub system: &'static str,
    /// Published accuracy on ImageNet-1k.
    pub accuracy: Option<Accuracy>,
    /// Side of the square input in training and published evaluation, in pixels.
    pub input_size: usize,
    /// Evaluation crop: the picture's shorter side is scaled to `input_size / crop_pct`.
    pub crop_pct: f64,
    /// Resampling of the published evaluation.
    pub interpolation: Interpolation,
    /// Mean per channel of inputs scaled to `[0, 1]`.
    pub mean: [f32; 3],
    /// Standard deviation per channel of inputs scaled to `[0, 1]`.
    pub std: [f32; 3],
    /// Whether the channels enter as blue, green, red (networks with Caffe weights); `mean` and `std` then
    /// stand in that order too.
    pub bgr: bool,
    config: Box<dyn Fn() -> NetworkConfig + Send + Sync>,
}

/// A published accuracy in percent and where it was published.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Accuracy {
    /// Top-1, percent.
    pub top1: f64,
    /// Top-5, percent, where it was published.
    pub top5: Option<f64>,
    /// Who says so.
    pub source: &'static str,
}

impl Accuracy {
    /// Percentages and their source.
    pub const fn new(top1: f64, top5: f64, source: &'static str) -> Self {
        Self { top1, top5: Some(top5), source }
    }

    /// A top-1 percentage without its top-5.
    pub const fn top1(top1: f64, source: &'static str) -> Self {
        Self { top1, top5: None, source }
    }
}

impl Entry {
    /// A network with ImageNet's usual preprocessing (224 px, crop 0.875, bilinear).
    pub fn new(
        name: &'static str,
        system: &'static str,
        config: impl Fn() -> NetworkConfig + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            system,
            accuracy: None,
            input_size: 224,
            crop_pct: 0.875,
            interpolation: Interpolation::Bilinear,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
            bgr: false,
            config: Box::new(config),
        }
    }

    /// With a published accuracy.
    pub fn accuracy(mut self, accuracy: Accuracy) -> Self {
        self.accuracy = Some(accuracy);
        self
    }

    /// With another input size, in pixels.
    pub fn input_size(mut self, pixels: usize) -> Self {
        self.input_size = pixels;
        self
    }

    /// With another evaluation crop.
    pub fn crop_pct(mut self, share: f64) -> Self {
        self.crop_pct = share;
        self
    }

    /// With another mean and standard deviation per channel, for values in `[0, 1]`.
    pub fn normalisation(mut self, mean: [f32; 3], std: [f32; 3]) -> Self {
        self.mean = mean;
        self.std = std;
        self
    }

    /// With another resampling.
    pub fn interpolation(mut self, filter: Interpolation) -> Self {
        self.interpolation = filter;
        self
    }

    /// For CIFAR-10: whole 32x32 pictures and that set's mean and deviation.
    pub fn cifar(mut self) -> Self {
        self.input_size = 32;
        self.crop_pct = 1.0;
        self.mean = [0.4914, 0.4822, 0.4465];
        self.std = [0.2470, 0.2435, 0.2616];
        self
    }

    /// With Caffe's preprocessing: blue, green, red, and `mean` and `std` in that order for values in `[0, 1]`.
    pub fn bgr(mut self, mean: [f32; 3], std: [f32; 3]) -> Self {
        self.bgr = true;
        self.mean = mean;
        self.std = std;
        self
    }

    /// `[channels, height, width]` of the input.
    pub fn input_shape(&self) -> [usize; 3] {
        [self.config().in_channels(), self.input_size, self.input_size]
    }

    /// How pictures become inputs in the published evaluation.
    pub fn preprocess(&self) -> Preprocess {
        Preprocess {
            input_size: self.input_shape(),
            interpolation: self.interpolation,
            crop_pct: self.crop_pct,
            mean: self.mean.to_vec(),
            std: self.std.to_vec(),
            bgr: self.bgr,
            ..Default::default()
        }
    }

    /// The published configuration (1000 classes unless the name says otherwise).
    pub fn config(&self) -> NetworkConfig {
        (self.config)()
    }

    /// The configuration with `options` applied.
    pub fn config_with(&self, options: &Options) -> NetworkConfig {
        let mut config = self.config();
        if let Some(classes) = options.num_classes {
            config.set_num_classes(classes);
        }
        if let Some(channels) = options.in_channels {
            config.set_in_channels(channels);
        }
        if let Some(rate) = options.drop_rate {
            config.set_drop_rate(rate);
        }
        config
    }
}

/// What [`create`] may change in a published configuration.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Number of classes.
    pub num_classes: Option<usize>,
    /// Channels of the input.
    pub in_channels: Option<usize>,
    /// Dropout before the classifier.
    pub drop_rate: Option<f64>,
}

/// No network is registered under the name.
#[derive(Debug, thiserror::Error)]
#[error("unknown model '{name}'{}", suggest(.nearest))]
pub struct UnknownModel {
    /// The name asked for.
    pub name: String,
    /// Registered names that look alike, nearest first.
    pub nearest: Vec<&'static str>,
}

fn suggest(nearest: &[&str]) -> String {
    match nearest {
        [] => "; `ocelli models list` shows what there is".into(),
        names => format!("; did you mean {}?", names.join(", ")),
    }
}

/// All registered networks, by room.
pub fn entries() -> Vec<Entry> {
    backbone::entries()
}

/// The entry called `name`.
pub fn entry(name: &str) -> Result<Entry, UnknownModel> {
    let mut all = entries();
    if let Some(found) = all.iter().position(|entry| entry.name == name) {
        return Ok(all.swap_remove(found));
    }
    let mut scored: Vec<(f64, &'static str)> = all
        .iter()
        .map(|entry| (strsim::jaro_winkler(&name.to_lowercase(), entry.name), entry.name))
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let nearest =
        scored.into_iter().filter(|(score, _)| *score > 0.75).take(3).map(|(_, name)| name).collect();
    Err(UnknownModel { name: name.to_string(), nearest })
}

/// Builds the network called `name` with lazy (zero) parameters; initialise or load it before use.
pub fn create(name: &str, options: &Options, device: &Device) -> Result<Network, UnknownModel> {
    Ok(entry(name)?.config_with(options).init(device))
}
