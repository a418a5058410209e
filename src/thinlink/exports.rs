//! Which definitions other modules will refer to.
//!
//! In: the index and the [`Imports`]. Out: [`Exports`], by summary. It must not know what becomes
//! of linkage.
//!
//! What some module imports is exported by its own, and so is whatever an imported body or
//! initializer refers to, where its module defines it: the importing module will hold a reference
//! to it. Source: the second half of `ComputeCrossModuleImport` in FunctionImport.cpp.

use rayon::prelude::*;

use super::bits::{AtomicBits, Bits};
use super::{Attributes, Devirtualization, Imports, IndirectCalls};
use crate::summary::{ModuleSummaryIndex, SummaryId, SummaryKind, ValueId};

/// The summaries that their modules export to others.
#[derive(Clone, Debug, Default)]
pub struct Exports {
    exported: Bits,
}

impl Exports {
    /// Finds what the imports make their sources export.
    pub fn compute(
        index: &ModuleSummaryIndex,
        indirect: &IndirectCalls,
        attributes: &Attributes,
        devirtualization: &Devirtualization,
        imports: &Imports,
    ) -> Self {
        let exported = AtomicBits::new(index.summary_count());
        let imported: Vec<u32> = imports.imported().iter().map(|id| id as u32).collect();
        imported.par_iter().with_min_len(256).for_each(|&id| {
            let Some(summary) = index.summary(SummaryId(id)) else { return };
            exported.insert(id as usize);
            let base = summary.base_object();
            // A variable that is only written gets an empty initializer when imported.
            if base.kind() == SummaryKind::Variable && attributes.is_write_only(base) {
                return;
            }
            let export = |value: ValueId| {
                if let Some(id) = index.summary_in_module(value, summary.module()) {
                    exported.insert(id.index());
                }
            };
            for reference in base.refs() {
                export(reference.value());
            }
            for &callee in base.callees().iter().chain(devirtualization.callees(base.id())) {
                export(indirect.callee(base.id(), ValueId(callee)));
            }
        });
        Exports { exported: exported.into_bits() }
    }

    /// Whether other modules will refer to this definition.
    #[inline]
    pub fn contains(&self, summary: SummaryId) -> bool {
        self.exported.get(summary.index())
    }

    /// How many definitions are exported.
    pub fn count(&self) -> usize {
        self.exported.count()
    }
}
