//! Sets of context ids, in LLVM's order.
//!
//! In: ids. Out: sets that are walked as LLVM walks its `DenseSet<uint32_t>`: which id is first, and
//! which number a copied context gets, decides what is cloned. It must not know what a context is.
//!
//! Source of the operations: `SetOperations.h`, `DenseSet.h` of LLVM 19.

use crate::thinlink::order::DenseTable;

/// A set of context ids.
#[derive(Clone, Debug, Default)]
pub(super) struct ContextIds(DenseTable<u32>);

impl ContextIds {
    /// The set that LLVM makes of an initializer list of one.
    pub(super) fn one(id: u32) -> Self {
        let mut ids = ContextIds(DenseTable::with_reserve(1));
        ids.insert(id);
        ids
    }

    /// An empty set after `reserve`.
    pub(super) fn with_room(count: usize) -> Self {
        let mut ids = ContextIds::default();
        ids.0.reserve(count);
        ids
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, id: u32) -> bool {
        self.0.get(id).is_some()
    }

    pub(super) fn insert(&mut self, id: u32) {
        self.0.insert(id, id);
    }

    /// All ids, as LLVM walks them.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter()
    }

    /// The one that LLVM finds at `begin`.
    pub(super) fn first(&self) -> Option<u32> {
        self.iter().next()
    }

    /// Adds all of another set.
    pub(super) fn extend(&mut self, other: &ContextIds) {
        other.iter().for_each(|id| self.insert(id));
    }

    /// Keeps what is in both (`set_intersect`).
    pub(super) fn intersect(&mut self, other: &ContextIds) {
        let gone: Vec<u32> = self.iter().filter(|&id| !other.contains(id)).collect();
        for id in gone {
            self.0.remove(id);
        }
    }

    /// What is in both (`set_intersection`): a new set, filled in the order of the smaller.
    pub(super) fn intersection(&self, other: &ContextIds) -> ContextIds {
        let (walked, asked) = if self.len() < other.len() { (self, other) } else { (other, self) };
        let mut both = ContextIds::default();
        walked.iter().filter(|&id| asked.contains(id)).for_each(|id| both.insert(id));
        both
    }

    /// Takes away what is in another set (`set_subtract`).
    pub(super) fn subtract(&mut self, other: &ContextIds) {
        for id in other.iter() {
            self.0.remove(id);
        }
    }

    /// Takes away what is in another set; gives what of that was there, and what was not.
    pub(super) fn split(&mut self, other: &ContextIds) -> (ContextIds, ContextIds) {
        let (mut removed, mut remaining) = (ContextIds::default(), ContextIds::default());
        for id in other.iter() {
            match self.0.remove(id) {
                true => removed.insert(id),
                false => remaining.insert(id),
            }
        }
        (removed, remaining)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[u32]) -> ContextIds {
        let mut set = ContextIds::default();
        ids.iter().for_each(|&id| set.insert(id));
        set
    }

    #[test]
    fn sets_are_walked_by_hash() {
        // 37 * 7 = 259, which is 3 of 64 buckets; 37 * 1 is 37.
        let all = set(&[1, 7, 2]);
        assert_eq!(all.iter().collect::<Vec<_>>(), [7, 2, 1]);
        assert_eq!(all.first(), Some(7));
        // Of four buckets, 1 is in the second and 2 in the third.
        let mut few = ContextIds::one(1);
        few.insert(2);
        assert_eq!(few.iter().collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn operations_are_those_of_sets() {
        let mut a = set(&[1, 2, 3]);
        assert_eq!(a.intersection(&set(&[2, 3, 4])).len(), 2);
        let (removed, remaining) = a.split(&set(&[3, 5]));
        assert_eq!((removed.first(), remaining.first(), a.len()), (Some(3), Some(5), 2));
        a.intersect(&set(&[2]));
        assert_eq!(a.iter().collect::<Vec<_>>(), [2]);
        a.subtract(&set(&[2, 9]));
        assert!(a.is_empty() && !a.contains(2));
    }
}
