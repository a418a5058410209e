//! The summary block of one module, and modules that carry it.
//!
//! In: an index with one module's summaries, and the bitcode file of that module, with an older
//! summary or none. Out: the file with the summary. Function bodies and every record but the
//! summary keep their bits; names that the summary needs go behind those of the string table.
//!
//! The block is what `writePerModuleGlobalValueSummary` of LLVM 19 and 22 writes of the same
//! content: functions, variables and aliases in the order of the module, then type identifiers.

use std::collections::HashMap;

use super::codes::{fs, since};
use super::guid::guids_of_module;
use super::index::{ModuleSummaryIndex, Summary};
use super::radix;
use super::records::{
    Defined, Definer, Format, Layout, WIDTH, emit, emit_plain, emit_stack_ids, emit_type_metadata,
    emit_value_guid, value_guid_abbrev,
};
use super::strtab::StringTable;
use super::types::*;
use crate::bitcode::{
    BITCODE_MAGIC, BitcodeFile, Constants, Extent, Module, block_id, module_code,
};
use crate::bitstream::{
    Abbrev, BlockInfo, BlockReader, Cursor, Entry, Record, Scalar, Tail, Writer, abbrev_id,
    top_level,
};
use crate::container::{self, Carrier};
use crate::error::{Error, Result};
use crate::ir::Guid;

const PROFILE: Layout = Layout::new(fs::PERMODULE_PROFILE, &[8, 8, 8, 4, 4, 4, 4], true);
const FREQUENCY: Layout = Layout::new(fs::PERMODULE_RELBF, &[8, 6, 8, 4, 4, 4, 4], true);
const VARIABLE: Layout = Layout::new(fs::PERMODULE_GLOBALVAR_INIT_REFS, &[8, 6], true);
const VTABLE: Layout = Layout::new(fs::PERMODULE_VTABLE_GLOBALVAR_INIT_REFS, &[8, 6, 4], true);
const ALIAS: Layout = Layout::new(fs::ALIAS, &[8, 6, 8], false);
const TYPE_ID_METADATA: Layout = Layout::new(fs::TYPE_ID_METADATA, &[8, 8], true);
const CALLSITE: Layout = Layout::new(fs::PERMODULE_CALLSITE_INFO, &[8], true);
const ALLOC: Layout = Layout::new(fs::PERMODULE_ALLOC_INFO, &[4], true);
const RADIX: Layout = Layout::new(fs::CONTEXT_RADIX_TREE_ARRAY, &[], true);

/// The flags that a module's own summary has: split and unified LTO.
const MODULE_FLAGS: u64 = IndexFlags::ENABLE_SPLIT_LTO_UNIT | IndexFlags::UNIFIED_LTO;

/// Writes a file that carries a summary: `file` (bitcode of one module: raw, in the 0x0B17C0DE
/// wrapper or in an object file, which stays), without the summary it may have, and with what
/// `index` says of module `module`.
///
/// # Errors
/// As reading the file; misuse where the index has a summary of a value that the module does not
/// have; unsupported where the file holds several modules, and as [`container::replace_bitcode`].
pub fn write_module_index(
    file: &[u8],
    index: &ModuleSummaryIndex,
    module: ModuleId,
    format: Format,
) -> Result<Vec<u8>> {
    container::replace_bitcode(file, |contents| {
        let found = container::find_bitcode(contents)?;
        let bitcode = write_raw(found.bytes, index, module, format)?;
        Ok(match found.carrier {
            Carrier::Wrapper { cpu_type } => wrap(&bitcode, cpu_type),
            _ => bitcode,
        })
    })
}

/// The wrapper around bitcode: magic, version, offset, size and CPU type, and zeros up to a
/// multiple of 16 bytes, as `emitDarwinBCHeaderAndTrailer` has it.
fn wrap(bitcode: &[u8], cpu_type: u32) -> Vec<u8> {
    const HEADER: u32 = 20;
    let mut file = Vec::with_capacity(bitcode.len() + 40);
    for word in [0x0B17_C0DE, 0, HEADER, bitcode.len() as u32, cpu_type] {
        file.extend_from_slice(&u32::to_le_bytes(word));
    }
    file.extend_from_slice(bitcode);
    file.resize(file.len().next_multiple_of(16), 0);
    file
}

fn write_raw(
    file: &[u8],
    index: &ModuleSummaryIndex,
    module: ModuleId,
    format: Format,
) -> Result<Vec<u8>> {
    let bitcode = BitcodeFile::read(file)?;
    let [location] = bitcode.modules.as_slice() else {
        return Err(Error::unsupported(format!(
            "{} modules in one file; a summary is written into a file of one",
            bitcode.modules.len()
        )));
    };
    let head = Module::read(location, Extent::All)?;
    let mut strtab = StringTable::continuing(location.strtab);
    for g in &head.globals {
        let start = location.strtab.as_ptr() as usize;
        if let Some(at) = (g.name.as_ptr() as usize).checked_sub(start) {
            strtab.know(&g.name, at as u64);
        }
    }
    let old_ids = old_summary(&head, &mut strtab)?;
    let values = FileValues::new(&head, index, module, &old_ids)?;

    let mut w = Writer::with_capacity(file.len() + 4096);
    w.bytes(&BITCODE_MAGIC);
    let mut bit = 32;
    while let Some(block) = top_level(file, bit)? {
        match block.id {
            block_id::MODULE => copy_module(&mut w, &head, |w| {
                values.write(w, index, module, &mut strtab, format);
            })?,
            block_id::STRTAB => strtab.write(&mut w),
            _ => w.copy_block(2, file, &block),
        }
        bit = block.end;
        if bit + 64 >= file.len() as u64 * 8 {
            break;
        }
    }
    Ok(w.finish())
}

/// Reads from the old summary where its type identifiers stand, so that they are not added again,
/// and the ids that it has for values that are no globals: LLVM counts them from the number of all
/// values of the module, which nothing else in the file tells exactly.
fn old_summary(module: &Module<'_>, strtab: &mut StringTable) -> Result<HashMap<Guid, u64>> {
    let data = module.location.data;
    let mut ids = HashMap::new();
    for block in module.blocks.iter().filter(|b| is_summary(b.id)) {
        let mut reader = BlockReader::new(data, block, &module.block_info);
        let mut record = Record::new();
        loop {
            match reader.next(&mut record)? {
                Entry::End { .. } => break,
                Entry::Record => match (record.code, record.fields.as_slice()) {
                    (fs::TYPE_ID_METADATA, &[offset, size, ..]) => {
                        if let Ok(name) = module.location.string(offset, size) {
                            strtab.know(name, offset);
                        }
                    }
                    (fs::VALUE_GUID, &[id, guid]) => {
                        ids.insert(Guid(guid), id);
                    }
                    (fs::VALUE_GUID, &[id, high, low]) => {
                        ids.insert(Guid(high << 32 | low), id);
                    }
                    _ => {}
                },
                _ => {}
            }
        }
    }
    Ok(ids)
}

fn is_summary(id: u32) -> bool {
    matches!(id, block_id::GLOBALVAL_SUMMARY | block_id::FULL_LTO_GLOBALVAL_SUMMARY)
}

/// Copies a module block with a new summary, where the old one stood or before the value symbol
/// table, which is where LLVM puts it.
fn copy_module(
    w: &mut Writer,
    module: &Module<'_>,
    mut write_summary: impl FnMut(&mut Writer),
) -> Result<()> {
    let (data, block) = (module.location.data, &module.location.block);
    let width = block.abbrev_width;
    let has_old = module.blocks.iter().any(|b| is_summary(b.id));
    let open = w.begin_block(2, block.id, width);
    // Offsets count from one word before the module's identification, or itself.
    let shift = w.bit().wrapping_sub(block.body);
    let start = module.location.start_bit().wrapping_add(shift);
    let mut reader = BlockReader::new(data, block, &BlockInfo::default());
    let mut record = Record::new();
    let mut written = false;
    let mut vst_offset: Option<VstOffset> = None;
    loop {
        match reader.next(&mut record)? {
            Entry::End { .. } => break,
            Entry::DefineAbbrev { start, end } => w.copy_bits(data, start, end),
            Entry::Block(inner) if is_summary(inner.id) => {
                if !written {
                    write_summary(w);
                    written = true;
                }
            }
            Entry::Block(inner) => {
                if inner.id == block_id::VALUE_SYMTAB {
                    if !written && !has_old {
                        write_summary(w);
                        written = true;
                    }
                    if let Some(place) = &vst_offset {
                        place.set(w, start)?;
                    }
                }
                w.copy_block(width, data, &inner);
            }
            Entry::Record => {
                if record.code == module_code::HASH && !written && !has_old {
                    write_summary(w);
                    written = true;
                }
                if record.code == module_code::VSTOFFSET {
                    vst_offset = Some(VstOffset::write(w, data, &record, width));
                } else {
                    w.copy_bits(data, record.start, record.end);
                }
            }
        }
    }
    if !written {
        write_summary(w);
    }
    w.end_block(open);
    Ok(())
}

/// Where the offset of the value symbol table was written, to be set when that is reached.
enum VstOffset {
    /// In the fixed field of 32 bits at the end of the record, as LLVM lays it out.
    Fixed(u64),
    /// In a vbr6 of so many chunks, in a record without abbreviation.
    Padded(u64),
}

/// Enough chunks of vbr6 for an offset of 35 bits.
const CHUNKS: u32 = 7;

impl VstOffset {
    fn write(w: &mut Writer, data: &[u8], record: &Record<'_>, width: u32) -> Self {
        let field_at = record.end.saturating_sub(32);
        let field = Cursor::range(data, field_at, record.end).fixed(32).ok();
        let abbreviated = u64::from(record.abbrev) >= abbrev_id::FIRST_APPLICATION;
        if abbreviated && field_at > record.start && record.fields.first().copied() == field {
            w.copy_bits(data, record.start, record.end);
            return VstOffset::Fixed(w.bit() - 32);
        }
        w.fixed(abbrev_id::UNABBREV_RECORD, width);
        w.vbr(u64::from(record.code), 6);
        w.vbr(1, 6);
        let at = w.bit();
        w.vbr_padded(0, 6, CHUNKS);
        VstOffset::Padded(at)
    }

    /// The value symbol table begins here; offsets are in words and count from `start`.
    fn set(&self, w: &mut Writer, start: u64) -> Result<()> {
        let at = w.bit().wrapping_sub(start);
        if !at.is_multiple_of(32) {
            return Err(Error::unsupported("a value symbol table that is not aligned to a word"));
        }
        match self {
            VstOffset::Fixed(bit) => w.patch(*bit, at / 32 + 1, 32),
            VstOffset::Padded(bit) => w.patch_vbr(*bit, at / 32 + 1, 6, CHUNKS),
        }
        Ok(())
    }
}

/// The values of a module's file: the ids that its records use.
struct FileValues {
    ids: HashMap<ValueId, u64>,
    /// Values that are no globals of the module, with the ids they get, sorted by GUID.
    foreign: Vec<(Guid, u64)>,
}

impl FileValues {
    fn new(
        module: &Module<'_>,
        index: &ModuleSummaryIndex,
        id: ModuleId,
        old_ids: &HashMap<Guid, u64>,
    ) -> Result<Self> {
        let mut ids = HashMap::new();
        for (place, guid) in (0u64..).zip(guids_of_module(module)) {
            if let Some(value) = index.find(guid) {
                ids.entry(value).or_insert(place);
            }
        }
        for summary in summaries(index, id) {
            if !ids.contains_key(&summary.value()) {
                return Err(Error::misuse(format!(
                    "the index summarises GUID {}, which the module does not have",
                    summary.guid().0
                )));
            }
        }
        // LLVM numbers what only a profile knows of behind all values of the module.
        let constants = Constants::read(module)?;
        let mut next = (module.globals.len() + constants.iter().count()) as u64;
        next = old_ids.values().map(|id| id.saturating_add(1)).fold(next, u64::max);
        let mut foreign = Vec::new();
        let mut by_guid: Vec<Summary<'_>> = summaries(index, id).collect();
        by_guid.sort_by_key(|s| s.value());
        for summary in by_guid {
            let sites = summary.callsites().iter().filter_map(|s| s.callee);
            let refs = summary.refs().iter().map(|r| r.value());
            let calls = summary.callees().iter().map(|&c| ValueId(c));
            for value in calls.chain(sites).chain(refs) {
                ids.entry(value).or_insert_with(|| {
                    let guid = index.guid(value);
                    let id = old_ids.get(&guid).copied().unwrap_or_else(|| {
                        next += 1;
                        next - 1
                    });
                    foreign.push((guid, id));
                    id
                });
            }
        }
        foreign.sort_unstable();
        Ok(FileValues { ids, foreign })
    }

    fn id(&self, value: ValueId) -> u64 {
        self.ids.get(&value).copied().unwrap_or(0)
    }

    /// Writes the block into a module block.
    fn write(
        &self,
        w: &mut Writer,
        index: &ModuleSummaryIndex,
        module: ModuleId,
        strtab: &mut StringTable,
        format: Format,
    ) {
        let id = if index.is_full_lto() {
            block_id::FULL_LTO_GLOBALVAL_SUMMARY
        } else {
            block_id::GLOBALVAL_SUMMARY
        };
        let block = w.begin_block(3, id, WIDTH);
        emit_plain(w, fs::VERSION, &[format.version()]);
        emit_plain(w, fs::FLAGS, &[index.flags().0 & MODULE_FLAGS]);
        let mut all: Vec<Summary<'_>> = summaries(index, module).collect();
        if !all.is_empty() {
            all.sort_by_key(|s| self.id(s.value()));
            self.write_records(w, index, &all, strtab, format);
        }
        w.end_block(block);
    }

    fn write_records(
        &self,
        w: &mut Writer,
        index: &ModuleSummaryIndex,
        all: &[Summary<'_>],
        strtab: &mut StringTable,
        format: Format,
    ) {
        let mut definer = Definer::new();
        let guid_abbrev = format.has_words().then(|| definer.raw(w, &value_guid_abbrev()));
        for &(guid, id) in &self.foreign {
            emit_value_guid(w, guid_abbrev, id as u32, guid.0);
        }
        emit_stack_ids(w, &mut definer, format, index.stack_ids());
        let of_kind = |kind| all.iter().copied().filter(move |s| s.kind() == kind);
        let contexts = || of_kind(SummaryKind::Function).flat_map(|s| s.allocs());
        let sized = contexts().any(|a| !a.context_sizes.is_empty());
        let context_ids = sized.then(|| {
            let abbrev = context_ids_abbrev();
            (definer.raw(w, &abbrev), abbrev)
        });
        let profile = definer.layout(w, &PROFILE);
        let frequency = definer.layout(w, &FREQUENCY);
        let variable = definer.layout(w, &VARIABLE);
        let vtable = definer.layout(w, &VTABLE);
        let alias = definer.layout(w, &ALIAS);
        let type_id_metadata = definer.layout(w, &TYPE_ID_METADATA);
        let callsite = definer.layout(w, &CALLSITE);
        let alloc = definer.layout(w, &ALLOC);
        let mut places = Vec::new().into_iter();
        if format.has_words() {
            let abbrev = definer.layout(w, &RADIX);
            let contexts: Vec<&[u32]> =
                contexts().flat_map(|a| a.mibs.iter().map(|m| &*m.stack_ids)).collect();
            if !contexts.is_empty() {
                let (array, at) = radix::build(&contexts);
                let array: Vec<u64> = array.into_iter().map(u64::from).collect();
                emit(w, abbrev, &array);
                places = at.into_iter();
            }
        }
        let mut memprof = MemProf { callsite, alloc, context_ids, places, format };

        let mut fields: Vec<u64> = Vec::new();
        for s in of_kind(SummaryKind::Function) {
            emit_type_metadata(w, s, &|value| self.ids.get(&value).copied());
            memprof.write(w, self, s);
            let refs = s.refs();
            fields.clear();
            fields.extend([
                self.id(s.value()),
                u64::from(s.flags().0) & GvFlags::KNOWN,
                u64::from(s.inst_count()),
                u64::from(s.function_flags().0) & FunctionFlags::KNOWN,
                refs.len() as u64,
                refs.iter().filter(|r| r.is_read_only()).count() as u64,
                refs.iter().filter(|r| r.is_write_only()).count() as u64,
            ]);
            fields.extend(refs.iter().map(|r| self.id(r.value())));
            if s.has_frequencies() {
                for ((callee, info), &freq) in s.calls().zip(s.rel_block_freqs()) {
                    let mark = (format.call(info) >> 3) << 28;
                    fields.extend([self.id(callee), u64::from(freq) | mark]);
                }
                emit(w, frequency, &fields);
            } else {
                for (callee, info) in s.calls() {
                    fields.extend([self.id(callee), format.call(info)]);
                }
                emit(w, profile, &fields);
            }
        }
        for s in of_kind(SummaryKind::Variable) {
            fields.clear();
            fields.extend([
                self.id(s.value()),
                u64::from(s.flags().0) & GvFlags::KNOWN,
                u64::from(s.variable_flags().0) & VariableFlags::KNOWN,
            ]);
            let functions = s.vtable_funcs();
            if !functions.is_empty() {
                fields.push(s.refs().len() as u64);
            }
            let mut refs: Vec<u64> = s.refs().iter().map(|r| self.id(r.value())).collect();
            refs.sort_unstable();
            fields.extend(refs);
            for f in functions {
                fields.extend([self.id(f.function), f.offset]);
            }
            emit(w, if functions.is_empty() { variable } else { vtable }, &fields);
        }
        for s in of_kind(SummaryKind::Alias) {
            let aliasee = s.aliasee_value().map_or(0, |v| self.id(v));
            let flags = u64::from(s.flags().0) & GvFlags::KNOWN;
            emit(w, alias, &[self.id(s.value()), flags, aliasee]);
        }
        for id in index.type_id_compatible_vtables() {
            fields.clear();
            fields.extend([strtab.add(&id.name), id.name.len() as u64]);
            fields.extend(id.vtables.iter().flat_map(|&(at, table)| [at, self.id(table)]));
            emit(w, type_id_metadata, &fields);
        }
        if index.block_count() != 0 {
            emit_plain(w, fs::BLOCK_COUNT, &[index.block_count()]);
        }
    }
}

fn summaries(index: &ModuleSummaryIndex, module: ModuleId) -> impl Iterator<Item = Summary<'_>> {
    index.module_summaries(module).filter_map(|id| index.summary(SummaryId(id)))
}

fn context_ids_abbrev() -> Abbrev {
    Abbrev {
        scalars: vec![Scalar::Literal(u64::from(fs::ALLOC_CONTEXT_IDS))],
        tail: Tail::Array(Scalar::Fixed(32)),
    }
}

/// Call sites and allocations of a module's functions.
struct MemProf {
    callsite: Defined,
    alloc: Defined,
    context_ids: Option<(u32, Abbrev)>,
    /// Where the contexts yet to be written are in the radix tree.
    places: std::vec::IntoIter<u32>,
    format: Format,
}

impl MemProf {
    fn write(&mut self, w: &mut Writer, values: &FileValues, s: Summary<'_>) {
        if s.extras().is_none() {
            return;
        }
        for site in s.callsites() {
            let mut fields = vec![site.callee.map_or(0, |callee| values.id(callee))];
            fields.extend(site.stack_ids.iter().map(|&id| u64::from(id)));
            emit(w, self.callsite, &fields);
        }
        for alloc in s.allocs() {
            let mut fields = Vec::new();
            if self.format.version() >= since::ALLOC_MIB_COUNT {
                fields.push(alloc.mibs.len() as u64);
            }
            for mib in &alloc.mibs {
                fields.push(u64::from(mib.alloc_type));
                if self.format.has_words() {
                    fields.push(u64::from(self.places.next().unwrap_or(0)));
                } else {
                    fields.push(mib.stack_ids.len() as u64);
                    fields.extend(mib.stack_ids.iter().map(|&id| u64::from(id)));
                }
            }
            // Version 10 had room for one size per context, and no reader of it today.
            if let (Some((id, abbrev)), true) = (&self.context_ids, self.format.has_words()) {
                let sizes = || alloc.context_sizes.iter().flatten();
                if !alloc.context_sizes.is_empty() {
                    let ids: Vec<u64> = sizes()
                        .flat_map(|s| [s.full_stack_id >> 32, s.full_stack_id & 0xffff_ffff])
                        .collect();
                    w.abbreviated(WIDTH, *id, abbrev, fs::ALLOC_CONTEXT_IDS, &ids, None);
                    for of_context in &alloc.context_sizes {
                        fields.push(of_context.len() as u64);
                        fields.extend(of_context.iter().map(|s| s.total_size));
                    }
                }
            }
            emit(w, self.alloc, &fields);
        }
    }
}
