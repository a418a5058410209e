//! Call sites matched with the frames of contexts.
//!
//! In: a [`Graph`] of frames. Out: the same, where a node has the call that it stands for; calls
//! into which others were inlined get nodes of their own, to which the contexts of all their
//! frames move. It must not know what is cloned.
//!
//! Source: `updateStackNodes`, `assignStackNodesPostOrder` and what they call.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::graph::{Call, CallId, Graph, NONE, Node, NodeId};
use super::ids::ContextIds;
use crate::summary::SummaryId;
use crate::thinlink::order::DenseTable;

/// A call, the frames of it that have nodes, and the contexts that are to become its own
/// (`CallContextInfo`).
struct Matching {
    call: CallId,
    stack: Vec<u64>,
    function: SummaryId,
    saved: ContextIds,
}

/// The calls by the last frame that has a node.
#[derive(Default)]
struct Matchings {
    table: DenseTable<u64>,
    calls: Vec<(u64, Vec<Matching>)>,
}

impl Matchings {
    fn of(&mut self, last: u64) -> &mut Vec<Matching> {
        let next = self.calls.len() as u32;
        if self.table.insert(last, next) {
            self.calls.push((last, Vec::new()));
        }
        let at = self.table.get(last).unwrap_or(next) as usize;
        &mut self.calls[at].1
    }
}

/// The copies of contexts, by context.
type Copies = HashMap<u32, ContextIds>;

impl Graph<'_> {
    /// `updateStackNodes`.
    pub(super) fn match_call_sites(&mut self) {
        let mut matchings = Matchings::default();
        for (function, calls) in &self.functions {
            for &call in calls {
                let Call::Site { stack, .. } = &self.calls[call] else { continue };
                let known = stack.iter().take_while(|id| self.stack_nodes.contains_key(id));
                let stack: Vec<u64> = known.copied().collect();
                let Some(&last) = stack.last() else { continue };
                let saved = ContextIds::default();
                matchings.of(last).push(Matching { call, stack, function: *function, saved });
            }
        }
        let mut copies = Copies::new();
        let in_order: Vec<u32> = matchings.table.iter().collect();
        for at in in_order {
            let (last, calls) = &mut matchings.calls[at as usize];
            self.find_contexts(*last, calls, &mut copies);
        }
        self.spread_copies(&copies);
        let mut visited = vec![false; self.nodes.len()];
        for (_, node) in self.allocs.clone() {
            self.assign_post_order(node, &mut visited, &mut matchings);
        }
    }

    /// Which contexts each call has whose frames end in `last`.
    fn find_contexts(&mut self, last: u64, calls: &mut [Matching], copies: &mut Copies) {
        if matches!(calls, [one] if one.stack.len() == 1) {
            return;
        }
        calls.sort_by(|a, b| match b.stack.len().cmp(&a.stack.len()) {
            Ordering::Equal => a.stack.cmp(&b.stack),
            other => other,
        });
        let Some(&last_node) = self.stack_nodes.get(&last) else { return };
        if self.nodes[last_node].recursive {
            return;
        }
        let mut left = self.context_ids(last_node);
        for at in 0..calls.len() {
            let (before, behind) = calls.split_at_mut(at + 1);
            let Some(matching) = before.last_mut() else { return };
            let Some(ids) = self.contexts_through(&matching.stack, last_node, &left) else {
                continue;
            };
            let mut ids = ids;
            // Where outer frames have no nodes, contexts that go on from here are others.
            let Call::Site { stack, .. } = &self.calls[matching.call] else { continue };
            if stack.last() != Some(&last) {
                for &edge in &self.nodes[last_node].callers {
                    ids.subtract(&self.edges[edge].ids);
                    if ids.is_empty() {
                        break;
                    }
                }
                if ids.is_empty() {
                    continue;
                }
            }
            let is_repeated = behind.first().is_some_and(|next| next.stack == matching.stack);
            if is_repeated {
                matching.saved = self.copy_contexts(&ids, copies);
                continue;
            }
            left.subtract(&ids);
            matching.saved = ids;
            if left.is_empty() {
                break;
            }
        }
    }

    /// The contexts among `ids` that take all frames of `stack`, the last of which is `last`.
    fn contexts_through(
        &self,
        stack: &[u64],
        last: NodeId,
        ids: &ContextIds,
    ) -> Option<ContextIds> {
        let mut ids = ids.clone();
        let mut caller = last;
        for id in stack.iter().rev().skip(1) {
            let &node = self.stack_nodes.get(id)?;
            if self.nodes[node].recursive {
                return None;
            }
            let edge = self.edge_from_caller(node, caller)?;
            caller = node;
            ids.intersect(&self.edges[edge].ids);
            if ids.is_empty() {
                return None;
            }
        }
        Some(ids)
    }

    /// `duplicateContextIds`.
    fn copy_contexts(&mut self, ids: &ContextIds, copies: &mut Copies) -> ContextIds {
        let mut new = ContextIds::default();
        for old in ids.iter() {
            let id = self.context_types.len() as u32;
            new.insert(id);
            copies.entry(old).or_default().insert(id);
            let types = self.context_types.get(old as usize).copied().unwrap_or(NONE);
            self.context_types.push(types);
        }
        new
    }

    /// `propagateDuplicateContextIds`.
    fn spread_copies(&mut self, copies: &Copies) {
        let mut visited = vec![false; self.edges.len()];
        for (_, node) in self.allocs.clone() {
            self.spread_to_callers(node, copies, &mut visited);
        }
    }

    fn spread_to_callers(&mut self, node: NodeId, copies: &Copies, visited: &mut [bool]) {
        let mut at = 0;
        while let Some(&edge) = self.nodes[node].callers.get(at) {
            at += 1;
            if std::mem::replace(&mut visited[edge], true) {
                continue;
            }
            let mut new = ContextIds::default();
            for id in self.edges[edge].ids.iter() {
                if let Some(ids) = copies.get(&id) {
                    new.extend(ids);
                }
            }
            if !new.is_empty() {
                self.edges[edge].ids.extend(&new);
                self.spread_to_callers(self.edges[edge].caller, copies, visited);
            }
        }
    }

    /// `assignStackNodesPostOrder`.
    fn assign_post_order(
        &mut self,
        node: NodeId,
        visited: &mut Vec<bool>,
        matchings: &mut Matchings,
    ) {
        if visited.len() < self.nodes.len() {
            visited.resize(self.nodes.len(), false);
        }
        if std::mem::replace(&mut visited[node], true) {
            return;
        }
        // Edges that go away meanwhile still say which callers there were.
        for edge in self.nodes[node].callers.clone() {
            self.assign_post_order(self.edges[edge].caller, visited, matchings);
        }
        if self.nodes[node].is_alloc {
            return;
        }
        let last = self.nodes[node].orig_id;
        let Some(at) = matchings.table.get(last) else { return };
        let calls = &mut matchings.calls[at as usize].1;
        if let [one] = calls.as_slice()
            && one.stack.len() == 1
        {
            if !self.nodes[node].recursive {
                self.nodes[node].call = Some((one.call, 0));
                self.nodes[node].function = Some(one.function);
                self.sites.push((one.call, node));
            }
            return;
        }
        let Some(&last_node) = self.stack_nodes.get(&last) else { return };
        for matching in calls {
            self.give_own_node(matching, last_node);
        }
    }

    /// Makes the node of a call that has several frames, or shares its frame with others.
    fn give_own_node(&mut self, matching: &mut Matching, last: NodeId) {
        let Matching { call, stack, function, saved } = matching;
        if saved.is_empty() {
            return;
        }
        let frames: Vec<NodeId> =
            stack.iter().filter_map(|id| self.stack_nodes.get(id).copied()).collect();
        let Some(&first) = frames.first() else { return };
        saved.intersect(&self.context_ids(first));
        // The contexts may have been taken by a call whose frames end elsewhere.
        for pair in frames.windows(2) {
            let &[inner, outer] = pair else { continue };
            let Some(edge) = self.edge_from_callee(outer, inner) else {
                *saved = ContextIds::default();
                break;
            };
            saved.intersect(&self.edges[edge].ids);
            if saved.is_empty() {
                break;
            }
        }
        if saved.is_empty() {
            return;
        }
        let new = self.add_node(Node {
            call: Some((*call, 0)),
            function: Some(*function),
            types: self.types_of(saved),
            ..Node::default()
        });
        self.sites.push((*call, new));
        self.connect(new, first, true, saved.clone());
        self.connect(new, last, false, saved.clone());
        let mut inner: Option<NodeId> = None;
        for node in frames {
            if let Some(inner) = inner
                && let Some(edge) = self.edge_from_callee(node, inner)
            {
                self.edges[edge].ids.subtract(saved);
                if self.edges[edge].ids.is_empty() {
                    self.erase_caller_edge(inner, edge);
                    self.erase_callee_edge(node, edge);
                }
            }
            self.nodes[node].types = match self.nodes[node].callees.is_empty() {
                true => NONE,
                false => self.types_of_edges(node),
            };
            inner = Some(node);
        }
    }

    /// Moves contexts from the edges of a node to those of a new one (`connectNewNode`).
    fn connect(&mut self, new: NodeId, old: NodeId, to_callees: bool, mut left: ContextIds) {
        let mut at = 0;
        loop {
            let edges = match to_callees {
                true => &self.nodes[old].callees,
                false => &self.nodes[old].callers,
            };
            let Some(&edge) = edges.get(at) else { return };
            let (moved, remaining) = self.edges[edge].ids.split(&left);
            left = remaining;
            if moved.is_empty() {
                at += 1;
                continue;
            }
            let types = self.types_of(&moved);
            let (callee, caller) = (self.edges[edge].callee, self.edges[edge].caller);
            match to_callees {
                true => self.add_edge(callee, new, types, moved),
                false => self.add_edge(new, caller, types, moved),
            };
            if !self.edges[edge].ids.is_empty() {
                at += 1;
                continue;
            }
            match to_callees {
                true => {
                    self.erase_caller_edge(callee, edge);
                    self.nodes[old].callees.remove(at);
                }
                false => {
                    self.erase_callee_edge(caller, edge);
                    self.nodes[old].callers.remove(at);
                }
            }
        }
    }
}
