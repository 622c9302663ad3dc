//! The report of a training run.
//!
//! [`TrainingReport`] is plain data that serialises, so a page can be made again from the JSON that a run
//! left behind. Accuracies and shares are between 0 and 1 throughout.

mod curves;
mod findings;
mod lenient;
mod metrics;
mod page;

use serde::{Deserialize, Serialize};

pub use metrics::{ClassMetrics, ConfusedPair, class_metrics, confused_pairs, wilson_interval};

/// What happened in one epoch.
///
/// Numbers that are not finite become `null` in JSON and come back as NaN: a diverged run has a report too.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EpochRow {
    /// The number of the epoch, as the run counts.
    pub epoch: u32,
    /// The learning rate at the end of the epoch.
    #[serde(with = "lenient::number")]
    pub lr: f64,
    /// Mean loss on the training images.
    #[serde(with = "lenient::number")]
    pub train_loss: f64,
    /// Accuracy on the training images.
    pub train_acc: Option<f64>,
    /// Mean loss on the validation images.
    pub val_loss: Option<f64>,
    /// Top-1 accuracy on the validation images.
    pub val_top1: Option<f64>,
    /// Top-5 accuracy on the validation images.
    pub val_top5: Option<f64>,
    /// Training throughput.
    #[serde(with = "lenient::number")]
    pub images_per_s: f64,
    /// Duration of the epoch in seconds.
    #[serde(with = "lenient::number")]
    pub seconds: f64,
    /// Share of the time spent waiting for data.
    #[serde(with = "lenient::number")]
    pub data_wait_share: f64,
}

/// A picture with what the model says about it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sample {
    /// The picture as PNG; base64 in JSON.
    #[serde(with = "lenient::base64_bytes")]
    pub png: Vec<u8>,
    /// The true class, where it is known.
    pub truth: Option<String>,
    /// Classes with their probabilities, most probable first.
    #[serde(with = "lenient::predictions")]
    pub predictions: Vec<(String, f32)>,
}

impl Sample {
    /// Whether the first prediction is the true class, where both are known.
    #[must_use]
    pub fn correct(&self) -> Option<bool> {
        Some(self.truth.as_ref()? == &self.predictions.first()?.0)
    }
}

/// A training run in numbers. What is empty or absent leaves its part out of the page.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainingReport {
    /// The name of the run, the page's title.
    pub run_name: String,
    /// The name of the model.
    pub model: String,
    /// The name of the data set.
    pub dataset: String,
    /// What the run computed on.
    pub device: String,
    /// Number of parameters.
    pub params: u64,
    /// Multiply-accumulate operations for one image.
    pub macs: Option<u64>,
    /// The epochs in order.
    pub epochs: Vec<EpochRow>,
    /// The epoch whose weights were kept.
    pub best_epoch: Option<u32>,
    /// Top-1 accuracy of the kept weights on the validation images.
    pub final_top1: Option<f64>,
    /// Top-5 accuracy of the kept weights on the validation images.
    pub final_top5: Option<f64>,
    /// The names of the classes.
    pub classes: Vec<String>,
    /// Counts on the validation images with the kept weights, as `confusion[true][predicted]`.
    pub confusion: Vec<Vec<u64>>,
    /// Pictures with predictions.
    pub samples: Vec<Sample>,
    /// The run's configuration.
    pub config_toml: String,
    /// Commands to go on with: evaluate, predict, export.
    pub next_commands: Vec<String>,
    /// Anything else worth saying, in sentences.
    pub notes: Vec<String>,
}

impl TrainingReport {
    /// The report as one self-contained HTML document.
    #[must_use]
    pub fn to_html(&self) -> String {
        page::page(self).render()
    }

    /// Loss and accuracy over the epochs, side by side, as one SVG for a README.
    #[must_use]
    pub fn curves_svg(&self) -> String {
        crate::chart::panels(vec![curves::loss(self), curves::accuracy(self)]).to_svg()
    }

    /// The name of class `index`, or its number.
    pub(crate) fn class(&self, index: usize) -> String {
        self.classes.get(index).cloned().unwrap_or_else(|| index.to_string())
    }

    /// Top-1 accuracy of the kept weights, from the best source there is.
    pub(crate) fn top1(&self) -> Option<f64> {
        let best = || self.epochs.iter().find(|row| Some(row.epoch) == self.best_epoch)?.val_top1;
        self.final_top1.or_else(best).or_else(|| metrics::accuracy(&self.confusion))
    }
}
