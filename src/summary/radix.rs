//! The radix tree in which a module's summary keeps the contexts of its allocations.
//!
//! In: contexts, each a list of frames from leaf to root. Out: one array of words and, for each
//! context, where it starts. There stands its number of frames, then its frames; where the rest
//! is also that of another context, a negative number says how far behind it stands.
//!
//! Source: `CallStackRadixTreeBuilder` of LLVM's `MemProfRadixTree.cpp`, whose choices are
//! followed so that the bytes are the same: contexts are sorted from the root by how often a frame
//! occurs, encoded from the last to the first, and the array is turned round at the end.

use std::cmp::Ordering;
use std::collections::HashMap;

/// The array, and by context the place in it.
pub(super) fn build(contexts: &[&[u32]]) -> (Vec<u32>, Vec<u32>) {
    let mut counts: HashMap<u32, u64> = HashMap::new();
    for &frame in contexts.iter().copied().flatten() {
        *counts.entry(frame).or_default() += 1;
    }
    let weight = |frame: &u32| (counts.get(frame).copied().unwrap_or(0), *frame);
    let from_root = |a: &[u32], b: &[u32]| -> Ordering {
        a.iter().rev().map(weight).cmp(b.iter().rev().map(weight))
    };
    let mut order: Vec<usize> = (0..contexts.len()).collect();
    let context = |at: usize| contexts.get(at).copied().unwrap_or(&[]);
    order.sort_by(|&a, &b| from_root(context(a), context(b)));

    let mut array: Vec<u32> = Vec::new();
    let mut places = vec![0u32; contexts.len()];
    // Where each frame of the context encoded last stands, from the root.
    let mut stands: Vec<u32> = Vec::new();
    let mut last: &[u32] = &[];
    for &number in order.iter().rev() {
        let frames = context(number);
        let common = last.iter().rev().zip(frames.iter().rev()).take_while(|(a, b)| a == b).count();
        stands.truncate(common);
        if let Some(parent) = stands.last() {
            array.push(parent.wrapping_sub(array.len() as u32));
        }
        for &frame in frames.iter().rev().skip(common) {
            stands.push(array.len() as u32);
            array.push(frame);
        }
        array.push(frames.len() as u32);
        if let Some(place) = places.get_mut(number) {
            *place = array.len() as u32 - 1;
        }
        last = frames;
    }
    array.reverse();
    for place in &mut places {
        *place = (array.len() as u32).wrapping_sub(1).wrapping_sub(*place);
    }
    (array, places)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows the tree as readers do.
    fn read(array: &[u32], place: u32) -> Vec<u32> {
        let mut at = place as usize;
        let count = array[at];
        at += 1;
        let mut frames = Vec::new();
        for _ in 0..count {
            if (array[at] as i32) < 0 {
                at += array[at].wrapping_neg() as usize;
            }
            frames.push(array[at]);
            at += 1;
        }
        frames
    }

    #[test]
    fn contexts_share_their_roots() {
        let contexts: [&[u32]; 5] =
            [&[3, 2, 1], &[5, 4, 2, 1], &[6, 4, 2, 1], &[9, 8, 7], &[6, 4, 2, 1]];
        let (array, places) = build(&contexts);
        for (context, &place) in contexts.iter().zip(&places) {
            assert_eq!(read(&array, place), *context);
        }
        assert!(array.len() < contexts.iter().map(|c| c.len() + 1).sum());
        assert_eq!(build(&[]).0, [0u32; 0]);
    }
}
