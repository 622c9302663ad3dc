//! Inputs given by a person to picture files.

use super::files;
use crate::error::{DataError, Result};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Expands files, folders (all pictures below, sorted) and glob patterns such as `shots/**/*.jpg`.
///
/// A file named directly is taken whatever its extension. Each file comes once, where it was first named.
///
/// # Errors
/// [`DataError::Invalid`] for an input that does not exist, a folder without pictures, a pattern that is
/// malformed or matches nothing.
pub fn list_images<S: AsRef<Path>>(inputs: &[S]) -> Result<Vec<PathBuf>> {
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for input in inputs {
        for path in expand(input.as_ref())? {
            if seen.insert(path.clone()) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

fn expand(input: &Path) -> Result<Vec<PathBuf>> {
    let name = || input.display().to_string();
    // What exists is taken as it is, even with brackets in its name.
    if input.is_dir() {
        let found = files::pictures(input)?;
        if found.is_empty() {
            return Err(DataError::invalid(name(), "a folder with pictures", "none in it"));
        }
        return Ok(found);
    }
    if input.exists() {
        return Ok(vec![input.to_path_buf()]);
    }
    let pattern = input.to_str().filter(|p| p.contains(['*', '?', '[']));
    let Some(pattern) = pattern else {
        return Err(DataError::invalid(name(), "a file, folder or pattern", "no such file or folder"));
    };
    let matches = glob::glob(pattern).map_err(|e| {
        DataError::invalid(name(), "a valid pattern", format!("an error at {}: {}", e.pos, e.msg))
    })?;
    let mut found = Vec::new();
    for entry in matches {
        let path = entry.map_err(|e| {
            let path = e.path().to_path_buf();
            DataError::io(&path, "read", e.into())
        })?;
        if path.is_dir() {
            found.extend(files::pictures(&path)?);
        } else if files::is_picture(&path) {
            found.push(path);
        }
    }
    if found.is_empty() {
        return Err(DataError::invalid(name(), "a pattern that matches pictures", "no match"));
    }
    Ok(found)
}
