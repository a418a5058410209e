//! Many into one: the deterministic merge.
//!
//! In: [`IndexPart`]s, each with its own numbering of values, in the order in which their modules
//! are to stand. Out: one [`ModuleSummaryIndex`]. The result depends on the parts and their order
//! alone, not on the number of threads: values are numbered by their GUIDs, summaries by position.
//!
//! The work is bounded by memory traffic. All (GUID, place) pairs are dealt into buckets by the
//! top bits of the GUID, each bucket is sorted where it fits into the cache, and the ranks go back
//! to the places; then every part's records, references and calls are copied once, renumbered on
//! the way, into their final place.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};

use rayon::prelude::*;

use super::index::{Extras, Level, ModuleSummaryIndex, NO_VALUE, Names, Record, Tables};
use super::types::*;
use crate::error::{Error, Result};
use crate::ir::Guid;

/// The summaries of one file, as they were read and not yet merged into an index.
#[derive(Clone, Debug, Default)]
pub struct IndexPart {
    pub(super) modules: Vec<ModuleInfo>,
    pub(super) tables: Tables,
    pub(super) level: Level,
    /// Where the first summary block starts, in bits; `None` where it was not read from a file.
    pub(super) summary_at: Option<u64>,
}

impl IndexPart {
    /// The modules that it holds.
    pub fn modules(&self) -> &[ModuleInfo] {
        &self.modules
    }

    /// Forgets what it holds and keeps the room.
    pub(super) fn clear(&mut self) {
        self.modules.clear();
        self.tables.clear();
        self.level = Level::default();
        self.summary_at = None;
    }

    /// What it holds, in no more room than it takes; the room it had stays here.
    pub(super) fn take_compact(&mut self) -> Self {
        IndexPart {
            modules: std::mem::take(&mut self.modules),
            tables: self.tables.take_compact(),
            level: std::mem::take(&mut self.level),
            summary_at: self.summary_at.take(),
        }
    }

    /// Adds the modules of `other` behind its own; `other` is of no use any more but for its room.
    /// False, and nothing is changed, where that takes more than moving numbers up.
    pub(super) fn absorb(&mut self, other: &mut IndexPart) -> bool {
        if !self.can_be_joined() || !other.can_be_joined() {
            return false;
        }
        let (t, o) = (&mut self.tables, &mut other.tables);
        let (Ok(modules), Ok(slots), Ok(records), Ok(refs), Ok(calls)) = (
            u32::try_from(self.modules.len()),
            u32::try_from(t.guids.len()),
            u32::try_from(t.records.len()),
            u32::try_from(t.refs.len()),
            u32::try_from(t.callees.len()),
        ) else {
            return false;
        };
        let whole =
            (o.guids.len() as u64 + u64::from(slots)).max(o.refs.len() as u64 + u64::from(refs));
        if whole.max(o.callees.len() as u64 + u64::from(calls)) >= u64::from(Ref::LIMIT) {
            return false;
        }
        self.modules.append(&mut other.modules);
        t.guids.extend_from_slice(&o.guids);
        t.records.extend(o.records.iter().map(|r| Record {
            value: r.value + slots,
            module: r.module + modules,
            refs_end: r.refs_end + refs,
            calls_end: r.calls_end + calls,
            size: match r.kind() {
                SummaryKind::Alias if r.size != NO_VALUE => r.size + slots,
                _ => r.size,
            },
            ..*r
        }));
        t.refs.extend(o.refs.iter().map(|r| r.with_value(r.value().0 + slots)));
        t.callees.extend(o.callees.iter().map(|callee| callee + slots));
        t.call_infos.extend_from_slice(&o.call_infos);
        t.original_names.append(&o.original_names, records);
        t.entry_counts.append(&o.entry_counts, records);
        if let Some(mut extras) = o.extras.take() {
            extras.renumber_values(&|value| ValueId(value.0 + slots));
            extras.append_to(t.extras.get_or_insert_default(), records);
        }
        let (level, more) = (&mut self.level, &other.level);
        level.flags.insert(more.flags.0);
        level.block_count = level.block_count.saturating_add(more.block_count);
        level.full_lto &= more.full_lto;
        if more.version != 0 && (level.version == 0 || more.version < level.version) {
            level.version = more.version;
        }
        true
    }

    /// Whether it holds nothing that must be compared with what others hold.
    fn can_be_joined(&self) -> bool {
        let (t, l) = (&self.tables, &self.level);
        t.names.ends.is_empty()
            && t.rel_block_freqs.is_empty()
            && l.stack_ids.is_empty()
            && l.type_ids.is_empty()
            && l.type_id_vtables.is_empty()
            && l.cfi_function_defs.is_empty()
            && l.cfi_function_decls.is_empty()
            && !l.combined
            && !l.full_lto
    }

    /// How many summaries it holds.
    pub fn summary_count(&self) -> usize {
        self.tables.records.len()
    }

    /// The index-wide flags.
    pub fn flags(&self) -> IndexFlags {
        self.level.flags
    }

    /// Whether it was read from a combined index.
    pub fn is_combined(&self) -> bool {
        self.level.combined
    }

    /// Whether the summary came from a module meant for regular LTO.
    pub fn is_full_lto(&self) -> bool {
        self.level.full_lto
    }

    /// Renames its only module, as a linker does that knows a module under another name than
    /// that of its file. Of a combined index, nothing changes.
    pub fn set_path(&mut self, path: &[u8]) {
        if let [module] = self.modules.as_mut_slice() {
            module.path = path.into();
        }
    }
}

impl From<ModuleSummaryIndex> for IndexPart {
    fn from(index: ModuleSummaryIndex) -> Self {
        IndexPart {
            modules: index.modules,
            tables: index.tables,
            level: index.level,
            summary_at: None,
        }
    }
}

impl ModuleSummaryIndex {
    /// An index of the parts' modules in this order. Of a value that several modules define, each
    /// keeps its summary.
    ///
    /// # Errors
    /// Misuse where two modules have one path; unsupported where there is more than the dense
    /// numbers can tell apart (2^30 values, 2^32 references or calls).
    pub fn combine(parts: Vec<IndexPart>) -> Result<Self> {
        let mut index = build(parts)?;
        index.level.combined = true;
        Ok(index)
    }

    /// The index of one part alone.
    ///
    /// # Errors
    /// As [`ModuleSummaryIndex::combine`].
    pub fn from_part(part: IndexPart) -> Result<Self> {
        build(vec![part])
    }

    /// Adds the modules of other parts behind those that are there. To add many, hand them in at
    /// once: each call goes over the whole index.
    ///
    /// # Errors
    /// As [`ModuleSummaryIndex::combine`]; the index is then as it was.
    pub fn merge(&mut self, parts: Vec<IndexPart>) -> Result<()> {
        check_paths(self.modules.iter().chain(parts.iter().flat_map(|p| &p.modules)))?;
        let mut all = Vec::with_capacity(parts.len() + 1);
        all.push(IndexPart::from(std::mem::take(self)));
        all.extend(parts);
        *self = Self::combine(all)?;
        Ok(())
    }
}

fn check_paths<'m>(modules: impl Iterator<Item = &'m ModuleInfo>) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    for module in modules {
        if !seen.insert(&*module.path) {
            return Err(Error::misuse(format!(
                "module {} is there twice",
                String::from_utf8_lossy(&module.path)
            )));
        }
    }
    Ok(())
}

/// Where each part's numbers begin in the whole.
#[derive(Clone, Copy, Default)]
struct Offsets {
    modules: u32,
    slots: u32,
    records: u32,
    refs: u32,
    calls: u32,
}

fn offsets(parts: &[IndexPart]) -> Result<(Vec<Offsets>, Offsets)> {
    let mut all = Vec::with_capacity(parts.len());
    let mut at = Offsets::default();
    for part in parts {
        all.push(at);
        let t = &part.tables;
        let add = |total: u32, more: usize, limit: u32| {
            u32::try_from(more)
                .ok()
                .and_then(|more| total.checked_add(more))
                .filter(|&sum| sum < limit)
                .ok_or_else(|| Error::unsupported("more summaries than one index can hold"))
        };
        at = Offsets {
            modules: add(at.modules, part.modules.len(), u32::MAX)?,
            slots: add(at.slots, t.guids.len(), u32::MAX)?,
            records: add(at.records, t.records.len(), u32::MAX)?,
            refs: add(at.refs, t.refs.len(), u32::MAX)?,
            calls: add(at.calls, t.callees.len(), u32::MAX)?,
        };
    }
    Ok((all, at))
}

fn build(mut parts: Vec<IndexPart>) -> Result<ModuleSummaryIndex> {
    check_paths(parts.iter().flat_map(|p| &p.modules))?;
    let (starts, total) = offsets(&parts)?;
    let (guids, ranks) = number_values(&parts, total.slots as usize);
    if guids.len() >= Ref::LIMIT as usize {
        return Err(Error::unsupported("more values than one index can hold"));
    }
    let mut index = ModuleSummaryIndex {
        level: merge_levels(&mut parts, &starts, &ranks)?,
        ..Default::default()
    };
    index.tables.names = merge_names(&parts, &starts, &ranks, guids.len());
    index.tables.guids = guids;
    merge_sides(&mut parts, &starts, &ranks, &mut index.tables);
    for part in &mut parts {
        index.modules.append(&mut part.modules);
    }
    merge_records(parts, &starts, total, &ranks, &mut index.tables);
    index.module_ends = ends(index.tables.records.iter().map(|r| r.module), index.modules.len());
    index_copies(&mut index);
    index_guids(&mut index);
    Ok(index)
}

/// The rank of a slot, which is a value of a part.
struct Ranks(Vec<AtomicU32>);

impl Ranks {
    /// The ranks of one part's values.
    fn of(&self, start: Offsets, len: usize) -> &[AtomicU32] {
        let start = start.slots as usize;
        self.0.get(start..start + len).unwrap_or(&[])
    }
}

/// The new number of a part's value. Values that are out of range were refused by the reader.
#[inline]
fn rank(ranks: &[AtomicU32], value: u32) -> u32 {
    ranks.get(value as usize).map_or(NO_VALUE, |r| r.load(Ordering::Relaxed))
}

/// A GUID and the slot that it is for.
type Pair = (Guid, u32);

/// Numbers all GUIDs of all parts: the sorted GUIDs, and for each slot the position of its GUID.
fn number_values(parts: &[IndexPart], slots: usize) -> (Vec<Guid>, Ranks) {
    if let ([part], 0..SMALL) = (parts, slots) {
        return number_few_values(&part.tables.guids);
    }
    let ranks = Ranks((0..slots).map(|_| AtomicU32::new(0)).collect());
    // About two thousand pairs a bucket: 32 KB, which a core's own cache holds.
    let bits = (slots / 2048 + 1).ilog2().min(16);
    let buckets = 1usize << bits;
    let bucket_of = |guid: Guid| (guid.0.checked_shr(64 - bits).unwrap_or(0)) as usize;

    // Deal the parts' pairs into buckets, some parts at a time, so that several threads can.
    let per_chunk = parts.len().div_ceil(rayon::current_num_threads() * 4).max(1);
    let mut first_slot = 0u32;
    let chunks: Vec<(u32, &[IndexPart])> = parts
        .chunks(per_chunk)
        .map(|chunk| {
            let start = first_slot;
            first_slot += chunk.iter().map(|p| p.tables.guids.len() as u32).sum::<u32>();
            (start, chunk)
        })
        .collect();
    let dealt: Vec<(Vec<u32>, Vec<Pair>)> = chunks
        .par_iter()
        .map(|&(start, chunk)| {
            let guids = || chunk.iter().flat_map(|p| p.tables.guids.iter().copied());
            let mut places = vec![0u32; buckets + 1];
            for guid in guids() {
                if let Some(count) = places.get_mut(bucket_of(guid) + 1) {
                    *count += 1;
                }
            }
            let mut sum = 0;
            for place in &mut places {
                sum += *place;
                *place = sum;
            }
            let mut pairs = vec![(Guid(0), 0u32); sum as usize];
            let mut next = places.clone();
            for (guid, slot) in guids().zip(start..) {
                if let Some(at) = next.get_mut(bucket_of(guid)) {
                    if let Some(pair) = pairs.get_mut(*at as usize) {
                        *pair = (guid, slot);
                    }
                    *at += 1;
                }
            }
            (places, pairs)
        })
        .collect();

    // Sort each bucket; a rank is then the bucket's first plus the position in it.
    let sorted: Vec<(Vec<Guid>, Vec<Pair>)> = (0..buckets)
        .into_par_iter()
        .map(|bucket| {
            let mut pairs = Vec::new();
            for (places, all) in &dealt {
                if let Some(&[start, end]) = places.get(bucket..bucket + 2) {
                    pairs.extend_from_slice(all.get(start as usize..end as usize).unwrap_or(&[]));
                }
            }
            sort_pairs(&mut pairs, bits);
            let mut guids: Vec<Guid> = pairs.iter().map(|&(guid, _)| guid).collect();
            guids.dedup();
            (guids, pairs)
        })
        .collect();
    drop(dealt);
    let mut first = 0u32;
    let firsts: Vec<u32> = sorted
        .iter()
        .map(|(guids, _)| {
            first += guids.len() as u32;
            first - guids.len() as u32
        })
        .collect();
    sorted.par_iter().zip(&firsts).for_each(|((_, pairs), &first)| {
        let mut number = first;
        let mut last = None;
        for &(guid, slot) in pairs {
            if last.is_some_and(|last| last != guid) {
                number += 1;
            }
            last = Some(guid);
            if let Some(rank) = ranks.0.get(slot as usize) {
                rank.store(number, Ordering::Relaxed);
            }
        }
    });
    let mut guids = Vec::with_capacity(first as usize);
    for (bucket, _) in sorted {
        guids.extend(bucket);
    }
    (guids, ranks)
}

/// Sorts the pairs of a bucket, whose GUIDs are the same in their first `bits`: dealt by the next
/// ten bits they are nearly in place.
fn sort_pairs(pairs: &mut [Pair], bits: u32) {
    const DIGIT: u32 = 10;
    let digit = |guid: Guid| {
        (guid.0.checked_shr(64 - DIGIT - bits).unwrap_or(0) & ((1 << DIGIT) - 1)) as usize
    };
    let mut next = [0u32; (1 << DIGIT) + 1];
    for &(guid, _) in pairs.iter() {
        if let Some(count) = next.get_mut(digit(guid) + 1) {
            *count += 1;
        }
    }
    let mut sum = 0;
    for place in &mut next {
        sum += *place;
        *place = sum;
    }
    let dealt = pairs.to_vec();
    for &pair in &dealt {
        if let Some(at) = next.get_mut(digit(pair.0)) {
            if let Some(place) = pairs.get_mut(*at as usize) {
                *place = pair;
            }
            *at += 1;
        }
    }
    let mut start = 0;
    for end in next {
        match pairs.get_mut(start..end as usize) {
            Some([] | [_]) | None => {}
            Some([a, b]) => {
                if a > b {
                    std::mem::swap(a, b);
                }
            }
            Some(same) => same.sort_unstable(),
        }
        start = end as usize;
    }
}

/// So few values are numbered sooner by one thread.
const SMALL: usize = 4096;

fn number_few_values(of_slots: &[Guid]) -> (Vec<Guid>, Ranks) {
    let mut guids = of_slots.to_vec();
    guids.sort_unstable();
    guids.dedup();
    let rank = |guid| guids.binary_search(guid).unwrap_or(0) as u32;
    let ranks = of_slots.iter().map(|guid| AtomicU32::new(rank(guid))).collect();
    (guids, Ranks(ranks))
}

/// Copies records, references and calls to their final places.
fn merge_records(
    parts: Vec<IndexPart>,
    starts: &[Offsets],
    total: Offsets,
    ranks: &Ranks,
    out: &mut Tables,
) {
    let has_frequencies = parts.iter().any(|p| !p.tables.rel_block_freqs.is_empty());
    let empty = Record {
        value: 0,
        module: 0,
        refs_end: 0,
        calls_end: 0,
        size: 0,
        flags: GvFlags(0),
        bits: 0,
    };
    out.records = vec![empty; total.records as usize];
    out.refs = vec![Ref::new(ValueId(0)); total.refs as usize];
    out.callees = vec![0; total.calls as usize];
    out.call_infos = vec![CallInfo(0); total.calls as usize];
    out.rel_block_freqs = vec![0; if has_frequencies { total.calls as usize } else { 0 }];

    // Each part's own piece of every table, so that the parts can be copied side by side.
    let mut places = Vec::with_capacity(parts.len());
    let (mut records, mut refs) = (&mut *out.records, &mut *out.refs);
    let (mut callees, mut infos) = (&mut *out.callees, &mut *out.call_infos);
    let mut frequencies = &mut *out.rel_block_freqs;
    for (part, start) in parts.into_iter().zip(starts) {
        let calls = part.tables.callees.len();
        places.push(Place {
            records: take_front(&mut records, part.tables.records.len()),
            refs: take_front(&mut refs, part.tables.refs.len()),
            callees: take_front(&mut callees, calls),
            infos: take_front(&mut infos, calls),
            frequencies: take_front(&mut frequencies, if has_frequencies { calls } else { 0 }),
            ranks: ranks.of(*start, part.tables.guids.len()),
            start: *start,
            part,
        });
    }
    if places.len() == 1 {
        places.into_iter().for_each(Place::fill);
    } else {
        places.into_par_iter().for_each(Place::fill);
    }
}

fn take_front<'s, T>(rest: &mut &'s mut [T], len: usize) -> &'s mut [T] {
    let whole = std::mem::take(rest);
    let (front, back) = whole.split_at_mut(len.min(whole.len()));
    *rest = back;
    front
}

/// A part, and where in the whole its content goes.
struct Place<'o> {
    part: IndexPart,
    start: Offsets,
    ranks: &'o [AtomicU32],
    records: &'o mut [Record],
    refs: &'o mut [Ref],
    callees: &'o mut [u32],
    infos: &'o mut [CallInfo],
    frequencies: &'o mut [u32],
}

impl Place<'_> {
    fn fill(self) {
        let t = &self.part.tables;
        for (to, from) in self.records.iter_mut().zip(&t.records) {
            *to = Record {
                value: rank(self.ranks, from.value),
                module: from.module + self.start.modules,
                refs_end: from.refs_end + self.start.refs,
                calls_end: from.calls_end + self.start.calls,
                size: match from.kind() {
                    SummaryKind::Alias if from.size != NO_VALUE => rank(self.ranks, from.size),
                    _ => from.size,
                },
                ..*from
            };
        }
        for (to, from) in self.refs.iter_mut().zip(&t.refs) {
            *to = from.with_value(rank(self.ranks, from.value().0));
        }
        for (to, from) in self.callees.iter_mut().zip(&t.callees) {
            *to = rank(self.ranks, *from);
        }
        for (to, from) in self.infos.iter_mut().zip(&t.call_infos) {
            *to = *from;
        }
        for (to, from) in self.frequencies.iter_mut().zip(&t.rel_block_freqs) {
            *to = *from;
        }
    }
}

/// Appends what stands beside the records.
fn merge_sides(parts: &mut [IndexPart], starts: &[Offsets], ranks: &Ranks, out: &mut Tables) {
    out.original_names.reserve(parts.iter().map(|p| p.tables.original_names.len()).sum());
    out.entry_counts.reserve(parts.iter().map(|p| p.tables.entry_counts.len()).sum());
    for (part, start) in parts.iter_mut().zip(starts) {
        let t = &mut part.tables;
        out.original_names.append(&t.original_names, start.records);
        out.entry_counts.append(&t.entry_counts, start.records);
        if let Some(mut extras) = t.extras.take() {
            let ranks = ranks.of(*start, t.guids.len());
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

    fn append_to(self, out: &mut Extras, offset: u32) {
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
fn merge_names(parts: &[IndexPart], starts: &[Offsets], ranks: &Ranks, values: usize) -> Names {
    let mut names = Names::default();
    if parts.iter().all(|p| p.tables.names.ends.is_empty()) {
        return names;
    }
    let mut by_value: Vec<&[u8]> = vec![&[]; values];
    for (part, start) in parts.iter().zip(starts) {
        for (slot, new) in ranks.of(*start, part.tables.guids.len()).iter().enumerate() {
            let name = part.tables.names.get(slot);
            if let Some(known @ []) = by_value.get_mut(new.load(Ordering::Relaxed) as usize) {
                *known = name;
            }
        }
    }
    by_value.into_iter().for_each(|name| names.push(name));
    names
}

fn merge_levels(parts: &mut [IndexPart], starts: &[Offsets], ranks: &Ranks) -> Result<Level> {
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
        let ranks = ranks.of(*start, part.tables.guids.len());
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

/// Where each of `count` groups ends, for group numbers in rising order.
fn ends(groups: impl Iterator<Item = u32>, count: usize) -> Vec<u32> {
    let mut ends = vec![0u32; count];
    for group in groups {
        if let Some(size) = ends.get_mut(group as usize) {
            *size += 1;
        }
    }
    let mut sum = 0;
    for end in &mut ends {
        sum += *end;
        *end = sum;
    }
    ends
}

/// Lists the summaries of every value.
fn index_copies(index: &mut ModuleSummaryIndex) {
    let records = &index.tables.records;
    let ends = ends(records.iter().map(|r| r.value), index.tables.guids.len());
    let mut copies = vec![SummaryId(0); records.len()];
    // Filled from behind: the end of a value moves down to its start, and up again below.
    let mut next = ends.clone();
    for (id, record) in (0..records.len() as u32).zip(records).rev() {
        if let Some(at) = next.get_mut(record.value as usize) {
            *at = at.saturating_sub(1);
            if let Some(slot) = copies.get_mut(*at as usize) {
                *slot = SummaryId(id);
            }
        }
    }
    index.copy_ends = ends;
    index.copies = copies;
}

/// Notes where the GUIDs with given top bits start, a handful for each.
fn index_guids(index: &mut ModuleSummaryIndex) {
    let guids = &index.tables.guids;
    let bits = (guids.len() / 4 + 1).ilog2();
    index.guid_shift = 64 - bits;
    let bucket = |guid: &Guid| guid.0.checked_shr(64 - bits).unwrap_or(0) as u32;
    let mut starts = vec![0];
    starts.extend(ends(guids.iter().map(bucket), 1 << bits));
    index.guid_starts = starts;
}
