//! One numbering of the values of many parts.
//!
//! In: the GUIDs of all values of all parts. Out: the GUIDs sorted, each once, and for each value of
//! a part its place among them ([`Ranks`]).
//!
//! All (GUID, place) pairs are dealt into buckets by the top bits of the GUID, each bucket is
//! sorted where it fits into the cache, and the ranks go back to the places.

use std::sync::atomic::{AtomicU32, Ordering};

use rayon::prelude::*;

use super::arrays::NO_VALUE;
use super::part::IndexPart;
use crate::ir::Guid;

/// The rank of a slot, which is a value of a part.
pub(super) struct Ranks(Vec<AtomicU32>);

impl Ranks {
    /// The ranks of the `len` values of a part, whose first slot is `start`.
    pub(super) fn of(&self, start: u32, len: usize) -> &[AtomicU32] {
        let start = start as usize;
        self.0.get(start..start + len).unwrap_or(&[])
    }
}

/// The new number of a part's value. Values that are out of range were refused by the reader.
#[inline]
pub(super) fn rank(ranks: &[AtomicU32], value: u32) -> u32 {
    ranks.get(value as usize).map_or(NO_VALUE, |r| r.load(Ordering::Relaxed))
}

/// A GUID and the slot that it is for.
type Pair = (Guid, u32);

/// Numbers all GUIDs of all parts: the sorted GUIDs, and for each slot the position of its GUID.
pub(super) fn number_values(parts: &[IndexPart], slots: usize) -> (Vec<Guid>, Ranks) {
    if let ([part], 0..SMALL) = (parts, slots) {
        return number_few_values(&part.tables.guids);
    }
    let ranks = Ranks((0..slots).map(|_| AtomicU32::new(0)).collect());
    // About two thousand pairs a bucket: 32 KB, which a core's own cache holds.
    let bits = (slots / 2048 + 1).ilog2().min(16);
    let buckets = 1usize << bits;
    let bucket_of = |guid: Guid| (guid.0.checked_shr(64 - bits).unwrap_or(0)) as usize;

    // Deal the parts' pairs into buckets, some parts at a time, so that several threads can.
    let per_chunk = parts.len().div_ceil(rayon::current_num_threads() * 4).max(1);
    let mut first_slot = 0u32;
    let chunks: Vec<(u32, &[IndexPart])> = parts
        .chunks(per_chunk)
        .map(|chunk| {
            let start = first_slot;
            first_slot += chunk.iter().map(|p| p.tables.guids.len() as u32).sum::<u32>();
            (start, chunk)
        })
        .collect();
    let dealt: Vec<(Vec<u32>, Vec<Pair>)> = chunks
        .par_iter()
        .map(|&(start, chunk)| {
            let guids = || chunk.iter().flat_map(|p| p.tables.guids.iter().copied());
            let mut places = vec![0u32; buckets + 1];
            for guid in guids() {
                if let Some(count) = places.get_mut(bucket_of(guid) + 1) {
                    *count += 1;
                }
            }
            let mut sum = 0;
            for place in &mut places {
                sum += *place;
                *place = sum;
            }
            let mut pairs = vec![(Guid(0), 0u32); sum as usize];
            let mut next = places.clone();
            for (guid, slot) in guids().zip(start..) {
                if let Some(at) = next.get_mut(bucket_of(guid)) {
                    if let Some(pair) = pairs.get_mut(*at as usize) {
                        *pair = (guid, slot);
                    }
                    *at += 1;
                }
            }
            (places, pairs)
        })
        .collect();

    // Sort each bucket, and give each slot the rank in its bucket.
    let sorted: Vec<Vec<Guid>> = (0..buckets)
        .into_par_iter()
        .map_init(<(Vec<Pair>, Vec<Pair>)>::default, |(pairs, scratch), bucket| {
            scratch.clear();
            for (places, all) in &dealt {
                if let Some(&[start, end]) = places.get(bucket..bucket + 2) {
                    scratch.extend_from_slice(all.get(start as usize..end as usize).unwrap_or(&[]));
                }
            }
            sort_pairs(scratch, pairs, bits);
            let mut guids: Vec<Guid> = Vec::with_capacity(pairs.len());
            for &(guid, slot) in pairs.iter() {
                if guids.last() != Some(&guid) {
                    guids.push(guid);
                }
                if let Some(rank) = ranks.0.get(slot as usize) {
                    rank.store(guids.len() as u32 - 1, Ordering::Relaxed);
                }
            }
            guids
        })
        .collect();
    drop(dealt);
    // A rank among all is that in the bucket and the bucket's first.
    let mut first = 0u32;
    let firsts: Vec<u32> = sorted
        .iter()
        .map(|guids| {
            first += guids.len() as u32;
            first - guids.len() as u32
        })
        .collect();
    chunks.par_iter().for_each(|&(start, chunk)| {
        let guids = chunk.iter().flat_map(|p| p.tables.guids.iter().copied());
        for (guid, rank) in guids.zip(ranks.0.get(start as usize..).unwrap_or(&[])) {
            let first = firsts.get(bucket_of(guid)).copied().unwrap_or(0);
            rank.store(rank.load(Ordering::Relaxed) + first, Ordering::Relaxed);
        }
    });
    let mut guids = Vec::with_capacity(first as usize);
    for bucket in sorted {
        guids.extend(bucket);
    }
    (guids, ranks)
}

/// Puts the pairs of a bucket, whose GUIDs are the same in their first `bits`, into `pairs` in their
/// order: dealt by the next ten bits they are nearly in place.
fn sort_pairs(unsorted: &[Pair], pairs: &mut Vec<Pair>, bits: u32) {
    const DIGIT: u32 = 10;
    let digit = |guid: Guid| {
        (guid.0.checked_shr(64 - DIGIT - bits).unwrap_or(0) & ((1 << DIGIT) - 1)) as usize
    };
    let mut next = [0u32; (1 << DIGIT) + 1];
    for &(guid, _) in unsorted {
        if let Some(count) = next.get_mut(digit(guid) + 1) {
            *count += 1;
        }
    }
    let mut sum = 0;
    for place in &mut next {
        sum += *place;
        *place = sum;
    }
    pairs.resize(unsorted.len(), (Guid(0), 0));
    for &pair in unsorted {
        if let Some(at) = next.get_mut(digit(pair.0)) {
            if let Some(place) = pairs.get_mut(*at as usize) {
                *place = pair;
            }
            *at += 1;
        }
    }
    let mut start = 0;
    for end in next {
        match pairs.get_mut(start..end as usize) {
            Some([] | [_]) | None => {}
            Some([a, b]) => {
                if a > b {
                    std::mem::swap(a, b);
                }
            }
            Some(same) => same.sort_unstable(),
        }
        start = end as usize;
    }
}

/// So few values are numbered sooner by one thread.
const SMALL: usize = 4096;

fn number_few_values(of_slots: &[Guid]) -> (Vec<Guid>, Ranks) {
    let mut guids = of_slots.to_vec();
    guids.sort_unstable();
    guids.dedup();
    let rank = |guid| guids.binary_search(guid).unwrap_or(0) as u32;
    let ranks = of_slots.iter().map(|guid| AtomicU32::new(rank(guid))).collect();
    (guids, Ranks(ranks))
}
