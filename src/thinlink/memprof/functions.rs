//! Which clones of functions there are, and which of them each call calls.
//!
//! In: a [`Graph`] with clones of calls. Out: the same, whose [`Call`]s say for each clone of their
//! function which clone of the callee is called, or of what type the allocation is. It must not know
//! contexts.
//!
//! A clone of a call goes to the first clone of its function that has no other of that call,
//! unless callers have been told already to call a certain one.
//!
//! Source: `assignFunctions`, `cloneFunctionForCallsite`, `updateCall`, `updateAllocationCall`.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::graph::{Call, CallClone, CallId, EdgeId, Graph, NodeId, type_to_use};
use crate::summary::SummaryId;

/// A clone of a function (`FuncInfo`).
type FunctionClone = (SummaryId, u32);

/// The work on one function.
struct Function<'w> {
    id: SummaryId,
    calls: &'w [CallId],
    /// By clone of the function, the clone of each call that is in it.
    clones: BTreeMap<FunctionClone, HashMap<CallClone, CallClone>>,
    /// What all call sites call so far.
    assigned: &'w mut HashMap<NodeId, FunctionClone>,
}

/// The work on one call of a function.
#[derive(Default)]
struct Placed {
    /// By clone of the function, the clone of the call's node in it.
    nodes: HashMap<FunctionClone, NodeId>,
    worklist: VecDeque<NodeId>,
}

impl Graph<'_> {
    /// `assignFunctions`.
    pub(super) fn assign_functions(&mut self) {
        let mut assigned = HashMap::new();
        let of_calls: HashMap<CallId, NodeId> =
            self.sites.iter().chain(&self.allocs).copied().collect();
        for (id, calls) in self.functions.clone() {
            let mut function =
                Function { id, calls: &calls, clones: BTreeMap::new(), assigned: &mut assigned };
            for &call in &calls {
                let Some(&node) = of_calls.get(&call) else { continue };
                if !self.nodes[node].clones.is_empty() {
                    function.place(self, call, node);
                }
            }
        }
        let mut visited = vec![false; self.nodes.len()];
        for (_, node) in self.allocs.clone() {
            self.update_calls(node, &mut visited, &assigned);
        }
    }

    fn update_calls(
        &mut self,
        node: NodeId,
        visited: &mut [bool],
        assigned: &HashMap<NodeId, FunctionClone>,
    ) {
        if std::mem::replace(&mut visited[node], true) {
            return;
        }
        for clone in self.nodes[node].clones.clone() {
            self.update_calls(clone, visited, assigned);
        }
        for edge in self.nodes[node].callers.clone() {
            self.update_calls(self.edges[edge].caller, visited, assigned);
        }
        let Some((call, number)) = self.nodes[node].call else { return };
        if self.has_no_context(node) {
            return;
        }
        match &mut self.calls[call] {
            Call::Alloc { versions, .. } if self.nodes[node].is_alloc => {
                if let Some(version) = versions.get_mut(number as usize) {
                    *version = type_to_use(self.nodes[node].types);
                }
            }
            Call::Site { clones, .. } => {
                if let (Some(&(_, callee)), Some(clone)) =
                    (assigned.get(&node), clones.get_mut(number as usize))
                {
                    *clone = callee;
                }
            }
            Call::Alloc { .. } => {}
        }
    }

    /// Whether the caller of an edge is a known call.
    fn caller_with_call(&self, edge: EdgeId) -> Option<NodeId> {
        let caller = self.edges[edge].caller;
        self.nodes[caller].call.is_some().then_some(caller)
    }
}

impl Function<'_> {
    /// Finds clones of the function for all clones of one of its calls.
    fn place(&mut self, graph: &mut Graph<'_>, call: CallId, node: NodeId) {
        let mut placed = Placed::default();
        if !graph.has_no_context(node) {
            placed.worklist.push_back(node);
        }
        placed.worklist.extend(&graph.nodes[node].clones);
        let mut count = 0;
        while let Some(clone) = placed.worklist.pop_front() {
            count += 1;
            if self.clones.len() < count && !self.clone_function(graph, call, clone, &mut placed) {
                continue;
            }
            self.place_by_callers(graph, call, clone, &mut placed);
        }
    }

    /// Puts a clone of a call into a clone of the function.
    fn put(
        &mut self,
        graph: &mut Graph<'_>,
        into: FunctionClone,
        call: CallId,
        clone: NodeId,
        placed: &mut Placed,
    ) {
        placed.nodes.insert(into, clone);
        let there = self.clones.entry(into).or_default().get(&(call, 0)).copied();
        graph.nodes[clone].call = Some(there.unwrap_or((call, 0)));
    }

    /// Makes one more clone of the function, for one of a call; says whether the callers are yet to be
    /// looked at, since some have been told to call another.
    fn clone_function(
        &mut self,
        graph: &mut Graph<'_>,
        call: CallId,
        clone: NodeId,
        placed: &mut Placed,
    ) -> bool {
        let number = self.clones.len() as u32;
        let callers = graph.nodes[clone].callers.clone();
        let told = callers.iter().find_map(|&e| self.assigned.get(&graph.edges[e].caller)).copied();
        let new = (self.id, number);
        let mut calls = HashMap::new();
        if number != 0 {
            for &call in self.calls {
                match &mut graph.calls[call] {
                    Call::Alloc { versions, .. } => versions.push(0),
                    Call::Site { clones, .. } => clones.push(0),
                }
                calls.insert((call, 0), (call, number));
            }
        }
        self.clones.insert(new, calls);
        // The first is the function itself, whatever callers were told.
        let Some(previous) = told.filter(|_| number != 0) else {
            self.put(graph, new, call, clone, placed);
            for caller in callers.into_iter().filter_map(|e| graph.caller_with_call(e)) {
                self.assigned.insert(caller, new);
            }
            return false;
        };
        for edge in callers {
            let Some(caller) = graph.caller_with_call(edge) else { continue };
            if self.assigned.get(&caller) != Some(&previous) {
                continue;
            }
            self.assigned.insert(caller, new);
            self.clone_other_callees(graph, caller, clone, new);
        }
        true
    }

    /// A caller that calls another clone of the function now has other calls of it in its contexts,
    /// which must be those of this clone.
    fn clone_other_callees(
        &mut self,
        graph: &mut Graph<'_>,
        caller: NodeId,
        clone: NodeId,
        new: FunctionClone,
    ) {
        let mut at = 0;
        while let Some(&edge) = graph.nodes[caller].callees.get(at) {
            at += 1;
            let callee = graph.edges[edge].callee;
            if callee == clone || graph.nodes[callee].call.is_none() {
                continue;
            }
            let other = graph.move_edge_to_new_clone(edge, None);
            graph.drop_empty_callee_edges(other);
            graph.drop_empty_callee_edges(callee);
            if let Some(&called) = self.assigned.get(&callee) {
                self.assigned.insert(other, called);
            }
            let original = graph.nodes[callee].clone_of.unwrap_or(callee);
            if let Some((call, _)) = graph.nodes[original].call {
                let there = self.clones.get(&new).and_then(|calls| calls.get(&(call, 0)));
                graph.nodes[other].call = there.copied().or(graph.nodes[other].call);
            }
        }
    }

    /// Finds the clone of the function for one of a call by what its callers call; callers that call
    /// another get one more clone of the call.
    fn place_by_callers(
        &mut self,
        graph: &mut Graph<'_>,
        call: CallId,
        clone: NodeId,
        placed: &mut Placed,
    ) {
        let mut further: HashMap<FunctionClone, NodeId> = HashMap::new();
        let mut chosen: Option<FunctionClone> = None;
        let mut at = 0;
        while let Some(&edge) = graph.nodes[clone].callers.get(at) {
            let Some(caller) = graph.caller_with_call(edge) else {
                at += 1;
                continue;
            };
            if let Some(&called) = self.assigned.get(&caller) {
                let is_taken = placed.nodes.get(&called).is_some_and(|&other| other != clone);
                if is_taken || chosen.is_some_and(|chosen| chosen != called) {
                    let to = match further.get(&called) {
                        Some(&to) => {
                            graph.move_edge(edge, to, false, None);
                            graph.drop_empty_callee_edges(to);
                            to
                        }
                        None => {
                            let to = graph.move_edge_to_new_clone(edge, None);
                            graph.drop_empty_callee_edges(to);
                            placed.worklist.push_back(to);
                            to
                        }
                    };
                    further.insert(called, to);
                    graph.drop_empty_callee_edges(clone);
                    continue;
                }
                if chosen.is_none() {
                    chosen = Some(called);
                    self.put(graph, called, call, clone, placed);
                }
            } else {
                if chosen.is_none() {
                    let mut all = self.clones.keys();
                    chosen = all.find(|clone| !placed.nodes.contains_key(clone)).copied();
                    if let Some(chosen) = chosen {
                        self.put(graph, chosen, call, clone, placed);
                    }
                }
                if let Some(chosen) = chosen {
                    self.assigned.insert(caller, chosen);
                }
            }
            at += 1;
        }
    }
}
