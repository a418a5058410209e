//! The outlined hash tree as bytes, in objects and `.cgdata` files alike.
//!
//! Little-endian, the same in all versions (LLVM: `OutlinedHashTreeRecord::serialize` and
//! `deserialize`):
//!
//! | field | bytes | |
//! |---|---|---|
//! | nodes | 4 | how many nodes follow |
//! | per node: id | 4 | 0 is the root |
//! | hash | 8 | stable hash |
//! | terminals | 4 | 0: none |
//! | successors | 4 | how many ids follow |
//! | ids | 4 each | ascending |
//!
//! LLVM's writer gives ids in preorder, siblings by descending hash. Its reader takes any ids as
//! long as parents come before successors, and so do we.

use crate::error::{Error, Result};

use super::cursor::{Cursor, MALFORMED};
use super::tree::{Node, OutlinedHashTree, RawNode};

/// Bytes of a node without its successors.
const NODE: usize = 20;

/// Reads the tree at the cursor and leaves the cursor behind it.
///
/// # Errors
/// Malformed, with the offset: counts beyond the data, or nodes that do not form a tree.
pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<OutlinedHashTree> {
    let start = *cursor;
    if let Some(tree) = read_preorder(cursor)? {
        return Ok(tree);
    }
    *cursor = start;
    read_any_order(cursor)
}

/// The successors of a node on the way from the root to the node at hand.
struct Pending<'a> {
    /// Ids not met yet, 4 bytes each.
    ids: &'a [u8],
    /// The hash of the sibling met last; the next one's must be lower.
    last: Option<u64>,
}

/// Reads a tree whose ids are numbered as LLVM's writer does; None where they are not.
fn read_preorder(cursor: &mut Cursor<'_>) -> Result<Option<OutlinedHashTree>> {
    let count = cursor.count(NODE, "the number of nodes")?;
    let mut nodes = Vec::with_capacity(count);
    let mut path: Vec<Pending<'_>> = Vec::new();
    for expected in 0..count {
        let (id, hash, terminals, ids) = read_node(cursor)?;
        if id as usize != expected {
            return Ok(None);
        }
        if expected > 0 {
            while path.pop_if(|p| p.ids.is_empty()).is_some() {}
            let Some(parent) = path.last_mut() else { return Ok(None) };
            let Some((next, rest)) = parent.ids.split_first_chunk::<4>() else { return Ok(None) };
            if u32::from_le_bytes(*next) != id || parent.last.is_some_and(|last| last <= hash) {
                return Ok(None);
            }
            (parent.ids, parent.last) = (rest, Some(hash));
        }
        // Counts come from 32 bits, so the path is no longer than that.
        nodes.push(Node { hash, depth: path.len() as u32, terminals });
        path.push(Pending { ids, last: None });
    }
    let complete = path.iter().all(|p| p.ids.is_empty());
    Ok(complete.then(|| OutlinedHashTree::from_preorder(nodes)))
}

fn read_any_order(cursor: &mut Cursor<'_>) -> Result<OutlinedHashTree> {
    let count = cursor.count(NODE, "the number of nodes")?;
    let mut raw = Vec::with_capacity(count);
    for _ in 0..count {
        let place = cursor.pos() as u64;
        let (id, hash, terminals, ids) = read_node(cursor)?;
        let successors = ids.as_chunks().0.iter().map(|id| u32::from_le_bytes(*id)).collect();
        raw.push(RawNode { id, hash, terminals, successors, place });
    }
    OutlinedHashTree::from_raw(raw)
        .map_err(|(message, place)| cursor.error_at(place as usize, message))
}

/// One node: id, hash, terminals and the bytes of its successors' ids.
#[inline]
fn read_node<'a>(cursor: &mut Cursor<'a>) -> Result<(u32, u64, u32, &'a [u8])> {
    let id = cursor.u32("the id of a node")?;
    let hash = cursor.u64("the hash of a node")?;
    let terminals = cursor.u32("the terminals of a node")?;
    let count = cursor.count(4, "the number of successors")?;
    let ids = cursor.take(count * 4, "successors")?;
    Ok((id, hash, terminals, ids))
}

/// Appends the tree.
///
/// # Errors
/// Malformed where there are more nodes than 32 bits can number.
pub(super) fn write(tree: &OutlinedHashTree, out: &mut Vec<u8>) -> Result<()> {
    let nodes = tree.nodes();
    let count = u32::try_from(nodes.len()).map_err(|_| {
        Error::malformed(format!("{MALFORMED}: more nodes than 32 bits can number"))
    })?;
    let successors = Successors::of(nodes);
    out.reserve(4 + nodes.len() * (NODE + 4));
    out.extend(count.to_le_bytes());
    for (id, node) in (0u32..).zip(nodes) {
        let own = successors.of_node(id);
        out.extend(id.to_le_bytes());
        out.extend(node.hash.to_le_bytes());
        out.extend(node.terminals.to_le_bytes());
        // No more successors than nodes.
        out.extend((own.len() as u32).to_le_bytes());
        for successor in own {
            out.extend(successor.to_le_bytes());
        }
    }
    Ok(())
}

/// The ids of the successors of all nodes, ascending: one array, and where each node's begin.
pub(super) struct Successors {
    ids: Vec<u32>,
    /// One longer than there are nodes.
    starts: Vec<u32>,
}

impl Successors {
    pub fn of(nodes: &[Node]) -> Self {
        // Preorder: the parent of a node is the latest one a level up. `path` holds the latest
        // node of each level.
        let mut path: Vec<u32> = Vec::new();
        let mut parents: Vec<u32> = Vec::with_capacity(nodes.len());
        let mut starts = vec![0u32; nodes.len() + 1];
        for (id, node) in (0u32..).zip(nodes) {
            path.truncate(node.depth as usize);
            if let Some(&parent) = path.last() {
                parents.push(parent);
                if let Some(n) = starts.get_mut(parent as usize + 1) {
                    *n += 1;
                }
            }
            path.push(id);
        }
        let mut sum = 0u32;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut ids = vec![0u32; parents.len()];
        let mut next = starts.clone();
        // The root has no parent, so the first entry belongs to node 1.
        for (id, parent) in (1u32..).zip(parents) {
            if let Some(at) = next.get_mut(parent as usize) {
                if let Some(slot) = ids.get_mut(*at as usize) {
                    *slot = id;
                }
                *at += 1;
            }
        }
        Successors { ids, starts }
    }

    pub fn of_node(&self, id: u32) -> &[u32] {
        let bound = |id: usize| self.starts.get(id).map_or(0, |&at| at as usize);
        self.ids.get(bound(id as usize)..bound(id as usize + 1)).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(nodes: &[(u32, u64, u32, &[u32])]) -> Vec<u8> {
        let mut out = (nodes.len() as u32).to_le_bytes().to_vec();
        for (id, hash, terminals, successors) in nodes {
            out.extend(id.to_le_bytes());
            out.extend(hash.to_le_bytes());
            out.extend(terminals.to_le_bytes());
            out.extend((successors.len() as u32).to_le_bytes());
            out.extend(successors.iter().flat_map(|s| s.to_le_bytes()));
        }
        out
    }

    fn read_all(bytes: &[u8]) -> Result<OutlinedHashTree> {
        let mut cursor = Cursor::new(bytes, 0);
        let tree = read(&mut cursor)?;
        assert!(cursor.is_at_end());
        Ok(tree)
    }

    #[test]
    fn preorder_and_other_orders_mean_the_same() {
        let preorder = bytes(&[
            (0, 0, 0, &[1, 3]),
            (1, 9, 2, &[2]),
            (2, 1, 1, &[]),
            (3, 4, 0, &[4, 5]),
            (4, 7, 3, &[]),
            (5, 6, 1, &[]),
        ]);
        let breadth_first = bytes(&[
            (0, 0, 0, &[1, 2]),
            (1, 4, 0, &[4, 3]),
            (2, 9, 2, &[50]),
            (3, 6, 1, &[]),
            (4, 7, 3, &[]),
            (50, 1, 1, &[]),
        ]);
        let tree = read_all(&preorder).unwrap();
        assert_eq!(tree.node_count(), 6);
        assert_eq!(read_all(&breadth_first).unwrap(), tree);
        let mut out = Vec::new();
        write(&tree, &mut out).unwrap();
        assert_eq!(out, preorder);
    }

    #[test]
    fn no_nodes_are_the_root_alone() {
        assert_eq!(read_all(&[0; 4]).unwrap(), OutlinedHashTree::default());
    }

    #[test]
    fn hostile_bytes_are_errors_with_their_place() {
        let cycle = bytes(&[(0, 0, 0, &[1]), (1, 1, 0, &[0])]);
        let sibling_hashes = bytes(&[(0, 0, 0, &[1, 2]), (1, 1, 0, &[]), (2, 1, 0, &[])]);
        let missing = bytes(&[(0, 0, 0, &[7])]);
        let mut many_nodes = bytes(&[(0, 0, 0, &[])]);
        many_nodes[0..4].fill(0xff);
        let mut many_successors = bytes(&[(0, 0, 0, &[])]);
        many_successors[20..24].fill(0xff);
        for (data, byte, word) in [
            (&cycle[..], 28, "cycle"),
            (&sibling_hashes, 4, "one hash"),
            (&missing, 4, "does not exist"),
            (&many_nodes, 0, "too many"),
            (&many_successors, 20, "too many"),
            (&[1, 0], 0, "end before"),
        ] {
            let e = read_all(data).unwrap_err();
            assert!(e.to_string().contains(word), "{e}");
            assert_eq!(e.bit(), Some(byte * 8), "{e}");
        }
        let whole = bytes(&[(0, 0, 0, &[1]), (1, 9, 2, &[2]), (2, 1, 1, &[])]);
        for end in 0..whole.len() {
            assert!(read_all(&whole[..end]).is_err());
        }
    }
}
