//! The blocks of a combined index.
//!
//! In: what `write_combined` has selected and numbered, as a [`Task`]. Out: the bitcode file: a
//! MODULE block of VERSION, MODULE_STRTAB (paths and hashes) and GLOBALVAL_SUMMARY, and a STRTAB.
//! Functions and variables come first, what they stand for as aliases and the types that they
//! mention behind them, as in LLVM's `IndexBitcodeWriter::writeCombinedGlobalValueSummary`.

use std::collections::BTreeSet;

use rayon::prelude::*;

use super::codes::{fs, mst};
use super::index::{ModuleSummaryIndex, Summary};
use super::records::{
    Defined, Definer, Format, Layout, WIDTH, emit, emit_plain, emit_row, emit_stack_ids,
    emit_type_metadata, emit_value_guid, value_guid_abbrev,
};
use super::strtab::StringTable;
use super::table::TableWriter;
use super::types::*;
use super::write_combined::{Item, Overrides, Selection, StackIds, WriteOptions, for_each};
use crate::bitcode::{BITCODE_MAGIC, block_id, module_code};
use crate::bitstream::{Abbrev, OpenBlock, Scalar, Tail, Writer};
use crate::ir::Guid;

const FUNCTION: Layout = Layout::new(fs::COMBINED_PROFILE, &[8, 8, 6, 8, 4, 8, 4, 4, 4], true);
const VARIABLE: Layout = Layout::new(fs::COMBINED_GLOBALVAR_INIT_REFS, &[8, 8, 6], true);
const ALIAS: Layout = Layout::new(fs::COMBINED_ALIAS, &[8, 8, 6, 8], false);
const CALLSITE: Layout = Layout::new(fs::COMBINED_CALLSITE_INFO, &[8, 4, 4], true);
const ALLOC: Layout = Layout::new(fs::COMBINED_ALLOC_INFO, &[4, 4], true);
/// LLVM 22 leaves contexts out of combined indexes by default.
const ALLOC_NO_CONTEXT: Layout = Layout::new(fs::COMBINED_ALLOC_INFO_NO_CONTEXT, &[4, 4], true);

/// The abbreviations of one file.
struct Abbrevs {
    function: Defined,
    variable: Defined,
    alias: Defined,
    callsite: Defined,
    alloc: Defined,
}

/// What is put off while functions and variables are written.
#[derive(Default)]
struct Gathered<'i> {
    aliases: Vec<Item<'i>>,
    types: BTreeSet<Guid>,
}

/// Bytes, how many bits of them count, and what was put off.
type Piece<'i> = (Vec<u8>, u64, Gathered<'i>);

/// Writes pieces one behind another.
fn join<'i>(w: &mut Writer, pieces: Vec<Piece<'i>>) -> Gathered<'i> {
    let mut all = Gathered::default();
    for (bytes, bits, mut gathered) in pieces {
        w.copy_bits(&bytes, 0, bits);
        all.aliases.append(&mut gathered.aliases);
        all.types.append(&mut gathered.types);
    }
    all
}

/// Few records have more fields.
const USUAL_FIELDS: usize = 256;

/// From so many summaries on, several threads write.
const LARGE: usize = 8192;

/// One file being written.
pub(super) struct Task<'t, 'i> {
    pub(super) index: &'i ModuleSummaryIndex,
    pub(super) value_ids: &'t [u32],
    /// The values that have an id, sorted.
    pub(super) values: &'t [u32],
    pub(super) selection: &'t Selection<'t>,
    pub(super) overrides: &'t Overrides<'t>,
    pub(super) options: &'t WriteOptions,
    pub(super) stack_ids: &'t StackIds,
    /// By summary, the hash of the name in the original file, where all is written.
    pub(super) original_names: &'t [Guid],
}

impl Task<'_, '_> {
    /// Only in an index of everything do ids rise with GUIDs, as the table needs them.
    fn has_table(&self) -> bool {
        self.options.function_table && *self.selection == Selection::All
    }

    fn value_id(&self, value: ValueId) -> Option<u64> {
        self.value_ids.get(value.index()).filter(|&&id| id != 0).map(|&id| u64::from(id))
    }

    /// Writes the file. `modules` is by module and need not be cleared between files.
    pub(super) fn write(&self, modules: &mut [u64]) -> Vec<u8> {
        let mut w = Writer::with_capacity(self.values.len() * 40 + 4096);
        w.bytes(&BITCODE_MAGIC);
        let block = w.begin_block(2, block_id::MODULE, 3);
        w.record(3, module_code::VERSION, &[2]);
        let order = self.number_modules(modules);
        let mut strtab = StringTable::default();
        let mut table = TableWriter::default();
        self.write_summaries(&mut w, (modules, &order), &mut strtab, &mut table);
        w.end_block(block);
        strtab.write(&mut w);
        if self.has_table() {
            table.write(&mut w);
        }
        w.finish()
    }

    /// The modules in the order of their ids in the file, which `ids` notes by module.
    fn number_modules(&self, ids: &mut [u64]) -> Vec<ModuleId> {
        let order: Vec<ModuleId> = match self.selection {
            Selection::All => {
                let mut all: Vec<u32> = (0..self.index.modules().len() as u32).collect();
                let path = |&id: &u32| self.index.module(ModuleId(id)).map(|m| &m.path);
                all.sort_by(|a, b| path(a).cmp(&path(b)));
                all.into_iter().map(ModuleId).collect()
            }
            Selection::Modules(modules) => modules.iter().map(|(id, _)| *id).collect(),
        };
        for (number, module) in (0u64..).zip(&order) {
            if let Some(id) = ids.get_mut(module.index()) {
                *id = number;
            }
        }
        order
    }

    /// Writes paths and hashes.
    fn write_modules(&self, w: &mut Writer, order: &[ModuleId]) {
        let block = w.begin_block(3, block_id::MODULE_STRTAB, 3);
        let entry = |element| Abbrev {
            scalars: vec![Scalar::Literal(u64::from(mst::ENTRY)), Scalar::Vbr(8)],
            tail: Tail::Array(element),
        };
        let mut hash = vec![Scalar::Literal(u64::from(mst::HASH))];
        hash.resize(6, Scalar::Fixed(32));
        let hash = Abbrev { scalars: hash, tail: Tail::None };
        let entries = [entry(Scalar::Fixed(8)), entry(Scalar::Fixed(7)), entry(Scalar::Char6)];
        for abbrev in entries.iter().chain([&hash]) {
            w.define_abbrev(3, abbrev);
        }
        let [eight, seven, char6] = &entries;
        let mut fields = Vec::new();
        for (number, &module) in (0u64..).zip(order) {
            let Some(info) = self.index.module(module) else { continue };
            let (id, abbrev) = match &*info.path {
                path if path.iter().all(|&c| is_char6(c)) => (6, char6),
                path if path.is_ascii() => (5, seven),
                _ => (4, eight),
            };
            fields.clear();
            fields.push(number);
            fields.extend(info.path.iter().map(|&c| u64::from(c)));
            w.abbreviated(3, id, abbrev, mst::ENTRY, &fields, None);
            if info.hash.0.iter().any(|&word| word != 0) {
                fields.clear();
                fields.extend(info.hash.0.iter().map(|&word| u64::from(word)));
                w.abbreviated(3, 7, &hash, mst::HASH, &fields, None);
            }
        }
        w.end_block(block);
    }

    fn write_summaries(
        &self,
        w: &mut Writer,
        (modules, order): (&[u64], &[ModuleId]),
        strtab: &mut StringTable,
        table: &mut TableWriter,
    ) {
        let has_table = self.has_table();
        let block;
        let abbrevs;
        let Gathered { aliases, mut types } = if has_table || !self.is_large() {
            self.write_modules(w, order);
            (block, abbrevs) = self.write_values(w, self.values, table);
            self.write_in_order(w, &abbrevs, modules, table)
        } else {
            // What stands before the summaries is written beside them. The abbreviations' ids are
            // those of a file without values, too.
            let mut unused = TableWriter::default();
            let (_, known) = self.write_values(&mut Writer::new(), &[], &mut unused);
            let pieces;
            ((block, abbrevs), pieces) = rayon::join(
                || {
                    self.write_modules(w, order);
                    self.write_values(w, self.values, table)
                },
                || self.write_pieces(&known, modules),
            );
            join(w, pieces)
        };
        for item in aliases {
            let summary = item.summary;
            if has_table {
                let id = self.value_id(summary.value()).unwrap_or(0);
                table.alias(id as u32, w.bit());
            }
            let [value, module, flags] = self.head(item, modules);
            let aliasee = summary.aliasee_value().and_then(|v| self.value_id(v)).unwrap_or(0);
            emit(w, abbrevs.alias, &[value, module, flags, aliasee]);
            self.write_original_name(w, summary);
            if let Some(aliasee) = summary.aliasee() {
                add_type_ids(aliasee, &mut types);
            }
        }
        self.write_cfi_names(w, strtab);
        let type_ids = self.overrides.type_ids.unwrap_or(self.index.type_ids());
        for id in type_ids.iter().filter(|id| types.contains(&id.guid)) {
            emit_plain(w, fs::TYPE_ID, &type_id_fields(id, strtab));
        }
        if self.index.block_count() != 0 {
            emit_plain(w, fs::BLOCK_COUNT, &[self.index.block_count()]);
        }
        w.end_block(block);
    }

    /// Begins the block of summaries, and writes which GUIDs the ids of `values` stand for and the
    /// abbreviations.
    fn write_values(
        &self,
        w: &mut Writer,
        values: &[u32],
        table: &mut TableWriter,
    ) -> (OpenBlock, Abbrevs) {
        let format = self.options.format;
        let block = w.begin_block(3, block_id::GLOBALVAL_SUMMARY, WIDTH);
        table.base = w.bit();
        emit_plain(w, fs::VERSION, &[format.version()]);
        let flags = self.overrides.index_flags.unwrap_or(self.index.flags());
        emit_plain(w, fs::FLAGS, &[flags.0]);

        let mut definer = Definer::new();
        let guid_abbrev = format.has_words().then(|| definer.raw(w, &value_guid_abbrev()));
        for &value in values {
            let id = self.value_ids.get(value as usize).copied().unwrap_or(0);
            emit_value_guid(w, guid_abbrev, id, self.index.guid(ValueId(value)).0);
        }
        table.abbrevs = w.bit();
        emit_stack_ids(w, &mut definer, format, &self.stack_ids.ids);
        let alloc = if format.has_words() { &ALLOC_NO_CONTEXT } else { &ALLOC };
        let abbrevs = Abbrevs {
            function: definer.layout(w, &FUNCTION),
            variable: definer.layout(w, &VARIABLE),
            alias: definer.layout(w, &ALIAS),
            callsite: definer.layout(w, &CALLSITE),
            alloc: definer.layout(w, alloc),
        };
        (block, abbrevs)
    }

    /// Whether it is worth the while of several threads.
    fn is_large(&self) -> bool {
        *self.selection == Selection::All && self.index.copies.len() > LARGE
    }

    /// Writes functions and variables one after another, noting where they are for the table.
    fn write_in_order(
        &self,
        w: &mut Writer,
        abbrevs: &Abbrevs,
        modules: &[u64],
        table: &mut TableWriter,
    ) -> Gathered<'_> {
        let has_table = self.has_table();
        let mut gathered = Gathered::default();
        let mut fields = Vec::with_capacity(USUAL_FIELDS);
        // Of the value whose copies are being written, where the first stands.
        let mut first: Option<(ValueId, Option<u64>)> = None;
        for_each(self.index, self.selection, |item| {
            if has_table && !item.numbered_only {
                let value = item.summary.value();
                let bit = (item.summary.kind() != SummaryKind::Alias).then(|| w.bit());
                match &mut first {
                    Some((before, start)) if *before == value => *start = start.or(bit),
                    _ => self.note_values(table, first.replace((value, bit)), value.0),
                }
            }
            self.write_item(w, abbrevs, modules, item, &mut fields, &mut gathered);
        });
        if has_table {
            self.note_values(table, first, self.value_ids.len() as u32);
        }
        gathered
    }

    /// Writes functions and variables piece by piece: what a record looks like does not depend on
    /// where it stands.
    fn write_pieces(&self, abbrevs: &Abbrevs, modules: &[u64]) -> Vec<Piece<'_>> {
        let size =
            self.index.copies.len().div_ceil(rayon::current_num_threads() * 4).max(LARGE / 8);
        self.index
            .copies
            .par_chunks(size)
            .map(|ids| {
                let mut piece = Writer::with_capacity(ids.len() * 32);
                let mut gathered = Gathered::default();
                let mut fields = Vec::with_capacity(USUAL_FIELDS);
                for (at, &id) in ids.iter().enumerate() {
                    // In the order of values, each summary is somewhere else in memory.
                    let soon = |ahead| ids.get(at + ahead).copied();
                    soon(16).inspect(|&id| self.index.prefetch(id));
                    if let Some(id) = soon(8) {
                        self.index.prefetch_lists(id);
                        self.index.prefetch_local(id, self.original_names);
                    }
                    let Some(summary) = self.index.summary(id) else { continue };
                    let item = Item { summary, numbered_only: false, as_declaration: false };
                    self.write_item(&mut piece, abbrevs, modules, item, &mut fields, &mut gathered);
                }
                let bits = piece.bit();
                (piece.finish(), bits, gathered)
            })
            .collect()
    }

    fn write_item<'s>(
        &'s self,
        w: &mut Writer,
        abbrevs: &Abbrevs,
        modules: &[u64],
        item: Item<'s>,
        fields: &mut Vec<u64>,
        gathered: &mut Gathered<'s>,
    ) {
        if item.numbered_only {
            return;
        }
        match item.summary.kind() {
            // Readers want what aliases stand for first.
            SummaryKind::Alias => gathered.aliases.push(item),
            SummaryKind::Variable => self.write_variable(w, abbrevs, modules, item, fields),
            SummaryKind::Function => {
                self.write_function(w, abbrevs, modules, item, fields);
                add_type_ids(item.summary, &mut gathered.types);
            }
        }
    }

    /// Enters the value that `first` is about into the function table, and those up to `end` that
    /// have an id but no summary (callees made for missing tail call frames).
    fn note_values(
        &self,
        table: &mut TableWriter,
        first: Option<(ValueId, Option<u64>)>,
        end: u32,
    ) {
        let start = match first {
            Some((value, bit)) => {
                let id = self.value_id(value).unwrap_or(0);
                table.value(self.index.guid(value), id as u32, bit);
                value.0 + 1
            }
            None => 0,
        };
        let from = self.values.partition_point(|&value| value < start);
        for &value in self.values.iter().skip(from).take_while(|&&value| value < end) {
            let id = self.value_id(ValueId(value)).unwrap_or(0);
            table.value(self.index.guid(ValueId(value)), id as u32, None);
        }
    }

    /// Value, module and flags, with which all summaries begin.
    #[inline]
    fn head(&self, item: Item<'_>, modules: &[u64]) -> [u64; 3] {
        let summary = item.summary;
        let mut flags = self.overrides.flags(summary);
        if item.as_declaration {
            flags.set_import_as_declaration(true);
        }
        [
            self.value_id(summary.value()).unwrap_or(0),
            modules.get(summary.module().index()).copied().unwrap_or(0),
            u64::from(flags.0) & GvFlags::KNOWN,
        ]
    }

    fn write_variable(
        &self,
        w: &mut Writer,
        abbrevs: &Abbrevs,
        modules: &[u64],
        item: Item<'_>,
        fields: &mut Vec<u64>,
    ) {
        // LLVM marks only functions and aliases as declarations.
        let [value, module, flags] = self.head(Item { as_declaration: false, ..item }, modules);
        let variable = u64::from(self.overrides.variable_flags(item.summary).0);
        fields.clear();
        // The variable's flags are the first of the array.
        fields.push(variable & VariableFlags::KNOWN);
        fields.extend(item.summary.refs().iter().filter_map(|r| self.value_id(r.value())));
        emit_row(w, abbrevs.variable, &VARIABLE, [value, module, flags], fields);
        self.write_original_name(w, item.summary);
    }

    fn write_function(
        &self,
        w: &mut Writer,
        abbrevs: &Abbrevs,
        modules: &[u64],
        item: Item<'_>,
        fields: &mut Vec<u64>,
    ) {
        let summary = item.summary;
        emit_type_metadata(w, summary, &|value| self.value_id(value));
        self.write_memprof(w, abbrevs, summary, fields);
        let [value, module, flags] = self.head(item, modules);
        let function = u64::from(self.overrides.function_flags(summary).0);
        // LLVM 22 no longer keeps entry counts, and writes zero.
        let entry_count = match self.options.format {
            Format::Llvm14 | Format::Llvm19 => self.overrides.entry_count(summary),
            Format::Llvm22 => 0,
        };
        // The array is collected first, as its length stands before it and ids are all over memory.
        fields.clear();
        let (mut read_only, mut write_only) = (0, 0);
        for r in summary.refs() {
            let Some(id) = self.value_id(r.value()) else { continue };
            fields.push(id);
            read_only += u64::from(r.is_read_only());
            write_only += u64::from(r.is_write_only());
        }
        let refs = fields.len() as u64;
        let own = summary.calls();
        let own = own.map(|(to, info)| (self.overrides.callee(summary.id(), to), info));
        let hot = CallInfo::new(Hotness::Hot, false);
        let virtual_callees = self.overrides.virtual_callees(summary.id()).iter();
        for (to, info) in own.chain(virtual_callees.map(move |&to| (ValueId(to), hot))) {
            if let Some(id) = self.value_id(to) {
                fields.extend([id, self.options.format.call(info)]);
            }
        }
        let scalars = [
            value,
            module,
            flags,
            u64::from(summary.inst_count()),
            function & FunctionFlags::KNOWN,
            entry_count,
            refs,
            read_only,
            write_only,
        ];
        emit_row(w, abbrevs.function, &FUNCTION, scalars, fields);
        self.write_original_name(w, summary);
    }

    fn write_memprof(
        &self,
        w: &mut Writer,
        abbrevs: &Abbrevs,
        summary: Summary<'_>,
        fields: &mut Vec<u64>,
    ) {
        if self.overrides.memprof.is_none() && summary.extras().is_none() {
            return;
        }
        for site in self.overrides.callsites(summary) {
            fields.clear();
            fields.extend([
                site.callee.and_then(|callee| self.value_id(callee)).unwrap_or(0),
                site.stack_ids.len() as u64,
                site.clones.len() as u64,
            ]);
            fields.extend(site.stack_ids.iter().map(|&id| self.stack_ids.place(id)));
            fields.extend(site.clones.iter().map(|&clone| u64::from(clone)));
            emit(w, abbrevs.callsite, fields);
        }
        for alloc in self.overrides.allocs(summary) {
            fields.clear();
            fields.extend([alloc.mibs.len() as u64, alloc.versions.len() as u64]);
            for mib in &alloc.mibs {
                fields.push(u64::from(mib.alloc_type));
                if !self.options.format.has_words() {
                    fields.push(mib.stack_ids.len() as u64);
                    fields.extend(mib.stack_ids.iter().map(|&id| self.stack_ids.place(id)));
                }
            }
            fields.extend(alloc.versions.iter().map(|&version| u64::from(version)));
            emit(w, abbrevs.alloc, fields);
        }
    }

    /// A local value's original name follows its summary; backends do not need it.
    fn write_original_name(&self, w: &mut Writer, summary: Summary<'_>) {
        if *self.selection == Selection::All && self.overrides.flags(summary).linkage().is_local() {
            let name = match self.original_names.get(summary.id().index()) {
                Some(&name) if name != Guid(0) => name,
                _ => summary.original_name().unwrap_or_default(),
            };
            emit_plain(w, fs::COMBINED_ORIGINAL_NAME, &[name.0]);
        }
    }

    /// CFI functions among the values that are written or referred to.
    fn write_cfi_names(&self, w: &mut Writer, strtab: &mut StringTable) {
        let lists = [
            (fs::CFI_FUNCTION_DEFS, self.index.cfi_function_defs()),
            (fs::CFI_FUNCTION_DECLS, self.index.cfi_function_decls()),
        ];
        if lists.iter().all(|(_, names)| names.is_empty()) {
            return;
        }
        let mut known: BTreeSet<Guid> = BTreeSet::new();
        for_each(self.index, self.selection, |item| {
            known.insert(item.summary.guid());
            known.extend(item.summary.refs().iter().map(|r| self.index.guid(r.value())));
        });
        for (code, names) in lists {
            let mut fields = Vec::new();
            for CfiFunction { name, guid } in names {
                if known.contains(guid) {
                    fields.extend([strtab.add(name), name.len() as u64]);
                }
            }
            if !fields.is_empty() {
                emit_plain(w, code, &fields);
            }
        }
    }
}

/// The type identifiers that a function's type tests and virtual calls mention.
fn add_type_ids(summary: Summary<'_>, types: &mut BTreeSet<Guid>) {
    if summary.extras().is_none() {
        return;
    }
    types.extend(summary.mentioned_types());
}

fn type_id_fields(id: &TypeIdSummary, strtab: &mut StringTable) -> Vec<u64> {
    let t = &id.type_test;
    let mut fields = vec![strtab.add(&id.name), id.name.len() as u64];
    fields.extend([
        t.kind,
        t.size_m1_bit_width,
        t.align_log2,
        t.size_m1,
        t.bit_mask,
        t.inline_bits,
    ]);
    for (offset, resolution) in &id.devirtualization {
        let name = &resolution.single_impl_name;
        fields.extend([*offset, resolution.kind, strtab.add(name), name.len() as u64]);
        fields.push(resolution.by_arg.len() as u64);
        for (args, by_arg) in &resolution.by_arg {
            fields.push(args.len() as u64);
            fields.extend(args);
            fields.extend([by_arg.kind, by_arg.info, by_arg.byte, by_arg.bit]);
        }
    }
    fields
}

fn is_char6(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'.' || c == b'_'
}
