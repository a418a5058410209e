//! Orders, bounds and errors, at any number of threads.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::*;

fn jobs(sizes: &[u64]) -> Vec<Job> {
    let job = |(i, &size): (usize, &u64)| Job { name: format!("job {i}"), size };
    sizes.iter().enumerate().map(job).collect()
}

fn done<T>(result: T) -> Result<Done<T>> {
    Ok(Done { result, peak_memory: None })
}

#[test]
fn results_are_in_order_and_the_largest_starts_first() {
    let jobs = jobs(&[1, 9, 3, 9, 0]);
    for workers in [0, 1, 2, 16] {
        let started = Mutex::new(Vec::new());
        let schedule = Schedule { workers, max_memory: None };
        let results = schedule
            .run(&jobs, &Silent, |i| {
                started.lock().push(i);
                done(i * 10)
            })
            .unwrap();
        assert_eq!(results, [0, 10, 20, 30, 40]);
        if workers == 1 {
            assert_eq!(started.into_inner(), [1, 3, 2, 0, 4]);
        }
    }
    let none: Vec<()> = Schedule::default().run(&[], &Silent, |_| done(())).unwrap();
    assert!(none.is_empty());
}

#[test]
fn as_many_run_at_once_as_there_are_workers() {
    let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let schedule = Schedule { workers: 3, max_memory: None };
    schedule
        .run(&jobs(&[1; 12]), &Silent, |_| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(20));
            now.fetch_sub(1, Ordering::SeqCst);
            done(())
        })
        .unwrap();
    assert_eq!(most.into_inner(), 3);
}

#[test]
fn the_first_error_in_order_is_told_and_nothing_more_starts() {
    let ran = AtomicUsize::new(0);
    let schedule = Schedule { workers: 1, max_memory: None };
    let error = schedule
        .run(&jobs(&[3, 4, 2, 1]), &Silent, |i| {
            ran.fetch_add(1, Ordering::SeqCst);
            match i {
                0 | 2 => Err(Error::engine(format!("job {i}"))),
                _ => done(()),
            }
        })
        .unwrap_err();
    assert_eq!((error.message(), ran.into_inner()), ("job 0", 2));
    // Of two that fail at the same time, the first in order, though it ends last.
    let both = std::sync::Barrier::new(2);
    let schedule = Schedule { workers: 2, max_memory: None };
    let error = schedule
        .run::<()>(&jobs(&[1, 1]), &Silent, |i| {
            both.wait();
            thread::sleep(Duration::from_millis(if i == 0 { 50 } else { 0 }));
            Err(Error::engine(format!("job {i}")))
        })
        .unwrap_err();
    assert_eq!(error.message(), "job 0");
}

#[test]
fn memory_holds_jobs_back() {
    const MIB: u64 = 1 << 20;
    // By the first guess 120 MiB each; what they take is learned to be twice that.
    let jobs = jobs(&[MIB; 10]);
    let (now, most) = (AtomicU64::new(0), AtomicU64::new(0));
    let (peak, bound) = (240 * MIB, 500 * MIB);
    let schedule = Schedule { workers: 10, max_memory: Some(bound) };
    let ended = AtomicUsize::new(0);
    schedule
        .run(&jobs, &Silent, |_| {
            let running = now.fetch_add(peak, Ordering::SeqCst) + peak;
            // Those that were started before anything was known do not count.
            if ended.load(Ordering::SeqCst) >= 4 {
                most.fetch_max(running, Ordering::SeqCst);
            }
            thread::sleep(Duration::from_millis(20));
            now.fetch_sub(peak, Ordering::SeqCst);
            ended.fetch_add(1, Ordering::SeqCst);
            Ok(Done { result: (), peak_memory: Some(peak) })
        })
        .unwrap();
    let most = most.into_inner();
    assert!(most > 0 && most <= bound, "{most}");
}

#[test]
fn a_job_that_never_fits_runs_alone() {
    let now = AtomicUsize::new(0);
    let schedule = Schedule { workers: 4, max_memory: Some(1) };
    let results = schedule
        .run(&jobs(&[5, 6, 7]), &Silent, |i| {
            assert_eq!(now.fetch_add(1, Ordering::SeqCst), 0);
            thread::sleep(Duration::from_millis(5));
            now.fetch_sub(1, Ordering::SeqCst);
            done(i)
        })
        .unwrap();
    assert_eq!(results, [0, 1, 2]);
}

#[test]
fn a_small_job_goes_before_a_large_one_that_does_not_fit() {
    let order = Mutex::new(Vec::new());
    let schedule = Schedule { workers: 2, max_memory: Some(600 << 20) };
    let first = Mutex::new(());
    let held = first.lock();
    thread::scope(|scope| {
        let (order, first) = (&order, &first);
        let run = scope.spawn(move || {
            schedule.run(&jobs(&[9 << 20, 8 << 20, 1]), &Silent, |i| {
                order.lock().push(i);
                if i == 0 {
                    drop(first.lock());
                }
                done(())
            })
        });
        // The first two do not fit beside each other; the third does beside the first.
        while order.lock().len() < 2 {
            thread::sleep(Duration::from_millis(1));
        }
        drop(held);
        run.join().unwrap().unwrap();
    });
    let mut order = order.into_inner();
    assert_eq!(order.pop(), Some(1));
    // These two run at the same time.
    order.sort_unstable();
    assert_eq!(order, [0, 2]);
}

struct Recorder(Mutex<Vec<(usize, usize, Option<String>)>>, thread::ThreadId);

impl Progress for Recorder {
    fn interval(&self) -> Option<Duration> {
        Some(Duration::from_millis(1))
    }
    fn update(&self, status: &Status<'_>) {
        assert_eq!(thread::current().id(), self.1, "on the caller's thread");
        let longest = status.longest.map(|(name, _)| name.to_owned());
        self.0.lock().push((status.done, status.total, longest));
    }
}

#[test]
fn progress_is_told_to_the_end() {
    let recorder = Recorder(Mutex::default(), thread::current().id());
    let schedule = Schedule { workers: 1, max_memory: None };
    schedule
        .run(&jobs(&[1, 2]), &recorder, |_| {
            thread::sleep(Duration::from_millis(30));
            done(())
        })
        .unwrap();
    let told = recorder.0.into_inner();
    assert_eq!(told.last(), Some(&(2, 2, None)));
    assert!(told.contains(&(0, 2, Some("job 1".into()))), "{told:?}");
    assert!(told.contains(&(1, 2, Some("job 0".into()))), "{told:?}");
    assert!(told.windows(2).all(|pair| pair[0].0 <= pair[1].0), "{told:?}");
}

#[test]
fn a_panic_is_passed_on_and_nobody_waits_for_ever() {
    let caught = std::panic::catch_unwind(|| {
        Schedule { workers: 2, max_memory: None }.run::<()>(&jobs(&[1; 4]), &Silent, |_| {
            std::panic::resume_unwind(Box::new("as if it had panicked"))
        })
    });
    assert!(caught.is_err());
}
