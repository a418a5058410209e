//! Variables that are only read or only written, and what resolves within the linkage unit.
//!
//! In: the index, the [`Facts`] and the [`Liveness`]. Out: [`Attributes`]. It must not know what
//! is imported.
//!
//! A variable keeps the marks that compilers gave it in hope, unless something denies them: it is
//! preserved or must not be imported, a variable or an unmarked reference mentions it, or a
//! reference that only reads denies that it is only written, and the other way round. These
//! denials are sets, so modules are gone through in any order and by any number of threads.
//!
//! Source: `ModuleSummaryIndex::propagateAttributes`, `canImportGlobalVar`.

use rayon::prelude::*;

use super::bits::{AtomicBits, Bits};
use super::facts::Facts;
use super::liveness::Liveness;
use super::options::ThinLinkOptions;
use crate::summary::{
    ModuleId, ModuleSummaryIndex, Summary, SummaryId, SummaryKind, ValueId, VariableFlags,
};

/// What is known of variables and of where symbols resolve to.
#[derive(Clone, Debug)]
pub struct Attributes {
    /// Whether this was computed (`withAttributePropagation`, `withDSOLocalPropagation`).
    pub computed: bool,
    /// Variables, as summaries, that are not only read.
    not_read_only: Bits,
    /// Variables, as summaries, that are not only written.
    not_write_only: Bits,
    /// Values of which some copy may resolve outside the linkage unit.
    not_dso_local: Bits,
    import_constants_with_refs: bool,
}

impl Attributes {
    /// Nothing is known.
    pub fn none(options: &ThinLinkOptions) -> Self {
        Attributes {
            computed: false,
            not_read_only: Bits::new(0),
            not_write_only: Bits::new(0),
            not_dso_local: Bits::new(0),
            import_constants_with_refs: options.import_constants_with_refs,
        }
    }

    /// Goes through all live summaries.
    pub fn propagate(
        index: &ModuleSummaryIndex,
        facts: &Facts,
        liveness: &Liveness,
        options: &ThinLinkOptions,
    ) -> Self {
        if !options.propagate_attrs {
            return Self::none(options);
        }
        let values = index.guids().len();
        // First by value, of what is referred to; then by summary, of what is meant.
        let value_not_read_only = AtomicBits::new(values);
        let value_not_write_only = AtomicBits::new(values);
        let not_dso_local = AtomicBits::new(values);
        let not_read_only = AtomicBits::new(index.summary_count());
        let not_write_only = AtomicBits::new(index.summary_count());
        (0..index.modules().len() as u32).into_par_iter().for_each(|module| {
            for id in index.module_summaries(ModuleId(module)) {
                let Some(summary) = index.summary(SummaryId(id)) else { continue };
                if !liveness.is_reached(index, summary) {
                    continue;
                }
                let Some(flags) = facts.flags.get(summary.id().index()) else { continue };
                if !flags.dso_local() {
                    not_dso_local.insert(summary.value().index());
                }
                if (flags.linkage().is_interposable()
                    || flags.not_eligible_to_import()
                    || facts.preserved.get(summary.value().index()))
                    && let Some(variable) = base_variable(summary)
                {
                    not_read_only.insert(variable.id().index());
                    not_write_only.insert(variable.id().index());
                }
                for reference in summary.refs() {
                    let value = reference.value().index();
                    if !reference.is_read_only() {
                        value_not_read_only.insert(value);
                    }
                    if !reference.is_write_only() {
                        value_not_write_only.insert(value);
                    }
                }
            }
        });
        let value_not_read_only = value_not_read_only.into_bits();
        let value_not_write_only = value_not_write_only.into_bits();
        (0..index.modules().len() as u32).into_par_iter().for_each(|module| {
            for id in index.module_summaries(ModuleId(module)) {
                let Some(summary) = index.summary(SummaryId(id)) else { continue };
                if summary.kind() == SummaryKind::Function {
                    continue;
                }
                let value = summary.value().index();
                let (not_ro, not_wo) =
                    (value_not_read_only.get(value), value_not_write_only.get(value));
                if (not_ro || not_wo)
                    && let Some(variable) = base_variable(summary)
                {
                    if not_ro {
                        not_read_only.insert(variable.id().index());
                    }
                    if not_wo {
                        not_write_only.insert(variable.id().index());
                    }
                }
            }
        });
        Attributes {
            computed: true,
            not_read_only: not_read_only.into_bits(),
            not_write_only: not_write_only.into_bits(),
            not_dso_local: not_dso_local.into_bits(),
            import_constants_with_refs: options.import_constants_with_refs,
        }
    }

    /// A variable's flags after propagation.
    #[inline]
    pub fn variable_flags(&self, variable: Summary<'_>) -> VariableFlags {
        let mut flags = variable.variable_flags();
        if self.computed {
            let at = variable.id().index();
            flags.set_maybe_read_only(flags.maybe_read_only() && !self.not_read_only.get(at));
            flags.set_maybe_write_only(flags.maybe_write_only() && !self.not_write_only.get(at));
        }
        flags
    }

    /// `isReadOnly`: known to be only read.
    #[inline]
    pub fn is_read_only(&self, variable: Summary<'_>) -> bool {
        self.computed && self.variable_flags(variable).maybe_read_only()
    }

    /// `isWriteOnly`: known to be only written.
    #[inline]
    pub fn is_write_only(&self, variable: Summary<'_>) -> bool {
        self.computed && self.variable_flags(variable).maybe_write_only()
    }

    /// Whether some copy of the value may resolve outside of the linkage unit.
    #[inline]
    pub fn loses_dso_local(&self, value: ValueId) -> bool {
        self.computed && self.not_dso_local.get(value.index())
    }

    /// Whether references in its initializer keep a variable from being imported
    /// (`HasRefsPreventingImport` in `canImportGlobalVar`).
    #[inline]
    pub fn refs_prevent_import(&self, variable: Summary<'_>) -> bool {
        !variable.refs().is_empty() && {
            let flags = self.variable_flags(variable);
            !(self.import_constants_with_refs && flags.constant())
                && !(self.computed && (flags.maybe_read_only() || flags.maybe_write_only()))
        }
    }
}

/// The variable that a summary is of, be it through an alias.
fn base_variable(summary: Summary<'_>) -> Option<Summary<'_>> {
    match summary.kind() {
        SummaryKind::Variable => Some(summary),
        SummaryKind::Alias => summary.aliasee().filter(|s| s.kind() == SummaryKind::Variable),
        SummaryKind::Function => None,
    }
}
