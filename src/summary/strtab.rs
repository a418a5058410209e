//! A string table under construction.
//!
//! In: names. Out: their offsets, and the blob in which each distinct name stands once, in the
//! order of addition, as LLVM's `StringTableBuilder` of kind RAW lays it out.

use std::collections::HashMap;

use crate::bitcode::block_id;
use crate::bitstream::{Abbrev, Scalar, Tail, Writer};

const STRTAB_BLOB: u32 = 1;

/// The names so far.
#[derive(Default)]
pub(super) struct StringTable {
    bytes: Vec<u8>,
    offsets: HashMap<Box<[u8]>, u64>,
}

impl StringTable {
    /// A table that goes on behind names that stand already.
    pub(super) fn continuing(bytes: &[u8]) -> Self {
        StringTable { bytes: bytes.to_vec(), offsets: HashMap::new() }
    }

    /// Says that a name of the table stands at this offset.
    pub(super) fn know(&mut self, name: &[u8], offset: u64) {
        self.offsets.entry(name.into()).or_insert(offset);
    }

    /// The offset of a name, which is added where it is new.
    pub(super) fn add(&mut self, name: &[u8]) -> u64 {
        if let Some(&offset) = self.offsets.get(name) {
            return offset;
        }
        let offset = self.bytes.len() as u64;
        self.bytes.extend_from_slice(name);
        self.offsets.insert(name.into(), offset);
        offset
    }

    /// Writes the STRTAB block at top level.
    pub(super) fn write(&self, w: &mut Writer) {
        let block = w.begin_block(2, block_id::STRTAB, 3);
        let abbrev =
            Abbrev { scalars: vec![Scalar::Literal(u64::from(STRTAB_BLOB))], tail: Tail::Blob };
        w.define_abbrev(3, &abbrev);
        w.abbreviated(3, 4, &abbrev, STRTAB_BLOB, &[], Some(&self.bytes));
        w.end_block(block);
    }
}
