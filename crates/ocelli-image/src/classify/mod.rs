//! Image classification: training, evaluating and using any of the networks on pictures.

mod aware;
mod classifier;
mod evaluate;
mod task;

pub use aware::{
    AdderAwareTask, AdderLayer, Aware, AwareLayer, AwareTask, CODES, InputCodes, Sparsity, trainable,
};
pub use classifier::{Classification, Classifier, ClassifierError, Guess};
pub use evaluate::{Chosen, ClassReport, EvaluationReport, Routing, evaluate};
pub use task::ClassifyTask;
