//! The order in which LLVM's `StringMap` is walked.
//!
//! In: names as they are inserted. Out: the order of iteration, and whether a name was there.
//!
//! LLVM lists the undefined symbols of a module and the symbols of module assembly by walking a
//! StringMap, so their order is that of its buckets, and linkers that resolve archives by it see
//! the difference. We keep the same table: the low 32 bits of XXH3-64 as the hash (LLVM 17 and
//! later), 16 buckets at first, quadratic probing, doubled as soon as more than three quarters
//! are taken, in bucket order. Source: `StringMapImpl` in LLVM's StringMap.cpp. Nothing is ever
//! removed here, so there are no tombstones.

use xxhash_rust::xxh3::xxh3_64;

/// The hash of a name, as `StringMapImpl::hash` has it since LLVM 17.
pub fn hash(name: &[u8]) -> u32 {
    // The cut to 32 bits is LLVM's.
    xxh3_64(name) as u32
}

/// A set of names under ids of the caller's choice; the names themselves stay with the caller.
#[derive(Clone, Debug, Default)]
pub struct HashOrder {
    /// `(hash, id)`, with id [`FREE`] for an empty bucket. The length is zero or a power of two.
    buckets: Vec<(u32, u32)>,
    len: usize,
}

/// Marks an empty bucket; no caller has this many names, as names are counted in u32.
const FREE: u32 = u32::MAX;

impl HashOrder {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of names.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no names.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The id under which a name with this hash is kept, for which `same` says yes.
    pub fn find(&self, hash: u32, mut same: impl FnMut(u32) -> bool) -> Option<u32> {
        let mask = self.buckets.len().checked_sub(1)?;
        let mut at = hash as usize & mask;
        let mut step = 1;
        // The table always has free buckets, so the walk ends.
        loop {
            let &(h, id) = self.buckets.get(at)?;
            if id == FREE {
                return None;
            }
            if h == hash && same(id) {
                return Some(id);
            }
            at = (at + step) & mask;
            step += 1;
        }
    }

    /// Adds a name, unless `same` recognises one with the same hash; then that one's id comes
    /// back and nothing changes. `id` must be below `u32::MAX`.
    pub fn insert(
        &mut self,
        hash: u32,
        id: u32,
        mut same: impl FnMut(u32) -> bool,
    ) -> Result<(), u32> {
        if self.buckets.is_empty() {
            self.buckets.resize(16, (0, FREE));
        }
        let mask = self.buckets.len() - 1;
        let mut at = hash as usize & mask;
        let mut step = 1;
        while let Some(bucket) = self.buckets.get_mut(at) {
            if bucket.1 == FREE {
                *bucket = (hash, id);
                break;
            }
            if bucket.0 == hash && same(bucket.1) {
                return Err(bucket.1);
            }
            at = (at + step) & mask;
            step += 1;
        }
        self.len += 1;
        if self.len * 4 > self.buckets.len() * 3 {
            self.grow();
        }
        Ok(())
    }

    fn grow(&mut self) {
        let mask = self.buckets.len() * 2 - 1;
        let mut wider = vec![(0, FREE); self.buckets.len() * 2];
        for &(hash, id) in self.buckets.iter().filter(|b| b.1 != FREE) {
            let mut at = hash as usize & mask;
            let mut step = 1;
            while let Some(bucket) = wider.get_mut(at) {
                if bucket.1 == FREE {
                    *bucket = (hash, id);
                    break;
                }
                at = (at + step) & mask;
                step += 1;
            }
        }
        self.buckets = wider;
    }

    /// The ids in LLVM's order of iteration.
    pub fn ids(&self) -> impl Iterator<Item = u32> + '_ {
        self.buckets.iter().filter(|b| b.1 != FREE).map(|b| b.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order<'a>(names: &[&'a str]) -> Vec<&'a str> {
        let mut map = HashOrder::new();
        for (i, name) in names.iter().enumerate() {
            let _ = map.insert(hash(name.as_bytes()), i as u32, |id| names[id as usize] == *name);
        }
        map.ids().map(|id| names[id as usize]).collect()
    }

    #[test]
    fn the_hash_is_llvms() {
        // XXH3-64 of the empty string is 2d06800538d394c2; the cut keeps its low half.
        assert_eq!(hash(b""), 0x38d3_94c2);
    }

    #[test]
    fn same_names_are_kept_once() {
        let mut map = HashOrder::new();
        assert_eq!(map.insert(hash(b"a"), 0, |_| false), Ok(()));
        assert_eq!(map.insert(hash(b"a"), 1, |id| id == 0), Err(0));
        assert_eq!(map.find(hash(b"a"), |_| true), Some(0));
        assert_eq!(map.find(hash(b"b"), |_| true), None);
        assert_eq!(map.len(), 1);
    }

    #[test]
    fn colliding_names_probe_and_move_when_the_table_doubles() {
        // Four names of the same low bits: 1, then one, two and three further each time.
        let mut map = HashOrder::new();
        for id in 0..4 {
            assert_eq!(map.insert(0x10 * id + 1, id, |_| false), Ok(()));
        }
        let taken: Vec<_> = (0..16).filter(|&i| map.buckets[i].1 != FREE).collect();
        assert_eq!(taken, [1, 2, 4, 7]);
        for id in 4..13 {
            assert_eq!(map.insert(8 + id, id, |_| false), Ok(()));
        }
        // The thirteenth name is more than three quarters of sixteen.
        assert_eq!(map.buckets.len(), 32);
        assert_eq!(map.ids().count(), 13);
    }

    #[test]
    fn order_as_llvm_22_lists_undefined_symbols() {
        // What `lto_module_get_symbol_name` of LLVM 22 gives for a module that declares and calls
        // these, in this order of declaration.
        let declared = [
            "printf", "malloc", "free", "puts", "memcpy", "strlen", "abort", "exit", "read",
            "write", "open", "close", "strcmp", "strcpy", "getenv", "qsort",
        ];
        assert_eq!(order(&declared), GOLDEN);
    }

    const GOLDEN: [&str; 16] = [
        "memcpy", "printf", "malloc", "strcpy", "qsort", "open", "strcmp", "strlen", "read",
        "getenv", "free", "puts", "write", "close", "abort", "exit",
    ];
}
