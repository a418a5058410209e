//! The outlined hash tree: which sequences of instructions were outlined, and how often.
//!
//! In: nodes, from a file or an object. Out: trees, merged, with what is counted of them.
//!
//! Each path from the root is a sequence of stable hashes of machine instructions; the terminals
//! of its last node say in how many places the sequence stands. Two trees are merged by laying
//! them over one another and adding up the terminals (LLVM: `OutlinedHashTree::merge`).
//!
//! LLVM keeps a hash table of successors in every node. Here a tree is one array of its nodes in
//! preorder, siblings by descending hash. That is the order in which LLVM's writer numbers them
//! (`walkGraph` with a stack, onto which it pushes successors by ascending hash), so a node's place
//! is its id. And merging becomes one pass over two arrays, without a pointer or a look-up: of the
//! two nodes at hand the deeper one comes first, as the other tree has already left its parent or
//! never had it; of two at the same depth, which then have the same parent, the one with the
//! greater hash; and if that is equal too, they are the same node.
//!
//! This module knows nothing of how trees are stored.

use crate::error::{Error, Result};

use super::cursor::MALFORMED;

/// One node of a tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The stable hash of an instruction; of no meaning in the root, though files keep it.
    pub hash: u64,
    /// Edges from the root.
    pub depth: u32,
    /// How many sequences end here; 0 where none does.
    pub terminals: u32,
}

impl Node {
    /// Where the node comes among the next nodes of two trees: the greater key first.
    #[inline]
    fn key(&self) -> u128 {
        (u128::from(self.depth) << 64) | u128::from(self.hash)
    }
}

/// A tree: its nodes in preorder, siblings by descending hash. The root is always there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlinedHashTree {
    nodes: Vec<Node>,
}

impl Default for OutlinedHashTree {
    /// The root alone.
    fn default() -> Self {
        OutlinedHashTree { nodes: vec![Node::default()] }
    }
}

/// A node as files have it: with an id of its own and the ids of its successors.
#[derive(Clone, Debug)]
pub(super) struct RawNode {
    pub id: u32,
    pub hash: u64,
    pub terminals: u32,
    pub successors: Vec<u32>,
    /// Where it stands, for errors: whatever the caller counts in.
    pub place: u64,
}

impl OutlinedHashTree {
    /// The nodes in preorder, siblings by descending hash, the root first.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Whether there is nothing but the root.
    pub fn is_empty(&self) -> bool {
        self.nodes.len() <= 1
    }

    /// Nodes, the root included.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// Nodes in which sequences end.
    pub fn terminal_node_count(&self) -> usize {
        self.nodes.iter().filter(|n| n.terminals != 0).count()
    }

    /// The longest sequence, in edges.
    pub fn depth(&self) -> u32 {
        self.nodes.iter().map(|n| n.depth).max().unwrap_or(0)
    }

    /// Nodes whose order the caller has checked, the root first.
    pub(super) fn from_preorder(nodes: Vec<Node>) -> Self {
        if nodes.is_empty() { Self::default() } else { OutlinedHashTree { nodes } }
    }

    /// The tree that `raw` describes, in whatever order and with whatever ids.
    ///
    /// # Errors
    /// A message and the place of the node at fault: the ids do not form a tree with root 0 in
    /// which every parent's id is below its successors', as LLVM's reader needs it.
    pub(super) fn from_raw(mut raw: Vec<RawNode>) -> Result<Self, (String, u64)> {
        if raw.is_empty() {
            return Ok(Self::default());
        }
        raw.sort_by_key(|n| n.id);
        if let Some(twice) = raw.array_windows().find(|[a, b]| a.id == b.id).map(|[_, b]| b) {
            return Err((format!("node {} is there twice", twice.id), twice.place));
        }
        let index_of = |id: u32| raw.binary_search_by_key(&id, |n| n.id).ok();
        // Successors as places in `raw` instead of ids, by ascending hash: the stack below takes
        // them from the end.
        let mut successors = Vec::with_capacity(raw.len());
        let mut has_parent = vec![false; raw.len()];
        for node in &raw {
            let mut own = Vec::with_capacity(node.successors.len());
            for &id in &node.successors {
                let fail =
                    |what| Err((format!("node {}: successor {id} {what}", node.id), node.place));
                let Some(at) = index_of(id) else {
                    return fail("does not exist");
                };
                if id <= node.id {
                    return fail("does not come after its parent, so that there may be a cycle");
                }
                match has_parent.get_mut(at) {
                    Some(seen) if !*seen => *seen = true,
                    _ => return fail("has a parent already"),
                }
                own.push((raw.get(at).map_or(0, |n| n.hash), at));
            }
            own.sort_unstable();
            if own.array_windows().any(|[a, b]| a.0 == b.0) {
                return Err((format!("node {}: two successors of one hash", node.id), node.place));
            }
            successors.push(own);
        }
        // Parents have lower ids than successors, so without a parent means not below the root.
        let orphan = raw.iter().zip(&has_parent).find(|(n, seen)| !**seen && n.id != 0);
        if let Some((orphan, _)) = orphan {
            return Err((format!("node {} is no successor of any other", orphan.id), orphan.place));
        }
        let mut nodes = Vec::with_capacity(raw.len());
        let mut stack = vec![(0usize, 0u32)];
        while let Some((at, depth)) = stack.pop() {
            let (Some(node), Some(own)) = (raw.get(at), successors.get(at)) else { continue };
            nodes.push(Node { hash: node.hash, depth, terminals: node.terminals });
            stack.extend(own.iter().map(|&(_, at)| (at, depth + 1)));
        }
        Ok(Self::from_preorder(nodes))
    }

    /// Both trees laid over one another. The root's hash becomes 0, as LLVM's merger begins with
    /// a root of its own.
    ///
    /// # Errors
    /// Malformed where the terminals of a node add up to more than 32 bits, or the nodes are more
    /// than 32 bits can number.
    pub fn merge(a: &Self, b: &Self) -> Result<Self> {
        let (Some((root_a, mut a)), Some((root_b, mut b))) =
            (a.nodes.split_first(), b.nodes.split_first())
        else {
            return Ok(if a.nodes.is_empty() { b.clone() } else { a.clone() });
        };
        let mut nodes = Vec::with_capacity(1 + a.len() + b.len());
        let terminals = add_terminals(root_a, root_b)?;
        nodes.push(Node { terminals, ..Node::default() });
        while let ([x, rest_a @ ..], [y, rest_b @ ..]) = (a, b) {
            let (key_a, key_b) = (x.key(), y.key());
            if key_a > key_b {
                nodes.push(*x);
                a = rest_a;
            } else if key_a < key_b {
                nodes.push(*y);
                b = rest_b;
            } else {
                nodes.push(Node { terminals: add_terminals(x, y)?, ..*x });
                (a, b) = (rest_a, rest_b);
            }
        }
        nodes.extend_from_slice(a);
        nodes.extend_from_slice(b);
        nodes.shrink_to_fit();
        if u32::try_from(nodes.len()).is_err() {
            return Err(Error::malformed(format!(
                "{MALFORMED}: more nodes in all than 32 bits can number"
            )));
        }
        Ok(OutlinedHashTree { nodes })
    }
}

#[inline]
fn add_terminals(a: &Node, b: &Node) -> Result<u32> {
    a.terminals.checked_add(b.terminals).ok_or_else(|| {
        Error::malformed(format!(
            "{MALFORMED}: the terminals of the node of hash {:#x} at depth {} add up to more than \
             32 bits",
            a.hash, a.depth
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Sequences with their terminals, which is what a tree means.
    fn tree(sequences: &[(&[u64], u32)]) -> OutlinedHashTree {
        // The straightforward tree of maps.
        #[derive(Default)]
        struct Plain(u32, BTreeMap<u64, Plain>);
        fn walk(hash: u64, depth: u32, node: &Plain, out: &mut Vec<Node>) {
            out.push(Node { hash, depth, terminals: node.0 });
            for (hash, next) in node.1.iter().rev() {
                walk(*hash, depth + 1, next, out);
            }
        }
        let mut root = Plain::default();
        for (sequence, terminals) in sequences {
            let end = sequence.iter().fold(&mut root, |n, h| n.1.entry(*h).or_default());
            end.0 += terminals;
        }
        let mut nodes = Vec::new();
        walk(0, 0, &root, &mut nodes);
        OutlinedHashTree::from_preorder(nodes)
    }

    #[test]
    fn merging_is_the_union_of_sequences() {
        // Enough small trees that every case of depth and hash comes up.
        let mut seed = 1u64;
        let mut random = |n: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) % n
        };
        for _ in 0..500 {
            let mut sequences: Vec<(Vec<u64>, u32)> = Vec::new();
            for _ in 0..random(12) {
                let length = random(5) + 1;
                let sequence = (0..length).map(|_| random(3) * (u64::MAX / 3)).collect();
                sequences.push((sequence, random(3) as u32));
            }
            let borrowed: Vec<_> = sequences.iter().map(|(s, t)| (&s[..], *t)).collect();
            let (left, right) = borrowed.split_at(borrowed.len() / 2);
            let merged = OutlinedHashTree::merge(&tree(left), &tree(right)).unwrap();
            assert_eq!(merged, tree(&borrowed), "{sequences:?}");
        }
    }

    #[test]
    fn terminals_that_do_not_fit_are_an_error() {
        let a = tree(&[(&[1, 2], u32::MAX)]);
        let b = tree(&[(&[1, 2], 1)]);
        let e = OutlinedHashTree::merge(&a, &b).unwrap_err();
        assert!(e.to_string().contains("hash 0x2 at depth 2"), "{e}");
    }

    #[test]
    fn what_is_counted() {
        let t = tree(&[(&[1], 2), (&[1, 3, 4], 1), (&[5], 0)]);
        assert_eq!((t.node_count(), t.terminal_node_count(), t.depth()), (5, 2, 3));
        let empty = OutlinedHashTree::default();
        assert!(empty.is_empty() && !t.is_empty());
        assert_eq!(OutlinedHashTree::merge(&empty, &t).unwrap(), t);
    }

    #[test]
    fn only_trees_are_built() {
        let raw = |list: &[(u32, u64, &[u32])]| {
            OutlinedHashTree::from_raw(
                list.iter()
                    .enumerate()
                    .map(|(place, (id, hash, successors))| RawNode {
                        id: *id,
                        hash: *hash,
                        terminals: 1,
                        successors: successors.to_vec(),
                        place: place as u64,
                    })
                    .collect(),
            )
        };
        let good = raw(&[(0, 0, &[7, 9]), (9, 2, &[]), (7, 1, &[8]), (8, 5, &[])]).unwrap();
        let order: Vec<_> = good.nodes().iter().map(|n| (n.depth, n.hash)).collect();
        assert_eq!(order, [(0, 0), (1, 2), (1, 1), (2, 5)]);
        for (list, place, word) in [
            (&[(0, 0, &[1u32][..])][..], 0, "does not exist"),
            (&[(0, 0, &[1]), (1, 1, &[1])], 1, "cycle"),
            (&[(0, 0, &[1]), (1, 1, &[2]), (2, 2, &[1])], 2, "cycle"),
            (&[(0, 0, &[1, 2]), (1, 1, &[2]), (2, 2, &[])], 1, "has a parent already"),
            (&[(0, 0, &[1, 1]), (1, 1, &[])], 0, "has a parent already"),
            (&[(0, 0, &[1, 2]), (1, 1, &[]), (2, 1, &[])], 0, "two successors of one hash"),
            (&[(0, 0, &[]), (1, 1, &[])], 1, "no successor"),
            (&[(1, 1, &[])], 0, "no successor"),
            (&[(0, 0, &[]), (0, 1, &[])], 1, "twice"),
        ] {
            let (message, at) = raw(list).unwrap_err();
            assert!(message.contains(word) && at == place, "{list:?}: {message} at {at}");
        }
    }
}
