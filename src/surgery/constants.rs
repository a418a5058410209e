//! The module-level constants of a slice.
//!
//! In: a CONSTANTS block and what becomes of each constant. Out: a block in which every value id
//! means what it meant, and what is not needed takes next to nothing. It must not know why
//! something is needed.
//!
//! A constant that goes is written as `undef`, of whatever type is current: every type has one,
//! and its record has no fields. Records that stay are copied as bits. (`parseConstants` in LLVM's
//! `BitcodeReader.cpp`.)

use crate::bitcode::{Module, constant_code};
use crate::bitstream::{Block, BlockReader, Entry, Fields, Record, Writer};
use crate::error::Result;

/// What becomes of a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays.
    Keep,
    /// It becomes null, of its own type.
    Null,
    /// Its number is given to the zero of this type.
    Zero(u32),
    /// Nothing refers to it.
    Drop,
}

/// Writes the block. `first` is the value id of its first constant; gives that behind its last.
pub(super) fn write(
    writer: &mut Writer,
    module: &Module<'_>,
    block: &Block,
    first: u64,
    fate: &dyn Fn(u64, &Record<'_>) -> Fate,
) -> Result<u64> {
    let data = module.location.data;
    let width = block.abbrev_width;
    let open = writer.begin_block(module.location.block.abbrev_width, block.id, width);
    let mut reader = BlockReader::new(data, block, &module.block_info);
    let mut record = Record::new();
    let (mut id, mut type_id, mut written_type) = (first, 0, None);
    loop {
        match reader.next(&mut record)? {
            Entry::End { .. } => break,
            Entry::DefineAbbrev { start, end } => writer.copy_bits(data, start, end),
            Entry::Block(_) => {}
            Entry::Record if record.code == constant_code::SETTYPE => {
                type_id = Fields::new(&record, "SETTYPE").next_u32("type")?;
            }
            Entry::Record => {
                let fate = fate(id, &record);
                id += 1;
                let wanted = match fate {
                    Fate::Keep | Fate::Null => Some(type_id),
                    Fate::Zero(type_id) => Some(type_id),
                    Fate::Drop => None,
                };
                if let Some(ty) = wanted.filter(|_| wanted != written_type) {
                    writer.record(width, constant_code::SETTYPE, &[u64::from(ty)]);
                    written_type = wanted;
                }
                match fate {
                    Fate::Keep => writer.copy_bits(data, record.start, record.end),
                    Fate::Null | Fate::Zero(_) => writer.record(width, constant_code::NULL, &[]),
                    Fate::Drop => writer.record(width, constant_code::UNDEF, &[]),
                }
            }
        }
    }
    writer.end_block(open);
    Ok(id)
}
