//! The bitcode of a combined index: of all of it, or of what one distributed backend needs.
//!
//! In: an index, a [`Selection`] and what the thin link changed ([`Overrides`]). Out: a bitcode
//! file that is byte for byte what `IndexBitcodeWriter` of LLVM writes.
//!
//! Here it is settled what is written and under which number; `combined_blocks` writes it. Values
//! get ids in the order of writing: every summary takes the next, and where a value has several,
//! the last stays. So ids have gaps, and byte identity needs the same.

use std::collections::{BTreeMap, HashMap};

use super::arrays::Extras;
use super::combined_blocks::Task;
use super::index::{ModuleSummaryIndex, Summary};
use super::records::Format;
use super::types::*;

/// A summary to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selected {
    /// Which.
    pub summary: SummaryId,
    /// Whether only a declaration is to be imported.
    pub as_declaration: bool,
}

/// What to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection<'s> {
    /// Everything, as for the whole link.
    All,
    /// What one backend needs: the modules in the order of their paths, and for each its
    /// summaries in the order of writing, by which values are numbered.
    Modules(&'s [(ModuleId, Vec<Selected>)]),
}

/// What the thin link decided, by summary; where a table is missing, the index itself counts.
#[derive(Clone, Copy, Default)]
pub struct Overrides<'o> {
    /// The flags of every summary.
    pub flags: Option<&'o [GvFlags]>,
    /// The function flags of every summary; those of others than functions do not matter.
    pub function_flags: Option<&'o [FunctionFlags]>,
    /// The variable flags of every summary; those of others than variables do not matter.
    pub variable_flags: Option<&'o [VariableFlags]>,
    /// The entry counts of every summary; those of others than functions do not matter.
    pub entry_counts: Option<&'o [u64]>,
    /// The index-wide flags.
    pub index_flags: Option<IndexFlags>,
    /// Where a summary's call of a value goes, where that is not the value itself.
    pub callee: Option<&'o (dyn Fn(SummaryId, ValueId) -> ValueId + Sync)>,
    /// What summaries call in place of virtual functions, behind their other calls; numbers of
    /// values. The calls are written as hot.
    pub virtual_callees: Option<&'o HashMap<SummaryId, Vec<u32>>>,
    /// The resolutions of type identifiers, sorted by the GUID of the name.
    pub type_ids: Option<&'o [TypeIdSummary]>,
    /// The MemProf call sites and allocations of the functions for which they are others.
    pub memprof: Option<&'o HashMap<SummaryId, MemProfRecords>>,
}

impl Overrides<'_> {
    #[inline]
    pub(super) fn callee(&self, caller: SummaryId, callee: ValueId) -> ValueId {
        self.callee.map_or(callee, |f| f(caller, callee))
    }

    pub(super) fn virtual_callees(&self, caller: SummaryId) -> &[u32] {
        self.virtual_callees.and_then(|all| all.get(&caller)).map_or(&[], Vec::as_slice)
    }

    fn memprof_records(&self, id: SummaryId) -> Option<&MemProfRecords> {
        self.memprof.and_then(|all| all.get(&id))
    }

    pub(super) fn callsites<'s>(&'s self, s: Summary<'s>) -> &'s [CallsiteInfo] {
        self.memprof_records(s.id()).map_or(s.callsites(), |records| &records.callsites)
    }

    pub(super) fn allocs<'s>(&'s self, s: Summary<'s>) -> &'s [AllocInfo] {
        self.memprof_records(s.id()).map_or(s.allocs(), |records| &records.allocs)
    }

    pub(super) fn flags(&self, s: Summary<'_>) -> GvFlags {
        self.flags.and_then(|all| all.get(s.id().index())).copied().unwrap_or(s.flags())
    }

    pub(super) fn function_flags(&self, s: Summary<'_>) -> FunctionFlags {
        let flags = self.function_flags.and_then(|all| all.get(s.id().index())).copied();
        flags.unwrap_or(s.function_flags())
    }

    pub(super) fn entry_count(&self, s: Summary<'_>) -> u64 {
        let count = self.entry_counts.and_then(|all| all.get(s.id().index())).copied();
        count.unwrap_or(s.entry_count())
    }

    pub(super) fn variable_flags(&self, s: Summary<'_>) -> VariableFlags {
        let flags = self.variable_flags.and_then(|all| all.get(s.id().index())).copied();
        flags.unwrap_or(s.variable_flags())
    }
}

/// How to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Whose format.
    pub format: Format,
    /// Whether to add a table by which one function is found without reading the index, in a
    /// block that LLVM's readers skip. LLVM writes none.
    pub function_table: bool,
}

/// Writes indexes. Keep one per thread: it reuses its tables, which are as large as the index.
pub struct CombinedWriter<'i> {
    index: &'i ModuleSummaryIndex,
    /// By value, its id in the file being written; 0 for none.
    value_ids: Vec<u32>,
    /// The values that have an id.
    touched: Vec<u32>,
    /// By value, a bit, in [`CombinedWriter::sort_touched`] alone.
    marks: Vec<u64>,
    /// By module, its id in the file being written; only of use for those that are in it.
    module_ids: Vec<u64>,
}

impl ModuleSummaryIndex {
    /// The bitcode of the whole index.
    pub fn to_bitcode(&self, options: &WriteOptions) -> Vec<u8> {
        CombinedWriter::new(self).write(&Selection::All, &Overrides::default(), options)
    }
}

/// A summary on its way out: whether it is written, or only its value numbered.
#[derive(Clone, Copy)]
pub(super) struct Item<'i> {
    pub(super) summary: Summary<'i>,
    pub(super) numbered_only: bool,
    pub(super) as_declaration: bool,
}

impl<'i> CombinedWriter<'i> {
    /// A writer of (parts of) this index.
    pub fn new(index: &'i ModuleSummaryIndex) -> Self {
        CombinedWriter {
            index,
            value_ids: vec![0; index.guids().len()],
            touched: Vec::new(),
            marks: Vec::new(),
            module_ids: vec![0; index.modules().len()],
        }
    }

    /// The bitcode of what is selected.
    pub fn write(
        &mut self,
        selection: &Selection<'_>,
        overrides: &Overrides<'_>,
        options: &WriteOptions,
    ) -> Vec<u8> {
        let stack_ids = self.number_values(selection, overrides, options.format);
        let original_names = match selection {
            Selection::All => self.index.tables.original_names.dense(self.index.summary_count()),
            Selection::Modules(_) => Vec::new(),
        };
        let file = Task {
            index: self.index,
            value_ids: &self.value_ids,
            values: &self.touched,
            selection,
            overrides,
            options,
            stack_ids: &stack_ids,
            original_names: &original_names,
        }
        .write(&mut self.module_ids);
        // Summaries are only written of modules that are, so that old ids do no harm.
        for value in self.touched.drain(..) {
            if let Some(id) = self.value_ids.get_mut(value as usize) {
                *id = 0;
            }
        }
        file
    }

    /// Gives every value to be written its id, and collects the stack ids that are used, in the
    /// order of their first use.
    fn number_values(
        &mut self,
        selection: &Selection<'_>,
        overrides: &Overrides<'_>,
        format: Format,
    ) -> StackIds {
        let mut stack_ids = StackIds::default();
        let is_plain = |extras: &Extras| extras.callsites.is_empty() && extras.allocs.is_empty();
        if *selection == Selection::All && self.index.tables.extras.as_deref().is_none_or(is_plain)
        {
            // Each value's id is the number of summaries up to its last.
            let ends = &self.index.copy_ends;
            let before = std::iter::once(&0).chain(ends);
            for (((value, id), &end), &start) in
                (0..).zip(&mut self.value_ids).zip(ends).zip(before)
            {
                if start != end {
                    *id = end;
                    self.touched.push(value);
                }
            }
            return stack_ids;
        }
        let mut next = 0;
        let (value_ids, touched) = (&mut self.value_ids, &mut self.touched);
        let mut number = |value: ValueId| {
            next += 1;
            if let Some(id) = value_ids.get_mut(value.index()) {
                if *id == 0 {
                    touched.push(value.0);
                }
                *id = next;
            }
        };
        for_each(self.index, selection, |item| {
            number(item.summary.value());
            if item.numbered_only {
                return;
            }
            for site in overrides.callsites(item.summary) {
                match site.callee {
                    // Made for a missing tail call frame: the backend needs the callee's GUID.
                    Some(callee) if site.stack_ids.is_empty() => number(callee),
                    _ => stack_ids.use_all(self.index, &site.stack_ids),
                }
            }
            if !format.has_words() {
                for mib in overrides.allocs(item.summary).iter().flat_map(|a| &a.mibs) {
                    stack_ids.use_all(self.index, &mib.stack_ids);
                }
            }
        });
        self.sort_touched();
        stack_ids
    }

    fn sort_touched(&mut self) {
        let words = self.value_ids.len().div_ceil(64);
        if words / 8 > self.touched.len() {
            self.touched.sort_unstable();
            return;
        }
        // No value is there twice, and there are so many that a walk over bits is shorter.
        self.marks.resize(words, 0);
        for value in self.touched.drain(..) {
            if let Some(word) = self.marks.get_mut(value as usize / 64) {
                *word |= 1 << (value % 64);
            }
        }
        for (word, first) in self.marks.iter_mut().zip((0u32..).step_by(64)) {
            while *word != 0 {
                self.touched.push(first + word.trailing_zeros());
                *word &= *word - 1;
            }
        }
    }
}

/// Calls `f` for every summary to be written, in LLVM's order (`forEachSummary`): all by GUID and
/// module, or a backend's by module, an alias followed by what it stands for.
pub(super) fn for_each<'i>(
    index: &'i ModuleSummaryIndex,
    selection: &Selection<'_>,
    mut f: impl FnMut(Item<'i>),
) {
    match selection {
        Selection::All => {
            for &id in &index.copies {
                if let Some(summary) = index.summary(id) {
                    f(Item { summary, numbered_only: false, as_declaration: false });
                }
            }
        }
        Selection::Modules(modules) => {
            // Each is somewhere else in memory.
            let all = modules.iter().flat_map(|(_, selected)| selected);
            let (mut records, mut lists) = (all.clone().skip(8), all.clone().skip(4));
            for selected in all {
                records.next().inspect(|soon| index.prefetch(soon.summary));
                lists.next().inspect(|soon| index.prefetch_lists(soon.summary));
                let Some(summary) = index.summary(selected.summary) else { continue };
                let as_declaration = selected.as_declaration;
                f(Item { summary, numbered_only: false, as_declaration });
                if let Some(summary) = summary.aliasee() {
                    f(Item { summary, numbered_only: true, as_declaration: false });
                }
            }
        }
    }
}

/// The stack ids that a file uses, compacted.
#[derive(Default)]
pub(super) struct StackIds {
    pub(super) ids: Vec<u64>,
    /// From position in the index to position in the file.
    places: HashMap<u32, u64>,
}

impl StackIds {
    fn use_all(&mut self, index: &ModuleSummaryIndex, places: &[u32]) {
        for &place in places {
            let next = self.ids.len() as u64;
            if *self.places.entry(place).or_insert(next) == next {
                self.ids.push(index.stack_ids().get(place as usize).copied().unwrap_or(0));
            }
        }
    }

    pub(super) fn place(&self, place: u32) -> u64 {
        self.places.get(&place).copied().unwrap_or(0)
    }
}

/// Groups summaries by module in the order of paths, as [`Selection::Modules`] wants them. The
/// order within a module stays.
pub fn group_by_module(
    index: &ModuleSummaryIndex,
    summaries: impl IntoIterator<Item = Selected>,
) -> Vec<(ModuleId, Vec<Selected>)> {
    let mut groups: BTreeMap<(&[u8], u32), Vec<Selected>> = BTreeMap::new();
    for selected in summaries {
        let Some(summary) = index.summary(selected.summary) else { continue };
        let Some(info) = index.module(summary.module()) else { continue };
        groups.entry((&info.path, summary.module().0)).or_default().push(selected);
    }
    groups.into_iter().map(|((_, id), selected)| (ModuleId(id), selected)).collect()
}
