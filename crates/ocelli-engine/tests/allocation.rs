//! After the first run a session allocates nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use ocelli_engine::{Model, RunOptions};
use ocelli_graph::passes;

use crate::graphs::{little_network, random};

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting per thread: tests run side by side.
struct Counting;

// SAFETY: everything is the system's; the count has no destructor and does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_warm_session_allocates_nothing() {
    let mut graph = little_network();
    passes::optimize(&mut graph);
    let model = Model::compile(graph, "").expect("compiles");
    for threads in [1, 2] {
        let mut session = model.session(2, RunOptions { threads, pin: false }).expect("plans");
        let (x, mut y) = (random(2 * 3 * 21 * 17, 1), [0.0f32; 14]);
        session.run(&[&x], &mut [&mut y]).expect("runs");
        let before = COUNT.get();
        for _ in 0..20 {
            session.run(&[&x], &mut [&mut y]).expect("runs");
        }
        assert_eq!(COUNT.get() - before, 0, "{threads} threads");
    }
    let before = COUNT.get();
    drop(Box::new(1));
    assert_eq!(COUNT.get() - before, 1, "the allocator does not count");
}
