//! Module level metadata, as far as a linker asks: named nodes, and the strings, integers and
//! nodes that they lead to.
//!
//! In: a module's METADATA block. Out: [`Metadata`], from which nodes are read on demand. Modules
//! with debug information have an index of bit offsets and it is used, so that asking for the
//! linker options does not read a megabyte of debug information.
//!
//! Source: `lazyLoadModuleMetadataBlock` of LLVM's `MetadataLoader.cpp`. Ids count the strings
//! first, then every other record that defines a metadata, in order; a NODE's fields are ids plus
//! one, with 0 for null. INDEX_OFFSET `[low 32 bits, high 32 bits]` is the distance in bits from
//! behind its own record to the INDEX record, whose fields are the distances of the records from
//! one to the next, the first from behind INDEX_OFFSET.

use std::sync::OnceLock;

use super::block_id;
use super::module::Module;
use crate::bitstream::{BlockReader, Cursor, Entry, Fields, Record};
use crate::error::{Error, Result};

const STRING_OLD: u32 = 1;
const VALUE: u32 = 2;
const NODE: u32 = 3;
const NAME: u32 = 4;
const DISTINCT_NODE: u32 = 5;
const KIND: u32 = 6;
const NAMED_NODE: u32 = 10;
const STRINGS: u32 = 35;
const GLOBAL_DECL_ATTACHMENT: u32 = 36;
const INDEX_OFFSET: u32 = 38;
const INDEX: u32 = 39;

/// The strings, split into slices when the first of them is asked for: a linker mostly wants to
/// know whether a named node is there, and modules have thousands of strings.
#[derive(Clone, Debug, Default)]
struct Strings<'a> {
    count: usize,
    lengths: &'a [u8],
    chars: &'a [u8],
    slices: OnceLock<Vec<&'a [u8]>>,
}

/// Where a METADATA_INDEX is.
#[derive(Clone, Copy, Debug)]
struct IndexPlace {
    /// Its record, in bits.
    at: u64,
    /// From where its distances count, in bits.
    base: u64,
    /// How many records stand before those that it lists.
    direct: usize,
}

/// A module's metadata.
#[derive(Clone, Debug)]
pub struct Metadata<'a> {
    strings: Strings<'a>,
    /// Bit positions of the records that were met in the block, without those of the index.
    direct: Vec<u64>,
    /// Where the index is, if there is one.
    index: Option<IndexPlace>,
    /// Bit positions of the records behind the strings, by id less the number of strings; made
    /// when the first is asked for.
    records: OnceLock<Vec<u64>>,
    /// Reads any of `records`: it knows all abbreviations of the block.
    reader: Option<BlockReader<'a>>,
    named: Vec<(Vec<u8>, Vec<u64>)>,
}

impl<'a> Strings<'a> {
    fn get(&self, index: usize) -> Result<&'a [u8]> {
        let slices = match self.slices.get() {
            Some(slices) => slices,
            None => {
                let split = self.split()?;
                self.slices.get_or_init(|| split)
            }
        };
        // The caller compared the index with the count, and the split gives as many.
        Ok(slices.get(index).copied().unwrap_or(&[]))
    }

    fn split(&self) -> Result<Vec<&'a [u8]>> {
        let mut lengths = Cursor::new(self.lengths);
        let mut chars = self.chars;
        let mut slices = Vec::with_capacity(self.count);
        for _ in 0..self.count {
            let len = lengths.vbr(6)?;
            let split = usize::try_from(len).ok().and_then(|len| chars.split_at_checked(len));
            let Some((string, rest)) = split else {
                return Err(Error::malformed(
                    "METADATA_STRINGS record: a string runs past the characters",
                ));
            };
            slices.push(string);
            chars = rest;
        }
        Ok(slices)
    }
}

impl<'a> Metadata<'a> {
    /// Reads the strings and the named nodes of a module and where its other metadata is. Empty
    /// where the module has none.
    pub fn read(module: &Module<'a>) -> Result<Self> {
        let mut found = Metadata {
            strings: Strings::default(),
            direct: Vec::new(),
            index: None,
            records: OnceLock::new(),
            reader: None,
            named: Vec::new(),
        };
        let Some(block) = module.block(block_id::METADATA) else { return Ok(found) };
        let mut reader = BlockReader::new(module.location.data, &block, &module.block_info);
        let mut record = Record::new();
        let mut name = None;
        let mut indexed = false;
        // Of all others only the place is kept.
        let wanted = |code| match code {
            STRINGS | INDEX_OFFSET | NAME | NAMED_NODE => usize::MAX,
            _ => 0,
        };
        loop {
            match reader.next_of(&mut record, wanted)? {
                Entry::End { .. } => break,
                Entry::Record => match record.code {
                    STRINGS => found.read_strings(&record)?,
                    INDEX_OFFSET => {
                        found.find_index(&record, &mut reader)?;
                        indexed = true;
                    }
                    // Behind the index stand the named nodes, and behind them nothing that
                    // defines a metadata.
                    GLOBAL_DECL_ATTACHMENT if indexed => break,
                    NAME => name = Some(record.string()),
                    NAMED_NODE => {
                        let name = name.take().ok_or_else(|| {
                            Error::malformed("NAMED_NODE without a NAME").at_bit(record.start)
                        })?;
                        found.named.push((name, record.fields.clone()));
                    }
                    KIND | GLOBAL_DECL_ATTACHMENT | INDEX => {}
                    // Every other record defines a metadata.
                    _ => found.direct.push(record.start),
                },
                _ => {}
            }
        }
        found.reader = Some(reader);
        Ok(found)
    }

    /// `[count, offset of the characters] blob`: lengths as vbr6, and at the offset the characters.
    fn read_strings(&mut self, record: &Record<'a>) -> Result<()> {
        let mut f = Fields::new(record, "METADATA_STRINGS");
        let count = f.next("count")?;
        let offset = f.next("offset")?;
        let blob = record.blob.unwrap_or(&[]);
        let Some((lengths, chars)) =
            usize::try_from(offset).ok().and_then(|at| blob.split_at_checked(at))
        else {
            return Err(f.error(format_args!("characters at {offset} of {}", blob.len())));
        };
        if count > lengths.len() as u64 * 8 / 6 {
            return Err(f.error(format_args!("{count} strings do not fit")));
        }
        self.strings = Strings { count: count as usize, lengths, chars, slices: OnceLock::new() };
        Ok(())
    }

    /// Notes where the INDEX is and moves the reader behind it, to the named nodes.
    fn find_index(&mut self, record: &Record<'a>, reader: &mut BlockReader<'a>) -> Result<()> {
        let mut f = Fields::new(record, "METADATA_INDEX_OFFSET");
        let offset = f.next("low half")? | f.next("high half")? << 32;
        let base = record.end;
        let at = base.saturating_add(offset);
        reader.seek(at)?;
        let code = match reader.skip_vbr6_array()? {
            Some(code) => Some(code),
            None => {
                let mut index = Record::new();
                (reader.next(&mut index)? == Entry::Record).then_some(index.code)
            }
        };
        if code != Some(INDEX) {
            return Err(f.error("does not lead to a METADATA_INDEX"));
        }
        self.index = Some(IndexPlace { at, base, direct: self.direct.len() });
        Ok(())
    }

    /// The bit positions of all records, the index read.
    fn records(&self) -> Result<&[u64]> {
        if let Some(records) = self.records.get() {
            return Ok(records);
        }
        let mut records = self.direct.clone();
        if let (Some(place), Some(reader)) = (self.index, &self.reader) {
            let mut reader = reader.clone();
            let mut index = Record::new();
            reader.seek(place.at)?;
            reader.next(&mut index)?;
            let mut bit = place.base;
            let positions = index.fields.iter().map(|&distance| {
                bit = bit.saturating_add(distance);
                bit
            });
            // What the index lists stands between what was met before it and after it.
            records.splice(place.direct..place.direct, positions);
        }
        Ok(self.records.get_or_init(|| records))
    }

    /// False where no string of the module contains `text`. True says little: it may stand across
    /// the border of two strings.
    pub fn may_have_string(&self, text: &[u8]) -> bool {
        // Before LLVM 4 each string was a record of its own, which is not searched.
        let has_table = self.strings.count != 0 || self.direct.is_empty();
        !has_table || memchr::memmem::find(self.strings.chars, text).is_some()
    }

    /// The nodes of a named node, as ids; `None` where the module has none of this name.
    pub fn named(&self, name: &[u8]) -> Option<&[u64]> {
        self.named.iter().find(|(n, _)| n == name).map(|(_, nodes)| nodes.as_slice())
    }

    /// A string by its id; `None` where the id is another's.
    pub fn string(&self, id: u64) -> Result<Option<Vec<u8>>> {
        if let Ok(index) = usize::try_from(id)
            && index < self.strings.count
        {
            return self.strings.get(index).map(|s| Some(s.to_vec()));
        }
        let record = self.record(id)?;
        Ok((record.code == STRING_OLD).then(|| record.string()))
    }

    /// The operands of a node, as ids, `None` for null; `None` in all where the id is no plain
    /// node.
    pub fn node(&self, id: u64) -> Result<Option<Vec<Option<u64>>>> {
        if (id as usize) < self.strings.count {
            return Ok(None);
        }
        let record = self.record(id)?;
        Ok(matches!(record.code, NODE | DISTINCT_NODE)
            .then(|| record.fields.iter().map(|&operand| operand.checked_sub(1)).collect()))
    }

    /// The value id of a VALUE `[type, value]`; `None` where the id is another's.
    pub fn value(&self, id: u64) -> Result<Option<u64>> {
        if (id as usize) < self.strings.count {
            return Ok(None);
        }
        let record = self.record(id)?;
        if record.code != VALUE {
            return Ok(None);
        }
        let mut f = Fields::new(&record, "METADATA_VALUE");
        f.next("type")?;
        f.next("value").map(Some)
    }

    fn record(&self, id: u64) -> Result<Record<'a>> {
        let position = usize::try_from(id).ok().and_then(|id| id.checked_sub(self.strings.count));
        let records = self.records()?;
        let bit = position.and_then(|i| records.get(i));
        let (Some(&bit), Some(reader)) = (bit, &self.reader) else {
            return Err(Error::malformed(format!(
                "metadata {id} of {}",
                self.strings.count + records.len()
            )));
        };
        let mut reader = reader.clone();
        let mut record = Record::new();
        reader.seek(bit)?;
        match reader.next(&mut record)? {
            Entry::Record => Ok(record),
            _ => Err(Error::malformed(format!("metadata {id} is no record")).at_bit(bit)),
        }
    }
}
