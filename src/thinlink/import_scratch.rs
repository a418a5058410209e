//! What a thread knows of values while it selects the imports of one module.
//!
//! In: values and summaries, as the selection meets them. Out: what was found out of them before,
//! and the steps of the import list. It must not know what is worth importing.

use super::import_list::{DECLARATION, ImportList};
use crate::summary::{ModuleSummaryIndex, SummaryId, ValueId};

/// What is known of a value while one module is worked on.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    /// The module, plus one, that the rest is about.
    stamp: u32,
    /// The largest threshold that the callee was met with; for [`DEFINED`] the summary.
    pub(super) threshold: u32,
    /// The function taken, or one of the marks below.
    pub(super) callee: u32,
    /// The summary in the import list, or [`NONE`].
    imported: u32,
}

const NONE: u32 = u32::MAX;
/// Not met as a callee yet.
pub(super) const UNMET: u32 = u32::MAX;
/// Met as a callee, and no copy was taken.
pub(super) const REJECTED: u32 = u32::MAX - 1;
/// The module itself defines it.
pub(super) const DEFINED: u32 = u32::MAX - 2;

/// The memory of one thread.
pub struct Scratch {
    slots: Vec<Slot>,
    stamp: u32,
    pub(super) functions: Vec<(SummaryId, u32)>,
    pub(super) variables: Vec<SummaryId>,
    steps: Vec<u32>,
}

impl Scratch {
    /// For an index with so many values.
    pub fn new(index: &ModuleSummaryIndex) -> Self {
        let empty = Slot { stamp: 0, threshold: 0, callee: UNMET, imported: NONE };
        Scratch {
            slots: vec![empty; index.guids().len()],
            stamp: 0,
            functions: Vec::new(),
            variables: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// Forgets what it knew, for the next module.
    pub(super) fn begin(&mut self) {
        self.stamp += 1;
        self.steps.clear();
    }

    /// What is imported so far.
    pub(super) fn list(&self) -> ImportList {
        ImportList::new(&self.steps)
    }

    /// What is known of a value.
    #[inline]
    pub(super) fn slot(&mut self, value: ValueId) -> Option<&mut Slot> {
        let stamp = self.stamp;
        let slot = self.slots.get_mut(value.index())?;
        if slot.stamp != stamp {
            *slot = Slot { stamp, threshold: 0, callee: UNMET, imported: NONE };
        }
        Some(slot)
    }

    /// `ImportMapTy::addDefinition`; says whether there was neither definition nor declaration.
    pub(super) fn add_definition(
        &mut self,
        value: ValueId,
        summary: SummaryId,
        declarations: bool,
    ) -> bool {
        let Some(slot) = self.slot(value) else { return false };
        let before = std::mem::replace(&mut slot.imported, summary.0);
        if before == summary.0 {
            return false;
        }
        // Another copy of this value has been imported, or a declaration may have been: look.
        let mut inserted = true;
        if before != NONE || declarations {
            if self.steps.contains(&summary.0) {
                return false;
            }
            inserted = !self.steps.contains(&(summary.0 | DECLARATION));
        }
        self.steps.push(summary.0);
        inserted
    }

    /// `ImportMapTy::maybeAddDeclaration`.
    pub(super) fn maybe_add_declaration(&mut self, summary: SummaryId) {
        let step = summary.0 | DECLARATION;
        if !self.steps.contains(&summary.0) && !self.steps.contains(&step) {
            self.steps.push(step);
        }
    }
}
