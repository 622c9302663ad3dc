//! The papers' claims, re-run in small: seeded experiments with their comparison arms.

mod addernet;
pub mod cafm;
mod drnet;
mod experiments;
pub mod gridconv;
mod noisy;
mod quantisation;
mod run;
mod write_up;

use ocelli_image::NetworkConfig;
use serde::{Deserialize, Serialize};

pub use experiments::{experiment, experiments};
pub use run::{RunOptions, run};
pub use write_up::{chart, markdown};

/// One claim and how it is tested.
pub struct Experiment {
    /// Name of the system.
    pub name: &'static str,
    /// The paper's claim, in its own figures.
    pub claim: &'static str,
    /// Where the claim stands.
    pub source: &'static str,
    /// What is expected here if the claim carries over to this size.
    pub expectation: &'static str,
    /// The networks compared; the first is the baseline.
    pub arms: Vec<Arm>,
    /// Pairs `(better, worse)` of arms by which the expectation is judged.
    pub order: &'static [(usize, usize)],
    /// Epochs unless the user says otherwise.
    pub epochs: usize,
    /// How all arms are trained.
    pub recipe: Recipe,
    /// What runs it, where arms differ in more than their networks.
    pub own: Option<Own>,
}

/// Runs an experiment of its own kind; the function is told what happens.
pub type Own = fn(&Experiment, &RunOptions, &dyn Fn(&str)) -> anyhow::Result<Results>;

/// How the arms of an experiment are trained: cosine without warm-up, batches of 64.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Recipe {
    /// SGD with Nesterov momentum, weight decay 5e-4.
    Sgd {
        /// Learning rate.
        lr: f64,
    },
    /// AdamW.
    AdamW {
        /// Learning rate.
        lr: f64,
        /// Weight decay.
        decay: f64,
    },
}

impl Recipe {
    /// The recipe in words.
    pub fn text(&self) -> String {
        match self {
            Self::Sgd { lr } => format!("SGD {lr} with Nesterov momentum, cosine, weight decay 5e-4"),
            Self::AdamW { lr, decay } => format!("AdamW {lr}, cosine, weight decay {decay}"),
        }
    }
}

/// One side of a comparison.
pub struct Arm {
    /// What it is.
    pub name: &'static str,
    /// Its network.
    pub network: NetworkConfig,
    /// Strength of the penal connection.
    pub penal_tau: f64,
    /// Another weight decay than the recipe's.
    pub weight_decay: Option<f64>,
    /// Only so many training pictures, in as many steps as with all.
    pub pictures: Option<usize>,
}

impl Arm {
    /// `network`, trained by the recipe.
    pub fn new(name: &'static str, network: NetworkConfig) -> Self {
        Self { name, network, penal_tau: 0.0, weight_decay: None, pictures: None }
    }
}

/// What an experiment came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// Name of the system.
    pub experiment: String,
    /// What was trained and tested on.
    pub data: String,
    /// Training pictures.
    pub train_pictures: usize,
    /// Test pictures.
    pub test_pictures: usize,
    /// Side of the input, in pixels.
    pub side: usize,
    /// Passes over the training pictures.
    pub epochs: usize,
    /// One entry per arm.
    pub arms: Vec<ArmResults>,
    /// Wall-clock seconds of the whole experiment.
    pub seconds: f64,
}

/// What one arm came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ArmResults {
    /// What it is.
    pub name: String,
    /// Trained parameters.
    pub parameters: usize,
    /// Multiply-accumulates of one picture.
    pub macs: u64,
    /// Test accuracy after the last epoch, per seed.
    pub accuracy: Vec<f64>,
    /// Training loss of the last epoch, per seed.
    pub train_loss: Vec<f64>,
    /// Seconds of training, per seed.
    pub seconds: Vec<f64>,
    /// Test pictures per resolution, largest first, per seed; empty for networks of one resolution.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<Vec<u64>>,
    /// Share of binary weights that fine-tuning turned round, per seed; empty where nothing is fine-tuned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flips: Vec<f64>,
}

impl ArmResults {
    /// Nothing measured yet.
    fn new(name: &str, parameters: usize) -> Self {
        Self {
            name: name.to_string(),
            parameters,
            macs: 0,
            accuracy: Vec::new(),
            train_loss: Vec::new(),
            seconds: Vec::new(),
            choices: Vec::new(),
            flips: Vec::new(),
        }
    }
}

/// How far the means of two arms lie apart, two standard errors of that, and what it says about the expectation that `a` is larger.
pub fn apart(a: &[f64], b: &[f64]) -> (f64, f64, &'static str) {
    let ((mean_a, std_a), (mean_b, std_b)) = (mean_std(a), mean_std(b));
    let (difference, n) = (mean_a - mean_b, a.len() as f64);
    // Two standard errors of the difference: about what chance explains.
    let noise = 2.0 * ((std_a.powi(2) + std_b.powi(2)) / n).sqrt();
    let word = if n < 2.0 {
        "one seed, no telling from chance"
    } else if difference.abs() <= noise {
        "within what the seeds vary: neither confirmed nor refuted"
    } else if difference > 0.0 {
        "as expected"
    } else {
        "against the expectation"
    };
    (difference, noise, word)
}

/// Mean and sample standard deviation.
pub fn mean_std(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let square = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
    (mean, (square / (n - 1.0).max(1.0)).sqrt())
}
