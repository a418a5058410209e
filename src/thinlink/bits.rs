//! Sets of dense numbers, one bit each.
//!
//! In: numbers of values or summaries. Out: whether they are in the set. [`AtomicBits`] is filled
//! by several threads at once; what is in it at the end does not depend on their order.

use std::sync::atomic::{AtomicU64, Ordering};

/// A set of numbers below a limit. Numbers beyond it are not in the set and cannot be added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bits {
    words: Vec<u64>,
}

impl Bits {
    /// The empty set for numbers below `limit`.
    pub fn new(limit: usize) -> Self {
        Bits { words: vec![0; limit.div_ceil(64)] }
    }

    /// Whether `at` is in the set.
    #[inline]
    pub fn get(&self, at: usize) -> bool {
        self.words.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 != 0)
    }

    /// Adds `at`; says whether it is new.
    #[inline]
    pub fn insert(&mut self, at: usize) -> bool {
        match self.words.get_mut(at / 64) {
            Some(word) => {
                let old = *word;
                *word |= 1 << (at % 64);
                old != *word
            }
            None => false,
        }
    }

    /// Removes `at`.
    #[inline]
    pub fn remove(&mut self, at: usize) {
        if let Some(word) = self.words.get_mut(at / 64) {
            *word &= !(1 << (at % 64));
        }
    }

    /// How many numbers are in the set.
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// The numbers in the set, rising.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(at, &word)| {
            std::iter::successors((word != 0).then_some(word), |rest| {
                let rest = rest & (rest - 1);
                (rest != 0).then_some(rest)
            })
            .map(move |rest| at * 64 + rest.trailing_zeros() as usize)
        })
    }
}

/// [`Bits`] in the making, shared by threads.
pub struct AtomicBits {
    words: Vec<AtomicU64>,
}

impl AtomicBits {
    /// The empty set for numbers below `limit`.
    pub fn new(limit: usize) -> Self {
        AtomicBits { words: (0..limit.div_ceil(64)).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Adds `at`. Looks first, as most additions are repetitions and a write is dear.
    #[inline]
    pub fn insert(&self, at: usize) {
        if let Some(word) = self.words.get(at / 64) {
            let bit = 1 << (at % 64);
            if word.load(Ordering::Relaxed) & bit == 0 {
                word.fetch_or(bit, Ordering::Relaxed);
            }
        }
    }

    /// The set, when all threads are done.
    pub fn into_bits(self) -> Bits {
        Bits { words: self.words.into_iter().map(AtomicU64::into_inner).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_in_and_come_out() {
        let mut set = Bits::new(130);
        assert!(set.insert(0) && set.insert(64) && set.insert(129) && !set.insert(64));
        assert!(!set.insert(500) && !set.get(500) && !set.get(1));
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 64, 129]);
        set.remove(64);
        assert_eq!((set.count(), set.is_empty()), (2, false));
        let shared = AtomicBits::new(130);
        shared.insert(0);
        shared.insert(129);
        assert_eq!(shared.into_bits(), set);
    }
}
