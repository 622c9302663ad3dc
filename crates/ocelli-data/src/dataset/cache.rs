//! Decoded pictures kept in memory.

use super::Dataset;
use crate::error::Result;
use crate::rgb::RgbImage;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Keeps decoded pictures until their bytes reach a budget; later ones are decoded each time.
pub struct Cached {
    inner: Arc<dyn Dataset>,
    kept: Vec<OnceLock<RgbImage>>,
    left: AtomicU64,
}

impl Cached {
    /// Keeps at most `budget` bytes of pixels.
    pub fn new(inner: Arc<dyn Dataset>, budget: u64) -> Self {
        let kept = (0..inner.len()).map(|_| OnceLock::new()).collect();
        Self { inner, kept, left: AtomicU64::new(budget) }
    }

    /// Pictures held at the moment.
    pub fn held(&self) -> usize {
        self.kept.iter().filter(|slot| slot.get().is_some()).count()
    }
}

impl Dataset for Cached {
    fn len(&self) -> usize {
        self.inner.len()
    }

    fn classes(&self) -> &[String] {
        self.inner.classes()
    }

    fn label(&self, index: usize) -> usize {
        self.inner.label(index)
    }

    fn name(&self, index: usize) -> String {
        self.inner.name(index)
    }

    fn load(&self, index: usize) -> Result<RgbImage> {
        if let Some(picture) = self.kept[index].get() {
            return Ok(picture.clone());
        }
        let picture = self.inner.load(index)?;
        let cost = picture.data().len() as u64;
        let fits =
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(cost));
        if fits.is_ok() && self.kept[index].set(picture.clone()).is_err() {
            // Another thread was faster; its copy is the one that was paid for.
            self.left.fetch_add(cost, Ordering::Relaxed);
        }
        Ok(picture)
    }
}
