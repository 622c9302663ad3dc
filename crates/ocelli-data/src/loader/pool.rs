//! The threads that work ahead.
//!
//! Threads take small runs of samples of one batch at a time, so that a single batch is already made by all
//! of them. The one who finishes a batch's last sample puts it together. Nobody begins a batch that is more
//! than `prefetch` ahead of the consumer.

use super::batch::{Batch, assemble, sample};
use super::plan::Plan;
use crate::error::{DataError, Result};
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// A batch in the making.
struct Open {
    number: usize,
    /// Samples that somebody has taken.
    taken: usize,
    /// Samples not finished.
    missing: usize,
    samples: Vec<Option<Result<Vec<f32>>>>,
}

struct State {
    /// The next batch to begin.
    next: usize,
    /// The batch the consumer waits for.
    wanted: usize,
    open: VecDeque<Open>,
    ready: BTreeMap<usize, Result<Batch>>,
    stop: bool,
}

struct Shared {
    plan: Arc<Plan>,
    state: Mutex<State>,
    /// There may be work: the consumer moved on, or everything stops.
    work: Condvar,
    /// A batch is ready.
    done: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No thread panics while it holds the lock; the state is whole either way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run of samples of one batch.
struct Task {
    number: usize,
    from: usize,
    to: usize,
}

pub(super) struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts the threads on the batches from `first`.
    pub(super) fn start(plan: Arc<Plan>, first: usize) -> Result<Self> {
        let workers = plan.config.workers;
        let state =
            State { next: first, wanted: first, open: VecDeque::new(), ready: BTreeMap::new(), stop: false };
        let shared =
            Arc::new(Shared { plan, state: Mutex::new(state), work: Condvar::new(), done: Condvar::new() });
        // The pool exists before its threads, so that it stops those that did start if one does not.
        let mut pool = Self { shared, threads: Vec::with_capacity(workers) };
        for n in 0..workers {
            let shared = pool.shared.clone();
            let thread = std::thread::Builder::new()
                .name(format!("ocelli-data-{n}"))
                .spawn(move || work(&shared))
                .map_err(|e| DataError::Io {
                    path: format!("loader thread {n} of {workers}"),
                    action: "start the thread",
                    source: e,
                })?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// Waits for batch `number`; the batches have to be taken in order.
    pub(super) fn take(&self, number: usize) -> Result<Batch> {
        let mut state = self.shared.lock();
        loop {
            if let Some(batch) = state.ready.remove(&number) {
                state.wanted = number + 1;
                drop(state);
                self.shared.work.notify_all();
                return batch;
            }
            state = self.shared.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing more to say.
            let _ = thread.join();
        }
    }
}

fn work(shared: &Shared) {
    while let Some(task) = claim(shared) {
        for at in task.from..task.to {
            let position = shared.plan.positions(task.number).start + at;
            let result = sample(&shared.plan, position);
            finish(shared, task.number, at, result);
            if shared.lock().stop {
                return;
            }
        }
    }
}

/// The next run of samples, or `None` when the work is over.
fn claim(shared: &Shared) -> Option<Task> {
    let plan = &shared.plan;
    let mut state = shared.lock();
    loop {
        if state.stop {
            return None;
        }
        if let Some(open) = state.open.iter_mut().find(|open| open.taken < open.samples.len()) {
            let left = open.samples.len() - open.taken;
            let run = (open.samples.len() / (4 * plan.config.workers)).clamp(1, 16).min(left);
            open.taken += run;
            return Some(Task { number: open.number, from: open.taken - run, to: open.taken });
        }
        if state.next >= plan.batches {
            return None;
        }
        if state.next < state.wanted.saturating_add(plan.config.prefetch) {
            let number = state.next;
            let size = plan.positions(number).len();
            let samples = (0..size).map(|_| None).collect();
            state.open.push_back(Open { number, taken: 0, missing: size, samples });
            state.next += 1;
            continue;
        }
        state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Stores a sample, and puts its batch together if it was the last one.
fn finish(shared: &Shared, number: usize, at: usize, result: Result<Vec<f32>>) {
    let mut state = shared.lock();
    let Some(place) = state.open.iter().position(|open| open.number == number) else { return };
    let open = &mut state.open[place];
    open.samples[at] = Some(result);
    open.missing -= 1;
    if open.missing > 0 {
        return;
    }
    let Some(open) = state.open.remove(place) else { return };
    drop(state);
    let samples = open.samples.into_iter().flatten().collect();
    let batch = catch_unwind(AssertUnwindSafe(|| assemble(&shared.plan, number, samples)));
    let batch = batch.unwrap_or_else(|_| {
        let (name, message) = (format!("batch {number}"), "while it was put together".into());
        Err(DataError::Panicked { name, message })
    });
    shared.lock().ready.insert(number, batch);
    shared.done.notify_all();
}
