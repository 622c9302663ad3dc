//! Sharing work out: buffers without a first pass of zeros, and pointers that threads write through.

use std::marker::PhantomData;

use crate::train::team;

/// A buffer whose contents the caller is about to overwrite wholly.
///
/// It starts with arbitrary numbers: zeroing fresh memory would be one more pass over it.
#[allow(clippy::uninit_vec)]
pub fn buffer(len: usize) -> Vec<f32> {
    let mut data = Vec::with_capacity(len);
    // SAFETY: every bit pattern is an `f32`, and the kernels of this module, its only users, write every element
    // before it is read.
    unsafe { data.set_len(len) };
    data
}

/// A mutable slice that several threads write to at different places.
#[derive(Clone, Copy)]
pub struct Shared<'a, T = f32> {
    start: *mut T,
    len: usize,
    marker: PhantomData<&'a mut [T]>,
}

// SAFETY: access goes through `unsafe` functions whose callers promise disjoint places.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    /// Over `data`.
    pub fn new(data: &'a mut [T]) -> Self {
        Self { start: data.as_mut_ptr(), len: data.len(), marker: PhantomData }
    }

    /// Pointer to element `at`.
    ///
    /// # Safety
    /// `at` must lie in the slice; no two threads may write the same element.
    pub unsafe fn at(&self, at: usize) -> *mut T {
        debug_assert!(at <= self.len);
        // SAFETY: the caller's promise.
        unsafe { self.start.add(at) }
    }

    /// Elements `at..at + len`.
    ///
    /// # Safety
    /// As for [`at`](Self::at), for all of them.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn slice(&self, at: usize, len: usize) -> &'a mut [T] {
        assert!(at + len <= self.len);
        // SAFETY: inside, and disjoint by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(at), len) }
    }
}

/// Runs `task` for `0..tasks`, among the threads if `work` (roughly, operations) is worth sharing.
pub fn each(tasks: usize, work: usize, task: impl Fn(usize) + Sync + Send) {
    const WORTH: usize = 1 << 15;
    if tasks <= 1 || work < WORTH {
        (0..tasks).for_each(task);
    } else {
        team::run(rayon::current_num_threads(), tasks, &task);
    }
}
