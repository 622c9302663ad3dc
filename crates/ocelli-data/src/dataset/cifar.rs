//! CIFAR-10 and CIFAR-100 in their binary form.

use super::{Dataset, files};
use crate::decode::read_file;
use crate::error::{DataError, Result};
use crate::rgb::RgbImage;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

const SIDE: usize = 32;
const PIXELS: usize = SIDE * SIDE;
/// A full batch file has 30 MB; CIFAR-100's train file 154 MB.
const MAX_FILE: u64 = 4 << 30;

/// Which of the layouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CifarKind {
    /// One label byte; names in `batches.meta.txt`.
    #[serde(rename = "cifar-10")]
    Cifar10,
    /// A coarse and a fine label byte, of which the fine one counts; names in `fine_label_names.txt`.
    #[serde(rename = "cifar-100")]
    Cifar100Fine,
    /// The coarse label counts; names in `coarse_label_names.txt`.
    #[serde(rename = "cifar-100-coarse")]
    Cifar100Coarse,
}

impl CifarKind {
    fn label_bytes(self) -> usize {
        if self == Self::Cifar10 { 1 } else { 2 }
    }

    fn label_at(self) -> usize {
        usize::from(self == Self::Cifar100Fine)
    }

    fn names_file(self) -> &'static str {
        match self {
            Self::Cifar10 => "batches.meta.txt",
            Self::Cifar100Fine => "fine_label_names.txt",
            Self::Cifar100Coarse => "coarse_label_names.txt",
        }
    }
}

/// One part (train or test) of a CIFAR folder, held in memory as stored.
#[derive(Clone, Debug)]
pub struct Cifar {
    kind: CifarKind,
    classes: Vec<String>,
    /// Path and content of each file.
    files: Vec<(PathBuf, Vec<u8>)>,
    /// File, byte offset and label of each record.
    records: Vec<(usize, usize, usize)>,
}

impl Cifar {
    /// The train or the test part of the folder `root`.
    ///
    /// # Errors
    /// [`DataError`] when files are missing, a size is no multiple of the record, or a label has no name.
    pub fn open(root: impl AsRef<Path>, kind: CifarKind, train: bool) -> Result<Self> {
        let root = root.as_ref();
        let paths = Self::parts(root, kind, train)?;
        if paths.is_empty() {
            let expected = match (kind, train) {
                (CifarKind::Cifar10, true) => "data_batch_1.bin to data_batch_5.bin",
                (CifarKind::Cifar10, false) => "test_batch.bin",
                (_, true) => "train.bin",
                (_, false) => "test.bin",
            };
            return Err(DataError::invalid(root.display().to_string(), expected, "no such file"));
        }
        Self::open_files(&paths, kind, &root.join(kind.names_file()))
    }

    /// The files of one part that exist.
    pub(super) fn parts(root: &Path, kind: CifarKind, train: bool) -> Result<Vec<PathBuf>> {
        let wanted = |name: &str| match (kind, train) {
            (CifarKind::Cifar10, true) => name.starts_with("data_batch_") && name.ends_with(".bin"),
            (CifarKind::Cifar10, false) => name == "test_batch.bin",
            (_, true) => name == "train.bin",
            (_, false) => name == "test.bin",
        };
        let entries = files::entries(root)?;
        Ok(entries.into_iter().filter(|p| wanted(&files::file_name(p)) && p.is_file()).collect())
    }

    /// These record files, with class names from the lines of `names`.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_files(paths: &[PathBuf], kind: CifarKind, names: &Path) -> Result<Self> {
        let classes = read_names(names)?;
        let record = kind.label_bytes() + 3 * PIXELS;
        let mut files = Vec::with_capacity(paths.len());
        let mut records = Vec::new();
        for (file, path) in paths.iter().enumerate() {
            let bytes = read_file(path, MAX_FILE)?;
            let name = path.display().to_string();
            if bytes.is_empty() || bytes.len() % record != 0 {
                let expected = format!("a multiple of {record} bytes (one record each)");
                return Err(DataError::invalid(name, expected, format!("{} bytes", bytes.len())));
            }
            for at in (0..bytes.len()).step_by(record) {
                let label = usize::from(bytes[at + kind.label_at()]);
                if label >= classes.len() {
                    let expected =
                        format!("a label below {} (the lines of {})", classes.len(), names.display());
                    let record = format!("{name}#{}", at / record);
                    return Err(DataError::invalid(record, expected, format!("label {label}")));
                }
                records.push((file, at + kind.label_bytes(), label));
            }
            files.push((path.clone(), bytes));
        }
        Ok(Self { kind, classes, files, records })
    }

    /// Which of the layouts it is.
    pub fn kind(&self) -> CifarKind {
        self.kind
    }
}

/// One name per line; blank lines at the end are ignored.
pub(super) fn read_names(path: &Path) -> Result<Vec<String>> {
    let bytes = read_file(path, 16 << 20)?;
    let text = String::from_utf8_lossy(&bytes);
    let names: Vec<String> = text.trim_end().lines().map(|l| l.trim().to_string()).collect();
    if names.iter().any(String::is_empty) {
        let at = names.iter().position(String::is_empty).unwrap_or(0) + 1;
        let found = format!("line {at} empty");
        return Err(DataError::invalid(path.display().to_string(), "one class name per line", found));
    }
    Ok(names)
}

impl Dataset for Cifar {
    fn len(&self) -> usize {
        self.records.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> usize {
        self.records[index].2
    }

    fn name(&self, index: usize) -> String {
        let (file, at, _) = self.records[index];
        let record = at / (self.kind.label_bytes() + 3 * PIXELS);
        format!("{}#{record}", self.files[file].0.display())
    }

    fn load(&self, index: usize) -> Result<RgbImage> {
        let (file, at, _) = self.records[index];
        let planes = &self.files[file].1[at..at + 3 * PIXELS];
        let pixel = |i: usize| [planes[i], planes[PIXELS + i], planes[2 * PIXELS + i]];
        Ok(RgbImage::new(SIDE, SIDE, (0..PIXELS).flat_map(pixel).collect()))
    }
}
