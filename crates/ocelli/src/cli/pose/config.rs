//! The resolved settings of a training, kept as `config.toml` in its folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use ocelli_pose::camera::{Camera, read_cameras};
use ocelli_pose::data::{self, Augment, OpenOptions, Parts, SplitRule};
use ocelli_pose::lifter::LifterConfig;
use ocelli_pose::train::Loss;
use ocelli_train::TrainConfig;
use serde::{Deserialize, Serialize};

/// Where pairs come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Motion capture.
    pub data: PathBuf,
    /// Cameras as JSON; four around the person without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cameras: Option<PathBuf>,
    /// Joints of BVH files as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joint_map: Option<PathBuf>,
    /// Held-out subjects.
    pub val_subjects: Vec<String>,
    /// Held-out share at the end of every sequence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_fraction: Option<f64>,
    /// Frames per second to keep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Every so many held-out frames.
    pub val_stride: usize,
}

impl DataConfig {
    /// Both parts and the cameras.
    pub fn open(&self) -> Result<(Parts, Vec<Camera>)> {
        let options = OpenOptions { joint_map: self.joint_map.clone(), z_up: None, rate: self.rate };
        let sequences = data::open(&self.data, &options)?;
        let rule = SplitRule { val_subjects: self.val_subjects.clone(), val_fraction: self.val_fraction };
        let parts = data::split(sequences, &rule).with_context(|| self.data.display().to_string())?;
        let cameras = match &self.cameras {
            Some(path) => read_cameras(path)?,
            None => Camera::four(),
        };
        Ok((parts, cameras))
    }
}

/// The settings of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Pairs per step.
    pub batch_size: usize,
    /// What is minimised.
    pub loss: Loss,
    /// Epochs over which the temperature falls.
    pub temperature_epochs: usize,
    /// Factor of the learning rate of a learnt grid.
    pub grid_rate: f64,
    /// Bones of a sequence are scaled between these two.
    pub scale: [f64; 2],
    /// People are turned at random.
    pub turn: bool,
    /// Noise on 2D joints.
    pub noise: f64,
    /// Every so many training frames.
    pub stride: usize,
    /// Where pairs come from.
    pub data: DataConfig,
    /// The network.
    pub network: LifterConfig,
    /// The optimisation.
    pub train: TrainConfig,
}

impl RunConfig {
    /// Reads a folder's settings.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let config: Self = toml::from_str(&text).with_context(|| path.display().to_string())?;
        config.network.check().map_err(|problem| anyhow!("{}: the network has {problem}", path.display()))?;
        if config.batch_size < 2 {
            bail!("{}: a batch_size of {}, expected at least 2", path.display(), config.batch_size);
        }
        Ok(config)
    }

    /// How training pairs vary.
    pub fn augment(&self) -> Augment {
        Augment { scale: self.scale, turn: self.turn, noise: self.noise }
    }
}
