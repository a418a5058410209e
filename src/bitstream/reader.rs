//! Blocks and their entries.
//!
//! In: the bytes and a block's place. Out: its entries in order. Abbreviations are kept here, the
//! caller only sees records; a record's bit range is given so that it can be copied as it stands.

use std::sync::{Arc, OnceLock};

use super::abbrev::{Abbrev, Scalar, Tail};
use super::cursor::{Cursor, MAX_WIDTH};
use super::{BLOCKINFO_BLOCK_ID, BLOCKINFO_SETBID, abbrev_id};
use crate::error::{Error, Result};

/// Where a block stands. All positions in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The block id.
    pub id: u32,
    /// The width of the abbreviation ids inside.
    pub abbrev_width: u32,
    /// Where the abbreviation id of its ENTER_SUBBLOCK starts.
    pub start: u64,
    /// Where its first entry starts; a multiple of 32.
    pub body: u64,
    /// Where it ends, behind END_BLOCK and its padding; a multiple of 32.
    pub end: u64,
}

impl Block {
    /// The words between head and end, END_BLOCK included, as bytes.
    pub fn body_bytes<'a>(&self, data: &'a [u8]) -> &'a [u8] {
        data.get((self.body / 8) as usize..(self.end / 8) as usize).unwrap_or(&[])
    }

    /// Reads the rest of an ENTER_SUBBLOCK whose abbreviation id started at `start`.
    /// The block must end by bit `limit`.
    fn read_head(c: &mut Cursor<'_>, start: u64, limit: u64) -> Result<Self> {
        let id = c.vbr(8)?;
        let abbrev_width = c.vbr(4)?;
        c.align32()?;
        let words = c.fixed(32)?;
        let body = c.bit();
        let Ok(id) = u32::try_from(id) else {
            return Err(Error::malformed(format!("block id {id} is too large")).at_bit(start));
        };
        if !(2..=u64::from(MAX_WIDTH)).contains(&abbrev_width) {
            return Err(Error::malformed(format!(
                "block {id} with abbreviation ids of {abbrev_width} bits"
            ))
            .at_bit(start));
        }
        let end = body + words * 32;
        if end > limit {
            return Err(Error::malformed(format!(
                "block {id} of {words} words runs past the end of what holds it"
            ))
            .at_bit(start));
        }
        Ok(Block { id, abbrev_width: abbrev_width as u32, start, body, end })
    }
}

/// A record's code and fields. Reused from one to the next, so that reading does not allocate.
#[derive(Clone, Debug, Default)]
pub struct Record<'a> {
    /// The record code.
    pub code: u32,
    /// The fields, arrays spelled out.
    pub fields: Vec<u64>,
    /// The blob, where the abbreviation has one.
    pub blob: Option<&'a [u8]>,
    /// Where its abbreviation id starts, in bits.
    pub start: u64,
    /// Where the next entry starts, in bits.
    pub end: u64,
    /// The abbreviation id it was written with.
    pub abbrev: u32,
}

impl Record<'_> {
    /// An empty record to read into.
    pub fn new() -> Self {
        Self::default()
    }

    /// The fields as bytes, for the records that hold a string as one character a field; the
    /// blob, where there is one. Fields above 255 are cut, as LLVM's reader does.
    pub fn string(&self) -> Vec<u8> {
        match self.blob {
            Some(blob) => blob.to_vec(),
            None => self.fields.iter().map(|&c| c as u8).collect(),
        }
    }
}

/// What stands in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A block within. The reader stands behind it.
    Block(Block),
    /// A record; it is in the [`Record`] that was handed in.
    Record,
    /// A definition of an abbreviation, in bits `start..end`. Already noted.
    DefineAbbrev {
        /// Where its abbreviation id starts.
        start: u64,
        /// Where the next entry starts.
        end: u64,
    },
    /// The end of the block, whose END_BLOCK starts at this bit.
    End {
        /// Where END_BLOCK starts.
        start: u64,
    },
}

/// The abbreviations that a BLOCKINFO block holds for others.
///
/// They are checked when the block is read and kept as places, and made into [`Abbrev`]s for the
/// blocks that somebody reads: most of a module's are for function bodies.
#[derive(Clone, Debug, Default)]
pub struct BlockInfo {
    by_block: Vec<BlockAbbrevs>,
    /// For each DEFINE_ABBREV the block, by its place in `by_block`, and where the body starts, in
    /// bits.
    places: Vec<(u32, u64)>,
}

#[derive(Clone, Debug)]
struct BlockAbbrevs {
    block: u32,
    made: OnceLock<Vec<Arc<Abbrev>>>,
}

/// So many abbreviations a BLOCKINFO block of LLVM's has, or a few less.
const USUAL_ABBREVS: usize = 32;

impl BlockInfo {
    /// Reads a BLOCKINFO block and adds its abbreviations.
    pub fn read(&mut self, data: &[u8], block: &Block) -> Result<()> {
        let mut c = Cursor::range(data, block.body, block.end);
        let mut current: Option<u32> = None;
        let mut fields = Vec::new();
        loop {
            let at = c.bit();
            match c.fixed(block.abbrev_width)? {
                abbrev_id::END_BLOCK => return Ok(()),
                abbrev_id::ENTER_SUBBLOCK => {
                    let inner = Block::read_head(&mut c, at, block.end)?;
                    c.seek(inner.end)?;
                }
                abbrev_id::DEFINE_ABBREV => {
                    let block = current.ok_or_else(|| {
                        Error::malformed("BLOCKINFO abbreviation before any SETBID").at_bit(at)
                    })?;
                    if self.places.is_empty() {
                        self.places.reserve(USUAL_ABBREVS);
                    }
                    self.places.push((block, c.bit()));
                    Abbrev::skip(&mut c)?;
                }
                abbrev_id::UNABBREV_RECORD => {
                    let (code, count) = c.vbr6_pair()?;
                    c.vbr6_record(count, &mut fields)?;
                    if code == u64::from(BLOCKINFO_SETBID) {
                        let id = fields.first().and_then(|&id| u32::try_from(id).ok());
                        let id = id.ok_or_else(|| {
                            Error::malformed("BLOCKINFO SETBID without a block id").at_bit(at)
                        })?;
                        current = Some(self.slot(id));
                    }
                }
                _ => {
                    return Err(Error::malformed("abbreviated record in BLOCKINFO").at_bit(at));
                }
            }
        }
    }

    fn slot(&mut self, id: u32) -> u32 {
        let slot = self.by_block.iter().position(|list| list.block == id).unwrap_or_else(|| {
            self.by_block.push(BlockAbbrevs { block: id, made: OnceLock::new() });
            self.by_block.len() - 1
        });
        slot as u32
    }

    /// The abbreviations for blocks of this id, in order; their ids start at 4. `data` is what the
    /// BLOCKINFO was read from.
    pub fn abbrevs(&self, data: &[u8], id: u32) -> &[Arc<Abbrev>] {
        let mut lists = (0u32..).zip(&self.by_block);
        let Some((slot, list)) = lists.find(|(_, list)| list.block == id) else { return &[] };
        list.made.get_or_init(|| {
            let read = |&(_, bit): &(u32, u64)| {
                let mut c = Cursor::range(data, bit, u64::MAX);
                // It was read without an error before.
                Abbrev::read(&mut c).ok().map(Arc::new)
            };
            self.places.iter().filter(|&&(of, _)| of == slot).map_while(read).collect()
        })
    }
}

/// Reads the entries of one block.
#[derive(Clone, Debug)]
pub struct BlockReader<'a> {
    cursor: Cursor<'a>,
    abbrev_width: u32,
    abbrevs: Vec<Arc<Abbrev>>,
    block: Block,
    done: bool,
}

impl<'a> BlockReader<'a> {
    /// A reader of `block`, which an [`Entry::Block`] of the same data gave, with the
    /// abbreviations that BLOCKINFO has for it.
    pub fn new(data: &'a [u8], block: &Block, info: &BlockInfo) -> Self {
        BlockReader {
            cursor: Cursor::range(data, block.body, block.end),
            abbrev_width: block.abbrev_width,
            abbrevs: info.abbrevs(data, block.id).to_vec(),
            block: *block,
            done: false,
        }
    }

    /// A reader that continues within `block` at `bit`, with the abbreviations that another
    /// reader of the block had met ([`BlockReader::abbrevs`]).
    ///
    /// # Errors
    /// Malformed where the bit is outside of the block.
    pub fn resume(
        data: &'a [u8],
        block: &Block,
        abbrevs: &[Arc<Abbrev>],
        bit: u64,
    ) -> Result<Self> {
        let mut reader = BlockReader::new(data, block, &BlockInfo::default());
        reader.abbrevs = abbrevs.to_vec();
        reader.seek(bit)?;
        Ok(reader)
    }

    /// The abbreviations met so far, from id 4 on.
    pub fn abbrevs(&self) -> &[Arc<Abbrev>] {
        &self.abbrevs
    }

    /// The block that is read.
    pub fn block(&self) -> &Block {
        &self.block
    }

    /// The abbreviation that an id of this block stands for, at the point reached.
    pub fn abbrev(&self, id: u32) -> Option<&Abbrev> {
        let index = u64::from(id).checked_sub(abbrev_id::FIRST_APPLICATION)?;
        self.abbrevs.get(index as usize).map(|a| &**a)
    }

    /// Where the next entry starts, in bits.
    pub fn bit(&self) -> u64 {
        self.cursor.bit()
    }

    /// Continues at another entry of the same block, whose bit position the file gives elsewhere
    /// (an index of offsets). Abbreviations defined in between are not seen.
    pub fn seek(&mut self, bit: u64) -> Result<()> {
        if bit < self.block.body {
            return Err(Error::malformed("offset that points before its block").at_bit(bit));
        }
        self.done = false;
        self.cursor.seek(bit)
    }

    /// The next entry. A record is read into `record`. After the end it stays at the end.
    pub fn next(&mut self, record: &mut Record<'a>) -> Result<Entry> {
        self.entry(record, |_| usize::MAX)
    }

    /// The next entry; of a record only its first `wanted` fields are decoded and the rest, as
    /// well as any blob, is passed over.
    pub fn next_head(&mut self, record: &mut Record<'a>, wanted: usize) -> Result<Entry> {
        self.entry(record, |_| wanted)
    }

    /// As [`BlockReader::next_head`], where `wanted` says by a record's code how many of its fields
    /// to decode.
    #[inline]
    pub fn next_of(
        &mut self,
        record: &mut Record<'a>,
        wanted: impl Fn(u32) -> usize,
    ) -> Result<Entry> {
        self.entry(record, wanted)
    }

    /// The next entry, where `wanted` says of a record's code how many of its fields to decode.
    /// `each` is given the unabbreviated records that stand before it in a row: the bulk of a
    /// module's, for which this is the quickest way.
    #[inline]
    pub fn next_after_plain(
        &mut self,
        record: &mut Record<'a>,
        wanted: impl Fn(u32) -> usize,
        mut each: impl FnMut(&Record<'a>) -> Result<()>,
    ) -> Result<Entry> {
        while let Some((code, count)) = self.plain_head() {
            record.start = self.cursor.bit();
            record.abbrev = abbrev_id::UNABBREV_RECORD as u32;
            record.blob = None;
            record.code = code;
            self.cursor.advance(self.abbrev_width + 12)?;
            self.fields(count, record, wanted(code))?;
            each(record)?;
        }
        self.entry(record, wanted)
    }

    /// As [`BlockReader::next_after_plain`], as far as `take` takes the records. It is given the code,
    /// the number of fields and a cursor at the first of them, to leave behind the last; what it does
    /// not take, wherever it leaves the cursor, is an entry like others.
    #[inline]
    pub fn next_after_taken(
        &mut self,
        record: &mut Record<'a>,
        wanted: impl Fn(u32) -> usize,
        mut take: impl FnMut(u32, u64, &mut Cursor<'a>) -> bool,
    ) -> Result<Entry> {
        while let Some((code, count)) = self.plain_head() {
            let start = self.cursor.bit();
            self.cursor.advance(self.abbrev_width + 12)?;
            if !take(code, count, &mut self.cursor) {
                self.cursor.seek(start)?;
                break;
            }
        }
        self.entry(record, wanted)
    }

    /// Code and number of fields, where an unabbreviated record comes next and both are one chunk.
    #[inline(always)]
    fn plain_head(&self) -> Option<(u32, u64)> {
        let window = self.cursor.peek();
        let behind = window >> self.abbrev_width;
        let is_plain = !self.done
            && window & ((1 << self.abbrev_width) - 1) == abbrev_id::UNABBREV_RECORD
            && behind & 0x820 == 0
            && u64::from(self.abbrev_width) + 12 <= self.cursor.remaining();
        is_plain.then_some(((behind & 0x1f) as u32, behind >> 6 & 0x1f))
    }

    #[inline]
    fn entry(&mut self, record: &mut Record<'a>, wanted: impl Fn(u32) -> usize) -> Result<Entry> {
        let start = self.cursor.bit();
        if self.done {
            return Ok(Entry::End { start });
        }
        match self.cursor.fixed(self.abbrev_width)? {
            abbrev_id::END_BLOCK => {
                self.done = true;
                Ok(Entry::End { start })
            }
            abbrev_id::ENTER_SUBBLOCK => {
                let end = self.cursor.end();
                let block = Block::read_head(&mut self.cursor, start, end)?;
                self.cursor.seek(block.end)?;
                Ok(Entry::Block(block))
            }
            abbrev_id::DEFINE_ABBREV => {
                let abbrev = Arc::new(Abbrev::read(&mut self.cursor)?);
                if self.abbrevs.is_empty() {
                    self.abbrevs.reserve(USUAL_ABBREVS / 2);
                }
                self.abbrevs.push(abbrev);
                Ok(Entry::DefineAbbrev { start, end: self.cursor.bit() })
            }
            id => {
                record.start = start;
                record.abbrev = id as u32;
                record.blob = None;
                if id == abbrev_id::UNABBREV_RECORD {
                    let (code, count) = self.cursor.vbr6_pair()?;
                    record.code = code_of(code, start)?;
                    self.fields(count, record, wanted(record.code))?;
                } else {
                    record.fields.clear();
                    self.abbreviated(id, record, wanted)?;
                    record.end = self.cursor.bit();
                }
                Ok(Entry::Record)
            }
        }
    }

    /// The fields of an unabbreviated record.
    #[inline(always)]
    fn fields(&mut self, count: u64, record: &mut Record<'a>, wanted: usize) -> Result<()> {
        let decoded = count.min(wanted as u64);
        self.cursor.vbr6_record(decoded, &mut record.fields)?;
        if count > decoded {
            self.cursor.skip_few_vbr6(count - decoded)?;
        }
        record.end = self.cursor.bit();
        Ok(())
    }

    /// Passes over the next entry where it is a record that ends with an array of vbr6, without
    /// decoding that array: an index of many thousand fields that nobody may want. Gives the
    /// record's code, or None for any other entry, which is then still to be read.
    pub fn skip_vbr6_array(&mut self) -> Result<Option<u32>> {
        let start = self.cursor.bit();
        let id = self.cursor.fixed(self.abbrev_width)?;
        let index = id.checked_sub(abbrev_id::FIRST_APPLICATION);
        let abbrev = index.and_then(|index| self.abbrevs.get(index as usize));
        let Some(abbrev) = abbrev.filter(|a| a.tail == Tail::Array(Scalar::Vbr(6))) else {
            self.cursor.seek(start)?;
            return Ok(None);
        };
        let c = &mut self.cursor;
        let mut code = 0;
        for (i, scalar) in abbrev.scalars.iter().enumerate() {
            let value = scalar.read(c)?;
            if i == 0 {
                code = code_of(value, start)?;
            }
        }
        let count = c.vbr(6)?;
        c.skip_vbr6(count)?;
        Ok(Some(code))
    }

    /// Passes over the records that come next and are written with abbreviation `id`, if that is a
    /// code and vbr fields of one width; gives where the last of them starts, in bits. None where
    /// there is no such record. Stops before any that is longer than most.
    pub fn skip_run(&mut self, id: u32) -> Option<u64> {
        let abbrev = self.abbrev(id).filter(|abbrev| abbrev.tail == Tail::None)?;
        let [Scalar::Literal(_), fields @ ..] = abbrev.scalars.as_slice() else { return None };
        let [Scalar::Vbr(width), ..] = *fields else { return None };
        if fields.iter().any(|field| *field != Scalar::Vbr(width)) {
            return None;
        }
        self.cursor.skip_vbr_rows((u64::from(id), self.abbrev_width), width, fields.len())
    }

    fn abbreviated(
        &mut self,
        id: u64,
        record: &mut Record<'a>,
        wanted: impl Fn(u32) -> usize,
    ) -> Result<()> {
        let index = (id - abbrev_id::FIRST_APPLICATION) as usize;
        let Some(abbrev) = self.abbrevs.get(index) else {
            return Err(Error::malformed(format!(
                "record with abbreviation {id} in block {}, which has {}",
                self.block.id,
                self.abbrevs.len()
            ))
            .at_bit(record.start));
        };
        let c = &mut self.cursor;
        let (code, scalars) = match abbrev.scalars.split_first() {
            Some((scalar, rest)) => (scalar.read(c)?, rest),
            None => (0, &[][..]),
        };
        record.code = code_of(code, record.start)?;
        let wanted = wanted(record.code);
        let (read, passed_over) = scalars.split_at(wanted.min(scalars.len()));
        c.scalars(read, &mut record.fields)?;
        for scalar in passed_over {
            scalar.skip(c, 1)?;
        }
        match abbrev.tail {
            Tail::None => {}
            Tail::Array(element) => {
                let count = c.vbr(6)?;
                if count.saturating_mul(element.min_bits().max(1)) > c.remaining() {
                    return Err(Error::malformed(format!(
                        "record with an array of {count} runs past its block"
                    ))
                    .at_bit(record.start));
                }
                let decoded = count.min(wanted.saturating_sub(record.fields.len()) as u64);
                if let Scalar::Vbr(width @ (6 | 8)) = element {
                    // METADATA_INDEX, the widest of all, and the records of summaries.
                    c.vbr_fields(width, decoded, &mut record.fields)?;
                } else {
                    record.fields.reserve(decoded as usize);
                    for _ in 0..decoded {
                        record.fields.push(element.read(c)?);
                    }
                }
                if count > decoded {
                    element.skip(c, count - decoded)?;
                }
            }
            Tail::Blob => {
                let len = c.vbr(6)?;
                c.align32()?;
                record.blob = Some(c.bytes(len)?);
                c.align32()?;
            }
        }
        Ok(())
    }
}

fn code_of(code: u64, bit: u64) -> Result<u32> {
    u32::try_from(code)
        .map_err(|_| Error::malformed(format!("record code {code} is too large")).at_bit(bit))
}

/// The block that starts at `bit` of the top level, where abbreviation ids have 2 bits and only
/// blocks stand; `None` at the end. Behind it the next starts at its `end`.
pub fn top_level(data: &[u8], bit: u64) -> Result<Option<Block>> {
    top_level_of_part(data, bit, (data.len() as u64).saturating_mul(8))
}

/// As [`top_level`], where `data` is the beginning of a file that goes on to bit `limit`: only the
/// block's head need be in it.
pub fn top_level_of_part(data: &[u8], bit: u64, limit: u64) -> Result<Option<Block>> {
    let mut c = Cursor::new(data);
    if bit >= c.end() {
        return Ok(None);
    }
    c.seek(bit)?;
    match c.fixed(2)? {
        abbrev_id::ENTER_SUBBLOCK => {}
        other => {
            return Err(Error::malformed(format!(
                "Malformed block: abbreviation id {other} between top-level blocks"
            ))
            .at_bit(bit));
        }
    }
    let block = Block::read_head(&mut c, bit, limit)?;
    if block.id == BLOCKINFO_BLOCK_ID {
        return Err(Error::malformed("BLOCKINFO outside of any block").at_bit(bit));
    }
    Ok(Some(block))
}
