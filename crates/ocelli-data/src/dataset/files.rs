//! Finding picture files, and a dataset of them without labels.

use super::Dataset;
use crate::decode::{DecodeLimits, decode_file};
use crate::error::{DataError, Result};
use crate::rgb::RgbImage;
use std::path::{Path, PathBuf};

const EXTENSIONS: [&str; 11] =
    ["jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm", "pgm", "pnm"];

/// Folders may not be nested deeper.
const MAX_DEPTH: usize = 64;

/// Whether a name ends like a picture's.
pub(super) fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// The visible entries of a folder, sorted by name.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let wrong = |e| DataError::io(folder, "list the folder", e);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(wrong)? {
        let entry = entry.map_err(wrong)?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// The visible subfolders of a folder, sorted by name.
pub(super) fn subfolders(folder: &Path) -> Result<Vec<PathBuf>> {
    Ok(entries(folder)?.into_iter().filter(|p| p.is_dir()).collect())
}

/// All pictures below a folder, sorted within each folder.
pub(super) fn pictures(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    collect(folder, &mut Vec::new(), &mut found)?;
    Ok(found)
}

/// `above` has the real paths of the folders that lead to this one.
fn collect(folder: &Path, above: &mut Vec<PathBuf>, found: &mut Vec<PathBuf>) -> Result<()> {
    let name = || folder.display().to_string();
    let real = folder.canonicalize().map_err(|e| DataError::io(folder, "list the folder", e))?;
    if above.contains(&real) {
        return Err(DataError::invalid(name(), "a folder", "a link that leads back to a folder above it"));
    }
    if above.len() > MAX_DEPTH {
        let expected = format!("folders at most {MAX_DEPTH} deep");
        return Err(DataError::invalid(name(), expected, "deeper ones"));
    }
    above.push(real);
    for path in entries(folder)? {
        if path.is_dir() {
            collect(&path, above, found)?;
        } else if is_picture(&path) {
            found.push(path);
        }
    }
    above.pop();
    Ok(())
}

/// The last part of a path, for class names.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Picture files without labels, for prediction.
#[derive(Clone, Debug)]
pub struct FileList {
    paths: Vec<PathBuf>,
    limits: DecodeLimits,
}

impl FileList {
    /// These files, in this order.
    pub fn new(paths: Vec<PathBuf>, limits: DecodeLimits) -> Self {
        Self { paths, limits }
    }

    /// The files.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }
}

impl Dataset for FileList {
    fn len(&self) -> usize {
        self.paths.len()
    }

    fn classes(&self) -> &[String] {
        &[]
    }

    fn label(&self, _: usize) -> usize {
        0
    }

    fn name(&self, index: usize) -> String {
        self.paths[index].display().to_string()
    }

    fn load(&self, index: usize) -> Result<RgbImage> {
        decode_file(&self.paths[index], &self.limits)
    }
}
