//! Numbers of a model: in memory of their own or mapped from a file.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use memmap2::Mmap;

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

impl From<Vec<f32>> for Blob {
    fn from(numbers: Vec<f32>) -> Self {
        let mut pages =
            Pages::zeros(numbers.len()).unwrap_or_else(|| panic!("no memory for {} numbers", numbers.len()));
        pages.as_mut_slice().copy_from_slice(&numbers);
        Self(Inner::Owned(Arc::new(pages)))
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
