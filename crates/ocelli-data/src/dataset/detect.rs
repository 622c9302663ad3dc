//! Which layout a folder has.

use super::cifar::{Cifar, CifarKind};
use super::idx::Idx;
use super::{Dataset, ImageFolder, files};
use crate::decode::DecodeLimits;
use crate::error::{DataError, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A dataset's layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DatasetFormat {
    /// One folder per class.
    ImageFolder,
    /// CIFAR-10 binary.
    #[serde(rename = "cifar-10")]
    Cifar10,
    /// CIFAR-100 binary.
    #[serde(rename = "cifar-100")]
    Cifar100,
    /// IDX files, the MNIST family.
    Idx,
}

impl std::fmt::Display for DatasetFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ImageFolder => "class folders",
            Self::Cifar10 => "CIFAR-10 binary",
            Self::Cifar100 => "CIFAR-100 binary",
            Self::Idx => "IDX (MNIST family)",
        })
    }
}

/// Names of the folder with the pictures for evaluation, the preferred one first.
const VAL: [&str; 4] = ["val", "valid", "validation", "test"];

/// What lies in a folder, not yet opened.
pub(super) struct Layout {
    /// The format.
    pub format: DatasetFormat,
    /// Where the train part is.
    pub train: Option<PathBuf>,
    /// Where the val part is.
    pub val: Option<PathBuf>,
}

impl Layout {
    /// Looks at names alone.
    pub(super) fn of(root: &Path) -> Result<Self> {
        if !root.is_dir() {
            let found = if root.exists() { "a file" } else { "nothing there" };
            return Err(DataError::invalid(root.display().to_string(), "a folder with a dataset", found));
        }
        let here = |format, train: bool, val: bool| Self {
            format,
            train: train.then(|| root.to_path_buf()),
            val: val.then(|| root.to_path_buf()),
        };
        for (format, kind) in
            [(DatasetFormat::Cifar10, CifarKind::Cifar10), (DatasetFormat::Cifar100, CifarKind::Cifar100Fine)]
        {
            let has = |train| Cifar::parts(root, kind, train).map(|p| !p.is_empty());
            let (train, val) = (has(true)?, has(false)?);
            if train || val {
                return Ok(here(format, train, val));
            }
        }
        let (train, val) = (Idx::parts(root, true)?.is_some(), Idx::parts(root, false)?.is_some());
        if train || val {
            return Ok(here(DatasetFormat::Idx, train, val));
        }
        let val = VAL.iter().map(|name| root.join(name)).find(|p| p.is_dir());
        let mut train = Some(root.join("train")).filter(|p| p.is_dir());
        // Pictures of trains: a class of that name holds pictures, a part holds folders.
        if let (Some(path), None) = (&train, &val)
            && files::subfolders(path)?.is_empty()
        {
            train = None;
        }
        let format = DatasetFormat::ImageFolder;
        // A lone folder called `test` may well be a class; only beside `train` it is a part.
        Ok(match (train, val) {
            (Some(train), val) => Self { format, train: Some(train), val },
            (None, Some(val)) if files::subfolders(root)?.len() == 1 => {
                Self { format, train: None, val: Some(val) }
            }
            _ => Self { format, train: Some(root.to_path_buf()), val: None },
        })
    }

    /// Opens the part at `root`.
    pub(super) fn open(&self, root: &Path, train: bool, limits: DecodeLimits) -> Result<Arc<dyn Dataset>> {
        Ok(match self.format {
            DatasetFormat::ImageFolder => Arc::new(ImageFolder::open(root, limits)?),
            DatasetFormat::Cifar10 => Arc::new(Cifar::open(root, CifarKind::Cifar10, train)?),
            DatasetFormat::Cifar100 => Arc::new(Cifar::open(root, CifarKind::Cifar100Fine, train)?),
            DatasetFormat::Idx => Arc::new(Idx::open(root, train)?),
        })
    }
}
