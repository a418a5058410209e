//! Many into one: the deterministic merge.
//!
//! In: [`IndexPart`]s, each with its own numbering of values, in the order in which their modules
//! are to stand. Out: one [`ModuleSummaryIndex`]. The result depends on the parts and their order
//! alone, not on the number of threads: values are numbered by their GUIDs, summaries by position.
//!
//! The work is bounded by memory traffic. Every part's records, references and calls are copied
//! once, renumbered on the way (`number`), into their final place.

use std::sync::atomic::AtomicU32;

use rayon::prelude::*;

use super::arrays::{NO_VALUE, Record, Tables};
use super::excerpt::Excerpt;
use super::index::ModuleSummaryIndex;
use super::merge_rare::{merge_levels, merge_names, merge_rare};
use super::number::{Ranks, number_values, rank};
use super::part::IndexPart;
use super::read::Room;
use super::types::*;
use crate::error::{Error, Result};
use crate::ir::Guid;

/// From how many summaries on another thread is worth its being woken, which takes longer than to read
/// one function of a lazy index.
const WORTH_A_THREAD: u32 = 10_000;

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
pub(super) struct Offsets {
    modules: u32,
    pub(super) slots: u32,
    pub(super) records: u32,
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
    if total.records > WORTH_A_THREAD {
        Room::let_go();
        Excerpt::let_go_of_buffer();
    }
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
    for part in &mut parts {
        index.modules.append(&mut part.modules);
    }
    merge_rare(&mut parts, &starts, &ranks, &mut index.tables);
    merge_records(parts, &starts, total, &ranks, &mut index.tables);
    let (tables, modules) = (&index.tables, index.modules.len());
    let list_copies = || copies(tables);
    let list_starts =
        || (ends(tables.records.iter().map(|r| r.module), modules), starts_of_guids(&tables.guids));
    let (copies, (module_ends, guids)) = match total.records < WORTH_A_THREAD {
        true => (list_copies(), list_starts()),
        false => rayon::join(list_copies, list_starts),
    };
    (index.copy_ends, index.copies) = copies;
    index.module_ends = module_ends;
    (index.guid_shift, index.guid_starts) = guids;
    Ok(index)
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
            ranks: ranks.of(start.slots, part.tables.guids.len()),
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

/// The summaries of every value: where each value's end, and all of them.
fn copies(tables: &Tables) -> (Vec<u32>, Vec<SummaryId>) {
    let records = &tables.records;
    let ends = ends(records.iter().map(|r| r.value), tables.guids.len());
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
    (ends, copies)
}

/// Where the GUIDs with given top bits start, a handful for each, and how far others are shifted out.
fn starts_of_guids(guids: &[Guid]) -> (u32, Vec<u32>) {
    let bits = (guids.len() / 4 + 1).ilog2();
    let bucket = |guid: &Guid| guid.0.checked_shr(64 - bits).unwrap_or(0) as u32;
    let mut starts = vec![0];
    starts.extend(ends(guids.iter().map(bucket), 1 << bits));
    (64 - bits, starts)
}
