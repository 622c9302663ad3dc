//! What a session executes, one file per kind. Pointers are bound when the session is made.

use ocelli_kernels::Isa;

use crate::pool::Pool;

pub(crate) mod adder;
pub(crate) mod attention;
pub(crate) mod binary;
pub(crate) mod codes;
pub(crate) mod conv;
pub(crate) mod dynamic;
pub(crate) mod elementwise;
pub(crate) mod integers;
pub(crate) mod map;
pub(crate) mod matrix;
pub(crate) mod nest;
pub(crate) mod nodes;
pub(crate) mod rows;
pub(crate) mod select;

/// What steps run with.
pub(crate) struct Context<'a, 'b> {
    pub pool: &'a mut Pool,
    pub isa: Isa,
    pub inputs: &'a [&'a [f32]],
    pub outputs: &'a mut [&'b mut [f32]],
}

/// One step of a session.
pub(crate) trait Step {
    fn run(&self, context: &mut Context<'_, '_>);
}

/// A pointer that steps hand to the threads of one `run`, which write disjoint parts.
#[derive(Clone, Copy)]
pub(crate) struct Shared<T>(pub T);

// SAFETY: threads use it only during one step, on disjoint ranges, while the session is borrowed.
unsafe impl<T> Sync for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Send for Shared<T> {}

impl<T> Shared<T> {
    /// The whole struct is captured by closures that call this, not the bare pointer inside.
    pub fn get(&self) -> &T {
        &self.0
    }
}

/// Part `i` of `total` cut into `parts` even pieces.
pub(crate) fn part(total: usize, parts: usize, i: usize) -> std::ops::Range<usize> {
    total * i / parts..total * (i + 1) / parts
}

/// As [`part`], cut only at multiples of `unit`: whole tiles are faster than as many almost whole ones.
pub(crate) fn part_of_units(total: usize, parts: usize, i: usize, unit: usize) -> std::ops::Range<usize> {
    let units = part(total.div_ceil(unit), parts, i);
    units.start * unit..(units.end * unit).min(total)
}

/// How many tasks `work` (in elements moved or products / 8, say) is worth on `threads` threads.
pub(crate) fn tasks(work: usize, threads: usize, most: usize) -> usize {
    // A task should outlast the few hundred nanoseconds it takes to hand it over.
    const SMALLEST: usize = 8 << 10;
    if threads == 1 { 1 } else { (work / SMALLEST).clamp(1, threads * 4).min(most.max(1)) }
}
