//! Which functions and variables each module imports.
//!
//! In: the index, the [`Facts`], the [`Liveness`], the [`Attributes`] and the options. Out:
//! [`Imports`]: per module the summaries to import, per summary whether it is imported anywhere.
//! It must not know what becomes of linkage.
//!
//! From every function of a module LLVM follows the calls: a callee that is small enough comes
//! in, and its own calls are followed with a smaller limit; a callee met again with a larger limit
//! is gone through again. Which of several copies is taken depends on the limit it is met with
//! first, so the order of the walk is part of the decision: the functions of the module in the
//! order of LLVM's hash table, then a stack. References bring in variables whose initializers are
//! of use. Modules do not influence one another (but for `-import-cutoff`), so they are gone
//! through side by side.
//!
//! What a thread knows of a value while it works on a module stands in one slot of 16 bytes in an
//! array by value, marked with the number of the module, so that nothing is hashed and nothing
//! cleared between modules.
//!
//! Thresholds are LLVM's arithmetic: unsigned times float, in single precision, cut off when
//! stored. Source: FunctionImport.cpp, from `qualifyCalleeCandidates` to
//! `ComputeCrossModuleImport`.

use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

use super::bits::{AtomicBits, Bits};
use super::import_list::{FailureReason, ImportList, Imports};
use super::import_scratch::{DEFINED, REJECTED, Scratch, UNMET};
use super::module_order::ModuleOrder;
use super::options::ThinLinkOptions;
use super::{Attributes, Devirtualization, Facts, IndirectCalls, Liveness, Reuse};
use crate::summary::{
    Hotness, ModuleId, ModuleSummaryIndex, Summary, SummaryId, SummaryKind, ValueId,
};

/// Is told what [`Importer`] considers. The one that does nothing is `()`, and costs nothing.
pub trait Observer {
    /// A call from `caller` to `callee`, of this hotness, was looked at with this threshold. `chosen` is the copy
    /// that was taken, now or before; without, the call is not looked into.
    fn call(
        &mut self,
        _importer: &Importer<'_>,
        _caller: SummaryId,
        _callee: ValueId,
        _threshold_and_hotness: (u32, Hotness),
        _chosen: Option<SummaryId>,
    ) {
    }
    /// A call of a callee that was refused before, with no larger a threshold now.
    fn refused_before(&mut self, _callee: ValueId) {}
    /// A variable is imported on behalf of `referrer`.
    fn variable(&mut self, _referrer: SummaryId, _variable: SummaryId) {}
}

impl Observer for () {}

/// What the selection of imports reads.
pub struct Importer<'i> {
    index: &'i ModuleSummaryIndex,
    facts: &'i Facts,
    indirect: &'i IndirectCalls,
    liveness: &'i Liveness,
    attributes: &'i Attributes,
    devirtualization: &'i Devirtualization,
    options: &'i ThinLinkOptions,
    /// Values of which some copy is a variable that may be imported (or declared).
    importable_variables: Bits,
    /// By value, a number that no importable copy's instruction count is below; zero where it is
    /// not known yet. One more than that number is stored. Filled on the way, by any thread: all
    /// find the same.
    least_sizes: Vec<AtomicU32>,
    /// By module, what a workload definition says to import in place of what the limits would.
    workloads: HashMap<ModuleId, Vec<ValueId>>,
}

impl<'i> Importer<'i> {
    /// Prepares the selection.
    pub fn new(
        index: &'i ModuleSummaryIndex,
        facts: &'i Facts,
        indirect: &'i IndirectCalls,
        liveness: &'i Liveness,
        attributes: &'i Attributes,
        devirtualization: &'i Devirtualization,
        options: &'i ThinLinkOptions,
    ) -> Self {
        let mut importer = Importer {
            index,
            facts,
            indirect,
            liveness,
            attributes,
            devirtualization,
            options,
            importable_variables: Bits::default(),
            least_sizes: Vec::new(),
            workloads: options.workloads.as_ref().map(|w| w.by_module(index)).unwrap_or_default(),
        };
        let importable = AtomicBits::new(index.guids().len());
        (0..index.modules().len() as u32).into_par_iter().for_each(|module| {
            for id in index.module_summaries(ModuleId(module)) {
                let Some(summary) = index.summary(SummaryId(id)) else { continue };
                if summary.kind() == SummaryKind::Variable && importer.can_declare(summary) {
                    importable.insert(summary.value().index());
                }
            }
        });
        importer.importable_variables = importable.into_bits();
        importer.least_sizes = (0..index.guids().len()).map(|_| AtomicU32::new(0)).collect();
        importer
    }

    /// Selects for all modules.
    pub fn select_all(&self, order: &ModuleOrder) -> Imports {
        let index = self.index;
        let count = index.modules().len() as u32;
        let mut lists = vec![ImportList::default(); count as usize];
        if self.options.import_cutoff >= 0 {
            // The cut-off counts through all modules, in LLVM's order.
            let mut scratch = Scratch::new(index);
            let mut left = Some(self.options.import_cutoff as u32);
            for &module in order.modules() {
                let list = self.select(order, module, &mut scratch, &mut left, &mut ());
                if let Some(slot) = lists.get_mut(module.index()) {
                    *slot = list;
                }
            }
        } else {
            let scratches = Reuse::new(|| Scratch::new(index));
            (0..count)
                .into_par_iter()
                .with_min_len(1)
                .map_init(
                    || scratches.lend(),
                    |scratch, module| {
                        self.select(order, ModuleId(module), scratch.get(), &mut None, &mut ())
                    },
                )
                .collect_into_vec(&mut lists);
        }
        Imports::new(index, lists)
    }

    /// Selects for one module (`ModuleImportsManager::computeImportForModule`).
    pub fn select<O: Observer>(
        &self,
        order: &ModuleOrder,
        module: ModuleId,
        scratch: &mut Scratch,
        cutoff: &mut Option<u32>,
        observer: &mut O,
    ) -> ImportList {
        scratch.begin();
        for &id in order.defined(module) {
            let Some(summary) = self.index.summary(id) else { continue };
            if let Some(slot) = scratch.slot(summary.value()) {
                slot.callee = DEFINED;
                slot.threshold = id.0;
            }
        }
        if let Some(values) = self.workloads.get(&module) {
            self.select_workload(module, values, scratch, observer);
            return scratch.list();
        }
        let limit = self.options.import_instr_limit;
        for &id in order.defined(module) {
            if !self.liveness.is_live(id.index()) {
                continue;
            }
            let Some(summary) = self.index.summary(id) else { continue };
            let base = summary.base_object();
            if base.kind() == SummaryKind::Function {
                self.follow(base, limit, scratch, cutoff, observer);
            }
        }
        while let Some((id, threshold)) = scratch.functions.pop() {
            if let Some(function) = self.index.summary(id) {
                self.follow(function, threshold, scratch, cutoff, observer);
            }
        }
        scratch.list()
    }

    /// Imports what a workload definition says, whatever its size: the prevailing copy, or else the
    /// first that may be imported (`WorkloadImportsManager::computeImportForModule`).
    fn select_workload<O: Observer>(
        &self,
        module: ModuleId,
        values: &[ValueId],
        scratch: &mut Scratch,
        observer: &mut O,
    ) {
        for &value in values {
            let Some(slot) = scratch.slot(value) else { continue };
            if slot.callee == DEFINED && self.is_prevailing(SummaryId(slot.threshold)) {
                continue;
            }
            let copies = self.index.copies(value);
            let may_be_imported = |id: &&SummaryId| {
                self.index
                    .summary(**id)
                    .is_some_and(|copy| self.qualify(copy, copies.len(), module).is_ok())
            };
            let mut candidates = copies.iter().filter(may_be_imported);
            let first = candidates.clone().next();
            let Some(&chosen) = candidates.find(|id| self.is_prevailing(**id)).or(first) else {
                continue;
            };
            let Some(summary) = self.index.summary(chosen) else { continue };
            if summary.module() != module {
                scratch.add_definition(value, chosen, self.options.import_declaration);
                self.import_variables(summary, scratch, observer);
            }
        }
    }

    /// `computeImportForFunction`.
    fn follow<O: Observer>(
        &self,
        function: Summary<'_>,
        threshold: u32,
        scratch: &mut Scratch,
        cutoff: &mut Option<u32>,
        observer: &mut O,
    ) {
        self.import_variables(function, scratch, observer);
        let virtual_calls = self.devirtualization.calls(function.id());
        for (callee, info) in function.calls().chain(virtual_calls) {
            if *cutoff == Some(0) {
                continue;
            }
            let callee = self.indirect.callee(function.id(), callee);
            let hotness = info.hotness();
            let multiplier = match hotness {
                Hotness::Hot => self.options.import_hot_multiplier,
                Hotness::Cold => self.options.import_cold_multiplier,
                Hotness::Critical => self.options.import_critical_multiplier,
                Hotness::Unknown | Hotness::None => 1.0,
            };
            let Some(slot) = scratch.slot(callee) else { continue };
            if slot.callee == DEFINED {
                continue;
            }
            let new_threshold = threshold as f32 * multiplier;
            let met = slot.callee != UNMET;
            if met && new_threshold <= slot.threshold as f32 {
                if slot.callee == REJECTED {
                    observer.refused_before(callee);
                }
                continue;
            }
            let resolved = if slot.callee < DEFINED {
                slot.threshold = new_threshold as u32;
                SummaryId(slot.callee)
            } else {
                // LLVM keeps the old threshold where a rejected callee fits now.
                if !met {
                    slot.threshold = new_threshold as u32;
                }
                match self.choose(callee, new_threshold as u32, function.module()) {
                    Some((candidate, base)) => {
                        slot.callee = base.0;
                        scratch.add_definition(callee, candidate, self.options.import_declaration);
                        base
                    }
                    None => {
                        slot.callee = REJECTED;
                        slot.threshold = new_threshold as u32;
                        let looked = (new_threshold as u32, hotness);
                        observer.call(self, function.id(), callee, looked, None);
                        if self.options.import_declaration
                            && let Some(id) =
                                self.to_declare(callee, new_threshold as u32, function.module())
                        {
                            scratch.maybe_add_declaration(id);
                        }
                        if self.options.force_import_all {
                            // LLVM complains and leaves the other calls of the function.
                            break;
                        }
                        continue;
                    }
                }
            };
            let looked = (new_threshold as u32, hotness);
            observer.call(self, function.id(), callee, looked, Some(resolved));
            let factor = if hotness == Hotness::Hot {
                self.options.import_hot_evolution_factor
            } else {
                self.options.import_instr_evolution_factor
            };
            let next = (threshold as f32 * factor) as u32;
            if let Some(left) = cutoff {
                *left -= 1;
            }
            scratch.functions.push((resolved, next));
        }
    }

    /// Whether a copy may be imported for a function of `caller`, size apart; gives the function,
    /// which for an alias is the aliasee (`qualifyCalleeCandidates`).
    #[inline]
    fn qualify(
        &self,
        candidate: Summary<'i>,
        copies: usize,
        caller: ModuleId,
    ) -> Result<Summary<'i>, FailureReason> {
        if !self.liveness.is_live(candidate.id().index()) {
            return Err(FailureReason::NotLive);
        }
        let flags = |summary: Summary<'_>| {
            self.facts.flags.get(summary.id().index()).copied().unwrap_or_default()
        };
        if flags(candidate).linkage().is_interposable() {
            return Err(FailureReason::InterposableLinkage);
        }
        let base = match candidate.kind() {
            SummaryKind::Alias => candidate.base_object(),
            _ => candidate,
        };
        if base.kind() != SummaryKind::Function {
            return Err(FailureReason::GlobalVar);
        }
        let base_flags = flags(base);
        if copies > 1 && base_flags.linkage().is_local() && base.module() != caller {
            return Err(FailureReason::LocalLinkageNotInModule);
        }
        if base_flags.not_eligible_to_import() {
            return Err(FailureReason::NotEligible);
        }
        Ok(base)
    }

    /// Whether a qualified function fits (the rest of `selectCallee`).
    #[inline]
    fn fits(&self, function: Summary<'_>, threshold: u32) -> Result<(), FailureReason> {
        if self.options.force_import_all {
            return Ok(());
        }
        let flags = function.function_flags();
        if function.inst_count() > threshold && !flags.always_inline() {
            return Err(FailureReason::TooLarge);
        }
        if flags.no_inline() {
            return Err(FailureReason::NoInline);
        }
        Ok(())
    }

    /// The copy that is taken, and the function that it stands for (`selectCallee`).
    #[inline]
    fn choose(
        &self,
        callee: ValueId,
        threshold: u32,
        caller: ModuleId,
    ) -> Option<(SummaryId, SummaryId)> {
        let copies = self.index.copies(callee);
        // A function in a header has a copy in many modules; all are mostly alike, and to look at
        // each of them for each module again would be quadratic.
        if copies.len() > 4 && self.least_size(callee, copies) > u64::from(threshold) {
            return None;
        }
        copies.iter().find_map(|&id| {
            let candidate = self.index.summary(id)?;
            let function = self.qualify(candidate, copies.len(), caller).ok()?;
            self.fits(function, threshold).ok()?;
            Some((id, function.id()))
        })
    }

    /// A bound below which no copy's size is, whoever the caller may be.
    fn least_size(&self, callee: ValueId, copies: &[SummaryId]) -> u64 {
        if self.options.force_import_all {
            return 0;
        }
        let Some(slot) = self.least_sizes.get(callee.index()) else { return 0 };
        match slot.load(Ordering::Relaxed) {
            0 => {}
            // No copy may be imported at all.
            u32::MAX => return u64::MAX,
            known => return u64::from(known - 1),
        }
        let least = copies.iter().filter_map(|&id| {
            let candidate = self.index.summary(id)?;
            // With one copy only, no caller is refused for being in another module.
            let function = self.qualify(candidate, 1, candidate.module()).ok()?;
            let flags = function.function_flags();
            match (flags.no_inline(), flags.always_inline()) {
                (true, _) => None,
                (false, true) => Some(0),
                (false, false) => Some(function.inst_count()),
            }
        });
        match least.min() {
            Some(size) => {
                slot.store((size + 1).min(u32::MAX - 1), Ordering::Relaxed);
                u64::from(size)
            }
            None => {
                slot.store(u32::MAX, Ordering::Relaxed);
                u64::MAX
            }
        }
    }

    /// The copy to import a declaration of where no definition fits: the last that is only too
    /// large or noinline.
    fn to_declare(&self, callee: ValueId, threshold: u32, caller: ModuleId) -> Option<SummaryId> {
        let copies = self.index.copies(callee);
        copies
            .iter()
            .rfind(|&&id| {
                self.index.summary(id).is_some_and(|candidate| {
                    self.qualify(candidate, copies.len(), caller)
                        .is_ok_and(|function| self.fits(function, threshold).is_err())
                })
            })
            .copied()
    }

    /// For every copy of a callee, why it would be refused at this threshold; `None` for one that
    /// fits.
    pub fn reasons(
        &self,
        callee: ValueId,
        threshold: u32,
        caller: ModuleId,
    ) -> Vec<(SummaryId, Option<FailureReason>)> {
        let copies = self.index.copies(callee);
        let reason = |id: &SummaryId| {
            let candidate = self.index.summary(*id)?;
            let verdict = self
                .qualify(candidate, copies.len(), caller)
                .and_then(|function| self.fits(function, threshold));
            verdict.err()
        };
        copies.iter().map(|id| (*id, reason(id))).collect()
    }

    /// Whether a variable could at least be declared elsewhere (`CanImportDecl`).
    #[inline]
    fn can_declare(&self, variable: Summary<'_>) -> bool {
        self.facts.flags.get(variable.id().index()).is_some_and(|flags| {
            !flags.linkage().is_interposable() && !flags.not_eligible_to_import()
        })
    }

    /// `GlobalsImporter::onImportingSummary`.
    fn import_variables<O: Observer>(
        &self,
        summary: Summary<'_>,
        scratch: &mut Scratch,
        observer: &mut O,
    ) {
        self.import_referenced(summary, scratch, observer);
        while let Some(id) = scratch.variables.pop() {
            if let Some(variable) = self.index.summary(id) {
                self.import_referenced(variable, scratch, observer);
            }
        }
    }

    /// `GlobalsImporter::onImportingSummaryImpl`.
    fn import_referenced<O: Observer>(
        &self,
        referrer: Summary<'_>,
        scratch: &mut Scratch,
        observer: &mut O,
    ) {
        let behaviour = &self.options.behaviour;
        for reference in referrer.refs() {
            let value = reference.value();
            if !self.importable_variables.get(value.index()) {
                continue;
            }
            let Some(slot) = scratch.slot(value) else { continue };
            let copies = self.index.copies(value);
            if slot.callee == DEFINED {
                // A definition that will be dropped for one that will become local elsewhere
                // must not keep that one out.
                let own = SummaryId(slot.threshold);
                let interposable = self
                    .facts
                    .flags
                    .get(own.index())
                    .is_some_and(|flags| flags.linkage().is_interposable());
                if copies.len() < 2 || !interposable || self.is_prevailing(own) {
                    continue;
                }
            }
            for &id in copies {
                let Some(variable) = self.index.summary(id) else { continue };
                if variable.kind() != SummaryKind::Variable {
                    continue;
                }
                let local_elsewhere = variable.module() != referrer.module()
                    && (copies.len() > 1 || !behaviour.import_local_with_one_copy)
                    && self.facts.flags.get(id.index()).is_some_and(|f| f.linkage().is_local());
                if local_elsewhere {
                    continue;
                }
                let declarable = self.can_declare(variable);
                if !declarable || self.attributes.refs_prevent_import(variable) {
                    if declarable
                        && self.options.import_declaration
                        && behaviour.import_variable_declarations
                    {
                        scratch.maybe_add_declaration(id);
                    }
                    continue;
                }
                if scratch.add_definition(value, id, self.options.import_declaration) {
                    observer.variable(referrer.id(), id);
                    if !self.attributes.is_write_only(variable) {
                        scratch.variables.push(id);
                    }
                }
                break;
            }
        }
    }

    /// The module of a summary.
    pub fn module_of(&self, id: SummaryId) -> Option<ModuleId> {
        self.index.summary(id).map(|summary| summary.module())
    }

    fn is_prevailing(&self, id: SummaryId) -> bool {
        self.index.summary(id).is_some_and(|s| self.facts.is_prevailing(s.value(), id, s.module()))
    }
}
