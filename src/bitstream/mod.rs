//! LLVM's bitstream: abbreviations, records and blocks, without knowing what any of them means.
//!
//! In: a byte slice that starts with a bitstream (a magic number and then 32-bit aligned
//! top-level blocks). Out: [`Entry`]s of a block, in order, with their bit positions, so that a
//! caller can decode a record or copy it untouched; and, the other way, a [`Writer`].
//! It must not know block ids other than BLOCKINFO's, nor record codes.
//!
//! The format (source: LLVM's BitCodeFormat document and `BitstreamReader.cpp`):
//! a block is `1, id:vbr8, newabbrevlen:vbr4, <align32>, length in words:u32` and then entries,
//! each begun by an abbreviation id of the block's width: 0 ends the block (aligned to 32 bits),
//! 1 enters a block, 2 defines an abbreviation, 3 is a record of vbr6 fields, and 4 onwards are
//! records laid out by the abbreviations of BLOCKINFO and then of the block itself.
//! Everything is little endian, bit 0 first.
//!
//! All positions are in bits from the first byte of the slice.

mod abbrev;
mod cursor;
mod fields;
mod reader;
mod row;
mod skip;
mod writer;

pub use abbrev::{Abbrev, Scalar, Tail};
pub use cursor::Cursor;
pub use fields::Fields;
pub use reader::{Block, BlockInfo, BlockReader, Entry, Record, top_level, top_level_of_part};
pub use writer::{OpenBlock, Writer};

/// The abbreviation ids that every block has.
pub mod abbrev_id {
    /// Ends the block.
    pub const END_BLOCK: u64 = 0;
    /// Enters a sub-block.
    pub const ENTER_SUBBLOCK: u64 = 1;
    /// Defines an abbreviation.
    pub const DEFINE_ABBREV: u64 = 2;
    /// A record without abbreviation: `code:vbr6, count:vbr6, field:vbr6...`.
    pub const UNABBREV_RECORD: u64 = 3;
    /// The first id that an abbreviation gets.
    pub const FIRST_APPLICATION: u64 = 4;
}

/// The id of the standard block that holds abbreviations for other blocks.
pub const BLOCKINFO_BLOCK_ID: u32 = 0;
/// BLOCKINFO's only record that matters: the abbreviations that follow are for this block id.
pub const BLOCKINFO_SETBID: u32 = 1;
