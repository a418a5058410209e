//! The top level of a bitcode file.
//!
//! In: raw bitcode. Out: where its modules are, and for each its identification block and the
//! string table it uses; the file's symbol table blob with its string table.
//!
//! Source: `getBitcodeFileContents` of LLVM's `BitcodeReader.cpp`. A file is the magic and then
//! blocks: IDENTIFICATION and MODULE in pairs, SYMTAB, STRTAB. A file made by concatenation has
//! several of each: a string table serves every module before it that has none yet, and the
//! first symbol table counts.

use super::block_id;
use crate::bitstream::{Block, BlockInfo, BlockReader, Entry, Record, top_level};
use crate::error::{Error, Result};

/// The first four bytes of raw bitcode.
pub const BITCODE_MAGIC: [u8; 4] = [b'B', b'C', 0xC0, 0xDE];

const STRTAB_BLOB: u32 = 1;
const SYMTAB_BLOB: u32 = 1;
const IDENTIFICATION_STRING: u32 = 1;
const IDENTIFICATION_EPOCH: u32 = 2;
/// LLVM reads only files of this epoch; it never changed.
const CURRENT_EPOCH: u64 = 0;

/// The modules and tables of a bitcode file.
#[derive(Clone, Debug)]
pub struct BitcodeFile<'a> {
    /// All modules, in file order. A file may have none.
    pub modules: Vec<BitcodeModule<'a>>,
    /// The irsymtab, if the file has one.
    pub symtab: Option<&'a [u8]>,
    /// The string table that [`BitcodeFile::symtab`] refers to; empty without one.
    pub symtab_strtab: &'a [u8],
}

/// Where one module of a file is.
#[derive(Clone, Copy, Debug)]
pub struct BitcodeModule<'a> {
    /// The file's raw bitcode; all bit positions count from its start.
    pub data: &'a [u8],
    /// The identification block before the module, if there is one.
    pub identification: Option<Block>,
    /// The module block.
    pub block: Block,
    /// The string table that the module's records refer to; empty where there is none.
    pub strtab: &'a [u8],
}

/// What an IDENTIFICATION block says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identification {
    /// The producer, as in `LLVM22.1.8` or `APPLE_1_1600.0.26.3_0`; not always UTF-8.
    pub producer: Vec<u8>,
}

impl<'a> BitcodeFile<'a> {
    /// Finds the blocks of `data`, which starts with [`BITCODE_MAGIC`]. Bytes after the last
    /// block are tolerated where they are too few to be another, as some archivers pad members.
    pub fn read(data: &'a [u8]) -> Result<Self> {
        if !data.starts_with(&BITCODE_MAGIC) {
            return Err(Error::malformed("not bitcode: the magic number is missing"));
        }
        if !data.len().is_multiple_of(4) {
            return Err(Error::malformed(format!(
                "Invalid bitcode signature: {} bytes, which is not a multiple of four",
                data.len()
            )));
        }
        let mut file = BitcodeFile { modules: Vec::new(), symtab: None, symtab_strtab: &[] };
        let mut symtab_has_strtab = false;
        let size = data.len() as u64 * 8;
        let mut bit = 32;
        let mut identification = None;
        // LLVM stops looking when fewer than eight bytes are left.
        while bit + 64 < size {
            let Some(block) = top_level(data, bit)? else { break };
            if identification.is_some() && block.id != block_id::MODULE {
                return Err(
                    Error::malformed("identification block without a module behind it").at_bit(bit)
                );
            }
            match block.id {
                block_id::IDENTIFICATION => identification = Some(block),
                block_id::MODULE => file.modules.push(BitcodeModule {
                    data,
                    identification: identification.take(),
                    block,
                    strtab: &[],
                }),
                block_id::STRTAB => {
                    let strtab = blob(data, &block, STRTAB_BLOB, "string table")?;
                    for module in file.modules.iter_mut().rev() {
                        if !module.strtab.is_empty() {
                            break;
                        }
                        module.strtab = strtab;
                    }
                    if file.symtab.is_some() && !symtab_has_strtab {
                        file.symtab_strtab = strtab;
                        symtab_has_strtab = true;
                    }
                }
                block_id::SYMTAB if file.symtab.is_none() => {
                    file.symtab = Some(blob(data, &block, SYMTAB_BLOB, "symbol table")?);
                }
                _ => {}
            }
            bit = block.end;
        }
        if identification.is_some() {
            return Err(Error::malformed("identification block without a module behind it"));
        }
        Ok(file)
    }
}

impl<'a> BitcodeModule<'a> {
    /// Where the module begins: its identification block, or without one its module block. The
    /// file's word offsets count from one word before that, where once the magic stood.
    pub fn start_bit(&self) -> u64 {
        self.identification.unwrap_or(self.block).start
    }

    /// The absolute bit that a word offset of VSTOFFSET or of a FNENTRY stands for.
    pub fn offset_to_bit(&self, words: u64) -> Result<u64> {
        words
            .checked_sub(1)
            .and_then(|w| w.checked_mul(32))
            .and_then(|bits| bits.checked_add(self.start_bit()))
            .filter(|&bit| bit < self.block.end)
            .ok_or_else(|| {
                Error::malformed(format!("word offset {words} is outside of its module"))
                    .at_bit(self.block.start)
            })
    }

    /// Who wrote the module; empty where there is no identification block. An epoch that LLVM
    /// does not read is an error.
    pub fn identification(&self) -> Result<Identification> {
        let mut found = Identification::default();
        let Some(block) = self.identification else { return Ok(found) };
        let mut reader = BlockReader::new(self.data, &block, &BlockInfo::default());
        let mut record = Record::new();
        loop {
            match reader.next(&mut record)? {
                Entry::End { .. } => return Ok(found),
                Entry::Record if record.code == IDENTIFICATION_STRING => {
                    found.producer = record.string();
                }
                Entry::Record if record.code == IDENTIFICATION_EPOCH => {
                    let epoch = record.fields.first().copied().unwrap_or(0);
                    if epoch != CURRENT_EPOCH {
                        return Err(Error::unsupported(format!(
                            "bitcode of epoch {epoch}, only epoch {CURRENT_EPOCH} is known"
                        ))
                        .at_bit(record.start)
                        .from_producer(String::from_utf8_lossy(&found.producer)));
                    }
                }
                _ => {}
            }
        }
    }

    /// A string of the module's string table, by offset and length in bytes.
    #[inline]
    pub fn string(&self, offset: u64, len: u64) -> Result<&'a [u8]> {
        let range = offset.checked_add(len).map(|end| offset as usize..end as usize);
        range.and_then(|range| self.strtab.get(range)).ok_or_else(|| {
            Error::malformed(format!(
                "name at {offset}, {len} bytes, is outside of the string table of {} bytes",
                self.strtab.len()
            ))
        })
    }
}

/// The blob of the first record `code` in a block.
fn blob<'a>(data: &'a [u8], block: &Block, code: u32, what: &str) -> Result<&'a [u8]> {
    let mut reader = BlockReader::new(data, block, &BlockInfo::default());
    let mut record = Record::new();
    let mut found: &[u8] = &[];
    loop {
        match reader.next(&mut record)? {
            Entry::End { .. } => return Ok(found),
            Entry::Record if record.code == code => match record.blob {
                Some(blob) => found = blob,
                None => {
                    return Err(
                        Error::malformed(format!("{what} that is no blob")).at_bit(record.start)
                    );
                }
            },
            _ => {}
        }
    }
}
