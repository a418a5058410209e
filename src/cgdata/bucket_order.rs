//! The order in which `std::unordered_map` of libstdc++ gives its elements back.
//!
//! In: distinct 64-bit keys in the order of insertion. Out: the order of iteration.
//!
//! LLVM's merger walks each object's functions in that order (`StableFunctionMap::merge` over
//! `HashToFuncs`) and numbers their names as it meets them, so the bytes of a merged file depend on
//! the C++ library that LLVM was built with. Nearly all Linux distributions build it with libstdc++.
//! These are its rules for keys whose hash is the key itself; the test below compares with it.
//!
//! - All elements are in one list. A bucket knows the element *before* its first one.
//! - An element whose bucket is empty goes to the front of the list; otherwise to the front of
//!   its bucket.
//! - The number of buckets is 1, then 13, then from a list of primes of which each is the first
//!   that is at least twice the one before. Growing happens before the element is inserted that
//!   would make the elements more than the buckets.
//! - On growing the elements are taken off the list from its front and put in again by the same
//!   rule.
//!
//! Nothing is looked up here and no chain is walked, so keys made to collide cost no more.

/// The numbers of buckets after the first. More than 2^32 functions cannot be in one payload.
const BUCKETS: [u64; 29] = [
    13,
    29,
    59,
    127,
    257,
    541,
    1109,
    2357,
    5087,
    10273,
    20753,
    42043,
    85229,
    172_933,
    351_061,
    712_697,
    1_447_153,
    2_938_679,
    5_967_347,
    12_117_689,
    24_607_243,
    49_969_847,
    101_473_717,
    206_062_531,
    418_451_333,
    849_749_479,
    1_725_587_117,
    3_504_151_727,
    8_589_934_583,
];

/// No element: the end of the list, or an empty bucket.
const NONE: u32 = u32::MAX;
/// Before the first element.
const HEAD: u32 = u32::MAX - 1;

/// The places in `keys` in the order of iteration. The keys must be distinct, and fewer than
/// 2^32 - 2.
pub(super) fn iteration_order(keys: &[u64]) -> Vec<u32> {
    let mut list = List { keys, next: vec![NONE; keys.len()], head: NONE, buckets: Vec::new() };
    let mut sizes = BUCKETS.iter();
    for (inserted, place) in (0u32..).take(keys.len()).enumerate() {
        if inserted >= list.buckets.len()
            && let Some(&size) = sizes.next()
        {
            list.grow(size);
        }
        list.insert(place);
    }
    let mut order = Vec::with_capacity(keys.len());
    let mut at = list.head;
    while let Some(&next) = list.next.get(at as usize) {
        order.push(at);
        at = next;
    }
    order
}

struct List<'a> {
    keys: &'a [u64],
    /// By element: the one behind it.
    next: Vec<u32>,
    head: u32,
    /// By bucket: the element before its first one, or HEAD, or NONE where it is empty.
    buckets: Vec<u32>,
}

impl List<'_> {
    fn bucket_of(&self, element: u32) -> Option<usize> {
        let key = *self.keys.get(element as usize)?;
        key.checked_rem(self.buckets.len() as u64).map(|bucket| bucket as usize)
    }

    fn set_bucket(&mut self, bucket: usize, before: u32) {
        if let Some(slot) = self.buckets.get_mut(bucket) {
            *slot = before;
        }
    }

    /// The link that leads to the element behind `before`.
    fn link(&mut self, before: u32) -> Option<&mut u32> {
        if before == HEAD { Some(&mut self.head) } else { self.next.get_mut(before as usize) }
    }

    fn insert(&mut self, element: u32) {
        let Some(bucket) = self.bucket_of(element) else { return };
        let before = self.buckets.get(bucket).copied().unwrap_or(NONE);
        let was_empty = before == NONE;
        let before = if was_empty { HEAD } else { before };
        let Some(link) = self.link(before) else { return };
        let behind = std::mem::replace(link, element);
        if let Some(next) = self.next.get_mut(element as usize) {
            *next = behind;
        }
        if was_empty {
            // The bucket that was at the front now has this element before it.
            if let Some(other) = self.bucket_of(behind) {
                self.set_bucket(other, element);
            }
            self.set_bucket(bucket, HEAD);
        }
    }

    fn grow(&mut self, size: u64) {
        self.buckets.clear();
        self.buckets.resize(size as usize, NONE);
        let mut at = std::mem::replace(&mut self.head, NONE);
        while let Some(&behind) = self.next.get(at as usize) {
            self.insert(at);
            at = behind;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn few_elements_by_hand() {
        // 13 buckets: 1 and 14 share one, 2 has its own. 14 goes before 1, 2 before both.
        assert_eq!(iteration_order(&[1, 14, 2]), [2, 1, 0]);
        assert_eq!(iteration_order(&[]), [0u32; 0]);
        assert_eq!(iteration_order(&[7]), [0]);
    }

    /// The C++ library itself, on sets that grow through many sizes.
    #[test]
    fn the_same_as_libstdcxx() {
        let dir = std::env::temp_dir().join(format!("lto-bucket-order-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(
            dir.join("order.cpp"),
            "#include <unordered_map>\n#include <cstdio>\n#include <cstdint>\n#include <cinttypes>\n\
             int main() { std::unordered_map<uint64_t, unsigned> m; uint64_t k; unsigned n = 0;\n\
             while (scanf(\"%\" SCNu64, &k) == 1) m[k] = n++;\n\
             for (auto &e : m) printf(\"%u\\n\", e.second); }\n",
        )
        .unwrap();
        let program = dir.join("order");
        let status = Command::new("c++")
            .args(["-O1", "-o"])
            .arg(&program)
            .arg(dir.join("order.cpp"))
            .status()
            .expect("c++ (libstdc++) is among what the tests need");
        assert!(status.success());
        let mixed = |n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (n << 7);
        let sets: [Vec<u64>; 4] = [
            (0..14).map(mixed).collect(),
            (0..30_000).map(mixed).collect(),
            // Ascending, as files have them, and all in one bucket of some size.
            (0..3000).map(|n| n * 3).collect(),
            (0..3000).map(|n| n * 257).collect(),
        ];
        for keys in sets {
            let mut child = Command::new(&program)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let input: String = keys.iter().map(|k| format!("{k}\n")).collect();
            let mut stdin = child.stdin.take().unwrap();
            let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
            let output = child.wait_with_output().unwrap();
            writer.join().unwrap().unwrap();
            let expect: Vec<u32> = String::from_utf8(output.stdout)
                .unwrap()
                .lines()
                .map(|l| l.parse().unwrap())
                .collect();
            assert_eq!(iteration_order(&keys), expect, "{} keys", keys.len());
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
