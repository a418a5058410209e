//! Is there a summary at all?
//!
//! In: bytes of a file in any container. Out: yes or no. It looks at the heads of blocks and
//! passes over records without decoding them, so that a module of a megabyte takes microseconds;
//! whether the summary can be read, it does not tell.

use crate::bitcode::{BITCODE_MAGIC, block_id};
use crate::bitstream::{Block, BlockInfo, BlockReader, Entry, Record, abbrev_id, top_level};
use crate::container;
use crate::error::Result;

/// Whether a file in any container has the summary of a module, or is a combined index. Bytes
/// that are no bitcode, or broken before there is one, have none.
pub fn has_summary(bytes: &[u8]) -> bool {
    let Ok(bitcode) = container::find_bitcode(bytes) else { return false };
    match bitcode.parts() {
        Ok(parts) => parts.into_iter().any(|data| in_bitcode(data).unwrap_or(false)),
        Err(_) => false,
    }
}

fn in_bitcode(data: &[u8]) -> Result<bool> {
    if !data.starts_with(&BITCODE_MAGIC) {
        return Ok(false);
    }
    let mut bit = 32;
    while bit + 64 < data.len() as u64 * 8 {
        let Some(block) = top_level(data, bit)? else { break };
        if block.id == block_id::MODULE && in_module(data, &block)? {
            return Ok(true);
        }
        bit = block.end;
    }
    Ok(false)
}

fn in_module(data: &[u8], block: &Block) -> Result<bool> {
    if near_end(data, block) {
        return Ok(true);
    }
    let mut reader = BlockReader::new(data, block, &BlockInfo::default());
    let mut record = Record::new();
    loop {
        match reader.next_head(&mut record, 0)? {
            Entry::End { .. } => return Ok(false),
            Entry::Block(inner) if is_summary(inner.id) => return Ok(true),
            _ => {}
        }
    }
}

fn is_summary(id: u32) -> bool {
    matches!(id, block_id::GLOBALVAL_SUMMARY | block_id::FULL_LTO_GLOBALVAL_SUMMARY)
}

/// The width of abbreviation ids that LLVM's writer uses in module blocks.
const MODULE_WIDTH: u32 = 3;

/// Whether a summary block is found near the end of the module, where LLVM's writer puts it:
/// behind the function bodies, so that it starts at a word. Thousands of globals stand before,
/// and to look for the word with which the block begins is faster than to pass over them.
/// What looks like the word must be followed by a chain of blocks up to the very end of the
/// module; without one, nothing is said.
fn near_end(data: &[u8], block: &Block) -> bool {
    if block.abbrev_width != MODULE_WIDTH {
        return false;
    }
    let (body, end) = ((block.body / 8) as usize, (block.end / 8) as usize);
    let start = body.max(end.saturating_sub((end - body) / 8).next_multiple_of(4));
    let tail = data.get(start..end).unwrap_or(&[]);
    [block_id::GLOBALVAL_SUMMARY, block_id::FULL_LTO_GLOBALVAL_SUMMARY].into_iter().any(|id| {
        // ENTER_SUBBLOCK, the id and the width 4 as vbr8 and vbr4, and zeros up to the word's end.
        let word = (abbrev_id::ENTER_SUBBLOCK as u32 | id << 3 | 4 << 11).to_le_bytes();
        let places = memchr::memmem::find_iter(tail, &word).map(|at| start + at);
        places.filter(|at| at % 4 == 0).any(|at| ends_with_module(data, block, at as u64 * 8))
    })
}

/// Whether a summary and then nothing but blocks and records without abbreviation stand from
/// `bit` to the end of the module.
fn ends_with_module(data: &[u8], block: &Block, bit: u64) -> bool {
    let Ok(mut reader) = BlockReader::resume(data, block, &[], bit) else { return false };
    let mut record = Record::new();
    let first = reader.next_head(&mut record, 0);
    if !matches!(first, Ok(Entry::Block(inner)) if is_summary(inner.id)) {
        return false;
    }
    loop {
        match reader.next_head(&mut record, 0) {
            Ok(Entry::End { start }) => return start + 32 >= block.end,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bitcode::module_code;
    use crate::bitstream::Writer;

    /// A module of `records` global records, with what `inside` adds at its end.
    fn module(records: usize, inside: impl Fn(&mut Writer)) -> Vec<u8> {
        let mut w = Writer::new();
        w.bytes(&BITCODE_MAGIC);
        let module = w.begin_block(2, block_id::MODULE, 3);
        for _ in 0..records {
            w.record(3, module_code::FUNCTION, &[0x20a1; 20]);
        }
        let body = w.begin_block(3, block_id::FUNCTION, 4);
        // What looks like the beginning of a summary, in a function body.
        for word in [0u64, 0x20a1, 1, 0x4a3, 0x20a1, 1 << 20] {
            w.fixed(word, 32);
        }
        w.end_block(body);
        inside(&mut w);
        w.end_block(module);
        w.finish()
    }

    fn summary(w: &mut Writer) {
        let block = w.begin_block(3, block_id::GLOBALVAL_SUMMARY, 4);
        w.record(4, 10, &[12]);
        w.end_block(block);
    }

    #[test]
    fn found_wherever_it_stands() {
        for records in [0, 1, 500] {
            assert!(!has_summary(&module(records, |_| {})));
            assert!(has_summary(&module(records, summary)));
            // Not aligned to a word, and with a record behind.
            assert!(has_summary(&module(records, |w| {
                w.record(3, 99, &[1]);
                summary(w);
                w.record(3, module_code::HASH, &[1, 2, 3, 4, 5]);
            })));
            // Far from the end.
            assert!(has_summary(&module(records, |w| {
                summary(w);
                let block = w.begin_block(3, block_id::FUNCTION, 4);
                (0..5000).for_each(|_| w.fixed(0, 32));
                w.end_block(block);
            })));
        }
    }

    #[test]
    fn what_is_no_bitcode_has_none() {
        assert!(!has_summary(b""));
        assert!(!has_summary(b"BC\xC0\xDE"));
        assert!(!has_summary(&[0; 4096]));
        let whole = module(3, summary);
        assert!(!has_summary(&whole[..whole.len() / 2 / 4 * 4]));
    }
}
