//! The serialisable description.

use ocelli_nn::binary::{NoiseRates, Reduction};
use serde::{Deserialize, Serialize};

/// How pictures enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stem {
    /// 3x3, stride 1.
    Small,
    /// 7x7, stride 2, then max pooling.
    Large,
}

/// Which signs count as labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Labels {
    /// Those the weights had when they were loaded into the network for fine-tuning; they are stored with it. A network that
    /// was never loaded has its weights' present signs.
    #[default]
    Frozen,
    /// The weights' present ones.
    Online,
}

/// Fine-tuning with mapping networks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Supervision {
    /// How often labels are wrong: those of +1, those of -1.
    pub rates: NoiseRates,
    /// Factor of the labels' loss in the total.
    pub weight: f64,
    /// How the terms of a layer become one number.
    pub reduction: Reduction,
    /// Whether mapping networks have a skip connection; they begin at the weights' signs then and need no warm-up.
    pub skip: bool,
    /// Which signs count as labels.
    pub labels: Labels,
    /// Factor of the learning rate of the mapping networks.
    pub mapping_rate: f64,
}

impl Default for Supervision {
    /// A tenth of the mean loss, labels wrong in one case of ten.
    fn default() -> Self {
        Self {
            rates: NoiseRates::default(),
            weight: 0.1,
            reduction: Reduction::Mean,
            skip: false,
            labels: Labels::Frozen,
            mapping_rate: 10.0,
        }
    }
}

/// A binary ResNet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How pictures enter.
    pub stem: Stem,
    /// Channels of the stages, at most four; the stem has those of the first.
    pub widths: Vec<usize>,
    /// Units per stage.
    pub units: usize,
    /// Mapping networks, for fine-tuning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervision: Option<Supervision>,
    /// Channels of the input.
    pub in_channels: usize,
    /// Classes.
    pub num_classes: usize,
    /// Dropout before the classifier.
    pub drop_rate: f64,
}

impl Config {
    /// ResNet-20 for 32x32 pictures.
    pub fn resnet20() -> Self {
        Self {
            stem: Stem::Small,
            widths: vec![16, 32, 64],
            units: 6,
            supervision: None,
            in_channels: 3,
            num_classes: 10,
            drop_rate: 0.0,
        }
    }

    /// ResNet-18 for ImageNet.
    pub fn resnet18() -> Self {
        Self {
            stem: Stem::Large,
            widths: vec![64, 128, 256, 512],
            units: 4,
            num_classes: 1000,
            ..Self::resnet20()
        }
    }

    /// With mapping networks.
    pub fn supervised(self, supervision: Supervision) -> Self {
        Self { supervision: Some(supervision), ..self }
    }
}
