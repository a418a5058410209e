//! The arrays that an index is made of.
//!
//! In: nothing but what `read` and `combine` put into them. Out: the same. What they mean is
//! [`ModuleSummaryIndex`](super::ModuleSummaryIndex)'s matter, whose head describes the shape.

use std::ops::Range;

use super::side::{Side, SideLists};
use super::types::*;
use crate::ir::Guid;

/// No value: the aliasee of an alias that a distributed index holds without it.
pub(super) const NO_VALUE: u32 = u32::MAX;

/// The part of a summary that every summary has. 24 bytes: there are millions of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) value: u32,
    pub(super) module: u32,
    /// Where its references end; they start where those of the record before end.
    pub(super) refs_end: u32,
    /// Where its calls end.
    pub(super) calls_end: u32,
    /// A function's instruction count, an alias's aliasee (a value, or [`NO_VALUE`]).
    pub(super) size: u32,
    pub(super) flags: GvFlags,
    /// The kind in bits 14 and 15, whether a rare part exists in bit 13, whether the record gave
    /// block frequencies in bit 12, the flags of a function or variable below.
    pub(super) bits: u16,
}

impl Record {
    pub(super) const HAS_EXTRAS: u16 = 1 << 13;
    pub(super) const HAS_FREQUENCIES: u16 = 1 << 12;
    pub(super) const FLAGS: u16 = Self::HAS_FREQUENCIES - 1;

    pub(super) fn bits(kind: SummaryKind, flags: u16) -> u16 {
        (kind as u16) << 14 | flags & Self::FLAGS
    }

    #[inline]
    pub(super) fn kind(&self) -> SummaryKind {
        match self.bits >> 14 {
            1 => SummaryKind::Function,
            2 => SummaryKind::Variable,
            _ => SummaryKind::Alias,
        }
    }
}

/// What few summaries have, by summary.
#[derive(Clone, Debug, Default)]
pub(super) struct Extras {
    pub(super) type_tests: SideLists<Guid>,
    pub(super) type_test_assume_vcalls: SideLists<VFuncId>,
    pub(super) type_checked_load_vcalls: SideLists<VFuncId>,
    pub(super) type_test_assume_const_vcalls: SideLists<ConstVCall>,
    pub(super) type_checked_load_const_vcalls: SideLists<ConstVCall>,
    pub(super) param_accesses: SideLists<ParamAccess>,
    pub(super) callsites: SideLists<CallsiteInfo>,
    pub(super) allocs: SideLists<AllocInfo>,
    pub(super) vtable_funcs: SideLists<VirtFuncOffset>,
}

/// Names of values, where asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) bytes: Vec<u8>,
    /// Where the name of each value ends in `bytes`.
    pub(super) ends: Vec<u32>,
}

impl Names {
    pub(super) fn get(&self, value: usize) -> &[u8] {
        let start = value.checked_sub(1).and_then(|i| self.ends.get(i)).copied().unwrap_or(0);
        let end = self.ends.get(value).copied().unwrap_or(start);
        self.bytes.get(start as usize..end as usize).unwrap_or(&[])
    }

    pub(super) fn push(&mut self, name: &[u8]) {
        self.bytes.extend_from_slice(name);
        self.ends.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
    }
}

/// The tables of summaries, which a part that was just read and a whole index share. In a part
/// the values stand in any order.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    pub(super) guids: Vec<Guid>,
    /// Empty where names were not asked for.
    pub(super) names: Names,
    /// Sorted by module.
    pub(super) records: Vec<Record>,
    pub(super) refs: Vec<Ref>,
    pub(super) callees: Vec<u32>,
    pub(super) call_infos: Vec<CallInfo>,
    /// Relative block frequencies of the calls; empty where no record gives them.
    pub(super) rel_block_freqs: Vec<u32>,
    pub(super) original_names: Side<Guid>,
    pub(super) entry_counts: Side<u64>,
    pub(super) extras: Option<Box<Extras>>,
}

impl Tables {
    #[inline]
    pub(super) fn refs_of(&self, id: usize) -> Range<usize> {
        let start = id.checked_sub(1).and_then(|i| self.records.get(i)).map_or(0, |r| r.refs_end);
        let end = self.records.get(id).map_or(start, |r| r.refs_end);
        start as usize..end as usize
    }

    #[inline]
    pub(super) fn calls_of(&self, id: usize) -> Range<usize> {
        let start = id.checked_sub(1).and_then(|i| self.records.get(i)).map_or(0, |r| r.calls_end);
        let end = self.records.get(id).map_or(start, |r| r.calls_end);
        start as usize..end as usize
    }

    /// Forgets what it holds and keeps the room.
    pub(super) fn clear(&mut self) {
        self.guids.clear();
        self.names = Names::default();
        self.records.clear();
        self.refs.clear();
        self.callees.clear();
        self.call_infos.clear();
        self.rel_block_freqs.clear();
        self.original_names.clear();
        self.entry_counts.clear();
        if let Some(extras) = &mut self.extras {
            extras.clear();
        }
    }

    /// What it holds, in no more room than it takes; this keeps the room it had, and nothing that
    /// is of use.
    pub(super) fn take_compact(&mut self) -> Self {
        Tables {
            guids: self.guids.clone(),
            names: std::mem::take(&mut self.names),
            records: self.records.clone(),
            refs: self.refs.clone(),
            callees: self.callees.clone(),
            call_infos: self.call_infos.clone(),
            rel_block_freqs: self.rel_block_freqs.clone(),
            original_names: self.original_names.clone(),
            entry_counts: self.entry_counts.clone(),
            extras: self.extras.as_deref_mut().and_then(Extras::take_compact).map(Box::new),
        }
    }
}

/// What an index holds beside its summaries.
#[derive(Clone, Debug, Default)]
pub(super) struct Level {
    pub(super) flags: IndexFlags,
    pub(super) block_count: u64,
    pub(super) stack_ids: Vec<u64>,
    /// Sorted by GUID.
    pub(super) type_ids: Vec<TypeIdSummary>,
    /// Sorted by name.
    pub(super) type_id_vtables: Vec<TypeIdCompatibleVtables>,
    /// Sorted.
    pub(super) cfi_function_defs: Vec<CfiFunction>,
    /// Sorted.
    pub(super) cfi_function_decls: Vec<CfiFunction>,
    /// Whether it was read from a combined index or made of several.
    pub(super) combined: bool,
    /// Whether the block was FULL_LTO_GLOBALVAL_SUMMARY.
    pub(super) full_lto: bool,
    /// The version of the summary block that was read; the oldest where there were several.
    pub(super) version: u64,
    /// LLVM's major version that wrote the module; the newest where there are several.
    pub(super) newest_llvm: Option<u32>,
    /// Whether all is known of type identifiers that regular LTO has to say.
    pub(super) types_resolved: bool,
}
