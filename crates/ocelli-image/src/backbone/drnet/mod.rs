//! "Dynamic Resolution Network" (NeurIPS 2021, arXiv 2106.02898): a small predictor looks at a thumbnail and chooses
//! the resolution at which one large network, with a batch-norm set per resolution, classifies the picture.
//!
//! | name | candidates | predictor | classifier | parameters |
//! | --- | --- | --- | --- | --- |
//! | `dr_resnet50` | 224, 168, 112 | four basic blocks at 128 | ResNet-50 | 30,570,603 |
//! | `dr_resnet50_released` | the same | the same | ResNet-50, projections always with set 0 | 30,570,603 |
//! | `dr_resnet50_5way` | 224, 192, 168, 112, 96 | the same, five scores | ResNet-50 | 30,677,869 |
//! | `dr_resnet101` | 224, 168, 112 | four basic blocks at 128 | ResNet-101 | 49,667,179 |
//! | `dr_mobilenetv2` | 224, 168, 112 | four inverted residuals at 64 | MobileNetV2 | 3,713,147 |
//!
//! Index 0 is the largest resolution everywhere: in the scores, the costs and the norms. On the CPU a batch is grouped
//! by choice and every group runs once; a recorded graph (ONNX, the engine) computes every candidate and selects.
//! [`Net::scores`] and [`Net::branch`] are the parts from which [`Runner`](crate::Runner) builds the saving.
//!
//! The authors' MindSpore release holds the ResNet-50 only and no training code. Its `down_sample_layer` norms always
//! use set 0 ([`ShortcutNorms::Always0`]) and its evaluation adds Gumbel noise ([`Config::sample`]). The predictor of
//! `dr_mobilenetv2` is ours: the paper gives no details.

mod chain;
mod config;
pub mod decision;
mod entries;
mod inverted;
pub mod loss;
mod model;
mod train;
mod weights;

pub use chain::{Chain, ChainConfig};
pub use config::{ClassifierConfig, Config, PredictorConfig, ShortcutNorms, Stage, Training, TrainingMode};
pub use entries::entries;
pub use model::{Costs, Decision, Net, Routed};
pub(crate) use model::{decide, decisions, groups};
pub use train::{Joint, Pretraining};
