//! Which summaries are live, and where indirect calls go.
//!
//! In: the index and the [`Facts`]. Out: [`IndirectCalls`] and [`Liveness`]. It must not know
//! what is imported.
//!
//! Source: `computeDeadSymbolsAndUpdateIndirectCalls` and `updateValueInfoForIndirectCalls` in
//! FunctionImport.cpp.

use rayon::prelude::*;
use std::collections::{HashMap, HashSet};

use super::bits::{AtomicBits, Bits};
use super::facts::{Facts, Prevailing};
use super::options::ThinLinkOptions;
use crate::error::{Error, Result};
use crate::ir::{Guid, Linkage};
use crate::summary::{IndexFlags, ModuleSummaryIndex, Summary, SummaryId, SummaryKind, ValueId};

/// Calls whose callee nothing defines, but by which one local function of that name may be meant:
/// a profile knows a local function by its original name. LLVM changes the edges in the index;
/// we keep a table from callee to callee, empty in many links.
#[derive(Clone, Debug, Default)]
pub struct IndirectCalls {
    targets: HashMap<u32, u32>,
    /// Summaries whose calls LLVM leaves alone: it stops at the first live copy of a value.
    untouched: HashSet<u32>,
}

/// Local values that calls of their original names may mean, with the GUIDs of those names.
pub(super) struct Candidates(Vec<(Guid, ValueId)>);

impl Candidates {
    /// Finds them.
    pub(super) fn find(index: &ModuleSummaryIndex) -> Self {
        // Only of local values is the name another than what the GUID is made of; and of those
        // only names count that are mentioned but not defined, which are few.
        let candidate = |id| {
            let summary = index.summary(SummaryId(id))?;
            if !summary.flags().linkage().is_local() {
                return None;
            }
            let original = summary.original_name().filter(|&name| name != Guid(0))?;
            let mentioned = index.find(original)?;
            let only_mentioned = index.copies(mentioned).is_empty();
            (only_mentioned && original != summary.guid()).then_some((original, summary.value()))
        };
        let all = (0..index.summary_count() as u32).into_par_iter().with_min_len(4096);
        Candidates(all.filter_map(candidate).collect())
    }
}

impl IndirectCalls {
    /// Finds the callees that are to be replaced.
    pub fn find(index: &ModuleSummaryIndex, facts: &Facts, options: &ThinLinkOptions) -> Self {
        Self::among(index, Candidates::find(index), facts, options)
    }

    /// As [`IndirectCalls::find`], with what was found without the facts.
    pub(super) fn among(
        index: &ModuleSummaryIndex,
        candidates: Candidates,
        facts: &Facts,
        options: &ThinLinkOptions,
    ) -> Self {
        // From the GUID of an original name to the value of its only local; `None` for several.
        let mut locals: HashMap<Guid, Option<ValueId>> = HashMap::new();
        for (original, value) in candidates.0 {
            locals
                .entry(original)
                .and_modify(|known| {
                    if *known != Some(value) {
                        *known = None;
                    }
                })
                .or_insert(Some(value));
        }
        let mut targets = HashMap::new();
        for (original, target) in locals {
            let (Some(from), Some(to)) = (index.find(original), target) else { continue };
            let variable =
                |id: &_| index.summary(*id).is_some_and(|s| s.kind() == SummaryKind::Variable);
            if !index.copies(to).iter().any(variable) {
                targets.insert(from.0, to.0);
            }
        }
        let mut untouched = HashSet::new();
        if !targets.is_empty() && options.compute_dead && facts.any_preserved {
            for value in (0..index.guids().len() as u32).map(ValueId) {
                let copies = index.copies(value);
                if copies.len() < 2 {
                    continue;
                }
                let is_root = |id: &SummaryId| {
                    facts.preserved.get(value.index())
                        || index.summary(*id).is_some_and(|s| s.flags().live())
                };
                if let Some(root) = copies.iter().position(is_root) {
                    untouched.extend(copies.iter().skip(root + 1).map(|id| id.0));
                }
            }
        }
        IndirectCalls { targets, untouched }
    }

    /// Where the call of `callee` in the function `caller` goes.
    #[inline]
    pub fn callee(&self, caller: SummaryId, callee: ValueId) -> ValueId {
        if self.targets.is_empty() {
            return callee;
        }
        match self.targets.get(&callee.0) {
            Some(&target) if !self.untouched.contains(&caller.0) => ValueId(target),
            _ => callee,
        }
    }

    /// Whether no call is changed.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }
}

/// What is live.
#[derive(Clone, Debug)]
pub struct Liveness {
    /// Whether liveness was computed; without, everything counts as live
    /// (`withGlobalValueDeadStripping`).
    pub computed: bool,
    /// The summaries that are live, as the index will say.
    live: Bits,
    /// The values with at least one live summary.
    live_values: Bits,
    /// Whether all copies of a value are alike holds, except for these.
    mixed: Bits,
}

impl Liveness {
    /// Walks from what is preserved along references and calls.
    ///
    /// # Errors
    /// Misuse, where a symbol that the linker takes from elsewhere has both an interposable and a
    /// discardable definition in the bitcode, as LLVM has it.
    pub fn compute(
        index: &ModuleSummaryIndex,
        facts: &Facts,
        indirect: &IndirectCalls,
        options: &ThinLinkOptions,
    ) -> Result<Self> {
        let values = index.guids().len();
        let mut live = Bits::new(index.summary_count());
        let mut live_values = Bits::new(values);
        for summary in index.summaries().filter(|s| s.flags().live()) {
            live.insert(summary.id().index());
            live_values.insert(summary.value().index());
        }
        let computed = options.compute_dead && facts.any_preserved;
        if computed {
            for value in facts.preserved.iter() {
                for id in index.copies(ValueId(value as u32)) {
                    live.insert(id.index());
                    live_values.insert(value);
                }
            }
            Walk {
                index,
                facts,
                indirect,
                live: &mut live,
                live_values: &mut live_values,
                next: 0,
                worklist: Vec::new(),
            }
            .run()?;
        }
        let mixed = AtomicBits::new(values);
        (0..index.summary_count() as u32).into_par_iter().with_min_len(4096).for_each(|id| {
            let Some(summary) = index.summary(SummaryId(id)) else { return };
            let value = summary.value().index();
            if live_values.get(value) && !live.get(id as usize) {
                mixed.insert(value);
            }
        });
        let mixed = mixed.into_bits();
        // An index that was read may tell already what is live.
        let computed = computed || index.flags().has(IndexFlags::WITH_GLOBAL_VALUE_DEAD_STRIPPING);
        Ok(Liveness { computed, live, live_values, mixed })
    }

    /// `isGlobalValueLive`.
    #[inline]
    pub fn is_live(&self, summary: usize) -> bool {
        !self.computed || self.live.get(summary)
    }

    /// The live flag as the index holds it.
    #[inline]
    pub fn flag(&self, summary: usize) -> bool {
        self.live.get(summary)
    }

    /// `isGUIDLive` of a value that is in the index.
    pub fn is_value_live(&self, index: &ModuleSummaryIndex, value: ValueId) -> bool {
        !self.computed || self.live_values.get(value.index()) || index.copies(value).is_empty()
    }

    /// Whether some copies of the value are live and others not.
    #[inline]
    pub fn is_mixed(&self, value: ValueId) -> bool {
        self.mixed.get(value.index())
    }

    /// Whether all copies up to and including this one are live; what LLVM's loops that stop at
    /// the first dead copy get to see.
    pub fn is_reached(&self, index: &ModuleSummaryIndex, summary: Summary<'_>) -> bool {
        if !self.is_live(summary.id().index()) {
            return false;
        }
        !self.is_mixed(summary.value())
            || index
                .copies(summary.value())
                .iter()
                .take_while(|&&id| id != summary.id())
                .all(|id| self.is_live(id.index()))
    }

    /// How many values are live.
    pub fn live_value_count(&self) -> usize {
        self.live_values.count()
    }
}

struct Walk<'w> {
    index: &'w ModuleSummaryIndex,
    facts: &'w Facts,
    indirect: &'w IndirectCalls,
    live: &'w mut Bits,
    live_values: &'w mut Bits,
    /// Summaries from here on are come to in their order.
    next: u32,
    /// Summaries before that whose values became live later.
    worklist: Vec<SummaryId>,
}

impl Walk<'_> {
    /// The outcome does not depend on the order, so that first all summaries are gone through as
    /// they stand in memory.
    fn run(&mut self) -> Result<()> {
        let index = self.index;
        for summary in index.summaries() {
            self.next = summary.id().0 + 1;
            if self.live_values.get(summary.value().index()) {
                self.follow(summary)?;
            }
        }
        while let Some(id) = self.worklist.pop() {
            if let Some(summary) = index.summary(id) {
                self.follow(summary)?;
            }
        }
        Ok(())
    }

    fn follow(&mut self, summary: Summary<'_>) -> Result<()> {
        if summary.kind() == SummaryKind::Alias {
            // All copies of the aliasee become live, for their references.
            return match summary.aliasee_value() {
                Some(aliasee) => self.visit(aliasee, true),
                None => Ok(()),
            };
        }
        for reference in summary.refs() {
            self.visit(reference.value(), false)?;
        }
        for &callee in summary.callees() {
            self.visit(self.indirect.callee(summary.id(), ValueId(callee)), false)?;
        }
        Ok(())
    }

    #[inline]
    fn visit(&mut self, value: ValueId, is_aliasee: bool) -> Result<()> {
        if self.live_values.get(value.index()) {
            return Ok(());
        }
        let copies = self.index.copies(value);
        if copies.is_empty() {
            return Ok(());
        }
        if !is_aliasee
            && self.facts.prevailing_type(value) == Prevailing::No
            && !self.keeps_non_prevailing(value)?
        {
            return Ok(());
        }
        self.live_values.insert(value.index());
        for &id in copies {
            self.live.insert(id.index());
            if id.0 < self.next {
                self.worklist.push(id);
            }
        }
        Ok(())
    }

    /// A value whose definition comes from elsewhere is of use only where a copy may be inlined.
    fn keeps_non_prevailing(&self, value: ValueId) -> Result<bool> {
        let (mut keep, mut interposable) = (false, false);
        for id in self.index.copies(value) {
            match self.facts.flags.get(id.index()).map(|flags| flags.linkage()) {
                Some(Linkage::AvailableExternally | Linkage::WeakOdr | Linkage::LinkOnceOdr) => {
                    keep = true;
                }
                Some(linkage) if linkage.is_interposable() => interposable = true,
                _ => {}
            }
        }
        if keep && interposable {
            return Err(Error::misuse(format!(
                "the symbol with GUID {} is defined outside of the bitcode, and in it both as \
                 interposable and as available_externally, linkonce_odr or weak_odr",
                self.index.guid(value).0
            )));
        }
        Ok(keep)
    }
}
