//! The engine's own threads: they spin for a moment between steps and sleep between runs.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long an idle worker spins before it sleeps: longer than the gaps between a network's steps.
const SPIN: Duration = Duration::from_micros(100);

/// Bits of the state word that count tasks and claimed tasks.
const BITS: u32 = 20;
const MASK: u64 = (1 << BITS) - 1;

/// Most tasks that are handed out one by one.
const MOST_TASKS: usize = 1 << 16;

type Job = *const (dyn Fn(usize) + Sync);

struct Shared {
    /// `epoch | tasks | claimed`: one word, so that a claim is valid only for the job it was made for.
    state: AtomicU64,
    /// Read only after a successful claim, which keeps `run` from returning.
    job: UnsafeCell<Option<Job>>,
    finished: AtomicUsize,
    stop: AtomicBool,
    failure: Mutex<Option<Box<dyn Any + Send>>>,
    /// The workers that sleep, by the system's numbers.
    sleepers: Mutex<Vec<i32>>,
    wake: Condvar,
}

// SAFETY: `job` is written only while no claim is open (`run` holds the pool) and read only under a claim.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer is never followed outside of `run`'s lifetime.
unsafe impl Send for Shared {}

/// Placing threads on processors; does nothing where the system is not Linux.
mod place {
    /// The processors this thread may use.
    #[cfg(target_os = "linux")]
    pub fn allowed() -> Vec<usize> {
        // SAFETY: the call fills a set of the size given.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) != 0 {
                return Vec::new();
            }
            (0..libc::CPU_SETSIZE as usize).filter(|&cpu| libc::CPU_ISSET(cpu, &set)).collect()
        }
    }

    /// Binds thread `id` (0: the calling one) to `cpus`.
    #[cfg(target_os = "linux")]
    pub fn bind(id: i32, cpus: impl Iterator<Item = usize>) {
        // SAFETY: the call reads a set of the size given; a refusal changes nothing.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            cpus.for_each(|cpu| libc::CPU_SET(cpu, &mut set));
            libc::sched_setaffinity(id, size_of::<libc::cpu_set_t>(), &set);
        }
    }

    /// The number of the calling thread.
    #[cfg(target_os = "linux")]
    pub fn thread() -> i32 {
        // SAFETY: takes nothing, cannot fail.
        unsafe { libc::gettid() }
    }

    /// The processor the calling thread is on.
    #[cfg(target_os = "linux")]
    pub fn current() -> Option<usize> {
        // SAFETY: takes nothing.
        usize::try_from(unsafe { libc::sched_getcpu() }).ok()
    }

    #[cfg(not(target_os = "linux"))]
    pub fn allowed() -> Vec<usize> {
        Vec::new()
    }
    #[cfg(not(target_os = "linux"))]
    pub fn bind(_id: i32, _cpus: impl Iterator<Item = usize>) {}
    #[cfg(not(target_os = "linux"))]
    pub fn thread() -> i32 {
        0
    }
    #[cfg(not(target_os = "linux"))]
    pub fn current() -> Option<usize> {
        None
    }
}

/// A fixed number of threads that share out the tasks of one step at a time.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// The processors that unpinned workers may use.
    roam: Vec<usize>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads()).finish()
    }
}

impl Pool {
    /// `threads` threads, the caller's among them; with `pin`, each stays on one processor (Linux).
    pub fn new(threads: usize, pin: bool) -> Self {
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            job: UnsafeCell::new(None),
            finished: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            failure: Mutex::new(None),
            sleepers: Mutex::new(Vec::with_capacity(threads)),
            wake: Condvar::new(),
        });
        let cpus = place::allowed();
        let place = |index: usize| cpus.get(index % cpus.len().max(1)).copied();
        if pin {
            place::bind(0, place(0).into_iter());
        }
        let workers = (1..threads.max(1))
            .filter_map(|index| {
                let shared = shared.clone();
                let own = place(index);
                let work = move || {
                    if let Some(cpu) = own.filter(|_| pin) {
                        place::bind(0, std::iter::once(cpu));
                    }
                    work(&shared);
                };
                // A machine that gives no more threads runs on those it gave.
                std::thread::Builder::new().name(format!("ocelli-{index}")).spawn(work).ok()
            })
            .collect();
        let roam = if pin || cpus.len() < threads { Vec::new() } else { cpus };
        Self { shared, workers, roam }
    }

    /// Number of threads, the caller's among them.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `job` for every task below `tasks`, on all threads; returns when all are done.
    ///
    /// # Panics
    /// With the panic of the first task that panicked, after the others have ended.
    pub fn run(&mut self, tasks: usize, job: &(dyn Fn(usize) + Sync)) {
        if self.workers.is_empty() || tasks <= 1 {
            (0..tasks).for_each(job);
            return;
        }
        if tasks > MOST_TASKS {
            // More than the state word counts: several to a piece.
            let each = tasks.div_ceil(MOST_TASKS);
            let pieces = tasks.div_ceil(each);
            return self.run(pieces, &|piece| (piece * each..((piece + 1) * each).min(tasks)).for_each(job));
        }
        let shared = &*self.shared;
        // SAFETY: no claim is open, since `&mut self` lets one `run` in at a time and the last one waited for
        // all of its tasks. The lifetime is forgotten only until all tasks of this call have ended, below.
        unsafe {
            *shared.job.get() = Some(std::mem::transmute::<&(dyn Fn(usize) + Sync), Job>(job));
        }
        shared.finished.store(0, Ordering::Relaxed);
        let epoch = (shared.state.load(Ordering::Relaxed) >> (2 * BITS)).wrapping_add(1);
        shared.state.store((epoch << (2 * BITS)) | ((tasks as u64) << BITS), Ordering::SeqCst);
        let sleepers = lock(&shared.sleepers);
        if !sleepers.is_empty() {
            // A worker that wakes on the caller's own processor would wait for it and be waited for.
            if let (Some(own), false) = (place::current(), self.roam.is_empty()) {
                for &sleeper in sleepers.iter() {
                    place::bind(sleeper, self.roam.iter().copied().filter(|&cpu| cpu != own));
                }
            }
            shared.wake.notify_all();
        }
        drop(sleepers);
        while shared.take_one() {}
        let mut spins = 0u32;
        while shared.finished.load(Ordering::Acquire) < tasks {
            spins += 1;
            if spins > 20_000 {
                // The other thread may have lost its processor: let it have ours.
                std::thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
        if let Some(failure) = lock(&shared.failure).take() {
            resume_unwind(failure);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        drop(lock(&self.shared.sleepers));
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // A worker's own panic was handed to the caller of `run` already.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// Claims and runs one task; false if there is none.
    fn take_one(&self) -> bool {
        let mut state = self.state.load(Ordering::Acquire);
        loop {
            let (tasks, claimed) = ((state >> BITS) & MASK, state & MASK);
            if claimed >= tasks {
                return false;
            }
            match self.state.compare_exchange_weak(state, state + 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    let task = || {
                        // SAFETY: the claim keeps `run` waiting, so the job is the one of this epoch and alive.
                        let job = unsafe { (*self.job.get()).expect("a claim follows a job") };
                        // SAFETY: as above.
                        unsafe { (*job)(claimed as usize) };
                    };
                    if let Err(failure) = catch_unwind(AssertUnwindSafe(task)) {
                        lock(&self.failure).get_or_insert(failure);
                    }
                    self.finished.fetch_add(1, Ordering::Release);
                    return true;
                }
                Err(now) => state = now,
            }
        }
    }
}

fn work(shared: &Shared) {
    let mut idle = Instant::now();
    let mut spins = 0u32;
    loop {
        if shared.take_one() {
            while shared.take_one() {}
            idle = Instant::now();
            continue;
        }
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        std::hint::spin_loop();
        spins = spins.wrapping_add(1);
        if spins.is_multiple_of(64) && idle.elapsed() > SPIN {
            let mut sleepers = lock(&shared.sleepers);
            let own = place::thread();
            sleepers.push(own);
            let seen = |shared: &Shared| {
                let state = shared.state.load(Ordering::SeqCst);
                (state & MASK) < ((state >> BITS) & MASK) || shared.stop.load(Ordering::SeqCst)
            };
            while !seen(shared) {
                sleepers = shared.wake.wait(sleepers).unwrap_or_else(std::sync::PoisonError::into_inner);
            }
            sleepers.retain(|&sleeper| sleeper != own);
            idle = Instant::now();
        }
    }
}

/// The lock, whoever panicked while holding it: what it guards is valid at any time.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
