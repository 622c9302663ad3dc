//! Numbers of a model: in memory of their own or mapped from a file.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use memmap2::Mmap;

use crate::error::EngineError;
use crate::pages::Pages;

/// A run of `f32`.
#[derive(Clone)]
pub struct Blob(Inner);

#[derive(Clone)]
enum Inner {
    Owned(Arc<Pages>),
    Mapped { map: Arc<Mmap>, start: usize, len: usize },
}

impl Blob {
    /// `len` numbers from byte `start` of a mapped file on, or nothing if they are not all there, or not aligned,
    /// or the machine stores numbers the other way round.
    pub fn mapped(map: &Arc<Mmap>, start: usize, len: usize) -> Option<Self> {
        let end = len.checked_mul(4)?.checked_add(start)?;
        let fits = end <= map.len() && start.is_multiple_of(4) && cfg!(target_endian = "little");
        fits.then(|| Self(Inner::Mapped { map: map.clone(), start, len }))
    }
}

impl TryFrom<Vec<f32>> for Blob {
    type Error = EngineError;

    fn try_from(numbers: Vec<f32>) -> Result<Self, EngineError> {
        let memory = EngineError::Memory { bytes: numbers.len().saturating_mul(4) };
        let mut pages = Pages::zeros(numbers.len()).ok_or(memory)?;
        pages.as_mut_slice().copy_from_slice(&numbers);
        Ok(Self(Inner::Owned(Arc::new(pages))))
    }
}

impl Deref for Blob {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &self.0 {
            Inner::Owned(pages) => pages.as_slice(),
            // SAFETY: bounds and alignment were checked when the blob was made (maps begin on a page); any bits are
            // a valid `f32`.
            Inner::Mapped { map, start, len } => unsafe {
                std::slice::from_raw_parts(map.as_ptr().add(*start).cast(), *len)
            },
        }
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} numbers)", self.len())
    }
}
