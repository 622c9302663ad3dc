//! Memory of a thread for rows that are copied together; it grows and stays.

use core::cell::RefCell;

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code)] [u8; 64]);

thread_local! {
    static SCRATCH: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// Calls `run` with `bytes` bytes (initialised, at a multiple of 64) that nothing else uses meanwhile.
pub(crate) fn with<R>(bytes: usize, run: impl FnOnce(*mut u8) -> R) -> R {
    // Taken out, so that a kernel that is called by `run` would get other memory.
    let mut memory = SCRATCH.take();
    let lines = bytes.div_ceil(64);
    if memory.len() < lines {
        memory.resize(lines, Line([0; 64]));
    }
    let result = run(memory.as_mut_ptr().cast());
    SCRATCH.set(memory);
    result
}
