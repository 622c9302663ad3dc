//! The threads of one pass over the data.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::Batch;
use super::assemble::Job;
use crate::error::{DataError, Result};

/// One pass over the data: an iterator of batches in order. Dropping it early stops its threads.
pub struct Epoch {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    end: usize,
}

/// What workers and consumer share.
struct Shared {
    job: Job,
    state: Mutex<State>,
    /// Something changed.
    changed: Condvar,
    ahead: usize,
}

struct State {
    /// Next batch that no worker has begun.
    next_to_make: usize,
    /// Next batch the consumer wants.
    next_to_give: usize,
    ready: BTreeMap<usize, Result<Batch>>,
    stop: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under the lock panics; a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes batches until the epoch ends or the consumer goes.
    fn work(&self, end: usize) {
        loop {
            let number = {
                let mut state = self.lock();
                while !state.stop
                    && state.next_to_make < end
                    && state.next_to_make >= state.next_to_give + self.ahead
                {
                    state = self.wait(state);
                }
                if state.stop || state.next_to_make >= end {
                    return;
                }
                state.next_to_make += 1;
                state.next_to_make - 1
            };
            let batch = self.job.batch(number);
            self.lock().ready.insert(number, batch);
            self.changed.notify_all();
        }
    }
}

impl Epoch {
    pub(super) fn start(job: Job, start: usize, end: usize) -> Result<Self> {
        let workers = job.config.workers.min(end.saturating_sub(start));
        let ahead = job.config.ahead();
        let state = State { next_to_make: start, next_to_give: start, ready: BTreeMap::new(), stop: false };
        let shared = Arc::new(Shared { job, state: Mutex::new(state), changed: Condvar::new(), ahead });
        let mut epoch = Self { shared, threads: Vec::new(), end };
        for number in 0..workers {
            let shared = epoch.shared.clone();
            let thread = std::thread::Builder::new()
                .name(format!("loader-{number}"))
                .spawn(move || shared.work(end))
                .map_err(|source| DataError::Io {
                    path: "loader".into(),
                    action: "start a thread",
                    source,
                })?;
            epoch.threads.push(thread);
        }
        Ok(epoch)
    }
}

impl Iterator for Epoch {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut state = self.shared.lock();
        let wanted = state.next_to_give;
        if state.stop || wanted >= self.end {
            return None;
        }
        let batch = loop {
            match state.ready.remove(&wanted) {
                Some(batch) => break batch,
                None => state = self.shared.wait(state),
            }
        };
        state.next_to_give += 1;
        // Nothing sensible follows an error.
        state.stop |= batch.is_err();
        drop(state);
        self.shared.changed.notify_all();
        Some(batch)
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}
