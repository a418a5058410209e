//! What linkage and visibility every definition gets.
//!
//! In: the index, the [`Facts`], the [`Liveness`] and the [`Exports`]. Out: [`Linkages`]: the
//! flags of every summary as the backends shall find them. It must not know how they are applied.
//!
//! Two steps, which the two drivers of LLVM take in different order: *internalize and promote*
//! (what others refer to becomes external, what nobody else refers to becomes local) and *resolve
//! prevailing* (of several weak copies one is kept, the others are only there for inlining).
//!
//! Source: `thinLTOInternalizeAndPromoteGUID`, `thinLTOResolvePrevailingGUID` in LTO.cpp,
//! `ValueInfo::getELFVisibility`, `ValueInfo::canAutoHide` in ModuleSummaryIndex.cpp.

use rayon::prelude::*;
use std::sync::atomic::{AtomicU16, Ordering};

use super::bits::{AtomicBits, Bits};
use super::options::{ThinLinkOptions, VisibilityScheme};
use super::{Devirtualization, Exports, Facts, Liveness};
use crate::ir::{Linkage, Visibility};
use crate::summary::{GvFlags, ModuleSummaryIndex, SummaryId, SummaryKind, ValueId};

/// The order of the two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steps {
    /// Internalize and promote first: the resolution-based driver.
    InternalizeFirst,
    /// Resolve prevailing first: the legacy code generator.
    ResolveFirst,
    /// Resolve prevailing, and no more.
    ResolveOnly,
}

/// Linkage and visibility of all definitions.
#[derive(Clone, Debug, Default)]
pub struct Linkages {
    flags: Vec<GvFlags>,
    /// Summaries whose linkage the resolution of prevailing copies changed (`ResolvedODR`).
    resolved: Bits,
}

impl Linkages {
    /// Everything stays as it is.
    pub fn unchanged(facts: &Facts) -> Self {
        Linkages { flags: facts.flags.clone(), resolved: Bits::new(0) }
    }

    /// Takes both steps for all values.
    pub fn compute(
        index: &ModuleSummaryIndex,
        facts: &Facts,
        liveness: &Liveness,
        exports: &Exports,
        devirtualization: &Devirtualization,
        steps: Steps,
        options: &ThinLinkOptions,
    ) -> Self {
        let count = index.summary_count();
        let aliasees = AtomicBits::new(count);
        (0..count as u32).into_par_iter().with_min_len(4096).for_each(|id| {
            let alias = index.summary(SummaryId(id)).filter(|s| s.kind() == SummaryKind::Alias);
            if let Some(aliasee) = alias.and_then(|alias| alias.aliasee()) {
                aliasees.insert(aliasee.id().index());
            }
        });
        let aliasees = aliasees.into_bits();
        let mut cfi = Bits::new(index.guids().len());
        for function in index.cfi_function_defs().iter().chain(index.cfi_function_decls()) {
            if let Some(value) = index.find(function.guid) {
                cfi.insert(value.index());
            }
        }
        let resolver = Resolver {
            index,
            facts,
            liveness,
            exports,
            devirtualization,
            options,
            aliasees,
            cfi,
            flags: facts.flags.iter().map(|flags| AtomicU16::new(flags.0)).collect(),
            resolved: AtomicBits::new(count),
        };
        (0..index.guids().len() as u32).into_par_iter().with_min_len(4096).for_each(|value| {
            let value = ValueId(value);
            let copies = index.copies(value);
            if copies.is_empty() {
                return;
            }
            match steps {
                Steps::InternalizeFirst => {
                    resolver.internalize_and_promote(value, copies);
                    resolver.resolve_prevailing(value, copies);
                }
                Steps::ResolveFirst => {
                    resolver.resolve_prevailing(value, copies);
                    resolver.internalize_and_promote(value, copies);
                }
                Steps::ResolveOnly => resolver.resolve_prevailing(value, copies),
            }
        });
        Linkages {
            flags: resolver.flags.into_iter().map(|flags| GvFlags(flags.into_inner())).collect(),
            resolved: resolver.resolved.into_bits(),
        }
    }

    /// The flags of a summary; those of liveness and dso_local are not touched here.
    #[inline]
    pub fn flags(&self, summary: SummaryId) -> GvFlags {
        self.flags.get(summary.index()).copied().unwrap_or_default()
    }

    /// Whether the choice of a prevailing copy changed the linkage.
    pub fn is_resolved(&self, summary: SummaryId) -> bool {
        self.resolved.get(summary.index())
    }
}

struct Resolver<'r> {
    index: &'r ModuleSummaryIndex,
    facts: &'r Facts,
    liveness: &'r Liveness,
    exports: &'r Exports,
    devirtualization: &'r Devirtualization,
    options: &'r ThinLinkOptions,
    /// Summaries that an alias stands for.
    aliasees: Bits,
    /// Values that the jump tables of control-flow integrity refer to.
    cfi: Bits,
    /// Each value is worked on by one thread, so that loads and stores need no order.
    flags: Vec<AtomicU16>,
    resolved: AtomicBits,
}

impl Resolver<'_> {
    #[inline]
    fn get(&self, id: SummaryId) -> GvFlags {
        GvFlags(self.flags.get(id.index()).map_or(0, |flags| flags.load(Ordering::Relaxed)))
    }

    #[inline]
    fn set(&self, id: SummaryId, flags: GvFlags) {
        if let Some(slot) = self.flags.get(id.index()) {
            slot.store(flags.0, Ordering::Relaxed);
        }
    }

    fn is_prevailing(&self, value: ValueId, id: SummaryId) -> bool {
        self.index
            .summary(id)
            .is_some_and(|summary| self.facts.is_prevailing(value, id, summary.module()))
    }

    fn internalize_and_promote(&self, value: ValueId, copies: &[SummaryId]) {
        let visible_copies =
            copies.iter().filter(|&&id| !self.get(id).linkage().is_local()).count();
        // Unless it turned out to be dead.
        let external = self.facts.external.get(value.index())
            && self.liveness.is_value_live(self.index, value)
            || self.cfi.get(value.index())
            || self.devirtualization.exports(value)
            || self.facts.is_exported_by_preservation(value);
        for &id in copies {
            let mut flags = self.get(id);
            let linkage = flags.linkage();
            if external || self.exports.contains(id) {
                if linkage.is_local() {
                    flags.set_linkage(Linkage::External);
                    self.set(id, flags);
                }
                continue;
            }
            if !self.options.enable_lto_internalization {
                continue;
            }
            let internalize = linkage == Linkage::External
                || linkage.is_weak_for_linker()
                    && linkage != Linkage::ExternalWeak
                    && visible_copies == 1
                    && self.is_prevailing(value, id);
            if internalize {
                flags.set_linkage(Linkage::Internal);
                self.set(id, flags);
            }
        }
    }

    fn resolve_prevailing(&self, value: ValueId, copies: &[SummaryId]) {
        let elf = self.options.visibility_scheme == VisibilityScheme::Elf;
        let mut visibility = if elf { self.elf_visibility(copies) } else { Visibility::Default };
        let can_auto_hide = || {
            copies.iter().all(|&id| self.get(id).can_auto_hide())
                && !self.facts.preserved.get(value.index())
        };
        for &id in copies {
            let mut flags = self.get(id);
            let original = flags.linkage();
            if original.is_local() || original == Linkage::Appending {
                continue;
            }
            if self.is_prevailing(value, id) {
                if original.is_linkonce() {
                    let weak = if original.is_odr() { Linkage::WeakOdr } else { Linkage::WeakAny };
                    let hide = can_auto_hide();
                    flags.set_linkage(weak);
                    flags.set_can_auto_hide(hide);
                }
                if !elf {
                    visibility = flags.visibility();
                }
            } else if self.index.summary(id).is_some_and(|s| s.kind() != SummaryKind::Alias)
                && !self.aliasees.get(id.index())
                && !self.options.force_import_all
            {
                flags.set_linkage(Linkage::AvailableExternally);
            }
            if elf {
                flags.set_visibility(visibility);
            }
            if flags.linkage() != original {
                self.resolved.insert(id.index());
            }
            self.set(id, flags);
        }
        if !elf {
            for &id in copies {
                let mut flags = self.get(id);
                if !flags.linkage().is_local() && flags.linkage() != Linkage::Appending {
                    flags.set_visibility(visibility);
                    self.set(id, flags);
                }
            }
        }
    }

    fn elf_visibility(&self, copies: &[SummaryId]) -> Visibility {
        let mut result = Visibility::Default;
        for &id in copies {
            match self.get(id).visibility() {
                Visibility::Hidden => return Visibility::Hidden,
                Visibility::Protected => result = Visibility::Protected,
                Visibility::Default => {}
            }
        }
        result
    }
}
