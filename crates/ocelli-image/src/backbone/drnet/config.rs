//! The serialisable description of a dynamic resolution network.

use ocelli_nn::ResizeRule;
use serde::{Deserialize, Serialize};

use super::chain::ChainConfig;
use crate::backbone::resnet::{self, Norms, cifar};
use crate::backbone::{mobilenetv2, resnet::Block};

/// Most candidate resolutions.
pub(super) const MOST_CANDIDATES: usize = 16;

/// The network that chooses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PredictorConfig {
    /// Basic blocks.
    Residual(ChainConfig),
    /// Inverted residuals of expansion 6: 16 channels, then 24, 40, 80, 96.
    Inverted,
}

/// The network that classifies. Its channels, classes, dropout and norm sets are those of the [`Config`] around it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ClassifierConfig {
    /// A ResNet.
    #[serde(rename = "resnet")]
    ResNet(resnet::Config),
    /// A ResNet for small pictures.
    #[serde(rename = "resnet_cifar")]
    ResNetCifar(cifar::Config),
    /// A MobileNetV2.
    #[serde(rename = "mobilenetv2")]
    MobileNetV2(mobilenetv2::Config),
    /// The predictor's architecture, for small experiments.
    Residual(ChainConfig),
}

/// Which set the norms of a ResNet's projections use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShortcutNorms {
    /// The chosen resolution's, as in the paper.
    #[default]
    Selected,
    /// Always the first, as in the authors' release; the others exist in the checkpoint and are dead.
    #[serde(rename = "always_0")]
    Always0,
}

/// Stage of the training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The classifier alone, every batch at every resolution; there is no choice yet, pictures are classified at the
    /// largest.
    Pretrain,
    /// Predictor and classifier together.
    #[default]
    Joint,
}

/// How a joint step runs the classifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainingMode {
    /// Every picture at its chosen resolution only (the paper's way).
    #[default]
    Split,
    /// Every picture at every resolution, weighed by the gate.
    Dense,
}

/// Settings of the training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Training {
    /// Which stage.
    pub stage: Stage,
    /// How the joint stage runs the classifier.
    pub mode: TrainingMode,
    /// Average cost aimed at (the paper's alpha), in 10⁹ multiply-accumulates of the classifier alone; three quarters
    /// of the largest candidate's if not said.
    pub flops_target: Option<f64>,
    /// Weight of the cost's term in the loss (the paper's eta).
    pub flops_weight: f64,
    /// Temperature of the Gumbel-softmax.
    pub temperature: f64,
    /// Factor of the predictor's learning rate.
    pub predictor_lr: f64,
}

impl Default for Training {
    fn default() -> Self {
        Self {
            stage: Stage::Joint,
            mode: TrainingMode::Split,
            flops_target: None,
            flops_weight: 0.2,
            temperature: 1.0,
            predictor_lr: 0.1,
        }
    }
}

/// A dynamic resolution network.
///
/// Sizes in pixels are those for an input of the largest candidate's size; other inputs scale them in proportion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Candidate resolutions, largest first; 2 to 16 of them.
    pub resolutions: Vec<usize>,
    /// Side of the predictor's thumbnail.
    pub predictor_input: usize,
    /// The network that chooses.
    pub predictor: PredictorConfig,
    /// The network that classifies.
    pub classifier: ClassifierConfig,
    /// One norm set for all resolutions (the paper's ablation) instead of one each.
    #[serde(default)]
    pub shared_norms: bool,
    /// The set of a ResNet's projections.
    #[serde(default)]
    pub shortcut_norms: ShortcutNorms,
    /// How pictures get to another size.
    #[serde(default)]
    pub resize: ResizeRule,
    /// Add Gumbel noise to the scores when evaluating, as the authors' script does; recorded graphs never do.
    #[serde(default)]
    pub sample: bool,
    /// Settings of the training.
    #[serde(default)]
    pub training: Training,
    /// Channels of the input.
    pub in_channels: usize,
    /// Classes.
    pub num_classes: usize,
    /// Dropout before the classifier.
    pub drop_rate: f64,
}

impl Config {
    /// The paper's network around `classifier`, for ImageNet: candidates 224, 168 and 112, predictor of four basic
    /// blocks at 128.
    pub fn new(classifier: ClassifierConfig) -> Self {
        Self {
            resolutions: vec![224, 168, 112],
            predictor_input: 128,
            predictor: PredictorConfig::Residual(ChainConfig::predictor()),
            classifier,
            shared_norms: false,
            shortcut_norms: ShortcutNorms::Selected,
            resize: ResizeRule::HalfPixel,
            sample: false,
            training: Training::default(),
            in_channels: 3,
            num_classes: 1000,
            drop_rate: 0.0,
        }
    }

    /// DR-ResNet of bottlenecks.
    pub fn resnet(layers: [usize; 4]) -> Self {
        Self::new(ClassifierConfig::ResNet(resnet::Config::new(Block::Bottleneck, layers)))
    }

    /// DR-MobileNetV2.
    pub fn mobilenetv2() -> Self {
        Self {
            predictor: PredictorConfig::Inverted,
            predictor_input: 64,
            ..Self::new(ClassifierConfig::MobileNetV2(mobilenetv2::Config::new(1.0)))
        }
    }

    /// Sets in the classifier's norms.
    pub fn norm_sets(&self) -> usize {
        if self.shared_norms { 1 } else { self.resolutions.len() }
    }

    /// Size in pixels of candidate `index` for pictures of `[height, width]`.
    pub fn candidate_size(&self, index: usize, picture: [usize; 2]) -> [usize; 2] {
        self.scaled(self.resolutions[index], picture)
    }

    /// Size in pixels of the predictor's thumbnail of pictures of `[height, width]`.
    pub fn thumbnail_size(&self, picture: [usize; 2]) -> [usize; 2] {
        self.scaled(self.predictor_input, picture)
    }

    fn scaled(&self, side: usize, picture: [usize; 2]) -> [usize; 2] {
        let whole = self.resolutions[0];
        picture.map(|extent| ((extent * side + whole / 2) / whole).max(1))
    }

    /// Cost aimed at, in 10⁹ multiply-accumulates, where the candidates cost `costs`.
    pub fn flops_target(&self, costs: &[f64]) -> f64 {
        let largest = costs.iter().copied().fold(0.0, f64::max);
        self.training.flops_target.unwrap_or(0.75 * largest)
    }

    pub(super) fn norms(&self) -> Norms {
        Norms { sets: self.norm_sets(), pin_projections: self.shortcut_norms == ShortcutNorms::Always0 }
    }
}
