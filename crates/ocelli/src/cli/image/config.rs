//! The settings of `ocelli image train`, as they stand in a TOML file and in the run folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ocelli_data::{AugmentConfig, MixConfig};
use ocelli_image::NetworkConfig;
use ocelli_image::backbone::drnet::{Stage, TrainingMode};
use ocelli_train::TrainConfig;
use serde::{Deserialize, Serialize};

use super::binary::Binary;

/// Settings of one training. Every field has a default but the model and the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunConfig {
    /// Registered name; with `network` given, any name.
    pub model: String,
    /// Class folders, CIFAR binary or IDX files.
    pub data: PathBuf,
    /// Share held out where the data has no `val` part.
    pub split: Option<f64>,
    /// Weights to start from: a file, a run folder or `hf://org/repo`.
    pub weights: Option<String>,
    /// Side of the square input, in pixels; the model's own if not said.
    pub img_size: Option<usize>,
    /// Pictures per step.
    pub batch_size: usize,
    /// Threads that decode and augment; all cores if not said. Does not change the result.
    pub workers: Option<usize>,
    /// Leave unreadable pictures out.
    pub skip_bad: bool,
    /// Memory for decoded pictures, in MiB. Does not change the result.
    pub cache_mib: usize,
    /// Dropout before the classifier; the model's own if not said.
    pub drop_rate: Option<f64>,
    /// Stochastic depth; the model's own if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop_path: Option<f64>,
    /// Augmentation of single pictures.
    pub augment: AugmentConfig,
    /// Mixup, CutMix and label smoothing.
    pub mix: MixConfig,
    /// Optimiser, schedule and the rest of the loop.
    pub train: TrainConfig,
    /// Changes to how a network that chooses the resolution is trained.
    #[serde(skip_serializing_if = "Dynamic::is_empty")]
    pub dynamic: Dynamic,
    /// Changes to how a binary network is trained.
    #[serde(skip_serializing_if = "Binary::is_empty")]
    pub binary: Binary,
    /// A network that is not registered, or a registered one changed.
    pub network: Option<NetworkConfig>,
}

/// What is said about the training of a network that chooses the resolution (`dr_*`); the network's own settings hold
/// where nothing is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dynamic {
    /// The classifier alone at every resolution, or both together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// Every picture at its resolution, or at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<TrainingMode>,
    /// Average cost aimed at, in 10⁹ multiply-accumulates without the predictor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flops_target: Option<f64>,
    /// Weight of the cost in the loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flops_weight: Option<f64>,
    /// Factor of the predictor's learning rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predictor_lr: Option<f64>,
}

impl Dynamic {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Puts what is said into `network`.
    pub fn apply(&self, network: &mut NetworkConfig) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let NetworkConfig::DrNet(config) = network else {
            bail!(
                "--drnet-*, --flops-target, --flops-weight and --predictor-lr go with networks that choose the \
                 resolution (`ocelli models list dr_`)"
            );
        };
        let training = &mut config.training;
        training.stage = self.stage.unwrap_or(training.stage);
        training.mode = self.mode.unwrap_or(training.mode);
        training.flops_target = self.flops_target.or(training.flops_target);
        training.flops_weight = self.flops_weight.unwrap_or(training.flops_weight);
        training.predictor_lr = self.predictor_lr.unwrap_or(training.predictor_lr);
        Ok(())
    }

    fn check(&self) -> Result<()> {
        let numbers = [
            ("--flops-target", self.flops_target),
            ("--flops-weight", self.flops_weight),
            ("--predictor-lr", self.predictor_lr),
        ];
        for (name, number) in numbers {
            if let Some(number) = number
                && !(0.0..=16.0).contains(&number)
            {
                bail!("{name} must lie between 0 and 16, found {number}");
            }
        }
        Ok(())
    }
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            model: String::new(),
            data: PathBuf::new(),
            split: None,
            weights: None,
            img_size: None,
            batch_size: 32,
            workers: None,
            skip_bad: false,
            cache_mib: 1024,
            drop_rate: None,
            drop_path: None,
            augment: AugmentConfig::default(),
            mix: MixConfig { label_smoothing: 0.1, ..Default::default() },
            train: TrainConfig::default(),
            dynamic: Dynamic::default(),
            binary: Binary::default(),
            network: None,
        }
    }
}

impl RunConfig {
    /// Reads a TOML file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        // toml's message shows the line and marks the place.
        toml::from_str(&text).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
    }

    /// As TOML, with every default spelled out.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string_pretty(self).context("the settings cannot be written as TOML")
    }

    /// Refuses settings that cannot train.
    pub fn check(&self) -> Result<()> {
        if self.model.is_empty() {
            bail!("say which network to train with --model NAME (`ocelli models list` shows them)");
        }
        if self.data.as_os_str().is_empty() {
            bail!("say what to train on with --data DIR");
        }
        if self.batch_size < 2 {
            bail!("--batch-size must be at least 2: batch norm has no statistics of a single picture");
        }
        if self.split.is_some_and(|share| !(share > 0.0 && share < 1.0)) {
            bail!("--split must lie between 0 and 1");
        }
        if self.img_size == Some(0) {
            bail!("--img-size must be at least 1");
        }
        self.augment.validate()?;
        self.mix.validate()?;
        self.train.check()?;
        self.binary.check(self.weights.is_some())?;
        self.dynamic.check()
    }

    /// One line that names everything that decides the resulting weights.
    pub fn fingerprint(&self, pictures: usize) -> Result<String> {
        let same = Self {
            workers: None,
            cache_mib: 0,
            train: TrainConfig { checkpoint_minutes: 0.0, ..self.train.clone() },
            ..self.clone()
        };
        Ok(format!("{pictures} pictures, {}", serde_json::to_string(&same)?))
    }
}

/// Decoding threads when nothing is said: all cores.
pub fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}
