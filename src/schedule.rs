//! Jobs on several threads, the largest first, within a bound of memory.
//!
//! In: the jobs of a link with their sizes, how many may run at once, how much memory they may take,
//! and whoever wants to see them go on. Out: their results in the order of the jobs, whichever ended
//! first. It must not know what a job does.
//!
//! The calling thread runs none of them: it waits, and tells [`Progress`], so that a callback of a
//! linker is called on the linker's own thread. After the first error no further job is started.
//!
//! Memory: a job is started if what it and those that run are expected to take is within
//! `max_memory`, or if nothing runs. Of those that wait, the largest that fits goes first. What a job
//! takes is guessed from its size, and the guess learns from each job that says what it took
//! ([`Done::peak_memory`]).

use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::error::{Error, Result};

/// One job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Job {
    /// What people call it.
    pub name: String,
    /// How large it is, in bytes of bitcode.
    pub size: u64,
}

/// What a job gave.
#[derive(Clone, Debug)]
pub struct Done<T> {
    /// Its result.
    pub result: T,
    /// The most memory that it took, in bytes, where that is known.
    pub peak_memory: Option<u64>,
}

/// How far the jobs are.
#[derive(Clone, Debug)]
pub struct Status<'a> {
    /// How many have ended.
    pub done: usize,
    /// How many there are.
    pub total: usize,
    /// How many run.
    pub running: usize,
    /// The one that has been running longest, and for how long.
    pub longest: Option<(&'a str, Duration)>,
}

/// Whoever wants to know.
pub trait Progress {
    /// How often to be told at least; `None`: not at all.
    fn interval(&self) -> Option<Duration>;
    /// Is told, on the thread that called [`Schedule::run`]; the last time when all have ended.
    fn update(&self, status: &Status<'_>);
}

/// Nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn interval(&self) -> Option<Duration> {
        None
    }
    fn update(&self, _: &Status<'_>) {}
}

/// One of several runs that are one to whoever is told: numbers go on where the run before ended.
#[derive(Clone, Copy)]
pub struct Part<'p> {
    /// Who is told.
    pub progress: &'p dyn Progress,
    /// How many jobs the runs before had.
    pub before: usize,
    /// How many the runs to come have.
    pub to_come: usize,
}

impl Progress for Part<'_> {
    fn interval(&self) -> Option<Duration> {
        self.progress.interval()
    }

    fn update(&self, status: &Status<'_>) {
        let total = self.before + status.total + self.to_come;
        let done = self.before + status.done;
        self.progress.update(&Status { done, total, ..status.clone() });
    }
}

/// How jobs are run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Schedule {
    /// How many at once; 0 is one for each processor.
    pub workers: usize,
    /// Bytes of memory that the running jobs may be expected to take; `None`: as many as they like.
    pub max_memory: Option<u64>,
}

impl Schedule {
    /// Runs `work` with the number of each job.
    ///
    /// # Errors
    /// Of the jobs that failed, that of the first in their order; jobs that run are waited for.
    pub fn run<T: Send>(
        &self,
        jobs: &[Job],
        progress: &dyn Progress,
        work: impl Fn(usize) -> Result<Done<T>> + Sync,
    ) -> Result<Vec<T>> {
        let workers = match self.workers {
            0 => thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        let mut waiting: Vec<usize> = (0..jobs.len()).collect();
        waiting.sort_by_key(|&job| std::cmp::Reverse(jobs.get(job).map_or(0, |job| job.size)));
        let queue = Queue {
            jobs,
            max_memory: self.max_memory.unwrap_or(u64::MAX),
            state: Mutex::new(State {
                waiting,
                running: Vec::new(),
                done: Vec::with_capacity(jobs.len()),
                estimate: Estimate::default(),
                failed: false,
            }),
            changed: Condvar::new(),
        };
        thread::scope(|scope| {
            let mut threads = 0;
            for _ in 0..workers.min(jobs.len()) {
                // Where a thread cannot be had, the others do its work.
                let builder = thread::Builder::new().name("lto".into()).stack_size(8 << 20);
                threads += usize::from(builder.spawn_scoped(scope, || queue.work(&work)).is_ok());
            }
            if threads == 0 {
                queue.work(&work);
            }
            queue.wait(progress);
        });
        let mut done = queue.state.into_inner().done;
        done.sort_by_key(|(job, _)| *job);
        let results = done.into_iter().map(|(_, result)| result).collect::<Result<Vec<T>>>()?;
        if results.len() != jobs.len() {
            return Err(Error::engine("a thread of the link ended before its job did"));
        }
        Ok(results)
    }
}

struct Queue<'j, T> {
    jobs: &'j [Job],
    max_memory: u64,
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    /// In the order of starting.
    waiting: Vec<usize>,
    running: Vec<Running>,
    done: Vec<(usize, Result<T>)>,
    estimate: Estimate,
    failed: bool,
}

struct Running {
    job: usize,
    since: Instant,
    memory: u64,
}

impl<T> State<T> {
    fn is_over(&self) -> bool {
        self.running.is_empty() && (self.waiting.is_empty() || self.failed)
    }
}

impl<T> Queue<'_, T> {
    fn size(&self, job: usize) -> u64 {
        self.jobs.get(job).map_or(0, |job| job.size)
    }

    /// One thread's work.
    fn work(&self, work: &(impl Fn(usize) -> Result<Done<T>> + Sync)) {
        while let Some(job) = self.next() {
            // A panic must not leave those waiting who wait for the end of the job.
            let ended = Ended { queue: self, job };
            let result = work(job);
            std::mem::forget(ended);
            self.end(job, result);
        }
    }

    /// The next job to start, once one may be.
    fn next(&self) -> Option<usize> {
        let mut state = self.state.lock();
        loop {
            if state.failed || state.waiting.is_empty() {
                return None;
            }
            let taken = state.running.iter().map(|running| running.memory).sum::<u64>();
            let fits = |&job: &usize| {
                let memory = state.estimate.memory(self.size(job));
                taken.saturating_add(memory) <= self.max_memory
            };
            let next = match state.running.is_empty() {
                true => Some(0),
                false => state.waiting.iter().position(fits),
            };
            if let Some(next) = next {
                let job = state.waiting.remove(next);
                let memory = state.estimate.memory(self.size(job));
                state.running.push(Running { job, since: Instant::now(), memory });
                self.changed.notify_all();
                return Some(job);
            }
            self.changed.wait(&mut state);
        }
    }

    fn end(&self, job: usize, result: Result<Done<T>>) {
        let mut state = self.state.lock();
        state.running.retain(|running| running.job != job);
        if let Ok(Done { peak_memory: Some(peak), .. }) = &result {
            state.estimate.learn(self.size(job), *peak);
        }
        state.failed |= result.is_err();
        state.done.push((job, result.map(|done| done.result)));
        self.changed.notify_all();
    }

    /// Waits for the end of all jobs.
    fn wait(&self, progress: &dyn Progress) {
        let mut state = self.state.lock();
        let Some(interval) = progress.interval() else {
            while !state.is_over() {
                self.changed.wait(&mut state);
            }
            return;
        };
        let mut next = Instant::now();
        while !state.is_over() {
            if Instant::now() >= next {
                self.tell(&mut state, progress);
                next = Instant::now() + interval;
            }
            self.changed.wait_until(&mut state, next);
        }
        self.tell(&mut state, progress);
    }

    /// Tells without the lock, since whoever is told may take its time.
    fn tell(&self, state: &mut parking_lot::MutexGuard<'_, State<T>>, progress: &dyn Progress) {
        let longest = state.running.iter().min_by_key(|running| running.since);
        let longest = longest.map(|running| (running.job, running.since.elapsed()));
        let (done, running) = (state.done.len(), state.running.len());
        parking_lot::MutexGuard::unlocked(state, || {
            progress.update(&Status {
                done,
                total: self.jobs.len(),
                running,
                longest: longest.and_then(|(job, time)| {
                    self.jobs.get(job).map(|job| (job.name.as_str(), time))
                }),
            });
        });
    }
}

/// Ends a job whose thread panics.
struct Ended<'q, 'j, T> {
    queue: &'q Queue<'j, T>,
    job: usize,
}

impl<T> Drop for Ended<'_, '_, T> {
    fn drop(&mut self) {
        self.queue.end(self.job, Err(Error::engine("a thread of the link panicked")));
    }
}

/// What jobs take: a part that every job has and a part that grows with its size.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Estimate {
    /// Bytes of memory for a byte of bitcode.
    rate: f64,
    learned: bool,
}

impl Estimate {
    /// What a process with libLLVM has before it has read any module.
    const FIXED: u64 = 80 << 20;
    /// Modules below this size say nothing about the rate.
    const SMALL: u64 = 256 << 10;

    fn memory(&self, size: u64) -> u64 {
        Self::FIXED.saturating_add((size as f64 * self.rate) as u64)
    }

    /// The largest rate of all counts, as a guess that is too low is the one that hurts.
    fn learn(&mut self, size: u64, peak: u64) {
        let rate = peak.saturating_sub(Self::FIXED) as f64 / size.max(Self::SMALL) as f64;
        self.rate = if self.learned { self.rate.max(rate) } else { rate };
        self.learned = true;
    }
}

impl Default for Estimate {
    /// Optimizing and compiling C++ at -O2 takes some forty times the size of its bitcode.
    fn default() -> Self {
        Estimate { rate: 40.0, learned: false }
    }
}

mod terminal;
pub use terminal::Terminal;

#[cfg(test)]
mod tests;
