//! What the plan of a link says of one module's values.
//!
//! In: the index, the plan and the bitcode of all modules. Out: for each module, read once and
//! kept, the [`Values`]: which value of the index each of its globals is, and what follows for
//! its name and its record. It must not know LLVM.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use once_cell::sync::OnceCell;
use parking_lot::Mutex;

use super::recent::Recent;
use super::renamed;
use crate::bitcode::{BitcodeModule, Extent, GlobalKind, GlobalValue, Module, module_flag};
use crate::config::RelocModel;
use crate::distributed::Shards;
use crate::error::{Error, Result};
use crate::ir::Guid;
use crate::summary::{
    ModuleId, ModuleSummaryIndex, Summary, SummaryKind, ValueId, guids_of_module,
};
use crate::surgery::has_memprof_attributes;
use crate::surgery::slice::Tables;
use crate::surgery::thin::{Decision, Defined};
use crate::symbols::triple::{ObjectFormat, Triple};
use crate::thinlink::{LinkPlan, promoted_name, promoted_name_by_source};

/// How much memory the tables of modules that are imported from may take, in bytes.
const TABLES: usize = 4 << 20;

/// A module of the link.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    /// The name by which the index knows it, and LLVM's name for the module.
    pub identifier: String,
    /// What people call it: the file, and the member in it.
    pub place: String,
    /// Where its bitcode is.
    pub location: BitcodeModule<'a>,
}

/// In what the drivers of LLVM differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phases {
    /// Locals that others refer to are promoted, prevailing copies resolved. The legacy code
    /// generator leaves that out where there is only one module.
    pub promote: bool,
    /// Dead definitions are dropped. The legacy code generator leaves them to the optimizer.
    pub drop_dead: bool,
    /// What nothing outside refers to becomes internal.
    pub internalize: bool,
    /// Where the allocator cannot be told what is cold, MemProf's attributes go. The legacy code
    /// generator leaves them.
    pub strip_memprof: bool,
}

impl Phases {
    /// `lto::thinBackend`.
    pub const RESOLUTION_BASED: Phases =
        Phases { promote: true, drop_dead: true, internalize: true, strip_memprof: true };
}

/// What LLVM leaves in modules, without any effect on objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Variables that become internal have an attribute from promotion on.
    pub internalize: bool,
    /// Imported functions have the module and the source file that they are from as metadata
    /// (`-enable-import-metadata`, and what needs it).
    pub source: bool,
    /// Types are imported as definitions (`-import-full-type-definitions`).
    pub full_types: bool,
    /// What is imported is printed (`-print-imports`).
    pub printed: bool,
}

impl Marks {
    /// Those of a link under options in LLVM's words. `for_people`: somebody reads the modules.
    pub fn wanted(for_people: bool, options: &[String]) -> Self {
        let is_on = |names: &[&str]| {
            options.iter().any(|option| {
                let option = option.trim_start_matches('-');
                let (name, value) = option.split_once('=').unwrap_or((option, "true"));
                names.contains(&name) && matches!(value, "true" | "TRUE" | "True" | "1")
            })
        };
        Marks {
            internalize: for_people,
            source: is_on(&["enable-import-metadata", "enable-memprof-context-disambiguation"]),
            full_types: is_on(&["import-full-type-definitions"]),
            printed: is_on(&["print-imports"]),
        }
    }
}

/// A link whose backends are to run.
pub struct Link<'l, 'a> {
    /// The combined index.
    pub index: &'l ModuleSummaryIndex,
    /// What was decided.
    pub plan: &'l LinkPlan,
    /// How the module asks for position-independent code where it does not say itself.
    pub reloc_model: Option<RelocModel>,
    /// What is done to a module before it imports.
    pub phases: Phases,
    /// What LLVM leaves in modules for people to read.
    pub marks: Marks,
    /// Variables with several definitions for one of which an alias stands.
    aliased: BTreeSet<ValueId>,
    /// By [`ModuleId`]; `None` for what has no backend and exports nothing (regular LTO).
    sources: Vec<Option<Source<'a>>>,
    /// By [`ModuleId`], what was read of it for those that import from it.
    read: Vec<OnceCell<Values<'a>>>,
    /// What goes into index files, where backends need some of it.
    pub(super) shards: OnceCell<Shards<'l>>,
    /// Tables of the modules that were last imported from.
    tables: Mutex<Recent<Arc<Tables<'a>>>>,
}

/// A module and what the index knows of its global values.
pub struct Values<'a> {
    /// The module.
    pub module: Module<'a>,
    /// Which module of the index it is.
    pub id: ModuleId,
    /// Whether calls have MemProf's attribute.
    memprof_attributes: OnceCell<bool>,
    /// By value id, the value of the index.
    values: Vec<Option<ValueId>>,
}

/// What of a module follows for the slices of it.
#[derive(Debug, Default)]
pub struct Exported {
    /// New names of locals, by value id: all locals', since in a slice every one that is mentioned
    /// is another module's.
    pub promoted: BTreeMap<usize, Vec<u8>>,
    /// Values whose every definition is in the linkage unit.
    pub dso_local: BTreeSet<usize>,
}

impl<'l, 'a> Link<'l, 'a> {
    /// `sources` are by [`ModuleId`].
    pub fn new(
        index: &'l ModuleSummaryIndex,
        plan: &'l LinkPlan,
        sources: Vec<Option<Source<'a>>>,
        reloc_model: Option<RelocModel>,
        phases: Phases,
    ) -> Self {
        let read = sources.iter().map(|_| OnceCell::new()).collect();
        let bases = index.summaries().filter(|s| s.kind() == SummaryKind::Alias);
        let aliased = bases
            .map(Summary::base_object)
            .filter(|base| {
                base.kind() == SummaryKind::Variable && index.copies(base.value()).len() > 1
            })
            .map(Summary::value)
            .collect();
        Link {
            index,
            plan,
            reloc_model,
            phases,
            marks: Marks::default(),
            aliased,
            sources,
            read,
            shards: OnceCell::new(),
            tables: Mutex::new(Recent::new(TABLES)),
        }
    }

    /// Whether every module that refers to a variable gets one of its own, since it is only read or
    /// only written (`internalizeGVsAfterImport`).
    ///
    /// Not so where an alias keeps one of several definitions in place: the others must be found
    /// by its name. LLVM does not look, and the alias then stands for the wrong one.
    pub fn becomes_internal(&self, summary: Summary<'_>) -> bool {
        let attributes = &self.plan.attributes;
        summary.kind() == SummaryKind::Variable
            && (attributes.is_read_only(summary) || attributes.is_write_only(summary))
            && !self.aliased.contains(&summary.value())
    }

    /// The module's names and bitcode.
    ///
    /// # Errors
    /// Where it is none with a backend.
    pub fn source(&self, id: ModuleId) -> Result<&Source<'a>> {
        self.sources.get(id.index()).and_then(Option::as_ref).ok_or_else(|| {
            let path = self.index.module(id).map(|m| String::from_utf8_lossy(&m.path).into_owned());
            Error::misuse(format!("no bitcode for the module {}", path.unwrap_or_default()))
        })
    }

    /// The module, read once.
    ///
    /// # Errors
    /// Malformed bitcode.
    pub fn values(&self, id: ModuleId) -> Result<&Values<'a>> {
        let cell = self.read.get(id.index()).ok_or_else(|| Error::misuse("no such module"))?;
        cell.get_or_try_init(|| {
            let source = self.source(id)?;
            let module = Module::read(&source.location, Extent::All)
                .map_err(|e| e.in_file(&source.place))?;
            let values = self.find_values(&module);
            Ok(Values { module, id, memprof_attributes: OnceCell::new(), values })
        })
    }

    /// Whether calls of a module have MemProf's attribute.
    ///
    /// # Errors
    /// Malformed bitcode.
    pub fn has_memprof_attributes(&self, id: ModuleId) -> Result<bool> {
        let values = self.values(id)?;
        let look = || has_memprof_attributes(&values.module);
        let found = values.memprof_attributes.get_or_try_init(look).copied();
        found.map_err(|e| self.source(id).map_or_else(|e| e, |source| e.in_file(&source.place)))
    }

    /// What slices of the module need of it. Many modules import from the same few, so that of
    /// those it is read rarely.
    ///
    /// # Errors
    /// Malformed bitcode.
    pub fn tables(&self, values: &Values<'a>) -> Result<Arc<Tables<'a>>> {
        if let Some(tables) = self.tables.lock().get(values.id) {
            return Ok(tables);
        }
        let tables = Arc::new(Tables::read(&values.module, self.marks.full_types)?);
        self.tables.lock().keep(values.id, Arc::clone(&tables), tables.size());
        Ok(tables)
    }

    /// The value of the index that each global value of a module is.
    fn find_values(&self, module: &Module<'_>) -> Vec<Option<ValueId>> {
        let find = |(g, guid): (&GlobalValue<'_>, Guid)| {
            if g.name.is_empty() { None } else { self.index.find(guid) }
        };
        module.globals.iter().zip(guids_of_module(module)).map(find).collect()
    }

    /// `ValueInfo::isDSOLocal`.
    fn is_dso_local(&self, value: ValueId) -> bool {
        let mut copies = self.index.copies(value).iter().filter_map(|&id| self.index.summary(id));
        let is_local = |summary: Summary<'_>| self.plan.flags(summary).dso_local();
        match copies.next() {
            None => false,
            // Propagation makes all copies agree.
            Some(first) if self.plan.attributes.computed => is_local(first),
            Some(first) => is_local(first) && copies.all(is_local),
        }
    }

    fn summary(&self, values: &Values<'_>, id: usize) -> Option<Summary<'l>> {
        let value = values.values.get(id).copied().flatten()?;
        let summary = self.index.summary_in_module(value, values.id)?;
        self.index.summary(summary)
    }

    /// Every global value of the module that the index has a definition of, by value id.
    pub fn summaries<'v>(
        &'v self,
        values: &'v Values<'_>,
    ) -> impl Iterator<Item = (usize, Summary<'l>)> + 'v {
        (0..values.values.len()).filter_map(|id| Some((id, self.summary(values, id)?)))
    }

    /// What is done to the module itself.
    pub fn decisions(&self, values: &Values<'_>) -> Vec<Decision> {
        let decide = |(id, g): (usize, &GlobalValue<'_>)| {
            let summary = self.summary(values, id);
            if !self.phases.promote {
                // Only what may become internal is known by it.
                let linkage = summary.map(|s| self.plan.flags(s).linkage());
                let internal = linkage.filter(|linkage| linkage.is_local()).map(|linkage| {
                    Defined { live: true, linkage, visibility: g.visibility, can_auto_hide: false }
                });
                return Decision { defined: internal, ..Decision::default() };
            }
            let defined = summary.map(|summary| {
                let flags = self.plan.flags(summary);
                Defined {
                    live: !self.phases.drop_dead || self.is_live(summary),
                    linkage: flags.linkage(),
                    visibility: flags.visibility(),
                    can_auto_hide: flags.can_auto_hide(),
                }
            });
            let promoted = g.linkage.is_local()
                && can_be_promoted(g)
                && defined.is_some_and(|defined| !defined.linkage.is_local());
            Decision {
                defined,
                dso_local: values
                    .values
                    .get(id)
                    .copied()
                    .flatten()
                    .is_some_and(|value| self.is_dso_local(value)),
                promoted: promoted.then(|| self.promoted_name(values, g)),
            }
        };
        values.module.globals.iter().enumerate().map(decide).collect()
    }

    /// What slices of the module need to know.
    pub fn exported(&self, values: &Values<'_>) -> Exported {
        let mut exported = Exported::default();
        for (id, (g, value)) in values.module.globals.iter().zip(&values.values).enumerate() {
            if g.linkage.is_local() && can_be_promoted(g) {
                exported.promoted.insert(id, self.promoted_name(values, g));
            }
            if value.is_some_and(|value| self.is_dso_local(value)) {
                exported.dso_local.insert(id);
            }
        }
        exported
    }

    /// The name of a local definition that other modules refer to.
    fn promoted_name(&self, values: &Values<'_>, g: &GlobalValue<'_>) -> Vec<u8> {
        let by_source = self.plan.options.use_source_filename_for_promoted_locals;
        by_source
            .then(|| promoted_name_by_source(&g.name, &values.module.source_file_name))
            .flatten()
            .unwrap_or_else(|| promoted_name(&g.name, self.index, values.id))
    }

    /// What the names of the module's promoted locals end in; empty where its hash is not in them.
    pub fn promoted_suffix(&self, values: &Values<'_>) -> Vec<u8> {
        match self.plan.options.use_source_filename_for_promoted_locals {
            true => Vec::new(),
            false => renamed::suffix(&promoted_name(b"", self.index, values.id)),
        }
    }

    /// `ModuleSummaryIndex::isGlobalValueLive`.
    fn is_live(&self, summary: Summary<'_>) -> bool {
        !self.plan.liveness.computed || self.plan.flags(summary).live()
    }

    /// Attributes that the whole program's analysis found for a function and its module did not
    /// know, by LLVM's names.
    pub fn new_attributes(&self, summary: Summary<'_>) -> impl Iterator<Item = &'static str> {
        let (old, new) = match summary.kind() {
            SummaryKind::Function => (summary.function_flags(), self.plan.function_flags(summary)),
            _ => Default::default(),
        };
        let found = [
            (new.no_recurse() && !old.no_recurse()).then_some("norecurse"),
            (new.no_unwind() && !old.no_unwind()).then_some("nounwind"),
        ];
        found.into_iter().flatten()
    }

    /// Whether the module's declarations may turn out to be in another linkage unit.
    ///
    /// # Errors
    /// Malformed module flags.
    pub fn clears_dso_local(&self, module: &Module<'_>) -> Result<bool> {
        position_independent(self.reloc_model, module)
    }
}

/// What has no name cannot be referred to from elsewhere, nor can an ifunc in LLVM.
fn can_be_promoted(g: &GlobalValue<'_>) -> bool {
    !g.name.is_empty() && g.kind != GlobalKind::IFunc
}

/// LLVM's `ClearDSOLocalOnDeclarations`: position-independent code on ELF that was not compiled
/// for an executable.
///
/// # Errors
/// Malformed module flags.
fn position_independent(reloc: Option<RelocModel>, module: &Module<'_>) -> Result<bool> {
    if Triple::parse(&module.triple).format != ObjectFormat::Elf {
        return Ok(false);
    }
    let pic = match reloc {
        Some(model) => model != RelocModel::Static,
        None => module_flag(module, b"PIC Level")?.unwrap_or(0) != 0,
    };
    Ok(pic && module_flag(module, b"PIE Level")?.unwrap_or(0) == 0)
}
