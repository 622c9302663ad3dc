//! Image classification: training, evaluating and using any of the networks on pictures.

mod adder_aware;
mod aware;
mod classifier;
mod evaluate;
mod task;
mod weights;

pub use adder_aware::{AdderAwareTask, AdderLayer};
pub use aware::{Aware, AwareLayer, AwareTask, CODES, InputCodes, Sparsity};
pub use classifier::{Classification, Classifier, ClassifierError, Guess};
pub use evaluate::{Chosen, ClassReport, EvaluationReport, Routing, evaluate};
pub use task::ClassifyTask;
pub use weights::trainable;
