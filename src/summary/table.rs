//! The function table: how one function of a large combined index is found without reading it.
//!
//! In: where the writer put each value's records. Out: a block of our own behind the string table,
//! which LLVM's readers pass over as they do with every block at top level that they do not know.
//!
//! The block (id [`BLOCK_ID`], abbreviation ids of 3 bits) holds
//!
//! - HEAD `[version, abbreviations, values, aliases]`: the layout's version; where, in bits behind
//!   the start of the summary block's body, the abbreviations that follow FS_VALUE_GUID begin;
//!   and how many entries the two blobs have;
//! - VALUES, a blob of entries of 16 bytes sorted by GUID and by id at once: `guid:u64, id:u32,
//!   offset:u32`, little endian. The offset, in bits behind the same place, is that of the first
//!   record that belongs to the value's summaries; 0 where it has none but aliases;
//! - ALIASES, a blob of entries of 8 bytes sorted by id: `id:u32, offset:u32`.

use crate::bitstream::{
    Abbrev, Block, BlockInfo, BlockReader, Entry, Fields, Record, Scalar, Tail, Writer,
};
use crate::error::{Error, Result};
use crate::ir::Guid;

/// The block's id, far from those that LLVM gives out: the characters `TF`.
pub const BLOCK_ID: u32 = 0x4654;

const VERSION: u64 = 1;
const HEAD: u32 = 1;
const VALUES: u32 = 2;
const ALIASES: u32 = 3;
const VALUE_SIZE: usize = 16;
const ALIAS_SIZE: usize = 8;

/// A table under construction.
#[derive(Default)]
pub(super) struct TableWriter {
    /// Where the body of the summary block starts.
    pub(super) base: u64,
    pub(super) abbrevs: u64,
    values: Vec<u8>,
    aliases: Vec<u8>,
    last_id: u32,
    failed: bool,
}

impl TableWriter {
    fn offset(&mut self, bit: Option<u64>) -> u32 {
        let offset = bit.map_or(0, |bit| bit - self.base);
        u32::try_from(offset).unwrap_or_else(|_| {
            self.failed = true;
            0
        })
    }

    /// Adds a value; GUIDs and ids come in rising order.
    pub(super) fn value(&mut self, guid: Guid, id: u32, bit: Option<u64>) {
        let offset = self.offset(bit);
        // A callee that has no summary may be numbered out of turn.
        self.failed |= id <= self.last_id;
        self.last_id = id;
        self.values.extend_from_slice(&guid.0.to_le_bytes());
        self.values.extend_from_slice(&id.to_le_bytes());
        self.values.extend_from_slice(&offset.to_le_bytes());
    }

    /// Adds an alias; ids come in rising order, one may come again.
    pub(super) fn alias(&mut self, id: u32, bit: u64) {
        let offset = self.offset(Some(bit));
        self.aliases.extend_from_slice(&id.to_le_bytes());
        self.aliases.extend_from_slice(&offset.to_le_bytes());
    }

    /// Writes the block, unless the index is larger than offsets of 32 bits can tell, or its ids do
    /// not rise with the GUIDs.
    pub(super) fn write(&self, w: &mut Writer) {
        if self.failed {
            return;
        }
        let block = w.begin_block(2, BLOCK_ID, 3);
        let counts =
            [self.values.len() / VALUE_SIZE, self.aliases.len() / ALIAS_SIZE].map(|n| n as u64);
        let [values, aliases] = counts;
        w.record(3, HEAD, &[VERSION, self.abbrevs - self.base, values, aliases]);
        for (id, code, bytes) in [(4, VALUES, &self.values), (5, ALIASES, &self.aliases)] {
            let abbrev =
                Abbrev { scalars: vec![Scalar::Literal(u64::from(code))], tail: Tail::Blob };
            w.define_abbrev(3, &abbrev);
            w.abbreviated(3, id, &abbrev, code, &[], Some(bytes));
        }
        w.end_block(block);
    }
}

/// A table of a file. Nothing of it is trusted: what it points at is checked when it is read.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// Where the abbreviations start, in bits behind the start of the summary block's body.
    pub(super) abbrevs: u64,
    /// Byte ranges within the file.
    values: std::ops::Range<usize>,
    aliases: std::ops::Range<usize>,
}

/// One entry of the values.
#[derive(Clone, Copy, Debug)]
pub(super) struct ValueEntry {
    pub(super) guid: Guid,
    pub(super) id: u32,
    pub(super) offset: u32,
}

impl Table {
    /// Reads the block; `None` for a layout of another version.
    pub(super) fn read(data: &[u8], block: &Block) -> Result<Option<Self>> {
        let mut reader = BlockReader::new(data, block, &BlockInfo::default());
        let mut record = Record::new();
        let mut head = None;
        let (mut values, mut aliases) = (0..0, 0..0);
        loop {
            match reader.next(&mut record)? {
                Entry::End { .. } => break,
                Entry::Record => {
                    let mut f = Fields::new(&record, "function table");
                    match (record.code, record.blob) {
                        (HEAD, _) => {
                            if f.next("version")? != VERSION {
                                return Ok(None);
                            }
                            head = Some((
                                f.next("abbreviations")?,
                                f.next("values")?,
                                f.next("aliases")?,
                            ));
                        }
                        (VALUES, Some(blob)) => values = range_within(data, blob),
                        (ALIASES, Some(blob)) => aliases = range_within(data, blob),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        let Some((abbrevs, value_count, alias_count)) = head else {
            return Err(Error::malformed("function table without a head").at_bit(block.start));
        };
        if (values.len() / VALUE_SIZE) as u64 != value_count
            || (aliases.len() / ALIAS_SIZE) as u64 != alias_count
        {
            return Err(Error::malformed("function table of another length than its head says")
                .at_bit(block.start));
        }
        Ok(Some(Table { abbrevs, values, aliases }))
    }

    fn value(&self, data: &[u8], at: usize) -> Option<ValueEntry> {
        let bytes = data.get(self.values.clone())?.get(at * VALUE_SIZE..)?;
        let (guid, rest) = bytes.split_first_chunk::<8>()?;
        let (id, rest) = rest.split_first_chunk::<4>()?;
        let (offset, _) = rest.split_first_chunk::<4>()?;
        Some(ValueEntry {
            guid: Guid(u64::from_le_bytes(*guid)),
            id: u32::from_le_bytes(*id),
            offset: u32::from_le_bytes(*offset),
        })
    }

    fn find(&self, data: &[u8], less: impl Fn(ValueEntry) -> bool) -> Option<ValueEntry> {
        let (mut low, mut high) = (0, self.values.len() / VALUE_SIZE);
        while low < high {
            let middle = low + (high - low) / 2;
            if less(self.value(data, middle)?) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        self.value(data, low)
    }

    /// The entry of a GUID.
    pub(super) fn by_guid(&self, data: &[u8], guid: Guid) -> Option<ValueEntry> {
        self.find(data, |e| e.guid < guid).filter(|e| e.guid == guid)
    }

    /// The entry of a value id.
    pub(super) fn by_id(&self, data: &[u8], id: u64) -> Option<ValueEntry> {
        self.find(data, |e| u64::from(e.id) < id).filter(|e| u64::from(e.id) == id)
    }

    /// The offsets of a value's aliases.
    pub(super) fn aliases(&self, data: &[u8], id: u32) -> Vec<u32> {
        let bytes = data.get(self.aliases.clone()).unwrap_or(&[]);
        let entries: &[[u8; ALIAS_SIZE]] = bytes.as_chunks().0;
        let id_of = |entry: &[u8; ALIAS_SIZE]| {
            entry.first_chunk::<4>().map_or(0, |id| u32::from_le_bytes(*id))
        };
        let start = entries.partition_point(|entry| id_of(entry) < id);
        let same = entries.iter().skip(start).take_while(|entry| id_of(entry) == id);
        same.filter_map(|entry| entry.last_chunk::<4>().map(|o| u32::from_le_bytes(*o))).collect()
    }
}

/// Where a part of `data` stands in it.
fn range_within(data: &[u8], part: &[u8]) -> std::ops::Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(data.as_ptr() as usize);
    start..start + part.len()
}
