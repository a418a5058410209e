//! How often each function may be entered, guessed from the calls alone.
//!
//! In: the index and where indirect calls go. Out: [`EntryCounts`]: every root of the call
//! graph is entered ten times, every other as often as the calls of its callers say together. LLVM had
//! this until 19 (`-thinlto-synthesize-entry-counts`), for modules compiled with
//! `-write-relbf-to-summary`.
//!
//! LLVM's numbers keep 64 bits and an exponent; these keep all bits, so that counts beyond 2^56 may
//! differ in the last places. Source: SummaryBasedOptimizations.cpp, SyntheticCountsUtils.cpp.

use std::collections::{HashMap, HashSet};

use super::IndirectCalls;
use super::call_graph::{CallGraph, Node};
use crate::summary::{ModuleSummaryIndex, SummaryId, SummaryKind, ValueId};

/// `-initial-synthetic-count`: the count of a function that nobody calls.
const INITIAL: u64 = 10;
/// `CalleeInfo::ScaleShift`: the fraction bits of a relative block frequency.
const SCALE_SHIFT: u32 = 8;

/// Entry counts by summary; none where they were not asked for.
#[derive(Clone, Debug, Default)]
pub struct EntryCounts {
    counts: Vec<u64>,
}

impl EntryCounts {
    /// Guesses the counts.
    pub fn synthesize(index: &ModuleSummaryIndex, indirect: &IndirectCalls) -> Self {
        let counts = (0..index.summary_count() as u32)
            .map(|id| index.summary(SummaryId(id)).map_or(0, |s| s.entry_count()))
            .collect();
        let mut all = EntryCounts { counts };
        let graph = CallGraph::new(index, indirect);
        for &root in graph.roots() {
            all.change(index, root, |_| INITIAL);
        }
        for component in graph.components().iter().rev() {
            let values = || {
                component.nodes.iter().filter_map(|node| match node {
                    Node::Root => None,
                    Node::Value(value) => Some(*value),
                })
            };
            let members: HashSet<u32> = values().map(|value| value.0).collect();
            // Calls within the component count first, all by what the counts were before.
            let mut within: HashMap<ValueId, u128> = HashMap::new();
            for value in values() {
                for (callee, count) in all.calls(&graph, indirect, value) {
                    if members.contains(&callee.0) {
                        let sum = within.entry(callee).or_default();
                        *sum = sum.saturating_add(count);
                    }
                }
            }
            for (value, sum) in within {
                all.add(index, value, sum);
            }
            for value in values() {
                for (callee, count) in all.calls(&graph, indirect, value) {
                    if !members.contains(&callee.0) {
                        all.add(index, callee, count);
                    }
                }
            }
        }
        all
    }

    /// By summary; empty where they were not asked for.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Whom a function calls, and how often with its present count: with [`SCALE_SHIFT`] fraction
    /// bits.
    fn calls(
        &self,
        graph: &CallGraph<'_>,
        indirect: &IndirectCalls,
        value: ValueId,
    ) -> Vec<(ValueId, u128)> {
        let Some(function) = graph.function(value) else { return Vec::new() };
        let entered = self.counts.get(function.id().index()).copied().unwrap_or(0);
        let frequencies = function.rel_block_freqs();
        let call = |(at, (callee, _))| {
            let frequency = frequencies.get(at).copied().unwrap_or(0);
            (indirect.callee(function.id(), callee), u128::from(entered) * u128::from(frequency))
        };
        function.calls().enumerate().map(call).collect()
    }

    fn add(&mut self, index: &ModuleSummaryIndex, value: ValueId, count: u128) {
        let count = u64::try_from(count >> SCALE_SHIFT).unwrap_or(u64::MAX);
        self.change(index, value, |before| before.saturating_add(count));
    }

    /// Changes the count of every copy; of an alias, that of what it stands for.
    fn change(&mut self, index: &ModuleSummaryIndex, value: ValueId, new: impl Fn(u64) -> u64) {
        for &id in index.copies(value) {
            let Some(copy) = index.summary(id) else { continue };
            let base = if copy.kind() == SummaryKind::Alias { copy.aliasee() } else { Some(copy) };
            let function = base.filter(|base| base.kind() == SummaryKind::Function);
            if let Some(count) = function.and_then(|f| self.counts.get_mut(f.id().index())) {
                *count = new(*count);
            }
        }
    }
}
