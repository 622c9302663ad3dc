//! Labelled pictures, in the layouts people already have.

mod cache;
mod cifar;
mod detect;
mod files;
mod folder;
mod idx;
mod idx_file;
mod list;
mod open;
mod split;
mod view;

pub use cache::Cached;
pub use cifar::{Cifar, CifarKind};
pub use detect::DatasetFormat;
pub use files::FileList;
pub use folder::ImageFolder;
pub use idx::Idx;
pub use list::list_images;
pub use open::{DatasetPair, EvalSet, SplitOptions, open_eval, open_split};
pub use split::stratified;
pub use view::{Relabelled, Subset};

use crate::error::Result;
use crate::rgb::RgbImage;

/// A list of labelled pictures.
pub trait Dataset: Send + Sync {
    /// Number of pictures.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Class names; a label is an index into them. Empty for unlabelled pictures.
    fn classes(&self) -> &[String];

    /// The label of picture `index`, below `classes().len()`; 0 for unlabelled pictures.
    ///
    /// # Panics
    /// May panic for an `index` that is not below `len()`, like a slice.
    fn label(&self, index: usize) -> usize;

    /// The picture's path, or `file#record`.
    ///
    /// # Panics
    /// As [`label`](Self::label).
    fn name(&self, index: usize) -> String;

    /// Reads and decodes the picture.
    ///
    /// # Errors
    /// Names the picture.
    fn load(&self, index: usize) -> Result<RgbImage>;
}
