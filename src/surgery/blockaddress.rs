//! Addresses of blocks in bodies that are no longer there.
//!
//! In: a CONSTANTS block and which functions lost their body. Out: the bits to change so that
//! such a constant is null. The address of a block (`&&label` in GNU C) can be taken from outside
//! of its function: the table of a computed goto is a variable, and inlining may carry it away.
//! LLVM puts a made-up non-null pointer in its place when it deletes a body; nothing can jump
//! there either way.
//!
//! The record is `[function type, function, block number]`, code 21, always written without
//! abbreviation. Changing its code to NULL (2) keeps its length, and the reader does not look at
//! the fields of a NULL: so nothing moves and the block is otherwise copied as it stands.
//! (`parseConstants` in LLVM's `BitcodeReader.cpp`, 14 to 22.)

use crate::bitcode::{Module, block_id};
use crate::bitstream::{Block, BlockReader, Entry, Record, Writer, abbrev_id};
use crate::error::{Error, Result};

const CST_CODE_NULL: u64 = 2;
const CST_CODE_BLOCKADDRESS: u32 = 21;
/// Both codes fit the one vbr6 chunk that the code takes.
const CODE_WIDTH: u32 = 6;

/// The bits at which a CONSTANTS block has the code of such a record.
pub(super) fn dangling(
    module: &Module<'_>,
    constants: &Block,
    dropped: &dyn Fn(u64) -> bool,
) -> Result<Vec<u64>> {
    let mut reader = BlockReader::new(module.location.data, constants, &module.block_info);
    let mut record = Record::new();
    let mut found = Vec::new();
    loop {
        match reader.next(&mut record)? {
            Entry::End { .. } => return Ok(found),
            Entry::Record
                if record.code == CST_CODE_BLOCKADDRESS
                    && record.fields.get(1).is_some_and(|&function| dropped(function)) =>
            {
                if u64::from(record.abbrev) != abbrev_id::UNABBREV_RECORD {
                    return Err(Error::unsupported("abbreviated blockaddress constant")
                        .at_bit(record.start));
                }
                found.push(record.start + u64::from(constants.abbrev_width));
            }
            _ => {}
        }
    }
}

/// The same for a function body, whose constants stand in blocks of their own before the
/// instructions.
pub(super) fn dangling_in_body(
    module: &Module<'_>,
    body: &Block,
    dropped: &dyn Fn(u64) -> bool,
) -> Result<Vec<u64>> {
    let mut reader = BlockReader::new(module.location.data, body, &module.block_info);
    let mut record = Record::new();
    // DECLAREBLOCKS comes first; the writer puts the constants right behind it.
    loop {
        match reader.next(&mut record)? {
            Entry::End { .. } => return Ok(Vec::new()),
            Entry::Block(block) if block.id == block_id::CONSTANTS => {
                return dangling(module, &block, dropped);
            }
            Entry::Record if record.code == FUNC_CODE_DECLAREBLOCKS => {}
            Entry::DefineAbbrev { .. } => {}
            _ => return Ok(Vec::new()),
        }
    }
}

const FUNC_CODE_DECLAREBLOCKS: u32 = 1;

/// Makes nulls of the records whose codes stand at `codes` in the source, in the copy of `block`
/// that was just written and ends where the writer stands.
pub(super) fn make_null(writer: &mut Writer, block: &Block, codes: &[u64]) {
    let copy = writer.bit() - (block.end - block.body);
    for code in codes {
        writer.patch(copy + (code - block.body), CST_CODE_NULL, CODE_WIDTH);
    }
}
