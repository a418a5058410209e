//! The strongly connected components of the calls between all functions.
//!
//! In: the index, and where indirect calls go. Out: components, callees before callers, in the
//! order of LLVM's `scc_iterator`, which starts at a made-up caller of the functions that it takes
//! for the roots of the graph.
//!
//! Source: `calculateCallGraphRoot` and the `GraphTraits` of ModuleSummaryIndex.h, `SCCIterator.h`.

use super::IndirectCalls;
use crate::summary::{ModuleSummaryIndex, Summary, SummaryKind, ValueId};

/// The made-up caller of all roots, which LLVM gives GUID 0, or a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// The caller of all roots.
    Root,
    /// A function, or whatever else is called.
    Value(ValueId),
}

/// Some functions that reach one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// Those functions.
    pub nodes: Vec<Node>,
    /// Whether there is a way from one to itself: not so for one alone that does not call itself.
    pub has_cycle: bool,
}

/// The call graph of an index, as LLVM walks it: of several copies of a function the first counts.
pub struct CallGraph<'i> {
    index: &'i ModuleSummaryIndex,
    indirect: &'i IndirectCalls,
    roots: Vec<ValueId>,
}

/// The number of a node that was not met yet.
const UNMET: u32 = 0;
/// The number of one whose component is known.
const DONE: u32 = u32::MAX;

/// A node on the way down.
struct Step {
    node: Node,
    callees: Vec<ValueId>,
    next: usize,
    lowest: u32,
}

impl<'i> CallGraph<'i> {
    /// The graph of an index.
    pub fn new(index: &'i ModuleSummaryIndex, indirect: &'i IndirectCalls) -> Self {
        let mut graph = CallGraph { index, indirect, roots: Vec::new() };
        graph.roots = graph.find_roots();
        graph
    }

    /// The functions that nobody calls, and what else LLVM takes for such, by rising GUID.
    pub fn roots(&self) -> &[ValueId] {
        &self.roots
    }

    /// Whom a value's first copy calls; an alias is what it stands for.
    pub fn callees(&self, value: ValueId) -> Vec<ValueId> {
        let function = self.function(value);
        let callee = |f: Summary<'i>, callee| self.indirect.callee(f.id(), callee);
        function.map_or_else(Vec::new, |f| f.calls().map(|(to, _)| callee(f, to)).collect())
    }

    /// The function that a value's first copy is or stands for.
    pub fn function(&self, value: ValueId) -> Option<Summary<'i>> {
        let first = self.index.summary(*self.index.copies(value).first()?)?;
        let base = if first.kind() == SummaryKind::Alias { first.aliasee()? } else { first };
        Some(base).filter(|base| base.kind() == SummaryKind::Function)
    }

    /// `discoverNodes`: those that are first met as somebody's callee are never asked for theirs, so
    /// that a function whose only callers are such counts as a root as well.
    fn find_roots(&self) -> Vec<ValueId> {
        // By value: not met, met without a caller, met with one.
        let mut has_caller: Vec<Option<bool>> = vec![None; self.index.guids().len()];
        let values = || (0..self.index.guids().len() as u32).map(ValueId);
        for start in values() {
            let first = self.index.copies(start).first().and_then(|&id| self.index.summary(id));
            if first.is_none_or(|s| s.kind() != SummaryKind::Function) {
                continue;
            }
            match has_caller.get_mut(start.index()) {
                Some(state @ None) => *state = Some(false),
                _ => continue,
            }
            for callee in self.callees(start) {
                if let Some(state) = has_caller.get_mut(callee.index()) {
                    *state = Some(true);
                }
            }
        }
        values().filter(|value| has_caller.get(value.index()) == Some(&Some(false))).collect()
    }

    /// All components that the roots reach, and last the root's own.
    pub fn components(&self) -> Vec<Component> {
        // By value, and at the end that of the root.
        let root = self.index.guids().len();
        let place = |node| match node {
            Node::Root => root,
            Node::Value(value) => value.index(),
        };
        let mut numbers = vec![UNMET; root + 1];
        let mut components = Vec::new();
        let mut open: Vec<Node> = Vec::new();
        let mut next_number = 0;
        let mut way: Vec<Step> = Vec::new();
        let mut arriving = Some(Node::Root);
        loop {
            if let Some(node) = arriving.take() {
                next_number += 1;
                if let Some(number) = numbers.get_mut(place(node)) {
                    *number = next_number;
                }
                open.push(node);
                let callees = match node {
                    Node::Root => self.roots.clone(),
                    Node::Value(value) => self.callees(value),
                };
                way.push(Step { node, callees, next: 0, lowest: next_number });
            }
            let Some(step) = way.last_mut() else { return components };
            if let Some(&callee) = step.callees.get(step.next) {
                step.next += 1;
                match numbers.get(callee.index()).copied().unwrap_or(DONE) {
                    UNMET => arriving = Some(Node::Value(callee)),
                    number => step.lowest = step.lowest.min(number),
                }
                continue;
            }
            let (node, lowest) = (step.node, step.lowest);
            way.pop();
            if let Some(above) = way.last_mut() {
                above.lowest = above.lowest.min(lowest);
            }
            if numbers.get(place(node)) != Some(&lowest) {
                continue;
            }
            let from = open.iter().rposition(|&other| other == node).unwrap_or(0);
            let nodes: Vec<Node> = open.drain(from..).rev().collect();
            for &node in &nodes {
                if let Some(number) = numbers.get_mut(place(node)) {
                    *number = DONE;
                }
            }
            let calls_itself = |node| match node {
                Node::Root => false,
                Node::Value(value) => self.callees(value).contains(&value),
            };
            let has_cycle = nodes.len() > 1 || calls_itself(node);
            components.push(Component { nodes, has_cycle });
        }
    }

    /// The text of `-dump-thin-cg-sccs` (`ModuleSummaryIndex::dumpSCCs`).
    pub fn components_text(&self) -> String {
        let mut text = String::new();
        for component in self.components() {
            let count = component.nodes.len();
            let plural = if count == 1 { "" } else { "s" };
            text.push_str(&format!("SCC ({count} node{plural}) {{\n"));
            for node in component.nodes {
                let (external, guid) = match node {
                    Node::Root => ("", 0),
                    Node::Value(value) => {
                        let none = self.index.copies(value).is_empty();
                        (if none { "External" } else { "" }, self.index.guid(value).0)
                    }
                };
                let cycle = if component.has_cycle { " (has cycle)" } else { "" };
                text.push_str(&format!(" {external} {guid}{cycle}\n"));
            }
            text.push_str("}\n");
        }
        text
    }
}
