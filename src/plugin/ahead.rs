//! Keys of files' contents, made while the linker still reads other files.
//!
//! In: the bytes of claimed files, as they come. Out: the key of the bitcode in each, once the linker
//! has read everything. A link in which nothing has changed does little else than to hash its
//! inputs, and while a linker of one thread reads, another processor has nothing to do.
//!
//! The thread is joined before the link is over: a linker unloads its plugins. What it has not come to
//! by the end is left to whoever needs it, and so is everything where the process was forked
//! meanwhile, as threads stay behind.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use parking_lot::{Condvar, Mutex};

use crate::cache::{Key, content_key};
use crate::container::{FileBytes, find_bitcode};

/// Files whose keys are being made.
pub struct Ahead {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    process: u32,
}

/// Which of the files it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(usize);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(usize, Arc<FileBytes>)>,
    keys: Vec<Option<Key>>,
    over: bool,
}

impl Ahead {
    /// Starts a thread; None where there can be none.
    pub fn start() -> Option<Self> {
        let shared = Arc::new(Shared::default());
        let thread = Builder::new().name("lto-ahead".into()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.work()
        });
        Some(Ahead { shared, thread: Some(thread.ok()?), process: std::process::id() })
    }

    /// Puts a file behind the others.
    pub fn add(&self, bytes: Arc<FileBytes>) -> Option<Ticket> {
        if self.process != std::process::id() {
            return None;
        }
        let mut queue = self.shared.queue.lock();
        let number = queue.keys.len();
        queue.keys.push(None);
        queue.waiting.push_back((number, bytes));
        self.shared.changed.notify_one();
        Some(Ticket(number))
    }

    /// Ends the thread, and gives what it has made.
    pub fn finish(mut self) -> Keys {
        if self.process != std::process::id() {
            // There is nobody to join, and the lock may be held for ever.
            std::mem::forget(self.thread.take());
            return Keys(Vec::new());
        }
        self.join();
        Keys(std::mem::take(&mut self.shared.queue.lock().keys))
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            let mut queue = self.shared.queue.lock();
            queue.over = true;
            queue.waiting.clear();
            drop(queue);
            self.shared.changed.notify_one();
            // A thread that panicked has left keys out.
            let _ = thread.join();
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            self.join();
        }
    }
}

impl Shared {
    fn work(&self) {
        let mut queue = self.queue.lock();
        loop {
            if let Some((number, bytes)) = queue.waiting.pop_front() {
                drop(queue);
                let key = find_bitcode(&bytes).ok().map(|found| content_key(found.bytes));
                drop(bytes);
                queue = self.queue.lock();
                if let Some(place) = queue.keys.get_mut(number) {
                    *place = key;
                }
            } else if queue.over {
                return;
            } else {
                self.changed.wait(&mut queue);
            }
        }
    }
}

/// The keys that were made.
#[derive(Default)]
pub struct Keys(Vec<Option<Key>>);

impl Keys {
    /// The key of a file; None where it was not made.
    pub fn get(&self, ticket: Option<Ticket>) -> Option<Key> {
        self.0.get(ticket?.0).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Raw bitcode, as far as anybody looks who only hashes it.
    fn bitcode(last: u8) -> Vec<u8> {
        [b"BC\xc0\xde".as_slice(), &[0; 24], &[last; 4]].concat()
    }

    fn file(bytes: &[u8]) -> Arc<FileBytes> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
        Arc::new(FileBytes::open(file.path()).unwrap())
    }

    #[test]
    fn a_key_is_that_of_the_contents_or_none() {
        let ahead = Ahead::start().unwrap();
        let tickets: Vec<_> = (0..100).map(|n| ahead.add(file(&bitcode(n)))).collect();
        let other = ahead.add(file(b"not bitcode"));
        // As long as the linker reads.
        while !ahead.shared.queue.lock().waiting.is_empty() {
            std::thread::yield_now();
        }
        let keys = ahead.finish();
        for (ticket, n) in tickets.into_iter().zip(0..) {
            assert_eq!(keys.get(ticket), Some(content_key(&bitcode(n))), "{n}");
        }
        assert_eq!(keys.get(other), None);
        assert_eq!(keys.get(None), None);
    }

    #[test]
    fn what_waits_at_the_end_is_left_out_and_the_thread_ends() {
        let ahead = Ahead::start().unwrap();
        let tickets: Vec<_> = (0..100).map(|n| ahead.add(file(&bitcode(n)))).collect();
        let shared = Arc::downgrade(&ahead.shared);
        let keys = ahead.finish();
        assert!(shared.upgrade().is_none(), "the thread holds it");
        for (ticket, n) in tickets.into_iter().zip(0..) {
            assert!(keys.get(ticket).is_none_or(|key| key == content_key(&bitcode(n))), "{n}");
        }
        // One that is dropped ends as well.
        let ahead = Ahead::start().unwrap();
        let shared = Arc::downgrade(&ahead.shared);
        drop(ahead);
        assert!(shared.upgrade().is_none());
    }
}
