//! Which calls are needed in several clones, so that each allocation is cold or not.
//!
//! In: a [`Graph`] whose nodes have calls. Out: the same with clones of nodes, between which contexts
//! are divided. It must not know functions.
//!
//! Source: `identifyClones`, `moveEdgeToNewCalleeClone`, `moveEdgeToExistingCalleeClone`.

use super::graph::{EdgeId, Graph, NONE, Node, NodeId, is_single, type_to_use};
use super::ids::ContextIds;

impl Graph<'_> {
    /// `identifyClones`, for all allocations.
    pub(super) fn identify_clones(&mut self) {
        for (_, node) in self.allocs.clone() {
            let contexts = self.context_ids(node);
            let mut visited = vec![false; self.nodes.len()];
            self.identify_clones_at(node, &mut visited, &contexts);
        }
        let mut visited = vec![false; self.nodes.len()];
        for (_, node) in self.allocs.clone() {
            self.drop_empty_callee_edges_upwards(node, &mut visited);
        }
    }

    fn drop_empty_callee_edges_upwards(&mut self, node: NodeId, visited: &mut [bool]) {
        if std::mem::replace(&mut visited[node], true) {
            return;
        }
        self.drop_empty_callee_edges(node);
        for clone in self.nodes[node].clones.clone() {
            self.drop_empty_callee_edges_upwards(clone, visited);
        }
        for edge in self.nodes[node].callers.clone() {
            self.drop_empty_callee_edges_upwards(self.edges[edge].caller, visited);
        }
    }

    fn identify_clones_at(&mut self, node: NodeId, visited: &mut Vec<bool>, contexts: &ContextIds) {
        if self.nodes[node].call.is_none() {
            return;
        }
        // Clones made meanwhile are not visited: they are skipped below.
        visited[node] = true;
        for edge in self.nodes[node].callers.clone() {
            let caller = self.edges[edge].caller;
            let is_visited = visited.get(caller).copied().unwrap_or(false);
            if !is_visited && self.nodes[caller].clone_of.is_none() {
                self.identify_clones_at(caller, visited, contexts);
            }
        }
        if self.is_settled(node) {
            return;
        }
        self.sort_callers(node);
        let mut at = 0;
        while let Some(&edge) = self.nodes[node].callers.get(at) {
            if self.is_settled(node) {
                break;
            }
            let moved = self.edges[edge].ids.intersection(contexts);
            if moved.is_empty() {
                at += 1;
                continue;
            }
            let types = self.types_of(&moved);
            let callees = self.nodes[node].callees.iter();
            let of_callees: Vec<u8> =
                callees.map(|&e| self.types_of_both(&self.edges[e].ids, &moved)).collect();
            let fits = |graph: &Self, clone: NodeId| {
                type_to_use(types) == type_to_use(graph.nodes[clone].types)
                    && graph.types_match(&of_callees, clone)
            };
            if fits(self, node) {
                at += 1;
                continue;
            }
            let is_whole = self.edges[edge].ids.len() == moved.len();
            match self.nodes[node].clones.iter().copied().find(|&clone| fits(self, clone)) {
                Some(clone) => self.move_edge(edge, clone, false, Some(moved)),
                None => {
                    self.move_edge_to_new_clone(edge, Some(moved));
                }
            }
            // What is left of an edge has no context of this allocation.
            if !is_whole {
                at += 1;
            }
        }
    }

    /// Whether there is nothing to divide.
    fn is_settled(&self, node: NodeId) -> bool {
        is_single(self.nodes[node].types) || self.nodes[node].callers.len() <= 1
    }

    /// Cold callers first: those that are left at the end stay with the original.
    fn sort_callers(&mut self, node: NodeId) {
        const PRIORITY: [u8; 4] = [3, 4, 1, 2];
        let edges = &self.edges;
        let key = |edge: &EdgeId| {
            let edge = &edges[*edge];
            let first = edge.ids.first();
            let priority = PRIORITY.get(usize::from(edge.types)).copied().unwrap_or(0);
            // Those without contexts come last, as they stood.
            first.map_or((true, 0, 0), |first| (false, priority, first))
        };
        self.nodes[node].callers.sort_by_cached_key(key);
    }

    /// Whether contexts of these types, by callee edge, can share the callee edges of a node
    /// (`allocTypesMatch`). Of edges that are not there LLVM reads what is behind the list, unless
    /// no context takes them.
    fn types_match(&self, types: &[u8], node: NodeId) -> bool {
        let callees = &self.nodes[node].callees;
        types.iter().enumerate().all(|(at, &types)| {
            let there = callees.get(at).map(|&edge| self.edges[edge].types);
            types == NONE
                || there
                    .is_some_and(|there| there == NONE || type_to_use(types) == type_to_use(there))
        })
    }

    /// Moves an edge, or some of its contexts, to a new clone of its callee.
    pub(super) fn move_edge_to_new_clone(
        &mut self,
        edge: EdgeId,
        moved: Option<ContextIds>,
    ) -> NodeId {
        let callee = self.edges[edge].callee;
        let Node { is_alloc, call, function, clone_of, .. } = self.nodes[callee];
        let original = clone_of.unwrap_or(callee);
        let clone = self.add_node(Node {
            is_alloc,
            call,
            function,
            clone_of: Some(original),
            ..Node::default()
        });
        self.nodes[original].clones.push(clone);
        self.move_edge(edge, clone, true, moved);
        clone
    }

    /// Moves an edge, or some of its contexts, to another clone of its callee.
    pub(super) fn move_edge(
        &mut self,
        edge: EdgeId,
        clone: NodeId,
        is_new: bool,
        moved: Option<ContextIds>,
    ) {
        let (callee, caller) = (self.edges[edge].callee, self.edges[edge].caller);
        let existing = self.edge_from_caller(clone, caller);
        let moved = match moved {
            Some(moved) if !moved.is_empty() => moved,
            _ => self.edges[edge].ids.clone(),
        };
        if self.edges[edge].ids.len() == moved.len() {
            self.erase_caller_edge(callee, edge);
            if let Some(existing) = existing {
                self.edges[existing].ids.extend(&moved);
                self.edges[existing].types |= self.edges[edge].types;
                self.edges[edge].ids = ContextIds::default();
                self.edges[edge].types = NONE;
                self.erase_callee_edge(caller, edge);
            } else {
                self.edges[edge].callee = clone;
                self.nodes[clone].callers.push(edge);
                self.nodes[clone].types |= self.edges[edge].types;
            }
        } else {
            let types = self.types_of(&moved);
            if let Some(existing) = existing {
                self.edges[existing].ids.extend(&moved);
                self.edges[existing].types |= types;
            } else {
                self.add_edge(clone, caller, types, moved.clone());
            }
            self.nodes[clone].types |= types;
            self.edges[edge].ids.subtract(&moved);
            self.edges[edge].types = self.types_of(&self.edges[edge].ids);
        }
        self.move_callee_edges(callee, clone, is_new, &moved);
        self.nodes[callee].types = self.types_of_edges(callee);
    }

    /// Divides the edges to what a node calls between it and its clone.
    fn move_callee_edges(&mut self, from: NodeId, to: NodeId, is_new: bool, moved: &ContextIds) {
        for edge in self.nodes[from].callees.clone() {
            let ids = self.edges[edge].ids.intersection(moved);
            self.edges[edge].ids.subtract(&ids);
            self.edges[edge].types = self.types_of(&self.edges[edge].ids);
            let types = self.types_of(&ids);
            let callee = self.edges[edge].callee;
            let existing = if is_new { None } else { self.edge_from_callee(to, callee) };
            if let Some(existing) = existing {
                self.edges[existing].ids.extend(&ids);
                self.edges[existing].types |= types;
            } else {
                self.add_edge(callee, to, types, ids);
            }
        }
    }
}
