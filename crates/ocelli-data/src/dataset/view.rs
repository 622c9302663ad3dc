//! Datasets seen through other indices or labels.

use super::Dataset;
use crate::error::{DataError, Result};
use crate::rgb::RgbImage;
use std::sync::Arc;

/// Some of a dataset's pictures.
#[derive(Clone)]
pub struct Subset {
    inner: Arc<dyn Dataset>,
    indices: Vec<usize>,
}

impl Subset {
    /// The pictures at `indices`, in this order.
    ///
    /// # Errors
    /// [`DataError::Config`] for an index outside the dataset.
    pub fn new(inner: Arc<dyn Dataset>, indices: Vec<usize>) -> Result<Self> {
        if let Some(bad) = indices.iter().find(|&&i| i >= inner.len()) {
            return Err(DataError::config("indices", format!("indices below {}", inner.len()), bad));
        }
        Ok(Self { inner, indices })
    }
}

impl Dataset for Subset {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn classes(&self) -> &[String] {
        self.inner.classes()
    }

    fn label(&self, index: usize) -> usize {
        self.inner.label(self.indices[index])
    }

    fn name(&self, index: usize) -> String {
        self.inner.name(self.indices[index])
    }

    fn load(&self, index: usize) -> Result<RgbImage> {
        self.inner.load(self.indices[index])
    }
}

/// A dataset whose labels are indices into another list of class names.
#[derive(Clone)]
pub struct Relabelled {
    inner: Arc<dyn Dataset>,
    classes: Vec<String>,
    map: Vec<usize>,
}

impl Relabelled {
    /// Labels by name: each class of `inner` must be among `classes`.
    ///
    /// # Errors
    /// [`DataError::Invalid`] listing the classes that are not; `name` says where the dataset is from.
    pub fn new(name: &str, inner: Arc<dyn Dataset>, classes: &[String]) -> Result<Self> {
        let mut unknown = Vec::new();
        let mut map = Vec::with_capacity(inner.classes().len());
        for class in inner.classes() {
            match classes.iter().position(|c| c == class) {
                Some(label) => map.push(label),
                None => unknown.push(class.as_str()),
            }
        }
        if !unknown.is_empty() {
            let missing: Vec<_> =
                classes.iter().filter(|c| !inner.classes().contains(c)).map(String::as_str).collect();
            let expected = format!("only the {} known classes ({})", classes.len(), short(classes));
            let mut found = format!("unknown classes: {}", short(&unknown));
            if !missing.is_empty() {
                found += &format!("; missing ones: {}", short(&missing));
            }
            return Err(DataError::invalid(name, expected, found));
        }
        Ok(Self { inner, classes: classes.to_vec(), map })
    }
}

/// The first names of a list, for error messages.
fn short<S: AsRef<str>>(names: &[S]) -> String {
    let first: Vec<_> = names.iter().take(20).map(AsRef::as_ref).collect();
    let more = names.len().saturating_sub(20);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    first.join(", ") + &more
}

impl Dataset for Relabelled {
    fn len(&self) -> usize {
        self.inner.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> usize {
        self.map[self.inner.label(index)]
    }

    fn name(&self, index: usize) -> String {
        self.inner.name(index)
    }

    fn load(&self, index: usize) -> Result<RgbImage> {
        self.inner.load(index)
    }
}
