//! The order in which LLVM walks its hash tables.
//!
//! In: keys in the order of insertion. Out: the order of iteration. It must not know what the
//! keys stand for.
//!
//! LLVM keeps the summaries of a module in a `DenseMap` by GUID and walks that table when it
//! looks for imports, when it numbers values and when it writes records. Its order is therefore
//! part of LLVM's decisions (which of several copies is met first) and of the bytes of a
//! distributed index. The tables have no per-process seed in release builds, so that order can
//! be had again from the hash functions and the rules of growth:
//!
//! * `DenseMap`: a power of two of buckets, at least 64 once something is in it, doubled as soon
//!   as an insertion would fill three quarters, rebuilt in bucket order; quadratic probing;
//!   removed entries leave tombstones. Source: `DenseMap.h`, `DenseMapInfo.h` of LLVM 19 and 22.
//! * `std::unordered_map` of libstdc++, which LLVM 19 used for the imports from one module: a
//!   singly linked list through all buckets. Source: `hashtable.h`, `hashtable_c++0x.cc`.

/// A key that LLVM's `DenseMapInfo` can hash.
pub trait DenseKey: Copy + Eq + Default {
    /// `DenseMapInfo<T>::getHashValue`.
    fn dense_hash(self) -> u32;
}

impl DenseKey for u64 {
    #[inline]
    fn dense_hash(self) -> u32 {
        let mixed = self.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ mixed >> 31) as u32
    }
}

impl DenseKey for u32 {
    #[inline]
    fn dense_hash(self) -> u32 {
        self.wrapping_mul(37)
    }
}

/// A name that is known by number to the caller and hashed as LLVM hashes a `StringRef`.
#[derive(Clone, Copy, Debug, Default)]
pub struct HashedName {
    /// The number, by which two names are told apart.
    pub id: u32,
    /// [`hash_string`] of the name.
    pub hash: u32,
}

impl PartialEq for HashedName {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for HashedName {}

impl DenseKey for HashedName {
    #[inline]
    fn dense_hash(self) -> u32 {
        self.hash
    }
}

/// Marks a bucket that never held anything.
const EMPTY: u32 = u32::MAX;
/// Marks a bucket whose entry was removed.
const TOMBSTONE: u32 = u32::MAX - 1;

/// LLVM's `DenseMap` from `K` to a number of the caller's, below `u32::MAX - 1`.
#[derive(Clone, Debug)]
pub struct DenseTable<K> {
    buckets: Vec<(K, u32)>,
    /// Where they stood before they were doubled last: room for the next time.
    spare: Vec<(K, u32)>,
    entries: usize,
    tombstones: usize,
}

impl<K: DenseKey> Default for DenseTable<K> {
    fn default() -> Self {
        DenseTable { buckets: Vec::new(), spare: Vec::new(), entries: 0, tombstones: 0 }
    }
}

/// What [`DenseTable::find`] says of a key.
enum Place {
    /// It is in this bucket.
    Taken(usize),
    /// It is not there and would go into this bucket.
    Free(usize),
    /// There are no buckets.
    Nowhere,
}

impl<K: DenseKey> DenseTable<K> {
    /// A table made for `entries` entries (`DenseMap(unsigned InitialReserve)`).
    pub fn with_reserve(entries: usize) -> Self {
        let mut table = Self::default();
        if entries != 0 {
            table.allocate((entries * 4 / 3 + 2).next_power_of_two());
        }
        table
    }

    fn allocate(&mut self, count: usize) {
        self.buckets.clear();
        self.buckets.resize(count, (K::default(), EMPTY));
        self.entries = 0;
        self.tombstones = 0;
    }

    /// Makes room for so many entries in all (`DenseMap::reserve`).
    pub fn reserve(&mut self, entries: usize) {
        let count = if entries == 0 { 0 } else { (entries * 4 / 3 + 2).next_power_of_two() };
        if count > self.buckets.len() {
            self.grow(count);
        }
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Removes all, buckets included, but keeps the memory.
    pub fn reset(&mut self) {
        self.buckets.clear();
        self.entries = 0;
        self.tombstones = 0;
    }

    fn find(&self, key: K) -> Place {
        let count = self.buckets.len();
        if count == 0 {
            return Place::Nowhere;
        }
        let mask = count - 1;
        let mut at = key.dense_hash() as usize & mask;
        let mut step = 1;
        let mut grave = None;
        // The rules of growth leave empty buckets, so the walk ends.
        loop {
            let (held, item) = self.buckets[at];
            match item {
                EMPTY => return Place::Free(grave.unwrap_or(at)),
                TOMBSTONE => {
                    grave.get_or_insert(at);
                }
                _ if held == key => return Place::Taken(at),
                _ => {}
            }
            at = (at + step) & mask;
            step += 1;
        }
    }

    /// The item under `key`.
    pub fn get(&self, key: K) -> Option<u32> {
        match self.find(key) {
            Place::Taken(at) => Some(self.buckets[at].1),
            _ => None,
        }
    }

    /// Adds an entry unless the key is there; says whether it was added.
    pub fn insert(&mut self, key: K, item: u32) -> bool {
        let mut place = self.find(key);
        if let Place::Taken(_) = place {
            return false;
        }
        let count = self.buckets.len();
        let entries = self.entries + 1;
        if entries * 4 >= count * 3 {
            self.grow(count * 2);
            place = self.find(key);
        } else if count - (entries + self.tombstones) <= count / 8 {
            self.grow(count);
            place = self.find(key);
        }
        if let Place::Free(at) = place {
            if self.buckets[at].1 == TOMBSTONE {
                self.tombstones -= 1;
            }
            self.buckets[at] = (key, item);
            self.entries = entries;
        }
        true
    }

    /// Changes the item of a key that is there.
    pub fn replace(&mut self, key: K, item: u32) {
        if let Place::Taken(at) = self.find(key) {
            self.buckets[at].1 = item;
        }
    }

    /// Removes an entry; says whether it was there.
    pub fn remove(&mut self, key: K) -> bool {
        match self.find(key) {
            Place::Taken(at) => {
                self.buckets[at].1 = TOMBSTONE;
                self.entries -= 1;
                self.tombstones += 1;
                true
            }
            _ => false,
        }
    }

    fn grow(&mut self, at_least: usize) {
        let count = at_least.next_power_of_two().max(64);
        std::mem::swap(&mut self.buckets, &mut self.spare);
        self.allocate(count);
        let mask = count - 1;
        for &(key, item) in self.spare.iter().filter(|(_, item)| *item < TOMBSTONE) {
            let mut at = key.dense_hash() as usize & mask;
            let mut step = 1;
            while self.buckets[at].1 != EMPTY {
                at = (at + step) & mask;
                step += 1;
            }
            self.buckets[at] = (key, item);
            self.entries += 1;
        }
    }

    /// The items in the order in which LLVM walks the table.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.buckets.iter().map(|&(_, item)| item).filter(|&item| item < TOMBSTONE)
    }
}

/// libstdc++'s `std::unordered_map` with 64-bit integers as keys, which hash to themselves.
#[derive(Clone, Debug, Default)]
pub struct LinkedTable {
    /// Key, item and the next node.
    nodes: Vec<(u64, u32, u32)>,
    /// For each bucket the node *before* its first one; [`HEAD`] for the list's head.
    before: Vec<u32>,
    /// The first node of all.
    first: u32,
}

/// No node.
const NONE: u32 = u32::MAX;
/// The imaginary node before the first one.
const HEAD: u32 = u32::MAX - 1;

/// Numbers of buckets that libstdc++'s `_Prime_rehash_policy` goes through when elements are
/// inserted one by one: 13 first, then the least prime of its table not below twice the last.
const PRIMES: [usize; 22] = [
    13, 29, 59, 127, 257, 541, 1109, 2357, 5087, 10273, 20753, 42043, 85229, 172_933, 351_061,
    712_697, 1_447_153, 2_938_679, 5_967_347, 12_117_689, 24_607_243, 49_969_847,
];

impl LinkedTable {
    fn next(&self, node: u32) -> u32 {
        if node == HEAD { self.first } else { self.nodes[node as usize].2 }
    }

    fn set_next(&mut self, node: u32, next: u32) {
        if node == HEAD {
            self.first = next;
        } else {
            self.nodes[node as usize].2 = next;
        }
    }

    /// Puts a node into its bucket as `_M_insert_bucket_begin` does.
    fn link(&mut self, node: u32) {
        let count = self.before.len() as u64;
        let bucket = (self.nodes[node as usize].0 % count) as usize;
        match self.before[bucket] {
            NONE => {
                let first = self.first;
                self.set_next(node, first);
                self.first = node;
                if first != NONE {
                    let moved = (self.nodes[first as usize].0 % count) as usize;
                    self.before[moved] = node;
                }
                self.before[bucket] = HEAD;
            }
            before => {
                let next = self.next(before);
                self.set_next(node, next);
                self.set_next(before, node);
            }
        }
    }

    /// Adds an entry unless the key is there.
    pub fn insert(&mut self, key: u64, item: u32) {
        if self.nodes.is_empty() {
            self.first = NONE;
            self.before = vec![NONE; 1];
        }
        let count = self.before.len() as u64;
        let bucket = (key % count) as usize;
        if self.before[bucket] != NONE {
            let mut node = self.next(self.before[bucket]);
            while node != NONE && (self.nodes[node as usize].0 % count) as usize == bucket {
                if self.nodes[node as usize].0 == key {
                    return;
                }
                node = self.next(node);
            }
        }
        // One bucket is made without asking the policy, and it is never enough.
        let full = if count == 1 { 0 } else { count as usize };
        if self.nodes.len() + 1 > full {
            let wanted = PRIMES.iter().copied().find(|&p| p > self.before.len());
            self.rehash(wanted.unwrap_or(self.before.len() * 2 + 1));
        }
        let node = self.nodes.len() as u32;
        self.nodes.push((key, item, NONE));
        self.link(node);
    }

    fn rehash(&mut self, count: usize) {
        self.before = vec![NONE; count];
        let mut node = std::mem::replace(&mut self.first, NONE);
        while node != NONE {
            let next = self.nodes[node as usize].2;
            self.link(node);
            node = next;
        }
    }

    /// The items in the order of iteration.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let mut node = if self.nodes.is_empty() { NONE } else { self.first };
        std::iter::from_fn(move || {
            let &(_, item, next) = self.nodes.get(node as usize)?;
            node = next;
            Some(item)
        })
    }
}

const K0: u64 = 0xc3a5_c85c_97cb_3127;
const K1: u64 = 0xb492_b66f_be98_f273;
const K2: u64 = 0x9ae1_6a3b_2f90_404f;
const K3: u64 = 0xc949_d7c7_509e_6557;
/// `get_execution_seed` of builds without ABI-breaking checks, which all releases are.
const SEED: u64 = 0xff51_afd7_ed55_8ccd;

fn fetch64(s: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&s[at..at + 8]);
    u64::from_le_bytes(word)
}

fn fetch32(s: &[u8], at: usize) -> u64 {
    let mut word = [0; 4];
    word.copy_from_slice(&s[at..at + 4]);
    u64::from(u32::from_le_bytes(word))
}

fn shift_mix(x: u64) -> u64 {
    x ^ x >> 47
}

fn hash_16(low: u64, high: u64) -> u64 {
    const MUL: u64 = 0x9ddf_ea08_eb38_2d69;
    let a = shift_mix((low ^ high).wrapping_mul(MUL));
    shift_mix((high ^ a).wrapping_mul(MUL)).wrapping_mul(MUL)
}

/// The low 32 bits of `hash_value(StringRef)`, which `DenseMapInfo<StringRef>` uses: a CityHash
/// with a state of 56 bytes. Source: `Hashing.h`, the same in LLVM 14 to 22.
pub fn hash_string(s: &[u8]) -> u32 {
    hash_bytes(s) as u32
}

fn hash_bytes(s: &[u8]) -> u64 {
    let len = s.len();
    let length = len as u64;
    match len {
        0 => K2 ^ SEED,
        1..=3 => {
            let y = u64::from(s[0]) + (u64::from(s[len / 2]) << 8);
            let z = length + (u64::from(s[len - 1]) << 2);
            shift_mix(y.wrapping_mul(K2) ^ z.wrapping_mul(K3) ^ SEED).wrapping_mul(K2)
        }
        4..=8 => hash_16(length.wrapping_add(fetch32(s, 0) << 3), SEED ^ fetch32(s, len - 4)),
        9..=16 => {
            let (a, b) = (fetch64(s, 0), fetch64(s, len - 8));
            hash_16(SEED ^ a, b.wrapping_add(length).rotate_right(len as u32)) ^ b
        }
        17..=32 => {
            let a = fetch64(s, 0).wrapping_mul(K1);
            let b = fetch64(s, 8);
            let c = fetch64(s, len - 8).wrapping_mul(K2);
            let d = fetch64(s, len - 16).wrapping_mul(K0);
            hash_16(
                a.wrapping_sub(b)
                    .rotate_right(43)
                    .wrapping_add((c ^ SEED).rotate_right(30))
                    .wrapping_add(d),
                a.wrapping_add((b ^ K3).rotate_right(20))
                    .wrapping_sub(c)
                    .wrapping_add(length)
                    .wrapping_add(SEED),
            )
        }
        33..=64 => {
            let half = |a: u64, z: u64, next: u64, last: u64| {
                let b = a.wrapping_add(z).rotate_right(52);
                let c = a.rotate_right(37);
                let a = a.wrapping_add(next);
                let c = c.wrapping_add(a.rotate_right(7));
                let a = a.wrapping_add(last);
                (a.wrapping_add(z), b.wrapping_add(a.rotate_right(31)).wrapping_add(c))
            };
            let start = length.wrapping_add(fetch64(s, len - 16)).wrapping_mul(K0);
            let a = fetch64(s, 0).wrapping_add(start);
            let (vf, vs) = half(a, fetch64(s, 24), fetch64(s, 8), fetch64(s, 16));
            let a = fetch64(s, 16).wrapping_add(fetch64(s, len - 32));
            let (wf, ws) = half(a, fetch64(s, len - 8), fetch64(s, len - 24), fetch64(s, len - 16));
            let r = shift_mix(
                vf.wrapping_add(ws)
                    .wrapping_mul(K2)
                    .wrapping_add(wf.wrapping_add(vs).wrapping_mul(K0)),
            );
            shift_mix((SEED ^ r.wrapping_mul(K0)).wrapping_add(vs)).wrapping_mul(K2)
        }
        _ => {
            let mut state = HashState::new(&s[..64]);
            let whole = len & !63;
            for at in (64..whole).step_by(64) {
                state.mix(&s[at..at + 64]);
            }
            if whole != len {
                state.mix(&s[len - 64..]);
            }
            state.finish(length)
        }
    }
}

/// `hashing::detail::hash_state`: what a long string has been mixed into so far.
struct HashState([u64; 7]);

impl HashState {
    fn new(s: &[u8]) -> Self {
        let (h4, h5) = (SEED.wrapping_mul(K1), shift_mix(SEED));
        let mut state = HashState([
            0,
            SEED,
            hash_16(SEED, K1),
            (SEED ^ K1).rotate_right(49),
            h4,
            h5,
            hash_16(h4, h5),
        ]);
        state.mix(s);
        state
    }

    fn mix_32(s: &[u8], a: &mut u64, b: &mut u64) {
        *a = a.wrapping_add(fetch64(s, 0));
        let c = fetch64(s, 24);
        *b = b.wrapping_add(*a).wrapping_add(c).rotate_right(21);
        let d = *a;
        *a = a.wrapping_add(fetch64(s, 8)).wrapping_add(fetch64(s, 16));
        *b = b.wrapping_add(a.rotate_right(44)).wrapping_add(d);
        *a = a.wrapping_add(c);
    }

    fn mix(&mut self, s: &[u8]) {
        let [mut h0, mut h1, mut h2, mut h3, mut h4, mut h5, mut h6] = self.0;
        h0 = h0
            .wrapping_add(h1)
            .wrapping_add(h3)
            .wrapping_add(fetch64(s, 8))
            .rotate_right(37)
            .wrapping_mul(K1);
        h1 = h1.wrapping_add(h4).wrapping_add(fetch64(s, 48)).rotate_right(42).wrapping_mul(K1);
        h0 ^= h6;
        h1 = h1.wrapping_add(h3).wrapping_add(fetch64(s, 40));
        h2 = h2.wrapping_add(h5).rotate_right(33).wrapping_mul(K1);
        h3 = h4.wrapping_mul(K1);
        h4 = h0.wrapping_add(h5);
        Self::mix_32(s, &mut h3, &mut h4);
        h5 = h2.wrapping_add(h6);
        h6 = h1.wrapping_add(fetch64(s, 16));
        Self::mix_32(&s[32..], &mut h5, &mut h6);
        self.0 = [h2, h1, h0, h3, h4, h5, h6];
    }

    fn finish(&self, length: u64) -> u64 {
        let [h0, h1, h2, h3, h4, h5, h6] = self.0;
        hash_16(
            hash_16(h3, h5).wrapping_add(shift_mix(h1).wrapping_mul(K1)).wrapping_add(h2),
            hash_16(h4, h6).wrapping_add(shift_mix(length).wrapping_mul(K1)).wrapping_add(h0),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The expected values were printed by a C++ program compiled against LLVM 22's headers and
    // libstdc++ 12, which did the same insertions.

    fn fold(items: impl Iterator<Item = u32>) -> u64 {
        items.fold(0u64, |h, x| h.wrapping_mul(31).wrapping_add(u64::from(x)))
    }

    fn keys() -> impl Iterator<Item = u64> {
        std::iter::successors(Some(1u64), |x| {
            Some(x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407))
        })
        .skip(1)
        .take(300)
    }

    #[test]
    fn a_map_by_guid_is_walked_as_llvm_walks_it() {
        let mut table = DenseTable::default();
        for (i, key) in keys().enumerate() {
            assert!(table.insert(key, i as u32));
        }
        assert_eq!(fold(table.iter()), 15844558210231722684);
        assert!(!table.insert(keys().next().unwrap(), 9));
        assert_eq!(table.get(keys().nth(7).unwrap()), Some(7));
    }

    #[test]
    fn tombstones_count_as_in_llvm() {
        let mut table = DenseTable::default();
        for i in 0..500u32 {
            table.insert(i * i * 2, i * i * 2);
            if i % 3 == 0 {
                let gone = i * i / 2 * 2;
                table.remove(gone);
            }
        }
        assert_eq!(table.len(), 497);
        assert_eq!(fold(table.iter()), 2318701778336523548);
    }

    #[test]
    fn a_linked_table_is_walked_as_libstdcxx_walks_it() {
        let mut table = LinkedTable::default();
        for (i, key) in keys().enumerate() {
            table.insert(key, i as u32);
            table.insert(key, 1000);
        }
        assert_eq!(fold(table.iter()), 4553475977593811382);
    }

    #[test]
    fn strings_hash_as_in_llvm() {
        let expected = [
            (0u32, 3267742850u32),
            (1, 674146947),
            (3, 1433325140),
            (5, 1953139042),
            (8, 3441182549),
            (9, 2235510993),
            (16, 1493070075),
            (17, 1033047455),
            (32, 2723193802),
            (33, 208522544),
            (64, 1331854002),
            (65, 4056791199),
            (128, 3223022643),
            (200, 2725684781),
        ];
        for (n, hash) in expected {
            let s: Vec<u8> = (0..n).map(|i| b'a' + ((i * 7 + n) % 26) as u8).collect();
            assert_eq!(hash_string(&s), hash, "length {n}");
        }
    }

    #[test]
    fn a_map_by_name_with_a_reserve() {
        let mut table = DenseTable::with_reserve(100);
        for id in 0..100 {
            let hash = hash_string(format!("dir/module{id}.o").as_bytes());
            table.insert(HashedName { id, hash }, id);
        }
        assert_eq!(fold(table.iter()), 3859257085902539582);
    }
}
