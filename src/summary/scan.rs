//! One pass over a module block, for its summary.
//!
//! In: a [`BitcodeModule`]. Out: [`Scan`]: where the summary and what it needs are, and of the
//! records at module level the globals' names and linkages. Every other block is skipped.

use std::collections::HashMap;

use super::guid::{LocalSeparator, guids_of_values};
use crate::bitcode::{BitcodeModule, GuidList, block_id, module_code};
use crate::bitstream::{
    BLOCKINFO_BLOCK_ID, Block, BlockInfo, BlockReader, Cursor, Entry, Fields, Record,
};
use crate::error::Result;
use crate::ir::{Guid, Linkage, ModuleHash};

/// A global of a module: where its name is, and its linkage.
#[derive(Clone, Copy, Debug)]
pub(super) struct Global {
    pub(super) offset: u32,
    pub(super) size: u32,
    pub(super) linkage: Linkage,
}

impl Global {
    /// Reads the fields of a record that is one and as most are; of any other nothing is told, and
    /// whoever reads it as a record finds what is wrong with it.
    #[inline]
    fn read(version: u64, code: u32, count: u64, fields: &mut Cursor<'_>) -> Option<Self> {
        let is_global =
            matches!(code, module_code::GLOBALVAR | module_code::FUNCTION | module_code::ALIAS);
        if !is_global || version < 2 {
            return None;
        }
        let behind = count.checked_sub(GLOBAL_FIELDS as u64)?;
        let offset = u32::try_from(fields.vbr6().ok()?).ok()?;
        let size = u32::try_from(fields.vbr6().ok()?).ok()?;
        let linkage = Linkage::from_record(fields.vbr6_behind(3).ok()?);
        fields.skip_few_vbr6(behind).ok()?;
        Some(Global { offset, size, linkage })
    }
}

/// How many fields of a global's record matter: up to the linkage. A hash has no more either.
const GLOBAL_FIELDS: usize = 6;

/// What one pass over a module block finds.
#[derive(Default)]
pub(super) struct Scan {
    pub(super) version: u64,
    pub(super) globals: Vec<Global>,
    pub(super) source_file_name: Vec<u8>,
    pub(super) guids: GuidList,
    pub(super) hash: Option<ModuleHash>,
    pub(super) info: BlockInfo,
    pub(super) summaries: Vec<Block>,
    pub(super) paths: Option<Block>,
    pub(super) value_symtab: Option<Block>,
}

impl Scan {
    /// Passes over a module; `fields` is room for those of a record.
    pub(super) fn read(&mut self, module: &BitcodeModule<'_>, fields: &mut Vec<u64>) -> Result<()> {
        let mut reader = BlockReader::new(module.data, &module.block, &BlockInfo::default());
        let mut record = Record { fields: std::mem::take(fields), ..Record::default() };
        // Of a global, the first fields are enough; of few other records, all count.
        let wanted = |code| match code {
            module_code::SOURCE_FILENAME | module_code::GUIDLIST => usize::MAX,
            module_code::COMDAT => 0,
            _ => GLOBAL_FIELDS,
        };
        loop {
            let version = self.version;
            let entry = reader.next_after_taken(&mut record, wanted, |code, count, fields| {
                if code == module_code::COMDAT {
                    return fields.skip_few_vbr6(count).is_ok();
                }
                let Some(global) = Global::read(version, code, count, fields) else { return false };
                self.globals.push(global);
                true
            })?;
            match entry {
                Entry::End { .. } => {
                    *fields = record.fields;
                    return Ok(());
                }
                Entry::DefineAbbrev { .. } => {}
                Entry::Block(block) => match block.id {
                    BLOCKINFO_BLOCK_ID => self.info.read(module.data, &block)?,
                    block_id::GLOBALVAL_SUMMARY | block_id::FULL_LTO_GLOBALVAL_SUMMARY => {
                        self.summaries.push(block);
                    }
                    block_id::MODULE_STRTAB => self.paths = Some(block),
                    block_id::VALUE_SYMTAB => self.value_symtab = Some(block),
                    _ => {}
                },
                Entry::Record => self.record(&record)?,
            }
        }
    }

    fn record(&mut self, record: &Record<'_>) -> Result<()> {
        match record.code {
            // Their value ids are their order. An ifunc comes behind all of them.
            module_code::GLOBALVAR | module_code::FUNCTION | module_code::ALIAS => {
                let mut f = Fields::new(record, "global");
                let (mut offset, mut size) = (0, 0);
                if self.version >= 2 {
                    offset = f.next_u32("strtab offset")?;
                    size = f.next_u32("strtab size")?;
                }
                f.take(3, "fields before the linkage")?;
                let linkage = Linkage::from_record(f.next("linkage")?);
                self.globals.push(Global { offset, size, linkage });
            }
            module_code::VERSION => {
                self.version = Fields::new(record, "VERSION").next("version")?
            }
            module_code::SOURCE_FILENAME => self.source_file_name = record.string(),
            module_code::GUIDLIST => self.guids = GuidList::read(record)?,
            module_code::HASH => self.hash = Some(hash(record)?),
            _ => {}
        }
        Ok(())
    }

    /// The names of external linkage, by their places, with their hashes.
    pub(super) fn external_names(&self, strtab: &[u8]) -> Vec<(u32, u32, Guid)> {
        let external = || self.globals.iter().filter(|global| !global.linkage.is_local());
        let name = |g: &Global| {
            let start = g.offset as usize;
            strtab.get(start..start + g.size as usize).unwrap_or_default()
        };
        let names: Vec<(&[u8], bool)> = external().map(|g| (name(g), false)).collect();
        let guids = guids_of_values(&[], LocalSeparator::Semicolon, names.into_iter());
        external().zip(guids).map(|(g, guid)| (g.offset, g.size, guid)).collect()
    }

    /// By the hashes of their names, the values of external linkage whose stored GUID is another.
    pub(super) fn renamed(&self, names: &[(u32, u32, Guid)]) -> HashMap<Guid, Guid> {
        let external = self.globals.iter().enumerate().filter(|(_, g)| !g.linkage.is_local());
        external
            .zip(names)
            .filter_map(|((id, _), &(_, _, name))| Some((name, self.guids.get(id)?)))
            .filter(|(name, stored)| name != stored)
            .collect()
    }
}

/// A global value of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedValue<'a> {
    /// Its name in the IR; empty for none.
    pub name: &'a [u8],
    /// Its GUID, as the module stores it or as LLVM 18 and later make it.
    pub guid: Guid,
    /// Whether its linkage is local, so that the GUID is not that of the name alone.
    pub is_local: bool,
}

/// The functions, variables and aliases of a module with a summary, in the order of their records,
/// of which no more is read than a module made for the thin link alone has. None of a module without a
/// summary, nor of one whose names are not in a string table (before LLVM 5).
///
/// # Errors
/// Malformed bitcode.
pub fn named_values<'a>(module: &BitcodeModule<'a>) -> Result<Vec<NamedValue<'a>>> {
    let mut scan = Scan::default();
    scan.read(module, &mut Vec::new())?;
    if scan.summaries.is_empty() || scan.version < 2 {
        return Ok(Vec::new());
    }
    let name = |g: &Global| module.string(u64::from(g.offset), u64::from(g.size));
    let names = scan.globals.iter().map(name).collect::<Result<Vec<&'a [u8]>>>()?;
    let locals = scan.globals.iter().map(|g| g.linkage.is_local());
    let hashed: Vec<(&[u8], bool)> = names.iter().copied().zip(locals).collect();
    let source = &scan.source_file_name;
    let guids = guids_of_values(source, LocalSeparator::Semicolon, hashed.iter().copied());
    let value = |(id, (&(name, is_local), guid)): (usize, (&(&'a [u8], bool), Guid))| NamedValue {
        name,
        guid: scan.guids.get(id).unwrap_or(guid),
        is_local,
    };
    Ok(hashed.iter().zip(guids).enumerate().map(value).collect())
}

/// By the hashes of their names, the values of a module whose GUID, which the module stores
/// (LLVM 23), is not that hash. Who knows them by their names alone does not know the GUIDs.
///
/// # Errors
/// Malformed bitcode.
pub fn renamed_values(module: &BitcodeModule<'_>) -> Result<HashMap<Guid, Guid>> {
    let mut scan = Scan::default();
    scan.read(module, &mut Vec::new())?;
    if scan.guids.is_empty() {
        return Ok(HashMap::new());
    }
    Ok(scan.renamed(&scan.external_names(module.strtab)))
}

pub(super) fn hash(record: &Record<'_>) -> Result<ModuleHash> {
    let mut fields = Fields::new(record, "HASH");
    let mut hash = ModuleHash::default();
    for word in &mut hash.0 {
        *word = fields.next_u32("word")?;
    }
    if !fields.is_empty() {
        return Err(fields.error("more than five words"));
    }
    Ok(hash)
}
