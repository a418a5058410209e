//! The callsite context graph: allocations, the calls on the way to them, and which contexts go along.
//!
//! In: the allocations and call sites of the copies that count. Out: [`Graph`], whose nodes and edges
//! the later steps change, and the calls by number ([`Call`]). It must not know what is cloned.
//!
//! Each MIB of each allocation is a context with an id. A node is an allocation or a frame of the
//! stacks of MIBs; an edge from callee to caller carries the ids of the contexts that take it.
//!
//! Source: `CallsiteContextGraph` and the constructor of `IndexCallsiteContextGraph` in
//! MemProfContextDisambiguation.cpp of LLVM 19.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::ids::ContextIds;
use crate::summary::{AllocInfo, MibInfo, ModuleSummaryIndex, Summary, SummaryId, ValueId};
use crate::thinlink::{Facts, IndirectCalls};

/// `AllocationType`, as bits of a set.
pub(super) const NONE: u8 = 0;
pub(super) const NOT_COLD: u8 = 1;
pub(super) const COLD: u8 = 2;
pub(super) const BOTH: u8 = NOT_COLD | COLD;

/// What an allocation of these types gets (`allocTypeToUse`): one that stays ambiguous is not cold.
pub(super) fn type_to_use(types: u8) -> u8 {
    if types == BOTH { NOT_COLD } else { types }
}

/// `hasSingleAllocType`.
pub(super) fn is_single(types: u8) -> bool {
    types.count_ones() == 1
}

/// A node, as its place in [`Graph::nodes`].
pub(super) type NodeId = usize;
/// An edge, as its place in [`Graph::edges`].
pub(super) type EdgeId = usize;
/// A call, as its place in [`Graph::calls`].
pub(super) type CallId = usize;

/// A call in a clone of its function (`CallInfo`).
pub(super) type CallClone = (CallId, u32);

/// An allocation or a call site of a summary.
#[derive(Clone, Debug)]
pub(super) enum Call<'g> {
    /// The contexts of an allocation, and its types by clone of the function.
    Alloc { mibs: &'g [MibInfo], versions: Vec<u8> },
    /// A call of `callee`, through the frames `stack`, whose places in the index are `places`; and by
    /// clone of the function which clone is called.
    Site { callee: Option<ValueId>, stack: Vec<u64>, places: &'g [u32], clones: Vec<u32> },
}

/// `ContextNode`.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    pub(super) is_alloc: bool,
    pub(super) recursive: bool,
    pub(super) call: Option<CallClone>,
    /// Of a stack frame its id.
    pub(super) orig_id: u64,
    pub(super) types: u8,
    pub(super) callees: Vec<EdgeId>,
    pub(super) callers: Vec<EdgeId>,
    pub(super) clones: Vec<NodeId>,
    pub(super) clone_of: Option<NodeId>,
    /// The function that the call is in.
    pub(super) function: Option<SummaryId>,
}

/// `ContextEdge`.
#[derive(Clone, Debug)]
pub(super) struct Edge {
    pub(super) callee: NodeId,
    pub(super) caller: NodeId,
    pub(super) types: u8,
    pub(super) ids: ContextIds,
}

/// The graph; see the head of the file.
pub(super) struct Graph<'g> {
    pub(super) index: &'g ModuleSummaryIndex,
    pub(super) facts: &'g Facts,
    pub(super) indirect: &'g IndirectCalls,
    pub(super) calls: Vec<Call<'g>>,
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Vec<Edge>,
    /// The functions with calls of interest, in LLVM's order, and these.
    pub(super) functions: Vec<(SummaryId, Vec<CallId>)>,
    /// By function its place in `functions`.
    pub(super) places: HashMap<SummaryId, usize>,
    /// By function how many of its calls are allocations and call sites of its own summary.
    pub(super) own_calls: HashMap<SummaryId, (Vec<Option<CallId>>, Vec<CallId>)>,
    /// The nodes of allocations, in order.
    pub(super) allocs: Vec<(CallId, NodeId)>,
    /// The nodes of other calls, in order.
    pub(super) sites: Vec<(CallId, NodeId)>,
    pub(super) stack_nodes: HashMap<u64, NodeId>,
    /// By context id.
    pub(super) context_types: Vec<u8>,
    /// Tail calls found where the profile has no frame, by function and callee.
    pub(super) synthesized: BTreeMap<SummaryId, BTreeMap<ValueId, CallId>>,
}

impl<'g> Graph<'g> {
    /// The graph before call sites are matched.
    pub(super) fn build(
        index: &'g ModuleSummaryIndex,
        facts: &'g Facts,
        indirect: &'g IndirectCalls,
        functions: impl Iterator<Item = Summary<'g>>,
    ) -> Self {
        let mut graph = Graph {
            index,
            facts,
            indirect,
            calls: Vec::new(),
            nodes: Vec::new(),
            edges: Vec::new(),
            functions: Vec::new(),
            places: HashMap::new(),
            own_calls: HashMap::new(),
            allocs: Vec::new(),
            sites: Vec::new(),
            stack_nodes: HashMap::new(),
            // Ids begin with 1.
            context_types: vec![NONE],
            synthesized: BTreeMap::new(),
        };
        functions.for_each(|function| graph.add_function(function));
        graph
    }

    fn add_function(&mut self, function: Summary<'g>) {
        let id = function.id();
        let mut calls = Vec::new();
        let (mut allocs, mut sites) = (Vec::new(), Vec::new());
        for alloc in function.allocs() {
            // What module summary analysis has dropped for recursion keeps its place alone.
            if alloc.mibs.is_empty() {
                allocs.push(None);
                continue;
            }
            let call = self.calls.len();
            self.calls.push(Call::Alloc { mibs: &alloc.mibs, versions: alloc.versions.to_vec() });
            self.add_alloc(call, alloc, id);
            calls.push(call);
            allocs.push(Some(call));
        }
        for site in function.callsites() {
            let call = self.calls.len();
            self.calls.push(Call::Site {
                callee: site.callee,
                stack: site.stack_ids.iter().map(|&place| self.stack_id(place)).collect(),
                places: &site.stack_ids,
                clones: site.clones.to_vec(),
            });
            calls.push(call);
            sites.push(call);
        }
        self.own_calls.insert(id, (allocs, sites));
        if !calls.is_empty() {
            self.calls_of(id).extend(calls);
        }
    }

    /// The calls of interest of a function, which has some from now on.
    pub(super) fn calls_of(&mut self, function: SummaryId) -> &mut Vec<CallId> {
        let next = self.functions.len();
        let at = *self.places.entry(function).or_insert(next);
        if at == next {
            self.functions.push((function, Vec::new()));
        }
        &mut self.functions[at].1
    }

    fn stack_id(&self, place: u32) -> u64 {
        self.index.stack_ids().get(place as usize).copied().unwrap_or(0)
    }

    fn add_alloc(&mut self, call: CallId, alloc: &AllocInfo, function: SummaryId) {
        let node = self.add_node(Node {
            is_alloc: true,
            call: Some((call, 0)),
            function: Some(function),
            ..Node::default()
        });
        self.allocs.push((call, node));
        for mib in &alloc.mibs {
            // Hot is not cold here.
            let types = if mib.alloc_type == COLD { COLD } else { NOT_COLD };
            self.add_context(node, types, &mib.stack_ids);
        }
        if let Call::Alloc { versions, .. } = &mut self.calls[call]
            && let Some(first) = versions.first_mut()
        {
            *first = type_to_use(self.nodes[node].types);
        }
    }

    /// `addStackNodesForMIB`.
    fn add_context(&mut self, alloc: NodeId, types: u8, stack: &[u32]) {
        let context = self.context_types.len() as u32;
        self.context_types.push(types);
        self.nodes[alloc].types |= types;
        let mut callee = alloc;
        let mut met = HashSet::new();
        for &place in stack {
            let id = self.stack_id(place);
            let node = match self.stack_nodes.get(&id) {
                Some(&node) => node,
                None => {
                    let node = self.add_node(Node { orig_id: id, ..Node::default() });
                    self.stack_nodes.insert(id, node);
                    node
                }
            };
            if !met.insert(id) {
                self.nodes[node].recursive = true;
            }
            self.nodes[node].types |= types;
            match self.edge_from_caller(callee, node) {
                Some(edge) => {
                    self.edges[edge].types |= types;
                    self.edges[edge].ids.insert(context);
                }
                None => {
                    self.add_edge(callee, node, types, ContextIds::one(context));
                }
            }
            callee = node;
        }
    }

    pub(super) fn add_node(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Adds an edge, behind all others of both nodes.
    pub(super) fn add_edge(
        &mut self,
        callee: NodeId,
        caller: NodeId,
        types: u8,
        ids: ContextIds,
    ) -> EdgeId {
        let edge = self.new_edge(callee, caller, types, ids);
        self.nodes[callee].callers.push(edge);
        self.nodes[caller].callees.push(edge);
        edge
    }

    /// Makes an edge that its nodes do not know yet.
    pub(super) fn new_edge(
        &mut self,
        callee: NodeId,
        caller: NodeId,
        types: u8,
        ids: ContextIds,
    ) -> EdgeId {
        self.edges.push(Edge { callee, caller, types, ids });
        self.edges.len() - 1
    }

    /// `findEdgeFromCaller`.
    pub(super) fn edge_from_caller(&self, node: NodeId, caller: NodeId) -> Option<EdgeId> {
        self.nodes[node].callers.iter().copied().find(|&e| self.edges[e].caller == caller)
    }

    /// `findEdgeFromCallee`.
    pub(super) fn edge_from_callee(&self, node: NodeId, callee: NodeId) -> Option<EdgeId> {
        self.nodes[node].callees.iter().copied().find(|&e| self.edges[e].callee == callee)
    }

    /// `eraseCalleeEdge`.
    pub(super) fn erase_callee_edge(&mut self, node: NodeId, edge: EdgeId) {
        erase(&mut self.nodes[node].callees, edge);
    }

    /// `eraseCallerEdge`.
    pub(super) fn erase_caller_edge(&mut self, node: NodeId, edge: EdgeId) {
        erase(&mut self.nodes[node].callers, edge);
    }

    fn edges_with_info(&self, node: NodeId) -> &[EdgeId] {
        let node = &self.nodes[node];
        if node.callees.is_empty() { &node.callers } else { &node.callees }
    }

    /// The contexts through a node (`getContextIds`).
    pub(super) fn context_ids(&self, node: NodeId) -> ContextIds {
        let edges = self.edges_with_info(node);
        let mut ids = ContextIds::with_room(edges.iter().map(|&e| self.edges[e].ids.len()).sum());
        edges.iter().for_each(|&edge| ids.extend(&self.edges[edge].ids));
        ids
    }

    /// `emptyContextIds`.
    pub(super) fn has_no_context(&self, node: NodeId) -> bool {
        self.edges_with_info(node).iter().all(|&edge| self.edges[edge].ids.is_empty())
    }

    /// The types of a node's edges (`ContextNode::computeAllocType`).
    pub(super) fn types_of_edges(&self, node: NodeId) -> u8 {
        self.edges_with_info(node).iter().fold(NONE, |types, &e| types | self.edges[e].types)
    }

    fn type_of(&self, context: u32) -> u8 {
        self.context_types.get(context as usize).copied().unwrap_or(NONE)
    }

    /// The types of contexts (`computeAllocType`).
    pub(super) fn types_of(&self, ids: &ContextIds) -> u8 {
        ids.iter().fold(NONE, |types, id| types | self.type_of(id))
    }

    /// The types of the contexts in both sets (`intersectAllocTypes`).
    pub(super) fn types_of_both(&self, a: &ContextIds, b: &ContextIds) -> u8 {
        let (walked, asked) = if a.len() < b.len() { (a, b) } else { (b, a) };
        let both = walked.iter().filter(|&id| asked.contains(id));
        both.fold(NONE, |types, id| types | self.type_of(id))
    }

    /// Drops the callee edges of a node that no context takes (`removeNoneTypeCalleeEdges`).
    pub(super) fn drop_empty_callee_edges(&mut self, node: NodeId) {
        let mut at = 0;
        while let Some(&edge) = self.nodes[node].callees.get(at) {
            if self.edges[edge].types != NONE {
                at += 1;
                continue;
            }
            let callee = self.edges[edge].callee;
            self.erase_caller_edge(callee, edge);
            self.nodes[node].callees.remove(at);
        }
    }
}

fn erase(edges: &mut Vec<EdgeId>, edge: EdgeId) {
    if let Some(at) = edges.iter().position(|&e| e == edge) {
        edges.remove(at);
    }
}
