//! Which functions neither recurse nor throw.
//!
//! In: the index, the [`Facts`], the [`Liveness`] and the [`Linkages`]. Out: [`FunctionAttrs`].
//! LLVM has this off by default (`-disable-thinlto-funcattrs`).
//!
//! The call graph is gone through from callees to callers, strongly connected functions together.
//! LLVM walks the graph of each value's *first* copy but judges by the *prevailing* copy, so that
//! a callee may not have been judged yet when a caller asks; the order of the walk is therefore
//! kept. Source: `thinLTOPropagateFunctionAttrs` in FunctionAttrs.cpp, `calculateCallGraphRoot`
//! in ModuleSummaryIndex.h, `scc_iterator` in SCCIterator.h.

use std::collections::HashMap;

use super::bits::Bits;
use super::{Devirtualization, Facts, IndirectCalls, Linkages, Liveness};
use crate::ir::Linkage;
use crate::summary::{FunctionFlags, ModuleSummaryIndex, Summary, SummaryId, SummaryKind, ValueId};

/// What was found of functions, by summary.
#[derive(Clone, Debug, Default)]
pub struct FunctionAttrs {
    no_recurse: Bits,
    no_unwind: Bits,
}

impl FunctionAttrs {
    /// Goes through the call graph.
    pub fn propagate(
        index: &ModuleSummaryIndex,
        facts: &Facts,
        indirect: &IndirectCalls,
        devirtualization: &Devirtualization,
        liveness: &Liveness,
        linkages: &Linkages,
    ) -> Self {
        let count = index.summary_count();
        let mut propagation = Propagation {
            index,
            facts,
            indirect,
            devirtualization,
            liveness,
            linkages,
            found: FunctionAttrs { no_recurse: Bits::new(count), no_unwind: Bits::new(count) },
            prevailing: HashMap::new(),
        };
        let roots = propagation.roots();
        propagation.walk(&roots);
        propagation.found
    }

    /// A function's flags with what was found.
    #[inline]
    pub fn apply(&self, summary: SummaryId, mut flags: FunctionFlags) -> FunctionFlags {
        if self.no_recurse.get(summary.index()) {
            flags.set_no_recurse(true);
        }
        if self.no_unwind.get(summary.index()) {
            flags.set_no_unwind(true);
        }
        flags
    }

    /// How many functions were found not to recurse, and not to throw.
    pub fn counts(&self) -> (usize, usize) {
        (self.no_recurse.count(), self.no_unwind.count())
    }
}

struct Propagation<'p> {
    index: &'p ModuleSummaryIndex,
    facts: &'p Facts,
    indirect: &'p IndirectCalls,
    devirtualization: &'p Devirtualization,
    liveness: &'p Liveness,
    linkages: &'p Linkages,
    found: FunctionAttrs,
    /// The copy to judge by, once looked for.
    prevailing: HashMap<u32, Option<SummaryId>>,
}

/// A function on the stack of the depth-first walk.
struct Visit<'v> {
    value: ValueId,
    caller: SummaryId,
    callees: &'v [u32],
    /// What virtual calls became, behind those.
    virtual_callees: &'v [u32],
    least: u32,
}

impl<'p> Propagation<'p> {
    /// Functions that no function met before calls (`calculateCallGraphRoot`), by GUID.
    fn roots(&self) -> Vec<ValueId> {
        let values = self.index.guids().len();
        let (mut known, mut has_parent) = (Bits::new(values), Bits::new(values));
        let mut candidates = Vec::new();
        for value in (0..values as u32).map(ValueId) {
            let first = self.index.copies(value).first().and_then(|&id| self.index.summary(id));
            let Some(function) = first.filter(|s| s.kind() == SummaryKind::Function) else {
                continue;
            };
            if !known.insert(value.index()) {
                continue;
            }
            candidates.push(value);
            let virtual_callees = self.devirtualization.callees(function.id());
            for &callee in function.callees().iter().chain(virtual_callees) {
                let callee = self.indirect.callee(function.id(), ValueId(callee)).index();
                known.insert(callee);
                has_parent.insert(callee);
            }
        }
        candidates.retain(|value| !has_parent.get(value.index()));
        candidates
    }

    /// Tarjan's algorithm as `scc_iterator` has it, with an imaginary root that calls the roots.
    fn walk(&mut self, roots: &[ValueId]) {
        const DONE: u32 = u32::MAX;
        let mut numbers = vec![0u32; self.index.guids().len()];
        let mut next = 1u32;
        let mut nodes: Vec<ValueId> = Vec::new();
        let mut visits: Vec<Visit<'p>> = Vec::new();
        for &root in roots {
            if numbers.get(root.index()) != Some(&0) {
                continue;
            }
            self.enter(root, &mut numbers, &mut next, &mut nodes, &mut visits);
            while let Some(visit) = visits.last_mut() {
                if visit.callees.is_empty() {
                    visit.callees = std::mem::take(&mut visit.virtual_callees);
                }
                if let Some((&callee, rest)) = visit.callees.split_first() {
                    visit.callees = rest;
                    let callee = self.indirect.callee(visit.caller, ValueId(callee));
                    match numbers.get(callee.index()).copied() {
                        Some(0) => {
                            self.enter(callee, &mut numbers, &mut next, &mut nodes, &mut visits);
                        }
                        Some(number) => visit.least = visit.least.min(number),
                        None => {}
                    }
                    continue;
                }
                let (value, least) = (visit.value, visit.least);
                visits.pop();
                if let Some(parent) = visits.last_mut() {
                    parent.least = parent.least.min(least);
                }
                if numbers.get(value.index()) != Some(&least) {
                    continue;
                }
                let start = nodes.iter().rposition(|&node| node == value).unwrap_or(0);
                let component = nodes.split_off(start);
                for node in &component {
                    if let Some(number) = numbers.get_mut(node.index()) {
                        *number = DONE;
                    }
                }
                self.judge(&component);
            }
        }
    }

    fn enter(
        &self,
        value: ValueId,
        numbers: &mut [u32],
        next: &mut u32,
        nodes: &mut Vec<ValueId>,
        visits: &mut Vec<Visit<'p>>,
    ) {
        if let Some(number) = numbers.get_mut(value.index()) {
            *number = *next;
        }
        nodes.push(value);
        let function = self.index.copies(value).first().and_then(|&id| self.index.summary(id));
        let function = function.map(Summary::base_object);
        visits.push(Visit {
            value,
            caller: function.map_or(SummaryId(0), Summary::id),
            callees: function.map_or(&[], Summary::callees),
            virtual_callees: function.map_or(&[], |f| self.devirtualization.callees(f.id())),
            least: *next,
        });
        *next += 1;
    }

    fn flags(&self, id: SummaryId) -> FunctionFlags {
        let flags = self.index.summary(id).map(Summary::function_flags).unwrap_or_default();
        self.found.apply(id, flags)
    }

    fn judge(&mut self, component: &[ValueId]) {
        // The order within a component does not matter: any function without a copy to judge by
        // ends it.
        let (mut no_recurse, mut no_unwind) = (component.len() == 1, true);
        for &value in component.iter().rev() {
            let Some(caller) = self.prevailing(value) else { return };
            if self.flags(caller).may_throw() {
                no_unwind = false;
            }
            let callees = self.index.summary(caller).map_or(&[][..], Summary::callees);
            for &callee in callees.iter().chain(self.devirtualization.callees(caller)) {
                let callee = self.indirect.callee(caller, ValueId(callee));
                let Some(callee) = self.prevailing(callee) else { return };
                let flags = self.flags(callee);
                no_recurse &= flags.no_recurse();
                no_unwind &= flags.no_unwind();
                if !no_recurse && !no_unwind {
                    break;
                }
            }
        }
        for &value in component {
            for &id in self.index.copies(value) {
                if self.index.summary(id).is_none_or(|s| s.kind() != SummaryKind::Function) {
                    continue;
                }
                if no_recurse {
                    self.found.no_recurse.insert(id.index());
                }
                if no_unwind {
                    self.found.no_unwind.insert(id.index());
                }
            }
        }
    }

    /// `calculatePrevailingSummary`.
    fn prevailing(&mut self, value: ValueId) -> Option<SummaryId> {
        if let Some(&known) = self.prevailing.get(&value.0) {
            return known;
        }
        let found = self.find_prevailing(value);
        self.prevailing.insert(value.0, found);
        found
    }

    fn find_prevailing(&self, value: ValueId) -> Option<SummaryId> {
        let mut local = None;
        for &id in self.index.copies(value) {
            if !self.liveness.flag(id.index()) {
                continue;
            }
            let summary = self.index.summary(id)?;
            let function = summary.base_object();
            if function.kind() != SummaryKind::Function
                || function.function_flags().has_unknown_call()
            {
                return None;
            }
            match self.linkages.flags(id).linkage() {
                Linkage::Internal | Linkage::Private => {
                    if local.is_some() {
                        return None;
                    }
                    local = Some(function.id());
                }
                Linkage::External => return local.or(Some(function.id())),
                Linkage::WeakOdr
                | Linkage::LinkOnceOdr
                | Linkage::WeakAny
                | Linkage::LinkOnceAny
                    if self.facts.is_prevailing(value, id, summary.module()) =>
                {
                    return local.or(Some(function.id()));
                }
                _ => {}
            }
        }
        local
    }
}
