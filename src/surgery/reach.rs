//! What imported definitions reach in their module.
//!
//! In: a module's constants and metadata, and the bodies, initializers and attachments to start
//! from. Out: which values and metadata are needed, in three steps of ever more, because it
//! matters by which way something is reached:
//!
//! | step | reaches | matters for |
//! |---|---|---|
//! | [`Reach::code`] | what runs | locals: they must have been promoted |
//! | [`Reach::described`] | and what the metadata of it names | what LLVM's linker maps while it moves bodies |
//! | [`Reach::all`] | and what named metadata name | what must be in the slice |
//!
//! It must not know what becomes of what it finds.

use super::debug_info::Needed;
use super::metadata::Table;
use super::references::{Sink, of_body};
use crate::bitcode::{Constants, GlobalKind, Module, TypeTable};
use crate::error::Result;

/// A module, as far as this asks.
pub(super) struct Graph<'s, 'a> {
    pub module: &'s Module<'a>,
    pub constants: &'s Constants,
    pub types: &'s TypeTable,
    pub table: &'s Table<'a>,
}

/// What is reached.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    values: Vec<bool>,
    pending: Vec<u64>,
    /// The metadata that are needed.
    pub metadata: Needed,
    /// Metadata that were met, to be followed in the second step.
    met: Vec<u64>,
}

impl Sink for Reach {
    fn value(&mut self, id: u64) {
        if let Ok(index) = usize::try_from(id)
            && let Some(mark) = self.values.get_mut(index)
            && !*mark
        {
            *mark = true;
            self.pending.push(id);
        }
    }

    fn metadata(&mut self, id: u64) {
        self.met.push(id);
    }
}

impl Reach {
    /// Nothing yet.
    pub fn new(graph: &Graph<'_, '_>) -> Self {
        Reach {
            values: vec![false; graph.module.globals.len() + graph.constants.len()],
            pending: Vec::new(),
            metadata: Needed::none(graph.table),
            met: Vec::new(),
        }
    }

    /// Whether a value was reached.
    pub fn has(&self, id: u64) -> bool {
        usize::try_from(id).is_ok_and(|id| self.values.get(id).copied().unwrap_or(false))
    }

    /// Starts from a body, by its number among the module's.
    pub fn body(&mut self, graph: &Graph<'_, '_>, function: usize, body: usize) -> Result<()> {
        let module = graph.module;
        let (Some(g), Some(body)) = (module.globals.get(function), module.bodies.get(body)) else {
            return Ok(());
        };
        let values = self.values.len() as u64;
        of_body(module, body, g.type_id, graph.types, graph.table, values, self)
    }

    /// Follows constants.
    pub fn code(&mut self, graph: &Graph<'_, '_>) {
        while let Some(id) = self.pending.pop() {
            if let Some(constant) = graph.constants.get(id) {
                for operand in graph.constants.operands(constant) {
                    self.value(operand);
                }
            }
        }
    }

    /// Follows the metadata that were met, and those of what is reached and stands at module level:
    /// variables, and functions that are declared. `imported` have theirs in their bodies.
    pub fn described(&mut self, graph: &Graph<'_, '_>) {
        loop {
            for id in std::mem::take(&mut self.met) {
                self.metadata.add(id);
            }
            for attachment in &graph.table.attachments {
                if attachment.first().is_some_and(|&id| self.keeps_attachment(graph, id)) {
                    for node in attachment.iter().skip(2).step_by(2) {
                        self.metadata.add(*node);
                    }
                }
            }
            let mut named = Vec::new();
            self.metadata.follow(graph.table, &mut |value| named.push(value));
            for value in named {
                self.value(value);
            }
            if self.pending.is_empty() {
                return;
            }
            self.code(graph);
        }
    }

    /// Whether a value's attachments at module level are linked with it.
    pub fn keeps_attachment(&self, graph: &Graph<'_, '_>, id: u64) -> bool {
        let global = usize::try_from(id).ok().and_then(|id| graph.module.globals.get(id));
        self.has(id)
            && global.is_some_and(|g| {
                g.kind == GlobalKind::Variable || g.kind == GlobalKind::Function && g.is_declaration
            })
    }

    /// Follows named metadata, and `more`.
    pub fn all(&mut self, graph: &Graph<'_, '_>, more: &[u64]) {
        self.met.extend_from_slice(more);
        for (_, nodes) in &graph.table.named {
            self.met.extend_from_slice(nodes);
        }
        self.described(graph);
    }
}
