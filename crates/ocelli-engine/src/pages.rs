//! Memory in large pages: weights are streamed through once per run, and a walk of the page tables every 4 KiB
//! costs more than the products it delays.

use std::alloc::{self, Layout};
use std::ptr::NonNull;

/// Size of a large page where there are any.
const LARGE: usize = 2 << 20;

/// Zeros on a 64-byte boundary, in large pages if they fill one and the system grants them.
pub(crate) struct Pages {
    start: NonNull<f32>,
    len: usize,
    layout: Layout,
}

// SAFETY: plain memory with one owner.
unsafe impl Send for Pages {}
// SAFETY: shared references only read.
unsafe impl Sync for Pages {}

impl Pages {
    /// `len` zeros, or nothing if there is not so much memory.
    pub fn zeros(len: usize) -> Option<Self> {
        let bytes = Layout::array::<f32>(len.max(16)).ok()?.size();
        let align = if bytes >= LARGE { LARGE } else { 64 };
        let layout = Layout::from_size_align(bytes.checked_next_multiple_of(align)?, align).ok()?;
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { alloc::alloc(layout) })?;
        // Before the first touch, which decides on the size of the page.
        #[cfg(target_os = "linux")]
        if align == LARGE {
            // SAFETY: the range is ours; a refusal changes nothing.
            unsafe { libc::madvise(start.as_ptr().cast(), layout.size(), libc::MADV_HUGEPAGE) };
        }
        // SAFETY: the range is ours.
        unsafe { start.as_ptr().write_bytes(0, layout.size()) };
        Some(Self { start: start.cast(), len, layout })
    }

    /// The first element.
    pub fn as_mut_ptr(&mut self) -> *mut f32 {
        self.start.as_ptr()
    }

    /// The elements.
    pub fn as_slice(&self) -> &[f32] {
        // SAFETY: allocated and initialised with zeros; whoever writes holds the owner mutably.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// The elements.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as above, and we are borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// Bytes.
    pub fn bytes(&self) -> usize {
        self.layout.size()
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { alloc::dealloc(self.start.as_ptr().cast(), self.layout) };
    }
}
