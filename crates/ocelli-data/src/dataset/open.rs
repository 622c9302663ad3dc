//! Opening a dataset for training or evaluation, whatever its layout.

use super::Dataset;
use super::detect::{DatasetFormat, Layout};
use super::split::stratified;
use super::view::{Relabelled, Subset};
use crate::decode::DecodeLimits;
use crate::error::{DataError, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// How to open a dataset for training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SplitOptions {
    /// Part of each class that becomes val, for datasets that come without one.
    pub split: Option<f64>,
    /// Which pictures these are.
    pub seed: u64,
    /// Limits for decoding.
    pub limits: DecodeLimits,
}

/// A dataset for training.
#[derive(Clone)]
pub struct DatasetPair {
    /// What is learned from.
    pub train: Arc<dyn Dataset>,
    /// What is measured on; labels are indices into `classes` too.
    pub val: Arc<dyn Dataset>,
    /// Class names of both.
    pub classes: Vec<String>,
    /// The layout found.
    pub format: DatasetFormat,
}

impl std::fmt::Debug for DatasetPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatasetPair")
            .field("train", &self.train.len())
            .field("val", &self.val.len())
            .field("classes", &self.classes)
            .field("format", &self.format)
            .finish()
    }
}

/// A dataset for evaluation.
#[derive(Clone)]
pub struct EvalSet {
    /// The pictures; labels are indices into `classes`.
    pub data: Arc<dyn Dataset>,
    /// The classes asked for, or the dataset's own.
    pub classes: Vec<String>,
    /// The layout found.
    pub format: DatasetFormat,
}

impl std::fmt::Debug for EvalSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EvalSet")
            .field("data", &self.data.len())
            .field("classes", &self.classes)
            .field("format", &self.format)
            .finish()
    }
}

/// Opens `root` for training.
///
/// Recognises `train/` and `val/` (or `valid/`, `validation/`, `test/`) with class folders, CIFAR-10 and
/// CIFAR-100 binaries, IDX files, and class folders alone, which `options.split` divides.
///
/// # Errors
/// [`DataError`] when there is no dataset, when it has no val part and no split is given, when it has one
/// and a split is given as well, and when val has classes that train lacks.
pub fn open_split(root: &Path, options: &SplitOptions) -> Result<DatasetPair> {
    let layout = Layout::of(root)?;
    let name = root.display().to_string();
    let format = layout.format;
    let Some(train_root) = &layout.train else {
        return Err(DataError::invalid(name, "a train part", format!("only a val part ({format})")));
    };
    let train = layout.open(train_root, true, options.limits)?;
    let classes = train.classes().to_vec();
    match (&layout.val, options.split) {
        (Some(_), Some(split)) => {
            Err(DataError::config("split", format!("no split, as {name} has a val part of its own"), split))
        }
        (Some(val_root), None) => {
            let val = layout.open(val_root, false, options.limits)?;
            let val = relabel(&val_root.display().to_string(), val, &classes)?;
            Ok(DatasetPair { train, val, classes, format })
        }
        (None, None) => Err(DataError::invalid(
            name,
            "a val part (val/, valid/, validation/ or test/ beside train/), or a split to make one: 0.2 keeps 20 % of each class for it",
            format!("only one part ({format})"),
        )),
        (None, Some(split)) => {
            let (for_train, for_val) = stratified(train.as_ref(), split, options.seed)?;
            let val = Arc::new(Subset::new(train.clone(), for_val)?);
            let train = Arc::new(Subset::new(train, for_train)?);
            Ok(DatasetPair { train, val, classes, format })
        }
    }
}

/// Opens `root` for evaluation: its val part if it has one, else all of it.
///
/// With `classes` (those of a model), labels are indices into them, matched by name.
///
/// # Errors
/// [`DataError`] when there is no dataset, or it has classes that are not among `classes`.
pub fn open_eval(root: &Path, classes: Option<&[String]>, limits: DecodeLimits) -> Result<EvalSet> {
    let layout = Layout::of(root)?;
    let format = layout.format;
    let (part, train) = match (&layout.val, &layout.train) {
        (Some(val), _) => (val, false),
        (None, Some(train)) => (train, true),
        (None, None) => {
            return Err(DataError::invalid(root.display().to_string(), "a dataset", "none"));
        }
    };
    let data = layout.open(part, train, limits)?;
    let data = match classes {
        Some(classes) => relabel(&part.display().to_string(), data, classes)?,
        None => data,
    };
    let classes = data.classes().to_vec();
    Ok(EvalSet { data, classes, format })
}

fn relabel(name: &str, data: Arc<dyn Dataset>, classes: &[String]) -> Result<Arc<dyn Dataset>> {
    if data.classes() == classes {
        return Ok(data);
    }
    Ok(Arc::new(Relabelled::new(name, data, classes)?))
}
