//! The graph as text, as `-memprof-dump-ccg` has it.
//!
//! In: a [`Graph`]. Out: what LLVM prints of it, but for the addresses of nodes, which are their
//! numbers. It must not know at which step the graph is.
//!
//! Source: `CallsiteContextGraph::print`, and the `operator<<` of ModuleSummaryIndex.h.

use std::fmt::{self, Display, Formatter};

use super::graph::{COLD, Call, CallClone, Edge, Graph, NOT_COLD, NodeId};
use crate::summary::MibInfo;

/// Numbers between commas.
struct Commas<'n, T>(&'n [T]);

impl<T: Display> Display for Commas<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (at, number) in self.0.iter().enumerate() {
            write!(f, "{}{number}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// `getAllocTypeString`.
struct Types(u8);

impl Display for Types {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0 => "None",
            NOT_COLD => "NotCold",
            COLD => "Cold",
            _ => "NotColdCold",
        })
    }
}

impl Display for Graph<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "Callsite Context Graph:")?;
        let there = (0..self.nodes.len()).filter(|&node| self.nodes[node].types != 0);
        for node in there {
            self.write_node(f, node)?;
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Where a node is.
struct Address(NodeId);

impl Display for Address {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0 + 1)
    }
}

impl Graph<'_> {
    fn write_node(&self, f: &mut Formatter<'_>, id: NodeId) -> fmt::Result {
        let node = &self.nodes[id];
        write!(f, "Node {}\n\t", Address(id))?;
        match node.call {
            Some(call) => self.write_call(f, call)?,
            None => write!(f, "null Call")?,
        }
        let recursive = if node.recursive { " (recursive)" } else { "" };
        writeln!(f, "{recursive}\n\tAllocTypes: {}", Types(node.types))?;
        let mut ids: Vec<u32> = self.context_ids(id).iter().collect();
        ids.sort_unstable();
        write!(f, "\tContextIds:")?;
        ids.iter().try_for_each(|id| write!(f, " {id}"))?;
        for (title, edges) in [("CalleeEdges", &node.callees), ("CallerEdges", &node.callers)] {
            write!(f, "\n\t{title}:")?;
            edges.iter().try_for_each(|&edge| write_edge(f, &self.edges[edge]))?;
        }
        writeln!(f)?;
        if !node.clones.is_empty() {
            write!(f, "\tClones: ")?;
            let clones: Vec<Address> = node.clones.iter().copied().map(Address).collect();
            writeln!(f, "{}", Commas(&clones))?;
        } else if let Some(original) = node.clone_of {
            writeln!(f, "\tClone of {}", Address(original))?;
        }
        Ok(())
    }

    fn write_call(&self, f: &mut Formatter<'_>, (call, number): CallClone) -> fmt::Result {
        match &self.calls[call] {
            Call::Alloc { versions, mibs } => {
                writeln!(f, "Versions: {} MIB:", Commas(versions))?;
                for MibInfo { alloc_type, stack_ids } in *mibs {
                    writeln!(f, "\t\tAllocType {alloc_type} StackIds: {}", Commas(stack_ids))?;
                }
            }
            Call::Site { callee, places, clones, .. } => {
                write!(f, "Callee: ")?;
                if let Some(callee) = *callee {
                    write!(f, "{}", self.index.guid(callee).0)?;
                    match self.index.name(callee) {
                        [] => {}
                        name => write!(f, " ({})", String::from_utf8_lossy(name))?,
                    }
                }
                write!(f, " Clones: {} StackIds: {}", Commas(clones), Commas(places))?;
            }
        }
        write!(f, "\t(clone {number})")
    }
}

fn write_edge(f: &mut Formatter<'_>, edge: &Edge) -> fmt::Result {
    let Edge { callee, caller, types, ids } = edge;
    let (callee, caller) = (Address(*callee), Address(*caller));
    write!(f, "\n\t\tEdge from Callee {callee} to Caller: {caller} AllocTypes: {}", Types(*types))?;
    let mut ids: Vec<u32> = ids.iter().collect();
    ids.sort_unstable();
    write!(f, " ContextIds:")?;
    ids.iter().try_for_each(|id| write!(f, " {id}"))
}
