//! A combined index of which single functions are read on demand.
//!
//! In: the bytes of a file. Out: for a GUID, a small [`ModuleSummaryIndex`] of its summaries alone,
//! with the modules that define it.
//!
//! Where the file has a function table ([`super::table`]), making a [`LazyIndex`] looks at the
//! heads of a few blocks, and a look-up is two binary searches. Without one the whole block is
//! passed over once, noting the value ids and where their records stand, which is several times
//! faster than reading it. A module's own summary is small and is read at once.

use std::collections::HashMap;
use std::ops::{Deref, Range};
use std::sync::{Arc, OnceLock};

use super::arrays::{Level, Tables};
use super::codes::{fs, since};
use super::guid::guid_of;
use super::index::ModuleSummaryIndex;
use super::part::IndexPart;
use super::read::{ReadOptions, read_index, read_paths};
use super::read_block::{BlockParser, Spare, State};
use super::table::{self, Table};
use super::types::*;
use super::values::Values;
use crate::bitcode::{BITCODE_MAGIC, BitcodeModule, block_id};
use crate::bitstream::{
    Abbrev, BLOCKINFO_BLOCK_ID, Block, BlockInfo, BlockReader, Entry, Fields, Record, top_level,
};
use crate::container;
use crate::error::{Error, Result};
use crate::ir::Guid;

/// An index whose functions are read one at a time.
pub struct LazyIndex<B> {
    bytes: B,
    content: Content,
}

enum Content {
    Whole(Box<ModuleSummaryIndex>),
    Lazy(Box<Lazy>),
}

/// Where things are in a combined index.
struct Lazy {
    /// The bitcode within the file's bytes.
    bitcode: Range<usize>,
    module: Block,
    strtab: Range<usize>,
    paths: Option<Block>,
    info: BlockInfo,
    summary: Block,
    version: u64,
    flags: IndexFlags,
    /// What stands before the summaries.
    abbrevs: Vec<Arc<Abbrev>>,
    stack_ids: Vec<u64>,
    radix: Option<u64>,
    places: Places,
    modules: OnceLock<Result<Modules>>,
}

/// The modules, and their positions by the ids that records use.
type Modules = (Vec<ModuleInfo>, HashMap<u64, u32>);

/// How a value's records are found.
enum Places {
    Table(Table),
    Scanned(Scanned),
}

/// What one pass over the block noted.
#[derive(Default)]
struct Scanned {
    /// Sorted by GUID.
    by_guid: Vec<(Guid, u32)>,
    /// Sorted by id.
    by_id: Vec<(u32, Guid)>,
    /// Id and bit of each run of records, sorted.
    records: Vec<(u32, u64)>,
}

impl<B: Deref<Target = [u8]>> LazyIndex<B> {
    /// Prepares the index of a file in any container. `path` names a module's own summary.
    ///
    /// # Errors
    /// As [`read_index`].
    pub fn new(bytes: B, path: &[u8]) -> Result<Self> {
        let in_file = |e: Error| e.in_file(String::from_utf8_lossy(path));
        let content = match Lazy::open(&bytes).map_err(in_file)? {
            Some(lazy) => Content::Lazy(Box::new(lazy)),
            None => Content::Whole(Box::new(read_index(&bytes, path, &ReadOptions::EVERYTHING)?)),
        };
        Ok(LazyIndex { bytes, content })
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it is a combined index, as opposed to a module's own summary.
    pub fn is_combined(&self) -> bool {
        match &self.content {
            Content::Whole(index) => index.is_combined(),
            Content::Lazy(_) => true,
        }
    }

    /// Whether single functions are found through a table in the file.
    pub fn has_function_table(&self) -> bool {
        matches!(&self.content, Content::Lazy(lazy) if matches!(lazy.places, Places::Table(_)))
    }

    /// The index-wide flags.
    pub fn flags(&self) -> IndexFlags {
        match &self.content {
            Content::Whole(index) => index.flags(),
            Content::Lazy(lazy) => lazy.flags,
        }
    }

    /// The modules. A combined index's are read when first asked for.
    ///
    /// # Errors
    /// Malformed where the table of modules is.
    pub fn modules(&self) -> Result<&[ModuleInfo]> {
        match &self.content {
            Content::Whole(index) => Ok(index.modules()),
            Content::Lazy(lazy) => Ok(&lazy.modules(&self.bytes)?.0),
        }
    }

    /// The summaries of the function or variable of external linkage with this name, and of its
    /// aliases. A local value's GUID is not that of its name: see [`LazyIndex::read`].
    ///
    /// # Errors
    /// As [`LazyIndex::read`].
    pub fn read_function(&self, name: &[u8]) -> Result<Option<ModuleSummaryIndex>> {
        self.read(guid_of(name.strip_prefix(b"\x01").unwrap_or(name)))
    }

    /// The summaries of the value with this GUID, in an index of their own; `None` where there
    /// are none. Of what an alias stands for, that index has the GUID but no summary.
    ///
    /// # Errors
    /// Malformed where its records are.
    pub fn read(&self, guid: Guid) -> Result<Option<ModuleSummaryIndex>> {
        match &self.content {
            Content::Lazy(lazy) => lazy.read(&self.bytes, guid),
            Content::Whole(index) => {
                let Some(value) = index.find(guid) else { return Ok(None) };
                if index.copies(value).is_empty() {
                    return Ok(None);
                }
                Ok(Some((**index).clone()))
            }
        }
    }
}

impl Lazy {
    /// Finds the blocks of a combined index; `None` for any other file.
    fn open(bytes: &[u8]) -> Result<Option<Self>> {
        let found = container::find_bitcode(bytes)?;
        let data = found.bytes;
        let start = data.as_ptr() as usize - bytes.as_ptr() as usize;
        if !data.starts_with(&BITCODE_MAGIC) {
            return Ok(None);
        }
        let (mut module, mut strtab, mut table) = (None, None, None);
        let mut bit = 32;
        while bit + 64 < data.len() as u64 * 8 {
            let Some(block) = top_level(data, bit)? else { break };
            match block.id {
                block_id::MODULE if module.is_some() => return Ok(None),
                block_id::MODULE => module = Some(block),
                block_id::STRTAB => strtab = Some(block),
                table::BLOCK_ID => table = Table::read(data, &block)?,
                _ => {}
            }
            bit = block.end;
        }
        let Some(module) = module else { return Ok(None) };
        let mut info = BlockInfo::default();
        let (mut paths, mut summary) = (None, None);
        let mut reader = BlockReader::new(data, &module, &info);
        let mut record = Record::new();
        loop {
            match reader.next_head(&mut record, 0)? {
                Entry::End { .. } => break,
                Entry::Block(block) => match block.id {
                    BLOCKINFO_BLOCK_ID => info.read(data, &block)?,
                    block_id::MODULE_STRTAB => paths = Some(block),
                    block_id::GLOBALVAL_SUMMARY if summary.is_none() => summary = Some(block),
                    block_id::GLOBALVAL_SUMMARY => return Ok(None),
                    // A module of code, whose own summary is small.
                    block_id::FUNCTION | block_id::TYPE_NEW => return Ok(None),
                    _ => {}
                },
                _ => {}
            }
        }
        let (Some(paths), Some(summary)) = (paths, summary) else { return Ok(None) };
        let strtab =
            strtab.map_or(0..0, |block| (block.body / 8) as usize..(block.end / 8) as usize);
        let mut lazy = Lazy {
            bitcode: start..start + data.len(),
            module,
            strtab,
            paths: Some(paths),
            info,
            summary,
            version: 0,
            flags: IndexFlags::default(),
            abbrevs: Vec::new(),
            stack_ids: Vec::new(),
            radix: None,
            places: Places::Scanned(Scanned::default()),
            modules: OnceLock::new(),
        };
        lazy.prepare(data, table)?;
        Ok(Some(lazy))
    }

    /// Reads what stands before the summaries and, without a table, notes where they are.
    fn prepare(&mut self, data: &[u8], table: Option<Table>) -> Result<()> {
        let mut reader = BlockReader::new(data, &self.summary, &self.info);
        let mut record = Record::new();
        let mut scanned = Scanned::default();
        let mut jumped = table.is_none();
        // The first record that belongs to the next summary.
        let mut pending = None;
        // An id and two words of GUID; behind the first summary, only the id.
        let mut wanted = 3;
        loop {
            match reader.next_head(&mut record, wanted)? {
                Entry::End { .. } => break,
                Entry::Block(_) | Entry::DefineAbbrev { .. } => continue,
                Entry::Record => {}
            }
            if record.code == fs::VALUE_GUID && wanted < 3 {
                wanted = 3;
                reader.seek(record.start)?;
                continue;
            }
            let mut f = Fields::new(&record, "summary");
            match record.code {
                fs::VERSION => self.version = f.next("version")?,
                fs::FLAGS => self.flags.insert(f.next("flags")?),
                fs::VALUE_GUID => match &table {
                    Some(table) if !jumped => {
                        reader.seek(self.summary.body.saturating_add(table.abbrevs))?;
                        jumped = true;
                    }
                    _ => {
                        let id = f.next_u32("value id")?;
                        let mut guid = f.next("GUID")?;
                        if self.version >= since::GUID_WORDS {
                            guid = guid << 32 | f.next("GUID, low word")? & 0xffff_ffff;
                        }
                        scanned.by_id.push((id, Guid(guid)));
                    }
                },
                fs::STACK_IDS => {
                    reader.seek(record.start)?;
                    reader.next(&mut record)?;
                    let words = self.version >= since::STACK_ID_WORDS;
                    if words {
                        let pairs = record.fields.as_chunks::<2>().0;
                        self.stack_ids.extend(pairs.iter().map(|[high, low]| high << 32 | low));
                    } else {
                        self.stack_ids.extend_from_slice(&record.fields);
                    }
                }
                fs::CONTEXT_RADIX_TREE_ARRAY => self.radix = Some(record.start),
                fs::COMBINED
                | fs::COMBINED_PROFILE
                | fs::COMBINED_GLOBALVAR_INIT_REFS
                | fs::COMBINED_ALIAS => {
                    if table.is_some() {
                        break;
                    }
                    wanted = 1;
                    let id = f.next_u32("value id")?;
                    let start = pending.take().unwrap_or(record.start);
                    scanned.records.push((id, start));
                }
                fs::COMBINED_ORIGINAL_NAME => {}
                _ if table.is_some() && jumped => break,
                _ => {
                    pending.get_or_insert(record.start);
                }
            }
        }
        self.abbrevs = reader.abbrevs().to_vec();
        self.places = match table {
            Some(table) => Places::Table(table),
            None => {
                scanned.sort();
                Places::Scanned(scanned)
            }
        };
        Ok(())
    }

    fn data<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        bytes.get(self.bitcode.clone()).unwrap_or(&[])
    }

    fn modules(&self, bytes: &[u8]) -> Result<&Modules> {
        let read = self.modules.get_or_init(|| {
            let Some(block) = &self.paths else { return Ok(Default::default()) };
            let (modules, ids) = read_paths(self.data(bytes), block, &self.info)?;
            Ok((modules, ids.into_iter().zip(0..).collect()))
        });
        read.as_ref().map_err(Clone::clone)
    }

    /// The id of a value and the bits at which its summaries are.
    fn places(&self, data: &[u8], guid: Guid) -> Option<(u32, Vec<u64>)> {
        match &self.places {
            Places::Table(table) => {
                let entry = table.by_guid(data, guid)?;
                let mut bits = table.aliases(data, entry.id);
                if entry.offset != 0 {
                    bits.insert(0, entry.offset);
                }
                let base = self.summary.body;
                Some((entry.id, bits.into_iter().map(|at| base + u64::from(at)).collect()))
            }
            Places::Scanned(scanned) => {
                let at = scanned.by_guid.binary_search_by_key(&guid, |(guid, _)| *guid).ok()?;
                let id = scanned.by_guid.get(at)?.1;
                let first = scanned.records.partition_point(|(of, _)| *of < id);
                let of_id = scanned.records.iter().skip(first).take_while(|(of, _)| *of == id);
                Some((id, of_id.map(|(_, bit)| *bit).collect()))
            }
        }
    }

    fn guid_of_id(&self, data: &[u8], id: u64) -> Option<Guid> {
        match &self.places {
            Places::Table(table) => table.by_id(data, id).map(|entry| entry.guid),
            Places::Scanned(scanned) => {
                let at = scanned.by_id.binary_search_by_key(&id, |(id, _)| u64::from(*id)).ok()?;
                scanned.by_id.get(at).map(|(_, guid)| *guid)
            }
        }
    }

    fn read(&self, bytes: &[u8], guid: Guid) -> Result<Option<ModuleSummaryIndex>> {
        let data = self.data(bytes);
        let Some((id, bits)) = self.places(data, guid) else { return Ok(None) };
        if bits.is_empty() {
            return Ok(None);
        }
        let (modules, ids) = self.modules(bytes)?;
        let location = BitcodeModule {
            data,
            identification: None,
            block: self.module,
            strtab: data.get(self.strtab.clone()).unwrap_or(&[]),
        };
        let find = |id| self.guid_of_id(data, id);
        let mut parser = BlockParser {
            module: &location,
            find_guid: Some(&find),
            options: &ReadOptions::THIN_LINK,
            combined: true,
            module_ids: Vec::new(),
            values: Values::default(),
            tables: Tables::default(),
            level: Level {
                combined: true,
                flags: self.flags,
                version: self.version,
                stack_ids: self.stack_ids.clone(),
                ..Level::default()
            },
            spare: Spare::default(),
        };
        let mut state = State::new(self.version, true, ids, 0);
        let mut record = Record::new();
        if let Some(radix) = self.radix {
            BlockReader::resume(data, &self.summary, &self.abbrevs, radix)?.next(&mut record)?;
            parser.record(&record, &mut state)?;
        }
        for bit in bits {
            let mut reader = BlockReader::resume(data, &self.summary, &self.abbrevs, bit)?;
            loop {
                match reader.next(&mut record)? {
                    Entry::Record => {}
                    Entry::End { .. } => break,
                    _ => continue,
                }
                let is_summary = matches!(
                    record.code,
                    fs::COMBINED
                        | fs::COMBINED_PROFILE
                        | fs::COMBINED_GLOBALVAR_INIT_REFS
                        | fs::COMBINED_ALIAS
                );
                if is_summary && record.fields.first() != Some(&u64::from(id)) {
                    break;
                }
                parser.record(&record, &mut state)?;
                // Scanned records are noted one by one, those of a table by their first.
                if is_summary && (record.code == fs::COMBINED_ALIAS || !self.runs()) {
                    self.original_name(&mut reader, &mut record, &mut parser, &mut state)?;
                    break;
                }
            }
        }
        parser.finish(&mut state);
        let BlockParser { values, mut tables, level, .. } = parser;
        tables.guids = values.guids;
        let modules = keep_modules(&mut tables, modules);
        ModuleSummaryIndex::from_part(IndexPart { modules, tables, level, summary_at: None })
            .map(Some)
    }

    /// Whether a place stands for all of a value's records, or only for one.
    fn runs(&self) -> bool {
        matches!(self.places, Places::Table(_))
    }

    /// Reads the original name that may follow a summary.
    fn original_name<'a>(
        &self,
        reader: &mut BlockReader<'a>,
        record: &mut Record<'a>,
        parser: &mut BlockParser<'_, '_>,
        state: &mut State<'_>,
    ) -> Result<()> {
        if reader.next(record)? == Entry::Record && record.code == fs::COMBINED_ORIGINAL_NAME {
            parser.record(record, state)?;
        }
        Ok(())
    }
}

impl Scanned {
    fn sort(&mut self) {
        self.by_guid = self.by_id.iter().map(|&(id, guid)| (guid, id)).collect();
        // Writers give ids in the order of GUIDs, and records in that of ids.
        if !self.by_guid.is_sorted() {
            self.by_guid.sort_unstable();
        }
        if !self.by_id.is_sorted() {
            self.by_id.sort_unstable();
        }
        if !self.records.is_sorted() {
            self.records.sort_unstable();
        }
    }
}

/// Leaves of the modules those that the records are in, and renumbers them.
fn keep_modules(tables: &mut Tables, modules: &[ModuleInfo]) -> Vec<ModuleInfo> {
    let mut used: Vec<u32> = tables.records.iter().map(|r| r.module).collect();
    used.sort_unstable();
    used.dedup();
    for record in &mut tables.records {
        record.module = used.binary_search(&record.module).unwrap_or(0) as u32;
    }
    used.iter().filter_map(|&id| modules.get(id as usize).cloned()).collect()
}
