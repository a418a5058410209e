//! The part of a plan that one backend needs.
//!
//! In: the index and its [`LinkPlan`]. Out: per module which summaries its distributed index
//! holds, in LLVM's order; the bytes of the index; the text of the imports file.
//!
//! LLVM collects the summaries of one backend in a map from source path to a `DenseMap` by GUID:
//! all that the module defines, in a copy of the table it was collected in, and what it imports,
//! in tables filled in the order of its import list. Until LLVM 19 that list was a
//! `std::unordered_map` for each source, since then it is a `DenseSet` of numbers given out over
//! the whole link. Values are numbered in the order of these tables. Source:
//! `gatherImportedSummariesForModule`, `EmitImportsFiles` in FunctionImport.cpp; `ImportIDTable`
//! in FunctionImport.h.

use rayon::prelude::*;

use crate::ir::Guid;
use crate::summary::{
    CombinedWriter, Format, FunctionFlags, GvFlags, IndexFlags, ModuleId, ModuleSummaryIndex,
    Overrides, Selected, Selection, SummaryId, SummaryKind, VariableFlags, WriteOptions,
};
use crate::thinlink::order::{DenseTable, LinkedTable};
use crate::thinlink::{Import, LinkPlan};

/// What the backends of one link need.
pub struct Shards<'p> {
    index: &'p ModuleSummaryIndex,
    plan: &'p LinkPlan,
    /// By summary, LLVM's number of the import; [`NONE`] where nothing imports it. Empty where
    /// LLVM does not number imports.
    numbers: Vec<u32>,
    /// By module, the place of its path among all paths.
    path_rank: Vec<u32>,
    flags: Vec<GvFlags>,
    function_flags: Vec<FunctionFlags>,
    variable_flags: Vec<VariableFlags>,
}

const NONE: u32 = u32::MAX;

/// What one thread keeps from module to module.
pub struct ShardWriter<'s, 'p> {
    shards: &'s Shards<'p>,
    writer: CombinedWriter<'p>,
    imports: DenseTable<u32>,
    table: DenseTable<u64>,
}

impl<'p> Shards<'p> {
    /// Prepares the shards of a plan.
    pub fn new(index: &'p ModuleSummaryIndex, plan: &'p LinkPlan) -> Self {
        let count = index.summary_count();
        let mut numbers = Vec::new();
        if plan.options.behaviour.numbers_imports {
            numbers.resize(count, NONE);
            let mut next = 0;
            for &module in plan.order.modules() {
                for import in plan.imports.of(module).steps() {
                    if let Some(number) = numbers.get_mut(import.summary.index())
                        && *number == NONE
                    {
                        *number = next;
                        next += 1;
                    }
                }
            }
        }
        let mut by_path: Vec<u32> = (0..index.modules().len() as u32).collect();
        let path = |id: &u32| index.modules().get(*id as usize).map(|module| &module.path);
        by_path.sort_by(|a, b| path(a).cmp(&path(b)));
        let mut path_rank = vec![0; by_path.len()];
        for (rank, &id) in (0..).zip(&by_path) {
            if let Some(slot) = path_rank.get_mut(id as usize) {
                *slot = rank;
            }
        }
        let summaries = || (0..count as u32).into_par_iter().map(SummaryId);
        let flags = summaries()
            .map(|id| index.summary(id).map(|s| plan.flags(s)).unwrap_or_default())
            .collect();
        let function_flags = summaries()
            .map(|id| index.summary(id).map(|s| plan.function_flags(s)).unwrap_or_default())
            .collect();
        let variable_flags = summaries()
            .map(|id| index.summary(id).map(|s| plan.variable_flags(s)).unwrap_or_default())
            .collect();
        Shards { index, plan, numbers, path_rank, flags, function_flags, variable_flags }
    }

    /// A writer for one thread.
    pub fn writer(&self) -> ShardWriter<'_, 'p> {
        ShardWriter {
            shards: self,
            writer: CombinedWriter::new(self.index),
            imports: DenseTable::default(),
            table: DenseTable::default(),
        }
    }

    /// Calls `f` with what the plan changes in the index.
    fn with_overrides<T>(&self, f: impl FnOnce(&Overrides<'_>) -> T) -> T {
        let indirect = &self.plan.indirect;
        let callee = |caller, callee| indirect.callee(caller, callee);
        let devirtualization = &self.plan.devirtualization;
        f(&Overrides {
            flags: Some(&self.flags),
            function_flags: Some(&self.function_flags),
            variable_flags: Some(&self.variable_flags),
            entry_counts: Some(self.plan.entry_counts.counts()),
            index_flags: Some(self.plan.index_flags),
            callee: if indirect.is_empty() { None } else { Some(&callee) },
            virtual_callees: Some(devirtualization.all_callees()),
            type_ids: Some(devirtualization.type_ids(self.index)),
            memprof: Some(self.plan.memprof.functions()).filter(|functions| !functions.is_empty()),
        })
    }

    /// The whole combined index, as it is after the thin link.
    pub fn combined_index(&self, format: Format) -> Vec<u8> {
        let options = WriteOptions { format, function_table: false };
        let mut writer = CombinedWriter::new(self.index);
        self.with_overrides(|overrides| writer.write(&Selection::All, overrides, &options))
    }

    /// The whole combined index, as LLVM saves it: after liveness and attributes, before anything
    /// is imported.
    pub fn combined_index_before_linkage(&self, format: Format) -> Vec<u8> {
        let before = self.plan.before_linkage();
        let summaries = || self.index.summaries();
        let flags: Vec<GvFlags> = summaries().map(|s| before.flags(s)).collect();
        let variable_flags: Vec<VariableFlags> =
            summaries().map(|s| before.variable_flags(s)).collect();
        let memprof = self.plan.memprof.before_cloning();
        let options = WriteOptions { format, function_table: false };
        let mut writer = CombinedWriter::new(self.index);
        self.with_overrides(|overrides| {
            let overrides = Overrides {
                flags: Some(&flags),
                function_flags: None,
                variable_flags: Some(&variable_flags),
                entry_counts: None,
                virtual_callees: None,
                type_ids: None,
                memprof: Some(&memprof).filter(|functions| !functions.is_empty()),
                index_flags: Some(before.index_flags()),
                ..*overrides
            };
            writer.write(&Selection::All, &overrides, &options)
        })
    }

    /// The modules that a module imports from, in the order of their paths.
    pub fn sources(&self, module: ModuleId) -> Vec<ModuleId> {
        let mut sources: Vec<ModuleId> = Vec::new();
        for import in self.plan.imports.of(module).steps() {
            let Some(summary) = self.index.summary(import.summary) else { continue };
            if sources.last() != Some(&summary.module()) {
                sources.push(summary.module());
            }
        }
        sources.sort_unstable_by_key(|&id| self.rank(id));
        sources.dedup();
        sources.retain(|&id| id != module);
        sources
    }

    fn rank(&self, module: ModuleId) -> u32 {
        self.path_rank.get(module.index()).copied().unwrap_or(0)
    }

    /// The text of the imports file: a line for each module that this one imports from.
    pub fn imports_file(&self, module: ModuleId) -> Vec<u8> {
        self.lines_of(self.sources(module).into_iter())
    }

    /// A line for each of these modules.
    fn lines_of(&self, sources: impl Iterator<Item = ModuleId>) -> Vec<u8> {
        let mut text = Vec::new();
        for source in sources {
            if let Some(info) = self.index.module(source) {
                text.extend_from_slice(&info.path);
                text.push(b'\n');
            }
        }
        text
    }
}

impl ShardWriter<'_, '_> {
    /// The bytes of a module's distributed index.
    pub fn index_file(&mut self, module: ModuleId, format: Format) -> Vec<u8> {
        let modules = self.selection(module);
        self.index_of(&modules, format)
    }

    /// As [`ShardWriter::index_file`], and [`Shards::imports_file`].
    pub fn index_and_imports(&mut self, module: ModuleId, format: Format) -> (Vec<u8>, Vec<u8>) {
        let modules = self.selection(module);
        let sources = modules.iter().map(|&(id, _)| id).filter(|&id| id != module);
        (self.index_of(&modules, format), self.shards.lines_of(sources))
    }

    fn index_of(&mut self, modules: &[(ModuleId, Vec<Selected>)], format: Format) -> Vec<u8> {
        let options = WriteOptions { format, function_table: false };
        let (shards, writer) = (self.shards, &mut self.writer);
        let selection = Selection::Modules(modules);
        shards.with_overrides(|overrides| writer.write(&selection, overrides, &options))
    }

    /// The summaries in a module's distributed index, by source in the order of their paths.
    pub fn selection(&mut self, module: ModuleId) -> Vec<(ModuleId, Vec<Selected>)> {
        let shards = self.shards;
        let own = shards.plan.order.defined(module).iter();
        let own = own.map(|&summary| Selected { summary, as_declaration: false }).collect();
        let mut modules: Vec<(ModuleId, Vec<Selected>)> = vec![(module, own)];
        let imports = self.imports_in_order(module);
        imports.iter().for_each(|import| shards.index.prefetch(import.summary));
        // What is asked of a summary more than once is kept beside it: each is somewhere else in
        // memory.
        let place = |import: Import| {
            let summary = shards.index.summary(import.summary)?;
            Some((shards.rank(summary.module()), summary.guid(), import))
        };
        let count = imports.len();
        let places = imports.into_iter().filter_map(place);
        let mut imports: Vec<(u32, Guid, Import)> = Vec::with_capacity(count);
        imports.extend(places);
        // The order within a source counts, so the sort must be stable.
        imports.sort_by_key(|&(rank, ..)| rank);
        for group in imports.chunk_by(|(a, ..), (b, ..)| a == b) {
            let source = group.first().and_then(|(.., i)| shards.index.summary(i.summary));
            let Some(source) = source else { continue };
            self.table.reset();
            for (at, (_, guid, _)) in (0u32..).zip(group) {
                self.table.insert(guid.0, at);
            }
            let in_order = self.table.iter().filter_map(|at| group.get(at as usize));
            let mut selected = Vec::with_capacity(group.len());
            selected.extend(in_order.map(|(.., import)| Selected {
                summary: import.summary,
                as_declaration: import.declaration && is_declarable(shards.index, import.summary),
            }));
            modules.push((source.module(), selected));
        }
        modules.sort_by_key(|(id, _)| shards.rank(*id));
        modules
    }

    /// The imports in the order in which LLVM walks its list.
    fn imports_in_order(&mut self, module: ModuleId) -> Vec<Import> {
        let shards = self.shards;
        let list = shards.plan.imports.of(module);
        if shards.numbers.is_empty() {
            return linked_order(shards.index, list.steps().collect());
        }
        let steps: Vec<Import> = list.steps().collect();
        self.imports.reset();
        for (at, import) in (0u32..).zip(&steps) {
            let number = shards.numbers.get(import.summary.index()).copied().unwrap_or(0);
            let (definition, declaration) = (number << 1, number << 1 | 1);
            if import.declaration {
                self.imports.insert(declaration, at);
            } else {
                self.imports.insert(definition, at);
                self.imports.remove(declaration);
            }
        }
        let mut in_order = Vec::with_capacity(steps.len());
        in_order.extend(self.imports.iter().filter_map(|at| steps.get(at as usize)));
        in_order
    }
}

/// LLVM 19's order within each source. A definition takes the place of its declaration.
fn linked_order(index: &ModuleSummaryIndex, mut steps: Vec<Import>) -> Vec<Import> {
    let mut ordered = Vec::with_capacity(steps.len());
    let source = |import: &Import| index.summary(import.summary).map_or(0, |s| s.module().0);
    // Within a source the order of insertion counts.
    steps.sort_by_key(source);
    for group in steps.chunk_by(|a, b| source(a) == source(b)) {
        let mut table = LinkedTable::default();
        for (at, import) in (0u32..).zip(group) {
            if let Some(summary) = index.summary(import.summary) {
                table.insert(summary.guid().0, at);
            }
        }
        ordered.extend(table.iter().filter_map(|at| {
            let import = group.get(at as usize).copied()?;
            let defined =
                !import.declaration || group.contains(&Import { declaration: false, ..import });
            Some(Import { declaration: !defined, ..import })
        }));
    }
    ordered
}

/// The mark for a declaration stands in the records of functions and aliases only.
fn is_declarable(index: &ModuleSummaryIndex, summary: SummaryId) -> bool {
    index.summary(summary).is_some_and(|s| s.kind() != SummaryKind::Variable)
}

/// The index of a module that takes no part in the thin link: empty, and with `skip` saying that
/// the backend has nothing to do, as linkers write it for archive members that nobody needs.
pub fn empty_index(skip: bool, format: Format) -> Vec<u8> {
    let mut index = ModuleSummaryIndex::new();
    let mut flags = IndexFlags::default();
    if skip {
        flags.insert(IndexFlags::SKIP_MODULE_BY_DISTRIBUTED_BACKEND);
    }
    index.set_flags(flags);
    index.to_bitcode(&WriteOptions { format, function_table: false })
}
