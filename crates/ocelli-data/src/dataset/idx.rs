//! MNIST, Fashion-MNIST, KMNIST, EMNIST...

use super::cifar::read_names;
use super::idx_file::{IdxFile, read};
use super::{Dataset, files};
use crate::error::{DataError, Result};
use crate::rgb::RgbImage;
use std::path::{Path, PathBuf};

/// Grey pictures and labels from a pair of IDX files, plain or gzipped, held in memory as stored.
///
/// Class names are the lines of `classes.txt` beside the files if there is one, else the labels' numbers.
#[derive(Clone, Debug)]
pub struct Idx {
    path: PathBuf,
    images: IdxFile,
    labels: Vec<u8>,
    classes: Vec<String>,
}

impl Idx {
    /// The train (`train-...`) or the test part (`t10k-...` or `test-...`) of the folder `root`.
    ///
    /// # Errors
    /// As [`open_files`](Self::open_files), and when a file is missing.
    pub fn open(root: impl AsRef<Path>, train: bool) -> Result<Self> {
        let root = root.as_ref();
        let Some((images, labels)) = Self::parts(root, train)? else {
            let part = if train { "train" } else { "t10k" };
            let expected = format!("{part}-images-idx3-ubyte and {part}-labels-idx1-ubyte, or with .gz");
            return Err(DataError::invalid(root.display().to_string(), expected, "no such files"));
        };
        let names = root.join("classes.txt");
        let mut part = Self::open_files(&images, &labels, names.is_file().then_some(names.as_path()))?;
        // Both parts need the same classes, also if one of them lacks the last.
        if !names.is_file()
            && let Some((_, other)) = Self::parts(root, !train)?
        {
            let most = read(&other, 1)?.data.into_iter().max().map_or(0, |m| usize::from(m) + 1);
            part.classes.extend((part.classes.len()..most).map(|i| i.to_string()));
        }
        Ok(part)
    }

    /// Paths of the pictures and the labels of one part, if both exist.
    pub(super) fn parts(root: &Path, train: bool) -> Result<Option<(PathBuf, PathBuf)>> {
        let prefixes: &[&str] = if train { &["train"] } else { &["t10k", "test"] };
        let entries = files::entries(root)?;
        let find = |prefix: &str, what: &str| {
            // Some copies write a dot instead of the second dash.
            let wanted = |name: &str| {
                let stem = name.strip_suffix(".gz").unwrap_or(name).replace('.', "-");
                stem == format!("{prefix}-{what}-ubyte")
            };
            entries.iter().find(|p| p.is_file() && wanted(&files::file_name(p))).cloned()
        };
        let pair = |prefix: &&str| find(prefix, "images-idx3").zip(find(prefix, "labels-idx1"));
        Ok(prefixes.iter().find_map(pair))
    }

    /// This pair of files.
    ///
    /// # Errors
    /// [`DataError`] when a header is not IDX or declares something else than what follows, when the numbers
    /// of pictures and labels differ, or when a label has no name.
    pub fn open_files(images: &Path, labels: &Path, names: Option<&Path>) -> Result<Self> {
        let pictures = read(images, 3)?;
        let marks = read(labels, 1)?;
        if pictures.dims[0] != marks.dims[0] {
            return Err(DataError::invalid(
                labels.display().to_string(),
                format!("{} labels, one for each picture of {}", pictures.dims[0], images.display()),
                format!("{} labels", marks.dims[0]),
            ));
        }
        if pictures.data.is_empty() {
            let found = format!("dimensions {:?}", pictures.dims);
            return Err(DataError::invalid(images.display().to_string(), "pictures", found));
        }
        let most = marks.data.iter().copied().max().unwrap_or(0);
        let classes = match names {
            Some(path) => read_names(path)?,
            None => (0..=most).map(|i| i.to_string()).collect(),
        };
        if let Some(at) = marks.data.iter().position(|&l| usize::from(l) >= classes.len()) {
            return Err(DataError::invalid(
                format!("{}#{at}", labels.display()),
                format!("a label below {} (the lines of classes.txt)", classes.len()),
                format!("label {}", marks.data[at]),
            ));
        }
        Ok(Self { path: images.into(), images: pictures, labels: marks.data, classes })
    }
}

impl Dataset for Idx {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> usize {
        usize::from(self.labels[index])
    }

    fn name(&self, index: usize) -> String {
        format!("{}#{index}", self.path.display())
    }

    fn load(&self, index: usize) -> Result<RgbImage> {
        let (height, width) = (self.images.dims[1], self.images.dims[2]);
        let grey = &self.images.data[index * height * width..(index + 1) * height * width];
        Ok(RgbImage::from_grey(width, height, grey))
    }
}
