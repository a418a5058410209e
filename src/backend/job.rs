//! Everything that one object depends on.
//!
//! In: a [`Link`] and which module of it. Out: the [`Job`]: bitcode after surgery and the few
//! changes that only LLVM can make. A job does not refer to the link any more: it can wait, be
//! hashed for a cache, or be sent elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use super::link::{Exported, Link, Values};
use super::types::TYPE_TESTS;
use crate::bitcode::{BitcodeFile, Extent, GlobalKind, GlobalValue, Module};
use crate::engine::{Edit, Linkage};
use crate::error::Result;
use crate::ir::{UnnamedAddr, Visibility};
use crate::summary::{ModuleId, Summary, SummaryKind};
use crate::surgery::slice::{
    Declared, Imported, SliceRequest, Superseding, has_pseudo_probes, slice,
};
use crate::surgery::thin::{self, Decision};
use crate::surgery::{self, Edits, Fate};

/// One module's backend.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// LLVM's name for the module.
    pub identifier: String,
    /// What people call it.
    pub place: String,
    /// The module after promotion and internalization.
    pub destination: Vec<u8>,
    /// What is changed in it before anything is imported.
    pub prepare: Vec<Edit>,
    /// What it imports, in the order in which it is linked.
    pub parts: Vec<Part>,
    /// What is changed after all are linked.
    pub finish: Vec<Edit>,
    /// What is to be told of the imports, where the object is made: warnings, and lines to print.
    pub warnings: Vec<String>,
    /// See [`Job::warnings`].
    pub printed: String,
    /// Resolutions of the type identifiers that the module mentions, as LLVM's passes read them;
    /// none where it mentions none.
    pub types: Option<Vec<u8>>,
    /// The distributed index of the module, where functions are cloned by it for MemProf.
    pub memprof: Option<Vec<u8>>,
}

/// What a module imports from another.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// The module that it is a slice of, as people call it.
    pub place: String,
    /// What the names of promoted locals in it end in: their module's hash. Empty where they have none.
    pub suffix: Vec<u8>,
    /// The slice.
    pub bitcode: Vec<u8>,
    /// What is changed before it is linked.
    pub before: Vec<Edit>,
    /// What is changed once it is linked, before the next is.
    pub after: Vec<Edit>,
}

impl Link<'_, '_> {
    /// The job of a module.
    ///
    /// # Errors
    /// Malformed bitcode, of it or of what it imports from, named.
    pub fn job(&self, id: ModuleId) -> Result<Job> {
        let source = self.source(id)?;
        let values = self.values(id)?;
        let decisions = self.decisions(values);
        let edits = self.edits(values, &decisions, self.last_stage())?;
        let destination = surgery::rewrite(&values.module, &edits)
            .map_err(|e| e.in_file(source.place.clone()))?;
        let mut job = Job {
            identifier: source.identifier.clone(),
            place: source.place.clone(),
            destination,
            prepare: self.prepare(values, &decisions, &edits)?,
            parts: Vec::new(),
            finish: Vec::new(),
            warnings: Vec::new(),
            printed: String::new(),
            types: None,
            memprof: None,
        };
        let names = self.import(values, &decisions, &edits, &mut job)?;
        let tests_types = TYPE_TESTS.iter().any(|name| names.contains_key(*name));
        job.types = self.types(id, tests_types, |name| names.contains_key(name))?;
        self.finish(values, &edits, &decisions, &mut job);
        if job.types.is_some() {
            let whole_program = self.plan.options.has_whole_program_visibility();
            job.finish.push(Edit::ResolvePublicTypeTests { whole_program });
        }
        self.use_memprof(values, &mut job)?;
        Ok(job)
    }

    /// The module as LLVM's `.1.promote.bc` has it, and what is changed in it.
    ///
    /// # Errors
    /// As [`Link::job`].
    pub fn promoted(&self, id: ModuleId) -> Result<(Vec<u8>, Vec<Edit>)> {
        let values = self.values(id)?;
        self.destination(values, &self.decisions(values), thin::Stage::Promote)
    }

    /// The module at a stage before anything is imported, and what is changed in it. `decisions`
    /// are those of [`Link::decisions`], or what a driver makes of them.
    ///
    /// # Errors
    /// As [`Link::job`].
    pub fn destination(
        &self,
        values: &Values<'_>,
        decisions: &[Decision],
        stage: thin::Stage,
    ) -> Result<(Vec<u8>, Vec<Edit>)> {
        let source = self.source(values.id)?;
        let edits = self.edits(values, decisions, stage)?;
        let bitcode = surgery::rewrite(&values.module, &edits)
            .map_err(|e| e.in_file(source.place.clone()))?;
        Ok((bitcode, self.prepare(values, decisions, &edits)?))
    }

    fn last_stage(&self) -> thin::Stage {
        match self.phases.internalize {
            true => thin::Stage::Internalize,
            false => thin::Stage::Promote,
        }
    }

    fn edits(
        &self,
        values: &Values<'_>,
        decisions: &[Decision],
        stage: thin::Stage,
    ) -> Result<Edits> {
        let module = &values.module;
        let clear = self.phases.promote && self.clears_dso_local(module)?;
        let mut edits = thin::edits(module, decisions, stage, clear)?;
        if self.phases.promote && self.marks.internalize {
            edits.marked = self.to_internalize(values).collect();
        }
        Ok(edits)
    }

    /// The definitions of variables that become internal after everything is imported, wherever
    /// that is, by value id.
    fn to_internalize<'v>(&'v self, values: &'v Values<'_>) -> impl Iterator<Item = usize> + 'v {
        let defines = move |id: &usize| {
            let global = values.module.globals.get(*id);
            global.is_some_and(|g| g.kind == GlobalKind::Variable && !g.is_declaration)
        };
        let variables = self.summaries(values).filter(|(_, s)| self.becomes_internal(*s));
        variables.map(|(id, _)| id).filter(defines)
    }

    /// A slice with the marks in it that its module would have.
    fn marked_slice(&self, from: &Values<'_>, names: &Exported, slice: &[u8]) -> Result<Vec<u8>> {
        let file = BitcodeFile::read(slice)?;
        let Some(location) = file.modules.first() else { return Ok(slice.to_vec()) };
        let module = Module::read(location, Extent::All)?;
        let name = |id| match names.promoted.get(&id) {
            Some(name) => Some(name.as_slice()),
            None => from.module.globals.get(id).map(|g| &*g.name),
        };
        let wanted: BTreeSet<&[u8]> = self.to_internalize(from).filter_map(name).collect();
        let globals = module.globals.iter().enumerate();
        let variables = globals.filter(|(_, g)| g.kind == GlobalKind::Variable);
        let marked = variables.filter(|(_, g)| wanted.contains(&*g.name)).map(|(id, _)| id);
        surgery::rewrite(&module, &Edits { marked: marked.collect(), ..Edits::default() })
    }

    /// What becomes internal of the definitions that carry LLVM's mark, after everything is
    /// imported into a module that an earlier run has promoted.
    ///
    /// # Errors
    /// Malformed attributes.
    pub fn internalize_marked(&self, values: &Values<'_>) -> Result<Vec<Edit>> {
        let marked = surgery::marked(&values.module)?;
        let globals = marked.iter().filter_map(|&id| values.module.globals.get(id));
        let internal = |g: &GlobalValue<'_>| Edit::SetLinkage {
            name: String::from_utf8_lossy(&g.name).into_owned(),
            linkage: Linkage::Internal,
        };
        Ok(globals.map(internal).collect())
    }

    /// What surgery left to LLVM: attributes, initializers, and declarations that nothing uses.
    fn prepare(
        &self,
        values: &Values<'_>,
        decisions: &[Decision],
        edits: &Edits,
    ) -> Result<Vec<Edit>> {
        let mut prepare = Vec::new();
        let mut unused = Vec::new();
        let aliased: BTreeSet<usize> =
            surgery::alias_bases(&values.module)?.into_values().collect();
        for (id, summary) in self.summaries(values) {
            let Some(g) = values.module.globals.get(id) else { continue };
            let name = String::from_utf8_lossy(name_after(edits, id, &g.name)).into_owned();
            let declared = edits.fate(id) == Fate::Declare;
            let dead = decisions.get(id).is_some_and(|d| d.defined.is_some_and(|d| !d.live));
            // What an alias stands for LLVM leaves there, since the alias is still there then; and the
            // declaration that it made in the place of an alias.
            if declared && dead && !aliased.contains(&id) && !is_indirect(g) {
                unused.push(name.clone());
            }
            if declared && g.kind == GlobalKind::Variable {
                prepare.push(Edit::ClearMetadata { name: name.clone() });
            }
            if g.kind == GlobalKind::Variable
                && self.phases.promote
                && !g.is_declaration
                && self.plan.attributes.is_write_only(summary)
                && !declared
            {
                prepare.push(Edit::ZeroInitializer { name: name.clone() });
            }
            // What was promoted is found no more by its new name.
            let promoted = decisions.get(id).is_some_and(|d| d.promoted.is_some());
            if g.kind == GlobalKind::Function && !promoted && self.phases.promote {
                prepare.extend(self.new_attributes(summary).map(|attribute| Edit::AddFnAttr {
                    name: name.clone(),
                    attr: attribute.to_owned(),
                }));
            }
        }
        if !unused.is_empty() {
            // First, so that what they refer to can be seen to be unused; nothing is looked for
            // among them afterwards.
            let gone: BTreeSet<&String> = unused.iter().collect();
            prepare.retain(|edit| match edit {
                Edit::AddFnAttr { name, .. } | Edit::ClearMetadata { name } => !gone.contains(name),
                _ => true,
            });
            prepare.push(Edit::EraseUnused { names: unused });
        }
        Ok(prepare)
    }

    /// Slices of all modules that it imports from, sorted by their names as LLVM links them. Gives
    /// the names that are there then.
    fn import(
        &self,
        values: &Values<'_>,
        decisions: &[Decision],
        edits: &Edits,
        job: &mut Job,
    ) -> Result<BTreeMap<Vec<u8>, Name>> {
        let imports = self.plan.imports.of(values.id).sorted();
        let definitions: Vec<Summary<'_>> = imports
            .iter()
            .filter(|import| !import.declaration)
            .filter_map(|import| self.index.summary(import.summary))
            .collect();
        let mut groups: Vec<&[Summary<'_>]> =
            definitions.chunk_by(|a, b| a.module() == b.module()).collect();
        groups.sort_by_key(|group| {
            group.first().and_then(|s| self.index.module(s.module())).map(|m| &m.path)
        });
        let clear = self.clears_dso_local(&values.module)?;
        let mut names = names(values, decisions, edits)?;
        let supersedes = self.plan.options.behaviour.llvm >= 20;
        for group in groups {
            let Some(first) = group.first() else { continue };
            let source = self.source(first.module())?;
            let from = self.values(first.module())?;
            let exported = self.exported(from);
            let wanted: BTreeSet<u32> = group.iter().map(|summary| summary.id().0).collect();
            let mut definitions = BTreeSet::new();
            let mut write_only = BTreeSet::new();
            let mut internal = BTreeSet::new();
            for (id, summary) in self.summaries(from) {
                let g = from.module.globals.get(id);
                // An alias keeps what it stands for, whatever definition of the same name wins.
                // LLVM's import replaces that, and the alias then stands for the winner's.
                let aliased = g.and_then(|g| names.get(&*g.name)).is_some_and(|n| n.aliased);
                if !wanted.contains(&summary.id().0) || aliased {
                    continue;
                }
                definitions.insert(id);
                if summary.kind() == SummaryKind::Variable {
                    if self.plan.attributes.is_write_only(summary) {
                        write_only.insert(id);
                    }
                    if self.becomes_internal(summary) {
                        internal.insert(id);
                    }
                }
            }
            if definitions.is_empty() {
                continue;
            }
            let is_there = |name: &[u8]| names.contains_key(name);
            let is_declared = |name: &[u8]| names.get(name).is_some_and(|n| n.declared);
            let request = SliceRequest {
                definitions: &definitions,
                promoted: &exported.promoted,
                write_only: &write_only,
                dso_local: &exported.dso_local,
                clear_dso_local_on_declarations: clear,
                in_destination: &is_there,
                declared_in_destination: supersedes.then_some(&is_declared),
            };
            let tables = self.tables(from).map_err(|e| e.in_file(&source.place))?;
            let mut slice =
                slice(&from.module, &tables, &request).map_err(|e| e.in_file(&source.place))?;
            if tables.has_pseudo_probes && !has_pseudo_probes(&values.module)? {
                job.warnings.push(format!(
                    "Pseudo-probe ignored: source module '{}' is compiled with \
                     -fpseudo-probe-for-profiling while destination module '{}' is not",
                    source.identifier, job.identifier
                ));
            }
            if self.marks.printed {
                job.printed.push_str(&printed(&values.module, &from.module, &slice.imported));
            }
            if self.marks.internalize {
                slice.bitcode = self.marked_slice(from, &exported, &slice.bitcode)?;
            }
            let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
            for (imported, id) in slice.imported.iter().zip(&definitions) {
                let internal = internal.contains(id);
                let linkage = match internal {
                    true => Linkage::Internal,
                    false => Linkage::AvailableExternally,
                };
                job.finish.push(Edit::SetLinkage { name: text(&imported.name), linkage });
                // Where the slice had no room for a zero.
                if write_only.contains(id) {
                    job.finish.push(Edit::ZeroInitializer { name: text(&imported.name) });
                }
                let Some(g) = from.module.globals.get(*id) else { continue };
                let visibility = match g.linkage.is_local() {
                    true => Visibility::Hidden,
                    false => g.visibility,
                };
                let Some(there) = names.get_mut(&imported.name) else {
                    let unnamed_addr = g.unnamed_addr;
                    let name = Name { declared: false, aliased: false, visibility, unnamed_addr };
                    names.insert(imported.name.clone(), name);
                    continue;
                };
                there.declared = false;
                // Linking has taken the lesser of the two.
                if visibility != there.visibility && !internal {
                    job.finish.push(Edit::SetVisibility { name: text(&imported.name), visibility });
                }
                if g.kind != GlobalKind::Alias && g.unnamed_addr != there.unnamed_addr {
                    job.finish.push(Edit::SetUnnamedAddr {
                        name: text(&imported.name),
                        unnamed_addr: g.unnamed_addr,
                    });
                }
            }
            // What this slice declares, the next finds in the destination.
            for Declared { name, visibility, unnamed_addr } in slice.declared {
                let name_there = Name { declared: true, aliased: false, visibility, unnamed_addr };
                names.entry(name).or_insert(name_there);
            }
            let (mut before, mut after) = (Vec::new(), Vec::new());
            if !slice.superseding.is_empty() {
                let names: Vec<String> = slice.superseding.iter().map(|s| text(&s.name)).collect();
                before.push(Edit::SetAside { names: names.clone() });
                after.push(Edit::Supersede { names });
            }
            for Superseding { name, visibility, unnamed_addr } in slice.superseding {
                if let Some(there) = names.get_mut(&name) {
                    (there.visibility, there.unnamed_addr) = (visibility, unnamed_addr);
                }
            }
            if self.marks.source {
                let functions = slice.imported.iter().filter(|i| i.kind == GlobalKind::Function);
                after.extend(functions.map(|function| Edit::SetSource {
                    name: text(&function.name),
                    module: source.identifier.clone(),
                    file: text(&from.module.source_file_name),
                }));
            }
            job.parts.push(Part {
                place: source.place.clone(),
                suffix: self.promoted_suffix(from),
                bitcode: slice.bitcode,
                before,
                after,
            });
        }
        Ok(names)
    }

    /// The module's own variables that are only read or only written become internal when nothing
    /// is linked any more.
    fn finish(&self, values: &Values<'_>, edits: &Edits, decisions: &[Decision], job: &mut Job) {
        if !self.phases.promote {
            return;
        }
        for (id, summary) in self.summaries(values) {
            let Some(g) = values.module.globals.get(id) else { continue };
            let edit = edits.globals.get(&id);
            let linkage = edit.and_then(|edit| edit.linkage).unwrap_or(g.linkage);
            let stays = !g.is_declaration && edits.fate(id) == Fate::Keep;
            if g.kind == GlobalKind::Variable
                && stays
                // A private one becomes internal as well, and so gets a symbol.
                && linkage != Linkage::Internal
                && decisions.get(id).is_some_and(|d| d.defined.is_some())
                && self.becomes_internal(summary)
            {
                let name = String::from_utf8_lossy(name_after(edits, id, &g.name)).into_owned();
                job.finish.push(Edit::SetLinkage { name, linkage: Linkage::Internal });
            }
        }
    }
}

/// What `-print-imports` prints of the imports from a module, in LLVM's order.
fn printed(into: &Module<'_>, from: &Module<'_>, imported: &[Imported]) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let [into, from] = [into, from].map(|module| text(&module.source_file_name));
    let of_kind = |kind| imported.iter().filter(move |import| import.kind == kind);
    let functions_first = of_kind(GlobalKind::Function).chain(of_kind(GlobalKind::Variable));
    functions_first.map(|i| format!("{into}: Import {} from {from}\n", text(&i.name))).collect()
}

fn name_after<'e>(edits: &'e Edits, id: usize, name: &'e [u8]) -> &'e [u8] {
    edits.globals.get(&id).and_then(|edit| edit.name.as_deref()).unwrap_or(name)
}

/// What the destination says of a name that it has.
#[derive(Clone, Copy, Debug)]
struct Name {
    declared: bool,
    /// An alias stands for it.
    aliased: bool,
    visibility: Visibility,
    unnamed_addr: UnnamedAddr,
}

fn is_indirect(g: &GlobalValue<'_>) -> bool {
    matches!(g.kind, GlobalKind::Alias | GlobalKind::IFunc)
}

/// The names that the module has after surgery, but for what is dead: whether it is still there
/// depends on who uses it. For a dead alias there is a declaration in any case.
fn names(
    values: &Values<'_>,
    decisions: &[Decision],
    edits: &Edits,
) -> Result<BTreeMap<Vec<u8>, Name>> {
    let bases: BTreeSet<usize> = surgery::alias_bases(&values.module)?.into_values().collect();
    let globals = values.module.globals.iter().enumerate().zip(decisions);
    let live = globals
        .filter(|((_, g), decision)| {
            decision.defined.is_none_or(|defined| defined.live) || is_indirect(g)
        })
        .map(|((id, g), _)| {
            let edit = edits.globals.get(&id);
            let name = Name {
                declared: g.is_declaration || edits.fate(id) == Fate::Declare,
                aliased: bases.contains(&id),
                visibility: edit.and_then(|e| e.visibility).unwrap_or(g.visibility),
                unnamed_addr: match is_indirect(g) && edits.fate(id) == Fate::Declare {
                    true => UnnamedAddr::None,
                    false => edit.and_then(|e| e.unnamed_addr).unwrap_or(g.unnamed_addr),
                },
            };
            (name_after(edits, id, &g.name).to_vec(), name)
        });
    Ok(live.collect())
}
