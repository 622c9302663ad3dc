//! A team of threads that a kernel's tasks are shared out among.
//!
//! A training step runs hundreds of kernels of well under a millisecond, called from one thread. Handing each to a
//! general pool puts the caller to sleep and wakes it again; here the caller works along, and the others look for the
//! next kernel for a moment before they sleep. The number of threads is rayon's.

use std::any::Any;
use std::cell::Cell;
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Looks for work (each takes some tens of nanoseconds) before a helper sleeps.
const LOOKS: usize = 1 << 10;

/// What is being worked on.
#[derive(Clone, Copy)]
struct Job {
    task: &'static (dyn Fn(usize) + Sync),
    next: &'static AtomicUsize,
    tasks: usize,
    /// Helpers that may join.
    helpers: usize,
}

struct State {
    job: Option<Job>,
    /// Helpers at work on it.
    inside: usize,
    /// Threads started so far.
    threads: usize,
    sleeping: usize,
    panic: Option<Box<dyn Any + Send>>,
}

static STATE: Mutex<State> = Mutex::new(State { job: None, inside: 0, threads: 0, sleeping: 0, panic: None });
/// Counts jobs, so that helpers see a new one without taking the lock.
static JOBS: AtomicUsize = AtomicUsize::new(0);
/// Helpers at work, as in the state, for the caller's eyes.
static INSIDE: AtomicUsize = AtomicUsize::new(0);
static WAKE: Condvar = Condvar::new();
/// Whether some thread has the team.
static TAKEN: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether this thread is at work on a task: tasks inside of tasks run one after the other.
    static AT_WORK: Cell<bool> = const { Cell::new(false) };
}

fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `task` for `0..tasks` among `threads` threads, this one included.
///
/// Inside of a task, or while another thread has the team, the tasks run here one after the other.
pub fn run(threads: usize, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
    let helpers = threads.min(tasks).saturating_sub(1);
    if helpers == 0 || AT_WORK.get() || TAKEN.swap(true, Ordering::Acquire) {
        (0..tasks).for_each(task);
        return;
    }
    let next = AtomicUsize::new(0);
    {
        // SAFETY: both references are used by helpers that are inside, and this function does not return, panicking
        // tasks included, before it has taken the job away and the last of them has left.
        let (task, next) = unsafe {
            (
                std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(task),
                std::mem::transmute::<&AtomicUsize, &'static AtomicUsize>(&next),
            )
        };
        let mut state = lock();
        while state.threads < helpers {
            let index = state.threads;
            let started = thread::Builder::new().name(format!("ocelli-{index}")).spawn(move || help(index));
            if started.is_err() {
                break;
            }
            state.threads += 1;
        }
        state.job = Some(Job { task, next, tasks, helpers });
        JOBS.fetch_add(1, Ordering::Release);
        if state.sleeping > 0 {
            WAKE.notify_all();
        }
    }
    let own = work(task, &next, tasks);
    let mut state = lock();
    state.job = None;
    let left = state.inside;
    drop(state);
    if left > 0 {
        let mut looks = 0usize;
        while INSIDE.load(Ordering::Acquire) > 0 {
            looks += 1;
            if looks.is_multiple_of(LOOKS) { thread::yield_now() } else { spin_loop() }
        }
    }
    let panic = lock().panic.take();
    TAKEN.store(false, Ordering::Release);
    if let Some(panic) = own.err().or(panic) {
        resume_unwind(panic);
    }
}

/// Takes tasks until none is left.
fn work(task: &(dyn Fn(usize) + Sync), next: &AtomicUsize, tasks: usize) -> thread::Result<()> {
    AT_WORK.set(true);
    let result = catch_unwind(AssertUnwindSafe(|| {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= tasks {
                break;
            }
            task(index);
        }
    }));
    AT_WORK.set(false);
    result
}

/// The life of helper `index`.
fn help(index: usize) {
    let mut seen = 0;
    loop {
        let mut looks = 0;
        while JOBS.load(Ordering::Acquire) == seen && looks < LOOKS {
            spin_loop();
            looks += 1;
        }
        let mut state = lock();
        while JOBS.load(Ordering::Acquire) == seen {
            state.sleeping += 1;
            state = WAKE.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.sleeping -= 1;
        }
        seen = JOBS.load(Ordering::Acquire);
        // The job may be done already, or for fewer helpers.
        let Some(job) = state.job.filter(|job| index < job.helpers) else {
            continue;
        };
        state.inside += 1;
        INSIDE.fetch_add(1, Ordering::Relaxed);
        drop(state);
        let result = work(job.task, job.next, job.tasks);
        let mut state = lock();
        if let Err(panic) = result {
            state.panic.get_or_insert(panic);
        }
        state.inside -= 1;
        INSIDE.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once() {
        for tasks in [1, 2, 7, 100] {
            let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
            run(3, tasks, &|i| {
                counts[i].fetch_add(1, Ordering::Relaxed);
                run(3, 2, &|_| {
                    counts[i].fetch_add(1, Ordering::Relaxed);
                });
            });
            assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 3));
        }
    }

    #[test]
    fn panics_arrive_and_the_team_works_on() {
        let panicking = || run(3, 8, &|i| assert!(i != 5, "five"));
        assert!(catch_unwind(panicking).is_err());
        let sum = AtomicUsize::new(0);
        run(3, 8, &|i| {
            sum.fetch_add(i, Ordering::Relaxed);
        });
        assert_eq!(sum.load(Ordering::Relaxed), 28);
    }

    #[test]
    fn several_callers_get_their_results() {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let sum = AtomicUsize::new(0);
                        run(2, 5, &|i| {
                            sum.fetch_add(i, Ordering::Relaxed);
                        });
                        assert_eq!(sum.load(Ordering::Relaxed), 10);
                    }
                });
            }
        });
    }
}
