//! Tables as large as the index, lent to one piece of work after another.
//!
//! In: how to make one. Out: one that nobody uses, made only where all are lent. Work that is split
//! up over threads begins many more pieces than there are threads, and fresh memory costs more
//! than the work of a piece.

use parking_lot::Mutex;

/// Things to lend.
pub struct Reuse<T, F: Fn() -> T> {
    make: F,
    free: Mutex<Vec<T>>,
}

impl<T, F: Fn() -> T> Reuse<T, F> {
    /// None yet, made by `make` when needed.
    pub fn new(make: F) -> Self {
        Reuse { make, free: Mutex::new(Vec::new()) }
    }

    /// One that nobody uses, as its last user left it.
    pub fn lend(&self) -> Lent<'_, T, F> {
        let free = self.free.lock().pop();
        Lent { owner: self, thing: Some(free.unwrap_or_else(&self.make)) }
    }
}

/// A thing that is given back when this goes.
pub struct Lent<'r, T, F: Fn() -> T> {
    owner: &'r Reuse<T, F>,
    thing: Option<T>,
}

impl<T, F: Fn() -> T> Lent<'_, T, F> {
    /// The thing itself.
    pub fn get(&mut self) -> &mut T {
        self.thing.get_or_insert_with(&self.owner.make)
    }
}

impl<T, F: Fn() -> T> Drop for Lent<'_, T, F> {
    fn drop(&mut self) {
        if let Some(thing) = self.thing.take() {
            self.owner.free.lock().push(thing);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn what_was_given_back_is_lent_again() {
        let made = AtomicUsize::new(0);
        let reuse = Reuse::new(|| {
            made.fetch_add(1, Ordering::Relaxed);
            Vec::new()
        });
        reuse.lend().get().push(1);
        let (mut a, mut b) = (reuse.lend(), reuse.lend());
        assert_eq!((a.get().len(), b.get().len()), (1, 0));
        drop((a, b));
        drop(reuse.lend());
        assert_eq!(made.load(Ordering::Relaxed), 2);
    }
}
