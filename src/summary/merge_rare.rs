//! What stands beside records, references and calls, of many parts made one.
//!
//! In: parts, where their numbers begin in the whole, and the new numbers of their values. Out: one
//! table each of names, of rare things by summary, and of what an index says of itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::Ordering;

use super::arrays::{Extras, Level, Names, Tables};
use super::combine::Offsets;
use super::number::{Ranks, rank};
use super::part::IndexPart;
use super::types::*;
use crate::error::Result;
use crate::ir::Guid;

/// Appends what stands beside the records.
pub(super) fn merge_rare(
    parts: &mut [IndexPart],
    starts: &[Offsets],
    ranks: &Ranks,
    out: &mut Tables,
) {
    out.original_names.reserve(parts.iter().map(|p| p.tables.original_names.len()).sum());
    out.entry_counts.reserve(parts.iter().map(|p| p.tables.entry_counts.len()).sum());
    for (part, start) in parts.iter_mut().zip(starts) {
        let t = &mut part.tables;
        out.original_names.append(&t.original_names, start.records);
        out.entry_counts.append(&t.entry_counts, start.records);
        if let Some(mut extras) = t.extras.take().filter(|extras| !extras.is_empty()) {
            let ranks = ranks.of(start.slots, t.guids.len());
            extras.renumber_values(&|value| ValueId(rank(ranks, value.0)));
            extras.append_to(out.extras.get_or_insert_default(), start.records);
        }
    }
}

impl Extras {
    /// Gives every value mentioned its new number.
    pub(super) fn renumber_values(&mut self, new: &dyn Fn(ValueId) -> ValueId) {
        for access in self.param_accesses.items_mut() {
            for call in &mut access.calls {
                call.callee = new(call.callee);
            }
        }
        for site in self.callsites.items_mut() {
            site.callee = site.callee.map(new);
        }
        for function in self.vtable_funcs.items_mut() {
            function.function = new(function.function);
        }
    }

    /// Gives every stack id its new position.
    fn renumber_stack_ids(&mut self, new: &[u32]) {
        let renumber = |ids: &mut [u32]| {
            for id in ids {
                *id = new.get(*id as usize).copied().unwrap_or(0);
            }
        };
        for site in self.callsites.items_mut() {
            renumber(&mut site.stack_ids);
        }
        for alloc in self.allocs.items_mut() {
            alloc.mibs.iter_mut().for_each(|mib| renumber(&mut mib.stack_ids));
        }
    }

    /// Moves all of it behind what `out` holds; its own room stays.
    pub(super) fn append_to(&mut self, out: &mut Extras, offset: u32) {
        let Extras {
            type_tests,
            type_test_assume_vcalls,
            type_checked_load_vcalls,
            type_test_assume_const_vcalls,
            type_checked_load_const_vcalls,
            param_accesses,
            callsites,
            allocs,
            vtable_funcs,
        } = self;
        out.type_tests.append(type_tests, offset);
        out.type_test_assume_vcalls.append(type_test_assume_vcalls, offset);
        out.type_checked_load_vcalls.append(type_checked_load_vcalls, offset);
        out.type_test_assume_const_vcalls.append(type_test_assume_const_vcalls, offset);
        out.type_checked_load_const_vcalls.append(type_checked_load_const_vcalls, offset);
        out.param_accesses.append(param_accesses, offset);
        out.callsites.append(callsites, offset);
        out.allocs.append(allocs, offset);
        out.vtable_funcs.append(vtable_funcs, offset);
    }

    /// Whether no summary has any of it.
    pub(super) fn is_empty(&self) -> bool {
        let Extras {
            type_tests,
            type_test_assume_vcalls,
            type_checked_load_vcalls,
            type_test_assume_const_vcalls,
            type_checked_load_const_vcalls,
            param_accesses,
            callsites,
            allocs,
            vtable_funcs,
        } = self;
        type_tests.is_empty()
            && type_test_assume_vcalls.is_empty()
            && type_checked_load_vcalls.is_empty()
            && type_test_assume_const_vcalls.is_empty()
            && type_checked_load_const_vcalls.is_empty()
            && param_accesses.is_empty()
            && callsites.is_empty()
            && allocs.is_empty()
            && vtable_funcs.is_empty()
    }

    /// Forgets what it holds and keeps the room.
    pub(super) fn clear(&mut self) {
        let Extras {
            type_tests,
            type_test_assume_vcalls,
            type_checked_load_vcalls,
            type_test_assume_const_vcalls,
            type_checked_load_const_vcalls,
            param_accesses,
            callsites,
            allocs,
            vtable_funcs,
        } = self;
        type_tests.clear();
        type_test_assume_vcalls.clear();
        type_checked_load_vcalls.clear();
        type_test_assume_const_vcalls.clear();
        type_checked_load_const_vcalls.clear();
        param_accesses.clear();
        callsites.clear();
        allocs.clear();
        vtable_funcs.clear();
    }

    /// What it holds, if anything, in no more room than it takes; the room it had stays here.
    pub(super) fn take_compact(&mut self) -> Option<Extras> {
        if self.is_empty() {
            return None;
        }
        let mut out = Extras::default();
        out.type_tests.reserve(self.type_tests.size());
        out.type_test_assume_vcalls.reserve(self.type_test_assume_vcalls.size());
        out.type_checked_load_vcalls.reserve(self.type_checked_load_vcalls.size());
        out.type_test_assume_const_vcalls.reserve(self.type_test_assume_const_vcalls.size());
        out.type_checked_load_const_vcalls.reserve(self.type_checked_load_const_vcalls.size());
        out.param_accesses.reserve(self.param_accesses.size());
        out.callsites.reserve(self.callsites.size());
        out.allocs.reserve(self.allocs.size());
        out.vtable_funcs.reserve(self.vtable_funcs.size());
        self.append_to(&mut out, 0);
        Some(out)
    }

    /// The same content under other summary numbers: the n-th new one is the old one `order[n]`.
    pub(super) fn reorder(&self, order: &[u32]) -> Extras {
        Extras {
            type_tests: self.type_tests.reorder(order),
            type_test_assume_vcalls: self.type_test_assume_vcalls.reorder(order),
            type_checked_load_vcalls: self.type_checked_load_vcalls.reorder(order),
            type_test_assume_const_vcalls: self.type_test_assume_const_vcalls.reorder(order),
            type_checked_load_const_vcalls: self.type_checked_load_const_vcalls.reorder(order),
            param_accesses: self.param_accesses.reorder(order),
            callsites: self.callsites.reorder(order),
            allocs: self.allocs.reorder(order),
            vtable_funcs: self.vtable_funcs.reorder(order),
        }
    }
}

/// Names go by value; the first part that knows one tells.
pub(super) fn merge_names(
    parts: &[IndexPart],
    starts: &[Offsets],
    ranks: &Ranks,
    values: usize,
) -> Names {
    let mut names = Names::default();
    if parts.iter().all(|p| p.tables.names.ends.is_empty()) {
        return names;
    }
    let mut by_value: Vec<&[u8]> = vec![&[]; values];
    for (part, start) in parts.iter().zip(starts) {
        for (slot, new) in ranks.of(start.slots, part.tables.guids.len()).iter().enumerate() {
            let name = part.tables.names.get(slot);
            if let Some(known @ []) = by_value.get_mut(new.load(Ordering::Relaxed) as usize) {
                *known = name;
            }
        }
    }
    by_value.into_iter().for_each(|name| names.push(name));
    names
}

pub(super) fn merge_levels(
    parts: &mut [IndexPart],
    starts: &[Offsets],
    ranks: &Ranks,
) -> Result<Level> {
    let mut out = Level { full_lto: !parts.is_empty(), ..Level::default() };
    let mut stack_id_places: HashMap<u64, u32> = HashMap::new();
    let mut type_ids: BTreeMap<(Guid, Box<[u8]>), TypeIdSummary> = BTreeMap::new();
    let mut vtables: BTreeMap<Box<[u8]>, Vec<(u64, ValueId)>> = BTreeMap::new();
    let mut defs = BTreeSet::new();
    let mut decls = BTreeSet::new();
    for (part, start) in parts.iter_mut().zip(starts) {
        let level = std::mem::take(&mut part.level);
        out.flags.insert(level.flags.0);
        out.block_count = out.block_count.saturating_add(level.block_count);
        out.combined |= level.combined;
        out.full_lto &= level.full_lto;
        out.newest_llvm = out.newest_llvm.max(level.newest_llvm);
        if level.version != 0 && (out.version == 0 || level.version < out.version) {
            out.version = level.version;
        }
        if !level.stack_ids.is_empty() {
            let mut places = Vec::with_capacity(level.stack_ids.len());
            for id in level.stack_ids {
                let next = out.stack_ids.len() as u32;
                let place = *stack_id_places.entry(id).or_insert(next);
                if place == next {
                    out.stack_ids.push(id);
                }
                places.push(place);
            }
            if let Some(extras) = &mut part.tables.extras {
                extras.renumber_stack_ids(&places);
            }
        }
        for id in level.type_ids {
            match type_ids.entry((id.guid, id.name.clone())) {
                std::collections::btree_map::Entry::Vacant(place) => {
                    place.insert(id);
                }
                std::collections::btree_map::Entry::Occupied(mut place) => {
                    place.get_mut().update(id);
                }
            }
        }
        let ranks = ranks.of(start.slots, part.tables.guids.len());
        for id in level.type_id_vtables {
            let new = id.vtables.into_iter().map(|(at, v)| (at, ValueId(rank(ranks, v.0))));
            vtables.entry(id.name).or_default().extend(new);
        }
        defs.extend(level.cfi_function_defs);
        decls.extend(level.cfi_function_decls);
    }
    out.type_ids = type_ids.into_values().collect();
    out.type_id_vtables = vtables
        .into_iter()
        .map(|(name, vtables)| TypeIdCompatibleVtables { name, vtables })
        .collect();
    out.cfi_function_defs = defs.into_iter().collect();
    out.cfi_function_decls = decls.into_iter().collect();
    Ok(out)
}

impl TypeIdSummary {
    /// What a later file says of the same type identifier goes over what an earlier one said.
    pub(super) fn update(&mut self, later: TypeIdSummary) {
        self.type_test = later.type_test;
        for (offset, resolution) in later.devirtualization {
            match self.devirtualization.binary_search_by_key(&offset, |(at, _)| *at) {
                Ok(at) => {
                    if let Some(slot) = self.devirtualization.get_mut(at) {
                        slot.1 = resolution;
                    }
                }
                Err(at) => self.devirtualization.insert(at, (offset, resolution)),
            }
        }
    }
}
