//! From bitcode to an [`IndexPart`].
//!
//! In: a [`BitcodeModule`] and the path it goes by. Out: its summaries, by one pass over the
//! module block that skips every block but BLOCKINFO, MODULE_STRTAB and the summary, and of the
//! records at module level keeps a name's place and a linkage. Nothing is allocated per record.
//!
//! GUIDs that the module does not store are hashed, only for values that a summary defines or
//! mentions, all at the end, many at a time; unless names are asked for, when every global of the
//! module counts, as in LLVM.
//!
//! Source: `ModuleSummaryIndexBitcodeReader::parseModule` of LLVM's `BitcodeReader.cpp`.

use std::cell::Cell;
use std::collections::HashSet;
use std::path::Path;

use rayon::prelude::*;

use super::arrays::{Level, Record as Summary, Tables};
use super::codes::mst;
use super::excerpt::IndexParts;
use super::guid::{Batch, LocalSeparator, local_prefix};
use super::hashed_names::HashedNames;
use super::index::ModuleSummaryIndex;
use super::part::IndexPart;
use super::read_block::{BlockParser, Spare};
use super::scan::{Global, Scan, hash};
use super::types::*;
use super::values::Values;
use crate::bitcode::{BitcodeFile, BitcodeModule, Extent, GlobalKind, Module, Producer, vst_code};
use crate::bitstream::{Block, BlockInfo, BlockReader, Entry, Fields, Record};
use crate::container;
use crate::error::{Error, Result};
use crate::ir::{Guid, Linkage, ModuleHash};

/// How much to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// Keep the names of values, and have a value for every global of the module and not only
    /// for those that summaries define or mention.
    pub names: bool,
    /// Read which virtual tables are compatible with which type (FS_TYPE_ID_METADATA). Only
    /// whole-program devirtualization needs it, and it is most of a C++ module's summary.
    pub type_id_metadata: bool,
    /// How identifiers of local values are made where the file does not store GUIDs.
    pub separator: LocalSeparator,
}

impl ReadOptions {
    /// Everything that the file holds.
    pub const EVERYTHING: Self =
        ReadOptions { names: true, type_id_metadata: true, separator: LocalSeparator::Semicolon };
    /// What the combined index is made of, and the thin link looks at.
    pub const THIN_LINK: Self =
        ReadOptions { names: false, type_id_metadata: false, separator: LocalSeparator::Semicolon };

    /// These, with what tells which function a virtual call calls.
    pub fn with_types(&self) -> Self {
        ReadOptions { names: true, type_id_metadata: true, ..*self }
    }
}

/// Reads the summaries of a file in any container, one part for each module that has some. Parts
/// of per-module summaries go by `path`.
///
/// # Errors
/// As [`read_module`]; and as [`container::find_bitcode`] and [`BitcodeFile::read`].
pub fn read_file(bytes: &[u8], path: &[u8], options: &ReadOptions) -> Result<Vec<IndexPart>> {
    let in_file = |e: Error| e.in_file(String::from_utf8_lossy(path));
    let bitcode = container::find_bitcode(bytes).map_err(in_file)?;
    let mut parts = Vec::new();
    for data in bitcode.parts().map_err(in_file)? {
        for module in &BitcodeFile::read(data).map_err(in_file)?.modules {
            parts.extend(read_module(module, path, options).map_err(in_file)?);
        }
    }
    Ok(parts)
}

/// The index of a file in any container.
///
/// # Errors
/// As [`read_file`]; unsupported where the file has no summary.
pub fn read_index(bytes: &[u8], path: &[u8], options: &ReadOptions) -> Result<ModuleSummaryIndex> {
    let mut parts = read_file(bytes, path, options)?;
    match (parts.pop(), parts.is_empty()) {
        (Some(part), true) => ModuleSummaryIndex::from_part(part),
        (Some(_), false) => Err(Error::unsupported("several modules with summaries in one file")
            .in_file(String::from_utf8_lossy(path))),
        (None, _) => {
            Err(Error::unsupported("the file has no summary")
                .in_file(String::from_utf8_lossy(path)))
        }
    }
}

/// So many files at most are one piece of work for a thread.
pub const FILES_AT_ONCE: usize = 3;

/// Reads and merges the summaries of many modules, in parallel; the result depends on their order
/// alone.
///
/// # Errors
/// That of the first module that has one; as [`read_file`] and [`ModuleSummaryIndex::combine`].
pub fn read_and_combine<B: std::ops::Deref<Target = [u8]> + Sync>(
    files: &[(B, &[u8])],
    options: &ReadOptions,
) -> Result<ModuleSummaryIndex> {
    let read: Vec<Result<Vec<IndexPart>>> =
        files.par_iter().map(|(bytes, path)| read_file(bytes, path, options)).collect();
    let mut parts = Vec::with_capacity(files.len());
    for file in read {
        parts.extend(file?);
    }
    ModuleSummaryIndex::combine(parts)
}

/// As [`read_and_combine`], for files by their paths: each is open only while it is read, so that
/// memory holds the summaries and not the files.
///
/// # Errors
/// As [`read_and_combine`], and io where a file cannot be read.
pub fn combine_files(paths: &[&Path], options: &ReadOptions) -> Result<ModuleSummaryIndex> {
    let read: Vec<Result<IndexParts>> = paths
        .par_iter()
        .with_max_len(FILES_AT_ONCE)
        .fold(
            || Ok(IndexParts::default()),
            |parts: Result<IndexParts>, path| {
                let mut parts = parts?;
                parts.add_file(path, path.as_os_str().as_encoded_bytes(), options)?;
                Ok(parts)
            },
        )
        .collect();
    let mut parts = IndexParts::default();
    for more in read {
        parts.append(more?);
    }
    parts.combine()
}

/// Reads the summary of one module, or a combined index, which stands in a module block of its
/// own; `None` where the module has none.
///
/// # Errors
/// Malformed where the bytes break their format, with the bit and the record; unsupported for a
/// version of the summary that is newer than those known and holds an unknown record.
pub fn read_module(
    module: &BitcodeModule<'_>,
    path: &[u8],
    options: &ReadOptions,
) -> Result<Option<IndexPart>> {
    read_module_hashing(module, path, options, None)
}

/// As [`read_module`]; the names that had to be hashed for it go to `hashed` as well.
///
/// # Errors
/// As [`read_module`].
pub fn read_module_hashing(
    module: &BitcodeModule<'_>,
    path: &[u8],
    options: &ReadOptions,
    hashed: Option<&mut HashedNames>,
) -> Result<Option<IndexPart>> {
    Room::lend(|room| {
        Ok(room.read(module, path, options, hashed)?.then(|| room.part.take_compact()))
    })
}

/// What reading a module takes room for; each thread keeps it for the next one.
#[derive(Default)]
pub(super) struct Room {
    globals: Vec<Global>,
    values: Values,
    spare: Spare,
    /// What was read last.
    pub(super) part: IndexPart,
}

thread_local! {
    static ROOM: Cell<Option<Box<Room>>> = const { Cell::new(None) };
}

impl Room {
    /// Calls `f` with the thread's room.
    pub(super) fn lend<R>(f: impl FnOnce(&mut Room) -> R) -> R {
        // A thread that ends has none any more.
        let mut room = ROOM.try_with(Cell::take).unwrap_or_default().unwrap_or_default();
        let result = f(&mut room);
        let _ = ROOM.try_with(|kept| kept.set(Some(room)));
        result
    }

    /// Lets go of the thread's room, when all that was to be read has been and memory is needed for
    /// other things.
    pub(super) fn let_go() {
        let _ = ROOM.try_with(Cell::take);
    }

    /// Reads the summary of a module as [`read_module_hashing`] does, to `part`; false where it has
    /// none.
    pub(super) fn read(
        &mut self,
        module: &BitcodeModule<'_>,
        path: &[u8],
        options: &ReadOptions,
        hashed: Option<&mut HashedNames>,
    ) -> Result<bool> {
        self.part.clear();
        self.globals.clear();
        let globals = std::mem::take(&mut self.globals);
        let mut scan = Scan { globals, ..Scan::default() };
        scan.read(module, &mut self.spare.fields)?;
        if scan.summaries.is_empty() {
            return Ok(false);
        }
        let mut old_names = None;
        if scan.version < 2 && scan.paths.is_none() {
            let (globals, names) = old_globals(module)?;
            scan.globals = globals;
            old_names = Some(names);
        }
        let globals = scan.globals.as_slice();
        let names = old_names.as_deref().unwrap_or(module.strtab);
        let combined = scan.paths.is_some();
        let mut module_ids = Vec::new();
        let mut newest_llvm = None;
        match &scan.paths {
            Some(block) => {
                (self.part.modules, module_ids) = read_paths(module.data, block, &scan.info)?;
            }
            None => {
                let hash = scan.hash.unwrap_or_default();
                self.part.modules.push(ModuleInfo { path: path.into(), hash });
                newest_llvm = Producer::of(&module.identification()?).major();
            }
        }
        let mut values = std::mem::take(&mut self.values);
        let bits = module.block.end - module.block.body;
        values.begin(globals.len(), bits, scan.guids.clone());
        if let (true, Some(block)) = (combined, &scan.value_symtab) {
            read_combined_entries(module.data, block, &scan.info, &mut values)?;
        }
        if options.names {
            values.take_all_globals();
        }
        let mut parser = BlockParser {
            module,
            find_guid: None,
            options,
            combined,
            module_ids,
            values,
            tables: std::mem::take(&mut self.part.tables),
            level: Level { combined, newest_llvm, ..Level::default() },
            spare: std::mem::take(&mut self.spare),
        };
        for block in &scan.summaries {
            parser.read(block, &scan.info)?;
        }
        if combined {
            parser.check_aliases()?;
        }
        let BlockParser { mut values, mut tables, mut level, spare, .. } = parser;
        self.spare = spare;
        level.type_id_vtables.sort_by(|a, b| a.name.cmp(&b.name));
        hash_names(names, globals, &scan.source_file_name, &mut values, &mut tables, options)?;
        match hashed {
            Some(hashed) if !scan.guids.is_empty() => {
                let names = scan.external_names(names);
                hashed.renamed = scan.renamed(&names);
                hashed.fill(names.into_iter());
            }
            Some(hashed) if old_names.is_none() => {
                let slots = values.slots_of_globals();
                let hashes = globals.iter().zip(slots).filter(|(g, _)| !g.linkage.is_local());
                let guid = |slot: u32| tables.guids.get(slot as usize).copied();
                hashed.fill(hashes.filter_map(|(g, slot)| Some((g.offset, g.size, guid(slot)?))));
            }
            _ => {}
        }
        if combined {
            sort_by_module(&mut tables);
        }
        self.part.tables = tables;
        self.part.level = level;
        self.part.summary_at = scan.summaries.first().map(|block| block.start);
        self.values = values;
        self.globals = scan.globals;
        Ok(true)
    }
}

/// The globals of a module whose names are in its value symbol table, and those names in a string
/// table of their own.
fn old_globals(module: &BitcodeModule<'_>) -> Result<(Vec<Global>, Vec<u8>)> {
    let module = Module::read(module, Extent::All)?;
    let mut names = Vec::new();
    let mut globals = Vec::new();
    for g in module.globals.iter().filter(|g| g.kind != GlobalKind::IFunc) {
        let offset = names.len() as u32;
        names.extend_from_slice(&g.name);
        globals.push(Global { offset, size: g.name.len() as u32, linkage: g.linkage });
    }
    Ok((globals, names))
}

/// Reads the paths and hashes of a combined index, with the ids that records use for them.
pub(super) fn read_paths(
    data: &[u8],
    block: &Block,
    info: &BlockInfo,
) -> Result<(Vec<ModuleInfo>, Vec<u64>)> {
    let mut modules: Vec<ModuleInfo> = Vec::new();
    let mut ids = Vec::new();
    let mut seen_ids = HashSet::new();
    let mut seen_paths: HashSet<Box<[u8]>> = HashSet::new();
    let mut wants_hash = false;
    let mut reader = BlockReader::new(data, block, info);
    let mut record = Record::new();
    loop {
        match reader.next(&mut record)? {
            Entry::End { .. } => return Ok((modules, ids)),
            Entry::Record if record.code == mst::ENTRY => {
                let mut f = Fields::new(&record, "MST_ENTRY");
                let id = f.next("module id")?;
                let path: Box<[u8]> = f.rest().iter().map(|&c| c as u8).collect();
                if !seen_ids.insert(id) {
                    return Err(f.error(format_args!("module id {id} is there twice")));
                }
                if !seen_paths.insert(path.clone()) {
                    let path = String::from_utf8_lossy(&path);
                    return Err(f.error(format_args!("module {path} is there twice")));
                }
                ids.push(id);
                modules.push(ModuleInfo { path, hash: ModuleHash::default() });
                wants_hash = true;
            }
            Entry::Record if record.code == mst::HASH => {
                let last = modules.last_mut().filter(|_| wants_hash).ok_or_else(|| {
                    Error::malformed("MST_HASH record that does not follow a module's path")
                        .at_bit(record.start)
                })?;
                last.hash = hash(&record)?;
                wants_hash = false;
            }
            _ => {}
        }
    }
}

/// Before module version 2, a combined index gave the GUIDs of its values in its value symbol
/// table: COMBINED_ENTRY `[valueid, refguid]`.
fn read_combined_entries(
    data: &[u8],
    block: &Block,
    info: &BlockInfo,
    values: &mut Values,
) -> Result<()> {
    let mut reader = BlockReader::new(data, block, info);
    let mut record = Record::new();
    loop {
        match reader.next(&mut record)? {
            Entry::End { .. } => return Ok(()),
            Entry::Record if record.code == vst_code::COMBINED_ENTRY => {
                let mut f = Fields::new(&record, "VST_COMBINED_ENTRY");
                let id = f.next("value id")?;
                let guid = f.next("GUID")?;
                values.set_guid(id, guid, &f)?;
            }
            _ => {}
        }
    }
}

/// Gives every value its GUID, where the file did not, and the names that were asked for.
fn hash_names(
    strtab: &[u8],
    globals: &[Global],
    source: &[u8],
    values: &mut Values,
    tables: &mut Tables,
    options: &ReadOptions,
) -> Result<()> {
    let Values { guids, globals: of_global, stored, .. } = values;
    let prefix = local_prefix(source, options.separator);
    let name_of = |id: u32| -> Result<(&[u8], Linkage)> {
        let Some(global) = globals.get(id as usize) else { return Ok((&[], Linkage::External)) };
        let start = global.offset as usize;
        let name = strtab.get(start..start + global.size as usize).ok_or_else(|| {
            Error::malformed(format!(
                "name at {start}, {} bytes, is outside of the string table of {} bytes",
                global.size,
                strtab.len()
            ))
        })?;
        Ok((name, global.linkage))
    };
    // In a module the original name of a local value is the hash of its name alone. These hashes
    // are put behind those of the values, so that all are made together.
    let values = guids.len();
    let mut local = Vec::new();
    for (id, record) in (0u32..).zip(&tables.records) {
        let Some(&global) = of_global.get(record.value as usize) else { continue };
        if global == Values::NO_GLOBAL {
            continue;
        }
        let (name, linkage) = name_of(global)?;
        if linkage.is_local() {
            local.push((id, Some(name)));
        } else if record.flags.linkage().is_local() {
            // Defined by module-level assembly: the IR only declares it.
            local.push((id, None));
        }
    }
    guids.resize(values + local.len(), Guid(0));
    let mut batch = Batch::default();
    for (place, (_, name)) in (values as u32..).zip(&local) {
        if let Some(name) = name {
            batch.push(&[], name, place, guids);
        }
    }
    // Summaries give the linkage too, but a value that is only mentioned has none.
    for (slot, (&id, &stored)) in (0u32..).zip(of_global.iter().zip(stored.iter())) {
        if stored {
            continue;
        }
        let (name, linkage) = name_of(id)?;
        let plain = name.strip_prefix(b"\x01").unwrap_or(name);
        let prefix = if linkage.is_local() { prefix.as_slice() } else { &[] };
        batch.push(prefix, plain, slot, guids);
    }
    batch.finish(guids);
    if options.names && !globals.is_empty() {
        for &id in of_global.iter() {
            tables.names.push(name_of(id)?.0);
        }
    }
    let guid_at = |place: usize| guids.get(place).copied().unwrap_or_default();
    for (place, (id, name)) in (values..).zip(local) {
        let value = tables.records.get(id as usize).map_or(place, |record| record.value as usize);
        tables.original_names.push(id, guid_at(if name.is_some() { place } else { value }));
    }
    guids.truncate(values);
    std::mem::swap(&mut tables.guids, guids);
    Ok(())
}

/// Puts the summaries of a combined index into the order of its modules. A module's own summaries
/// keep their order.
fn sort_by_module(tables: &mut Tables) {
    if tables.records.is_sorted_by_key(|r| r.module) {
        return;
    }
    let mut order: Vec<u32> = (0..tables.records.len() as u32).collect();
    order.sort_by_key(|&id| tables.records.get(id as usize).map_or(0, |r| r.module));
    let mut records = Vec::with_capacity(order.len());
    let mut refs = Vec::with_capacity(tables.refs.len());
    let mut callees = Vec::with_capacity(tables.callees.len());
    let mut call_infos = Vec::with_capacity(tables.callees.len());
    for &old in &order {
        let id = old as usize;
        let Some(&record) = tables.records.get(id) else { continue };
        let calls = tables.calls_of(id);
        refs.extend_from_slice(tables.refs.get(tables.refs_of(id)).unwrap_or(&[]));
        callees.extend_from_slice(tables.callees.get(calls.clone()).unwrap_or(&[]));
        call_infos.extend_from_slice(tables.call_infos.get(calls).unwrap_or(&[]));
        records.push(Summary {
            refs_end: refs.len() as u32,
            calls_end: callees.len() as u32,
            ..record
        });
    }
    tables.records = records;
    tables.refs = refs;
    tables.callees = callees;
    tables.call_infos = call_infos;
    tables.original_names = tables.original_names.reorder(&order);
    tables.entry_counts = tables.entry_counts.reorder(&order);
    if let Some(extras) = &mut tables.extras {
        **extras = extras.reorder(&order);
    }
}
