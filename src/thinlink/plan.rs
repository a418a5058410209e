//! [`LinkPlan`]: all decisions of a thin link, phase by phase.
//!
//! In: the combined index and what the linker said. Out: the sum of the phases' results, and what
//! a backend or the writer of a distributed index asks of it. Same inputs, same plan, at any
//! number of threads.

use super::function_attrs::FunctionAttrs;
use super::linkage::Steps;
use super::liveness::Candidates;
use super::module_order::ModuleOrder;
use super::options::ThinLinkOptions;
use super::{
    Attributes, Devirtualization, EntryCounts, Exports, Facts, Importer, Imports, IndirectCalls,
    Linkages, Liveness, MemProf, ModuleSymbols, Observer, Scratch,
};
use crate::error::{Error, Result};
use crate::ir::Guid;
use crate::summary::{
    FunctionFlags, GvFlags, IndexFlags, ModuleId, ModuleSummaryIndex, Summary, SummaryKind,
    VariableFlags,
};

/// What a thin link decided.
#[derive(Clone, Debug)]
pub struct LinkPlan {
    /// What the linker said.
    pub facts: Facts,
    /// Where indirect calls go.
    pub indirect: IndirectCalls,
    /// What is live.
    pub liveness: Liveness,
    /// What is known of variables.
    pub attributes: Attributes,
    /// Which virtual calls have one target.
    pub devirtualization: Devirtualization,
    /// What is allocated and called in clones of functions.
    pub memprof: MemProf,
    /// LLVM's order of modules and definitions.
    pub order: ModuleOrder,
    /// Who imports what.
    pub imports: Imports,
    /// What is exported.
    pub exports: Exports,
    /// Linkage and visibility.
    pub linkages: Linkages,
    /// What is known of functions.
    pub function_attrs: FunctionAttrs,
    /// How often functions are entered, where that was asked for.
    pub entry_counts: EntryCounts,
    /// The flags of the index after all phases.
    pub index_flags: IndexFlags,
    /// What it was decided by.
    pub options: ThinLinkOptions,
}

/// How far the legacy code generator goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegacyPhases {
    /// Up to the imports: `llvm-lto -thinlto-action=distributedindexes` and `emitimports`.
    Imports,
    /// Up to the choice of one copy of several: what `llvm-lto -thinlto-action=promote` knows of
    /// definitions that are not promoted.
    Resolve,
    /// All of them: `ThinLTOCodeGenerator::run`.
    All,
}

impl LinkPlan {
    /// The plan of the resolution-based driver (`LTO::run`): linker plugins and llvm-lto2.
    /// `modules` are all inputs of the link, in order.
    ///
    /// # Errors
    /// Misuse where resolutions contradict each other; unsupported where the modules use
    /// control-flow integrity, and the index lacks what regular LTO has to say of it
    /// ([`ModuleSummaryIndex::set_type_resolutions`]).
    pub fn resolution_based(
        index: &ModuleSummaryIndex,
        modules: &[ModuleSymbols<'_>],
        options: &ThinLinkOptions,
    ) -> Result<Self> {
        check(index)?;
        if options.thinlto_synthesize_entry_counts && !options.behaviour.synthesizes_entry_counts {
            let llvm = options.behaviour.llvm;
            let what = format!("LLVM {llvm} has no -thinlto-synthesize-entry-counts");
            return Err(Error::misuse(what));
        }
        let thin = modules.iter().filter(|m| !m.regular && m.module.is_some()).count();
        let mut plan = Self::up_to_imports(index, thin, options, || {
            let facts = Facts::from_resolutions(index, modules, options)?;
            if facts.partially_split {
                check_partially_split(index)?;
            }
            check_type_tests(index)?;
            Ok(facts)
        })?;
        if options.thinlto_synthesize_entry_counts {
            plan.entry_counts = EntryCounts::synthesize(index, &plan.indirect);
            plan.index_flags.insert(IndexFlags::HAS_SYNTHETIC_ENTRY_COUNTS);
        }
        plan.finish(index, Steps::InternalizeFirst);
        Ok(plan)
    }

    /// What is live, as [`LinkPlan::resolution_based`] will find it: what regular LTO asks for that
    /// compiles before anything else is decided.
    ///
    /// # Errors
    /// As [`LinkPlan::resolution_based`].
    pub fn liveness(
        index: &ModuleSummaryIndex,
        modules: &[ModuleSymbols<'_>],
        options: &ThinLinkOptions,
    ) -> Result<Liveness> {
        check(index)?;
        let facts = Facts::from_resolutions(index, modules, options)?;
        if facts.partially_split {
            check_partially_split(index)?;
        }
        let indirect = IndirectCalls::find(index, &facts, options);
        Liveness::compute(index, &facts, &indirect, options)
    }

    /// The plan of the legacy code generator, which knows the names to preserve only.
    ///
    /// # Errors
    /// As [`LinkPlan::resolution_based`].
    pub fn legacy(
        index: &ModuleSummaryIndex,
        preserved: &[Guid],
        phases: LegacyPhases,
        options: &ThinLinkOptions,
    ) -> Result<Self> {
        check(index)?;
        if options.thinlto_synthesize_entry_counts && phases == LegacyPhases::All {
            let what = "-thinlto-synthesize-entry-counts is served for distributed builds only";
            return Err(Error::unsupported(what));
        }
        let mut plan = Self::up_to_imports(index, index.modules().len(), options, || {
            Ok(Facts::from_preserved(index, preserved))
        })?;
        match phases {
            LegacyPhases::Imports => {}
            LegacyPhases::Resolve => plan.finish(index, Steps::ResolveOnly),
            LegacyPhases::All => plan.finish(index, Steps::ResolveFirst),
        }
        Ok(plan)
    }

    /// Selects the imports of a module once more, and tells of every step. Nothing where the link
    /// imports nothing.
    pub fn observe_imports(
        &self,
        index: &ModuleSummaryIndex,
        module: ModuleId,
        observer: &mut impl Observer,
    ) {
        if !self.options.import {
            return;
        }
        let importer = Importer::new(
            index,
            &self.facts,
            &self.indirect,
            &self.liveness,
            &self.attributes,
            &self.devirtualization,
            &self.options,
        );
        importer.select(&self.order, module, &mut Scratch::new(index), &mut None, observer);
    }

    fn up_to_imports(
        index: &ModuleSummaryIndex,
        thin_modules: usize,
        options: &ThinLinkOptions,
        facts: impl FnOnce() -> Result<Facts> + Send,
    ) -> Result<Self> {
        // Much of this is the work of one thread. Beside it stands what depends on none of it.
        let (facts, candidates) = rayon::join(facts, || Candidates::find(index));
        let mut facts = facts?;
        let indirect = IndirectCalls::among(index, candidates, &facts, options);
        let what_is_live = || {
            let liveness = Liveness::compute(index, &facts, &indirect, options)?;
            let attributes = if options.import {
                Attributes::propagate(index, &facts, &liveness, options)
            } else {
                Attributes::none(options)
            };
            Ok((liveness, attributes))
        };
        let (live, order) = rayon::join(what_is_live, || ModuleOrder::new(index, thin_modules));
        let (liveness, attributes) = live?;
        let mut devirtualization = Devirtualization::compute(index, &facts, &liveness, options);
        facts.preserve_exported(devirtualization.exported());
        let mut memprof = MemProf::of_prevailing_copies(index, &facts);
        if options.clones_for_memprof() && facts.knows_modules() {
            memprof.clone_functions(index, &facts, &indirect, options.memprof_dump_ccg)?;
        }
        let imports = if options.import {
            Importer::new(
                index,
                &facts,
                &indirect,
                &liveness,
                &attributes,
                &devirtualization,
                options,
            )
            .select_all(&order)
        } else {
            Imports::none(index)
        };
        let exports = Exports::compute(index, &indirect, &attributes, &devirtualization, &imports);
        devirtualization.rename_exported(index, &exports);
        let mut index_flags = index.flags();
        let mut flag = |on: bool, bits: u64| {
            if on {
                index_flags.insert(bits);
            }
        };
        flag(liveness.computed, IndexFlags::WITH_GLOBAL_VALUE_DEAD_STRIPPING);
        flag(
            attributes.computed,
            IndexFlags::WITH_ATTRIBUTE_PROPAGATION | IndexFlags::WITH_DSO_LOCAL_PROPAGATION,
        );
        flag(facts.partially_split, IndexFlags::PARTIALLY_SPLIT_LTO_UNITS);
        flag(options.has_whole_program_visibility(), IndexFlags::WITH_WHOLE_PROGRAM_VISIBILITY);
        flag(options.supports_hot_cold_new, IndexFlags::WITH_SUPPORTS_HOT_COLD_NEW);
        Ok(LinkPlan {
            linkages: Linkages::unchanged(&facts),
            function_attrs: FunctionAttrs::default(),
            entry_counts: EntryCounts::default(),
            facts,
            indirect,
            liveness,
            attributes,
            devirtualization,
            memprof,
            order,
            imports,
            exports,
            index_flags,
            options: options.clone(),
        })
    }

    fn finish(&mut self, index: &ModuleSummaryIndex, steps: Steps) {
        self.linkages = Linkages::compute(
            index,
            &self.facts,
            &self.liveness,
            &self.exports,
            &self.devirtualization,
            steps,
            &self.options,
        );
        if self.options.behaviour.marks_internalize_and_promote {
            self.index_flags.insert(IndexFlags::WITH_INTERNALIZE_AND_PROMOTE);
        }
        if !self.options.disable_thinlto_funcattrs {
            self.function_attrs = FunctionAttrs::propagate(
                index,
                &self.facts,
                &self.indirect,
                &self.devirtualization,
                &self.liveness,
                &self.linkages,
            );
        }
    }

    /// The index as it is before linkages are decided.
    pub fn before_linkage(&self) -> BeforeLinkage<'_> {
        BeforeLinkage { plan: self }
    }

    /// The flags of a summary after all phases.
    #[inline]
    pub fn flags(&self, summary: Summary<'_>) -> GvFlags {
        self.with_liveness(summary, self.linkages.flags(summary.id()))
    }

    #[inline]
    fn with_liveness(&self, summary: Summary<'_>, mut flags: GvFlags) -> GvFlags {
        flags.set_live(self.liveness.flag(summary.id().index()));
        if self.attributes.loses_dso_local(summary.value()) {
            flags.set_dso_local(false);
        }
        flags
    }

    /// A function's flags after all phases.
    #[inline]
    pub fn function_flags(&self, summary: Summary<'_>) -> FunctionFlags {
        self.function_attrs.apply(summary.id(), summary.function_flags())
    }

    /// A variable's flags after all phases.
    #[inline]
    pub fn variable_flags(&self, summary: Summary<'_>) -> VariableFlags {
        self.devirtualization.variable_flags(summary, self.attributes.variable_flags(summary))
    }
}

/// A plan up to attributes and liveness.
#[derive(Clone, Copy)]
pub struct BeforeLinkage<'p> {
    plan: &'p LinkPlan,
}

impl BeforeLinkage<'_> {
    /// The flags of a summary.
    pub fn flags(&self, summary: Summary<'_>) -> GvFlags {
        let flags = self.plan.facts.flags.get(summary.id().index()).copied();
        self.plan.with_liveness(summary, flags.unwrap_or_default())
    }

    /// A variable's flags.
    pub fn variable_flags(&self, summary: Summary<'_>) -> VariableFlags {
        self.plan.attributes.variable_flags(summary)
    }

    /// The flags of the index.
    pub fn index_flags(&self) -> IndexFlags {
        let later = IndexFlags::WITH_INTERNALIZE_AND_PROMOTE
            | IndexFlags::HAS_SYNTHETIC_ENTRY_COUNTS
            | IndexFlags::WITH_WHOLE_PROGRAM_VISIBILITY;
        IndexFlags(self.plan.index_flags.0 & !later)
    }
}

/// The numbers of summaries must leave a bit for the steps of import lists.
fn check(index: &ModuleSummaryIndex) -> Result<()> {
    if index.summary_count() >= 1 << 31 {
        return Err(Error::unsupported("more than 2^31 summaries in one link"));
    }
    Ok(())
}

/// Type tests of split modules that are not mere assumptions need a resolution for each type
/// identifier, which LLVM makes while it compiles the regular LTO parts. A backend that finds none
/// takes every test for failed: wrong code. Virtual calls under an assumption stay as they are.
fn check_type_tests(index: &ModuleSummaryIndex) -> Result<()> {
    if !index.lacks_type_resolutions(false) {
        return Ok(());
    }
    let resolved = |guid: &Guid| index.type_ids().iter().any(|id| id.guid == *guid);
    for summary in index.summaries().filter(|s| s.kind() == SummaryKind::Function) {
        let tests = summary.type_tests();
        let loads = summary.type_checked_load_vcalls().iter().map(|call| call.guid);
        let const_loads =
            summary.type_checked_load_const_vcalls().iter().map(|call| call.function.guid);
        if tests.iter().copied().chain(loads).chain(const_loads).all(|guid| resolved(&guid)) {
            continue;
        }
        let error = Error::unsupported(
            "the module has type tests (-fsanitize=cfi or the like), which only regular LTO of all \
             split modules can resolve",
        );
        return Err(match index.module(summary.module()) {
            Some(module) => error.in_file(String::from_utf8_lossy(&module.path)),
            None => error,
        });
    }
    Ok(())
}

/// `LTO::checkPartiallySplit`: type tests need all modules to be split alike.
fn check_partially_split(index: &ModuleSummaryIndex) -> Result<()> {
    for summary in index.summaries().filter(|s| s.kind() == SummaryKind::Function) {
        if !summary.type_tests().is_empty()
            || !summary.type_test_assume_vcalls().is_empty()
            || !summary.type_checked_load_vcalls().is_empty()
            || !summary.type_test_assume_const_vcalls().is_empty()
            || !summary.type_checked_load_const_vcalls().is_empty()
        {
            let error =
                Error::misuse("inconsistent LTO Unit splitting (recompile with -fsplit-lto-unit)");
            return Err(match index.module(summary.module()) {
                Some(module) => error.in_file(String::from_utf8_lossy(&module.path)),
                None => error,
            });
        }
    }
    Ok(())
}

/// The name that a local definition gets when other modules refer to it
/// (`ModuleSummaryIndex::getGlobalNameForLocal`): with the first 64 bits of its module's hash.
pub fn promoted_name(name: &[u8], index: &ModuleSummaryIndex, module: ModuleId) -> Vec<u8> {
    let [high, low, ..] = index.module(module).map(|m| m.hash.0).unwrap_or_default();
    let mut promoted = name.to_vec();
    promoted.extend_from_slice(b".llvm.");
    let number = u64::from(high) << 32 | u64::from(low);
    promoted.extend_from_slice(number.to_string().as_bytes());
    promoted
}

/// As [`promoted_name`], under `-use-source-filename-for-promoted-locals`: with the name of the
/// source file, in which all but letters and digits become underscores
/// (`FunctionImportGlobalProcessing::getPromotedName`). `None` where the module does not say it.
pub fn promoted_name_by_source(name: &[u8], source_file_name: &[u8]) -> Option<Vec<u8>> {
    if source_file_name.is_empty() {
        return None;
    }
    let plain = |c: &u8| if c.is_ascii_alphanumeric() { *c } else { b'_' };
    Some([name, b".llvm."].concat().into_iter().chain(source_file_name.iter().map(plain)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_by_source_are_letters_digits_and_underscores() {
        let name = promoted_name_by_source(b"f", b"src/a-b.c");
        assert_eq!(name.as_deref(), Some(&b"f.llvm.src_a_b_c"[..]));
        assert_eq!(promoted_name_by_source(b"f", b""), None);
    }
}
