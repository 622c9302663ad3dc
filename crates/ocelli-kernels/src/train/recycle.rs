//! An allocator that hands freed large blocks out again.
//!
//! A training step allocates the same tensors again and again. General allocators give blocks of megabytes back to
//! the operating system, and fetching them costs a page fault per 4 KiB, which takes longer than a kernel's pass over
//! the page. A program opts in with
//!
//! ```
//! #[global_allocator]
//! static ALLOCATOR: ocelli_kernels::train::Recycler = ocelli_kernels::train::Recycler::new();
//! ```
//!
//! Blocks in use and kept together never exceed the most that was in use at once.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::spin_loop;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Smaller blocks go to the system's allocator, which is good at them.
const SMALLEST: usize = 1 << 15;

/// Larger ones too: they are rare.
const LARGEST: usize = 1 << 32;

/// Steps between powers of two.
const STEPS: usize = 4;

const CLASSES: usize = (LARGEST.ilog2() - SMALLEST.ilog2()) as usize * STEPS + 1;

/// Alignment of all kept blocks: a cache line, a vector.
const ALIGN: usize = 64;

/// The allocator; see the module.
pub struct Recycler {
    classes: [Class; CLASSES],
    /// Bytes handed out.
    used: AtomicUsize,
    /// Bytes kept.
    kept: AtomicUsize,
    /// The most that was ever handed out.
    most: AtomicUsize,
}

/// Free blocks of one size, each holding the address of the next.
struct Class {
    locked: AtomicBool,
    head: AtomicUsize,
}

impl Class {
    fn locked<T>(&self, act: impl FnOnce(&AtomicUsize) -> T) -> T {
        while self.locked.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            spin_loop();
        }
        let result = act(&self.head);
        self.locked.store(false, Ordering::Release);
        result
    }

    fn take(&self) -> *mut u8 {
        self.locked(|head| {
            let block = ptr::with_exposed_provenance_mut::<usize>(head.load(Ordering::Relaxed));
            if !block.is_null() {
                // SAFETY: blocks in the list are free and hold the next one's address.
                head.store(unsafe { *block }, Ordering::Relaxed);
            }
            block.cast()
        })
    }

    /// # Safety
    /// `block` must be a free block of this class.
    unsafe fn put(&self, block: *mut u8) {
        self.locked(|head| {
            // SAFETY: the block is free, aligned and larger than an address.
            unsafe { *block.cast::<usize>() = head.load(Ordering::Relaxed) };
            head.store(block.expose_provenance(), Ordering::Relaxed);
        });
    }
}

/// The class of a block and its size there; none for blocks that are not kept.
fn class(layout: Layout) -> Option<(usize, Layout)> {
    let size = layout.size();
    if !(SMALLEST..=LARGEST).contains(&size) || layout.align() > ALIGN {
        return None;
    }
    // Four sizes from one power of two to the next.
    let power = (size - 1).ilog2().max(SMALLEST.ilog2() - 1);
    let step = (1usize << power) / STEPS;
    let steps = size.saturating_sub(1 << power).div_ceil(step);
    let index =
        ((power + 1) as usize * STEPS + steps).saturating_sub((SMALLEST.ilog2() as usize + 1) * STEPS);
    let rounded = (1usize << power) + steps * step;
    Some((index, Layout::from_size_align(rounded, ALIGN).ok()?))
}

impl Recycler {
    /// Keeps nothing yet.
    pub const fn new() -> Self {
        Self {
            classes: [const { Class { locked: AtomicBool::new(false), head: AtomicUsize::new(0) } }; CLASSES],
            used: AtomicUsize::new(0),
            kept: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        }
    }

    /// A kept block, or null after making room for a new one.
    fn reuse(&self, index: usize, size: usize) -> *mut u8 {
        let used = self.used.fetch_add(size, Ordering::Relaxed) + size;
        self.most.fetch_max(used, Ordering::Relaxed);
        let block = self.classes[index].take();
        if !block.is_null() {
            self.kept.fetch_sub(size, Ordering::Relaxed);
            return block;
        }
        for (index, class) in self.classes.iter().enumerate().rev() {
            let size = size_of_class(index);
            while self.kept.load(Ordering::Relaxed) + used > self.most.load(Ordering::Relaxed) {
                let block = class.take();
                if block.is_null() {
                    break;
                }
                self.kept.fetch_sub(size, Ordering::Relaxed);
                // SAFETY: kept blocks were allocated with their class's layout.
                unsafe { System.dealloc(block, Layout::from_size_align_unchecked(size, ALIGN)) };
            }
        }
        ptr::null_mut()
    }
}

/// Bytes of the blocks of class `index`.
const fn size_of_class(index: usize) -> usize {
    let power = SMALLEST.ilog2() as usize + index / STEPS;
    (1 << power) + index % STEPS * ((1 << power) / STEPS)
}

impl Default for Recycler {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: blocks come from the system's allocator with at least the size and alignment asked for, and every block is
// in use or in one list, never both.
unsafe impl GlobalAlloc for Recycler {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some((index, whole)) = class(layout) else {
            // SAFETY: the caller's promise.
            return unsafe { System.alloc(layout) };
        };
        let block = self.reuse(index, whole.size());
        // SAFETY: the layout is valid and not empty.
        if block.is_null() { unsafe { System.alloc(whole) } } else { block }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some((index, whole)) = class(layout) else {
            // SAFETY: the caller's promise.
            return unsafe { System.alloc_zeroed(layout) };
        };
        let block = self.reuse(index, whole.size());
        if block.is_null() {
            // SAFETY: the layout is valid and not empty.
            return unsafe { System.alloc_zeroed(whole) };
        }
        // SAFETY: the block has at least this size.
        unsafe { ptr::write_bytes(block, 0, layout.size()) };
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some((index, whole)) = class(layout) else {
            // SAFETY: the caller's promise.
            return unsafe { System.dealloc(block, layout) };
        };
        let size = whole.size();
        let used = self.used.fetch_sub(size, Ordering::Relaxed) - size;
        if used + self.kept.load(Ordering::Relaxed) + size <= self.most.load(Ordering::Relaxed) {
            self.kept.fetch_add(size, Ordering::Relaxed);
            // SAFETY: nobody uses the block any more.
            unsafe { self.classes[index].put(block) };
        } else {
            // SAFETY: allocated with this layout.
            unsafe { System.dealloc(block, whole) };
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let (old, new) = (class(layout), Layout::from_size_align(size, layout.align()).ok().and_then(class));
        match (old, new) {
            // SAFETY: the caller's promise.
            (None, None) => unsafe { System.realloc(block, layout, size) },
            (Some((old, _)), Some((new, _))) if old == new => block,
            _ => {
                // SAFETY: a new block of the size, filled with the shorter of both extents.
                unsafe {
                    let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
                    if !moved.is_null() {
                        ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                        self.dealloc(block, layout);
                    }
                    moved
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_hold_what_falls_into_them() {
        let mut last = 0;
        for size in (SMALLEST..SMALLEST << 4).step_by(1017).chain([1 << 20, (1 << 20) + 1, LARGEST]) {
            let (index, whole) = class(Layout::from_size_align(size, 4).expect("a layout")).expect("a class");
            assert!(whole.size() >= size && whole.size() <= size + size / 3, "{size} in {}", whole.size());
            assert_eq!(whole.size(), size_of_class(index), "{size}");
            assert!(index >= last && index < CLASSES);
            last = index;
        }
        assert!(class(Layout::from_size_align(SMALLEST - 1, 4).expect("a layout")).is_none());
    }

    #[test]
    fn blocks_come_back_and_the_footprint_keeps_below_the_peak() {
        let allocator = Recycler::new();
        let layout = |size| Layout::from_size_align(size, 4).expect("a layout");
        // SAFETY: blocks are freed once, with their layouts, and only touched in between.
        unsafe {
            let first = allocator.alloc(layout(100_000));
            first.write_bytes(7, 100_000);
            allocator.dealloc(first, layout(100_000));
            let again = allocator.alloc_zeroed(layout(99_000));
            assert_eq!(first, again);
            assert!((0..99_000).all(|i| *again.add(i) == 0));
            let grown = allocator.realloc(again, layout(99_000), 3_000_000);
            assert!((0..99_000).all(|i| *grown.add(i) == 0));
            allocator.dealloc(grown, layout(3_000_000));
            let other = allocator.alloc(layout(2_000_000));
            let total = allocator.used.load(Ordering::Relaxed) + allocator.kept.load(Ordering::Relaxed);
            assert!(total <= allocator.most.load(Ordering::Relaxed));
            allocator.dealloc(other, layout(2_000_000));
            assert_eq!(allocator.used.load(Ordering::Relaxed), 0);
        }
    }
}
