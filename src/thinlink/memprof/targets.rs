//! Calls that do not call what the profile says.
//!
//! In: a [`Graph`] with calls. Out: the same, where a call whose callees in the profile are not the one
//! that its summary names has lost its place, unless there is one chain of tail calls between them:
//! frames that a profile cannot see. These get nodes then.
//!
//! Source: `handleCallsitesWithMultipleTargets`, `calleesMatch` and
//! `findProfiledCalleeThroughTailCalls`.

use std::collections::HashMap;

use super::graph::{Call, CallId, EdgeId, Graph, Node, NodeId};
use crate::summary::{SummaryId, SummaryKind, ValueId};

/// `-memprof-tail-call-search-depth`.
const TAIL_CALL_SEARCH_DEPTH: u32 = 5;

/// Tail calls that got nodes, in order.
#[derive(Default)]
struct TailCalls {
    nodes: Vec<(CallId, NodeId)>,
    places: HashMap<CallId, NodeId>,
}

/// What a search for a chain of tail calls has come upon.
#[derive(Default)]
struct Search {
    /// From the callee to the caller.
    chain: Vec<(CallId, SummaryId)>,
    several: bool,
}

impl Graph<'_> {
    /// `handleCallsitesWithMultipleTargets`.
    pub(super) fn drop_calls_of_others(&mut self) {
        let mut tail_calls = TailCalls::default();
        for at in 0..self.sites.len() {
            let Some(&(_, node)) = self.sites.get(at) else { break };
            let Some((call, _)) = self.nodes[node].call else { continue };
            let mut at = 0;
            while let Some(&edge) = self.nodes[node].callees.get(at) {
                let callee = self.edges[edge].callee;
                if self.nodes[callee].call.is_none() {
                    at += 1;
                    continue;
                }
                match self.callees_match(call, edge, at, &mut tail_calls) {
                    Some(next) => at = next,
                    None => {
                        self.nodes[node].call = None;
                        break;
                    }
                }
            }
        }
        let nodes = &self.nodes;
        self.sites.retain(|&(_, node)| nodes[node].call.is_some());
        self.sites.extend(tail_calls.nodes);
    }

    /// Whether the callee of an edge, the `at`-th of its caller, is what the call names; gives where
    /// the next edge is then.
    fn callees_match(
        &mut self,
        call: CallId,
        edge: EdgeId,
        mut at: usize,
        tail_calls: &mut TailCalls,
    ) -> Option<usize> {
        let (callee, caller) = (self.edges[edge].callee, self.edges[edge].caller);
        let profiled = self.index.summary(self.nodes[callee].function?)?.value();
        let Call::Site { callee: named, .. } = self.calls[call] else { return None };
        let chain = self.chain_to(named?, profiled)?;
        if chain.is_empty() {
            return Some(at + 1);
        }
        let types = self.edges[edge].types;
        let mut current = callee;
        for (tail_call, function) in chain {
            let node = match tail_calls.places.get(&tail_call) {
                Some(&node) => {
                    self.nodes[node].types |= types;
                    node
                }
                None => {
                    self.calls_of(function).push(tail_call);
                    let node = self.add_node(Node {
                        call: Some((tail_call, 0)),
                        function: Some(function),
                        types,
                        ..Node::default()
                    });
                    tail_calls.nodes.push((tail_call, node));
                    tail_calls.places.insert(tail_call, node);
                    node
                }
            };
            self.copy_edge(edge, node, current, &mut at);
            current = node;
        }
        self.copy_edge(edge, caller, current, &mut at);
        self.erase_caller_edge(callee, edge);
        self.erase_callee_edge(caller, edge);
        Some(at)
    }

    /// Adds an edge with the contexts of another one, the `at`-th callee edge of its caller. Where
    /// the new edge has the same caller, it comes before that.
    fn copy_edge(&mut self, of: EdgeId, caller: NodeId, callee: NodeId, at: &mut usize) {
        let (types, ids) = (self.edges[of].types, self.edges[of].ids.clone());
        if let Some(edge) = self.edge_from_caller(callee, caller) {
            self.edges[edge].ids.extend(&ids);
            self.edges[edge].types |= types;
        } else if caller == self.edges[of].caller {
            let edge = self.new_edge(callee, caller, types, ids);
            self.nodes[callee].callers.push(edge);
            self.nodes[caller].callees.insert(*at, edge);
            *at += 1;
        } else {
            self.add_edge(callee, caller, types, ids);
        }
    }

    /// The tail calls on the way from `named` to `profiled`: none where they are the same, `None` where
    /// there is not just one way (`calleeMatchesFunc`).
    fn chain_to(&mut self, named: ValueId, profiled: ValueId) -> Option<Vec<(CallId, SummaryId)>> {
        let first = self.index.copies(named).first().and_then(|&id| self.index.summary(id));
        if named == profiled || first.and_then(|s| s.aliasee_value()) == Some(profiled) {
            return Some(Vec::new());
        }
        let mut search = Search::default();
        self.search(profiled, named, 1, &mut search).then_some(search.chain)
    }

    fn search(
        &mut self,
        profiled: ValueId,
        current: ValueId,
        depth: u32,
        search: &mut Search,
    ) -> bool {
        if depth > TAIL_CALL_SEARCH_DEPTH {
            return false;
        }
        let mut found = false;
        let index = self.index;
        for &id in index.copies(current) {
            let Some(summary) = index.summary(id) else { continue };
            if !summary.flags().linkage().is_local()
                && !self.facts.is_prevailing(current, id, summary.module())
            {
                continue;
            }
            let function = summary.base_object();
            if function.kind() != SummaryKind::Function {
                continue;
            }
            for (callee, info) in function.calls() {
                let callee = self.indirect.callee(function.id(), callee);
                if !info.has_tail_call() {
                    continue;
                }
                if callee != profiled && !self.search(profiled, callee, depth + 1, search) {
                    if search.several {
                        return false;
                    }
                    continue;
                }
                if found {
                    search.several = true;
                    return false;
                }
                found = true;
                let call = self.synthesize(function.id(), callee);
                search.chain.push((call, function.id()));
            }
        }
        found
    }

    /// The call site for a tail call that has no frame in the profile.
    fn synthesize(&mut self, function: SummaryId, callee: ValueId) -> CallId {
        let next = self.calls.len();
        let of_function = self.synthesized.entry(function).or_default();
        let call = *of_function.entry(callee).or_insert(next);
        if call == next {
            let callee = Some(callee);
            let clones = vec![0];
            self.calls.push(Call::Site { callee, stack: Vec::new(), places: &[], clones });
        }
        call
    }
}
