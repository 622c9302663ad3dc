//! One folder per class.

use super::{Dataset, files};
use crate::decode::{DecodeLimits, decode_file};
use crate::error::{DataError, Result};
use crate::rgb::RgbImage;
use std::path::{Path, PathBuf};

/// `ROOT/CLASS/.../picture.jpg`, as torchvision's `ImageFolder`.
///
/// Classes are the sorted names of the subfolders; pictures may lie deeper. Hidden files and folders and
/// files that are not named like pictures are passed over.
#[derive(Clone, Debug)]
pub struct ImageFolder {
    classes: Vec<String>,
    pictures: Vec<(PathBuf, usize)>,
    limits: DecodeLimits,
}

impl ImageFolder {
    /// Lists the folder.
    ///
    /// # Errors
    /// [`DataError::Io`] when it cannot be read; [`DataError::Invalid`] when it has no class folders or a
    /// class folder has no pictures.
    pub fn open(root: impl AsRef<Path>, limits: DecodeLimits) -> Result<Self> {
        let root = root.as_ref();
        let folders = files::subfolders(root)?;
        if folders.is_empty() {
            let loose = files::entries(root)?.iter().filter(|p| files::is_picture(p)).count();
            let found = match loose {
                0 => "an empty folder, or one without subfolders".into(),
                n => format!("{n} pictures directly in the folder (move them into class folders)"),
            };
            return Err(DataError::invalid(root.display().to_string(), "one subfolder per class", found));
        }
        let mut pictures = Vec::new();
        let mut classes = Vec::with_capacity(folders.len());
        for (label, folder) in folders.iter().enumerate() {
            let found = files::pictures(folder)?;
            if found.is_empty() {
                let expected = "at least one picture in the class folder";
                return Err(DataError::invalid(folder.display().to_string(), expected, "none"));
            }
            classes.push(files::file_name(folder));
            pictures.extend(found.into_iter().map(|path| (path, label)));
        }
        Ok(Self { classes, pictures, limits })
    }

    /// The picture's path.
    pub fn path(&self, index: usize) -> &Path {
        &self.pictures[index].0
    }
}

impl Dataset for ImageFolder {
    fn len(&self) -> usize {
        self.pictures.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> usize {
        self.pictures[index].1
    }

    fn name(&self, index: usize) -> String {
        self.pictures[index].0.display().to_string()
    }

    fn load(&self, index: usize) -> Result<RgbImage> {
        decode_file(&self.pictures[index].0, &self.limits)
    }
}
