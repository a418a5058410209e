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
        let by_value = by_value(index);
        let per_module: Vec<(Option<ValueId>, Vec<SummaryId>)> = (0..count as u32)
            .into_par_iter()
            .map_init(DenseTable::default, |table, module| {
                let range = index.module_summaries(ModuleId(module));
                let range = range.start as usize..range.end as usize;
                defined_in_order(index, by_value.get(range).unwrap_or(&[]), table)
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

/// The summaries of each module, with their values, in the order of these; those of a module stand
/// where its numbers of summaries are.
fn by_value(index: &ModuleSummaryIndex) -> Vec<(u32, u32)> {
    let mut next: Vec<u32> = (0..index.modules().len() as u32)
        .map(|module| index.module_summaries(ModuleId(module)).start)
        .collect();
    let mut all = vec![(0, 0); index.summary_count()];
    // Copies of a value rise, too.
    for value in 0..index.guids().len() as u32 {
        for &id in index.copies(ValueId(value)) {
            let module = index.summary(id).map_or(usize::MAX, |summary| summary.module().index());
            let Some(next) = next.get_mut(module) else { continue };
            if let Some(place) = all.get_mut(*next as usize) {
                *place = (value, id.0);
            }
            *next += 1;
        }
    }
    all
}

/// The least value that a module defines, and its summaries in the order of LLVM's table, where
/// they come by value.
fn defined_in_order(
    index: &ModuleSummaryIndex,
    by_value: &[(u32, u32)],
    table: &mut DenseTable<u64>,
) -> (Option<ValueId>, Vec<SummaryId>) {
    table.reset();
    for &(value, id) in by_value {
        let key = index.guid(ValueId(value)).0;
        if !table.insert(key, id) {
            // Hashes collide within a module: the later copy replaces the earlier.
            table.replace(key, id);
        }
    }
    let first = by_value.first().map(|&(value, _)| ValueId(value));
    (first, table.iter().map(SummaryId).collect())
}
