//! The order in which LLVM goes through modules and through what each defines.
//!
//! In: the index. Out: [`ModuleOrder`]. It must not know what the order is for.
//!
//! LLVM's `ModuleToDefinedGVSummaries` is a `DenseMap` from path to a `DenseMap` from GUID to
//! summary, filled by a walk over the index in the order of GUIDs. Source:
//! `collectDefinedGVSummariesPerModule` in ModuleSummaryIndex.h, `LTO::runThinLTO`.

use rayon::prelude::*;

use super::order::{DenseTable, HashedName, hash_string};
use crate::summary::{ModuleId, ModuleSummaryIndex, SummaryId, ValueId};

/// The order of modules, and of the summaries of each.
#[derive(Clone, Debug, Default)]
pub struct ModuleOrder {
    modules: Vec<ModuleId>,
    /// As many as the index has summaries, those of each module in LLVM's order.
    defined: Vec<SummaryId>,
    /// By module, where its part of `defined` begins and ends.
    ranges: Vec<(u32, u32)>,
}

impl ModuleOrder {
    /// The order for a link of `thin_modules` modules, which LLVM makes room for beforehand.
    pub fn new(index: &ModuleSummaryIndex, thin_modules: usize) -> Self {
        let count = index.modules().len();
        let per_module: Vec<(Option<ValueId>, Vec<SummaryId>)> = (0..count as u32)
            .into_par_iter()
            .map_init(DenseTable::default, |table, module| {
                defined_in_order(index, ModuleId(module), table)
            })
            .collect();
        // Modules enter the map when the walk meets their first summary; those without one come
        // last, in the order of the link.
        let mut entering: Vec<(u32, u32)> = (0u32..)
            .zip(&per_module)
            .map(|(module, (first, _))| (first.map_or(u32::MAX, |value| value.0), module))
            .collect();
        entering.sort_unstable();
        let mut table = DenseTable::with_reserve(thin_modules);
        for &(_, id) in &entering {
            let path = index.modules().get(id as usize).map_or(&[][..], |module| &module.path);
            table.insert(HashedName { id, hash: hash_string(path) }, id);
        }
        let modules = table.iter().map(ModuleId).collect();
        let mut defined = Vec::with_capacity(index.summary_count());
        let mut ranges = Vec::with_capacity(count);
        for (_, summaries) in &per_module {
            let start = defined.len() as u32;
            defined.extend_from_slice(summaries);
            ranges.push((start, defined.len() as u32));
        }
        ModuleOrder { modules, defined, ranges }
    }

    /// The modules.
    pub fn modules(&self) -> &[ModuleId] {
        &self.modules
    }

    /// What a module defines.
    #[inline]
    pub fn defined(&self, module: ModuleId) -> &[SummaryId] {
        let (start, end) = self.ranges.get(module.index()).copied().unwrap_or_default();
        self.defined.get(start as usize..end as usize).unwrap_or(&[])
    }
}

/// The least value that a module defines, and its summaries in the order of LLVM's table.
fn defined_in_order(
    index: &ModuleSummaryIndex,
    module: ModuleId,
    table: &mut DenseTable<u64>,
) -> (Option<ValueId>, Vec<SummaryId>) {
    let mut by_value: Vec<(u32, u32)> = index
        .module_summaries(module)
        .filter_map(|id| Some((index.summary(SummaryId(id))?.value().0, id)))
        .collect();
    by_value.sort_unstable();
    table.reset();
    for &(value, id) in &by_value {
        let key = index.guid(ValueId(value)).0;
        if !table.insert(key, id) {
            // Hashes collide within a module: the later copy replaces the earlier.
            table.replace(key, id);
        }
    }
    let first = by_value.first().map(|&(value, _)| ValueId(value));
    (first, table.iter().map(SummaryId).collect())
}
