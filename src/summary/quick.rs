//! Is there a summary at all?
//!
//! In: bytes of a file in any container. Out: yes or no. It looks at the heads of blocks and
//! passes over records without decoding them, so that a module of a megabyte takes microseconds;
//! whether the summary can be read, it does not tell.

use crate::bitcode::{BITCODE_MAGIC, block_id};
use crate::bitstream::{
    Block, BlockInfo, BlockReader, Entry, Record, abbrev_id, top_level, top_level_of_part,
};
use crate::container::{self, OpenFile, wrapper};
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

/// As [`has_summary`], for a file of which no more is read than the answer takes: of most modules
/// the beginning and the end.
///
/// # Errors
/// Those of [`OpenFile::bytes`].
pub fn file_has_summary(file: &OpenFile) -> Result<bool> {
    if glance(file).unwrap_or(false) {
        return Ok(true);
    }
    Ok(has_summary(&file.bytes()?))
}

/// How much of a file's beginning is read to find the first module: an identification block of
/// some 50 bytes stands before it, and perhaps a wrapper of 20.
const HEAD: u64 = 512;
/// How much of a module's end is looked at first; in whole words.
const TAIL: u64 = 16 * 1024;

/// Whether the first module of a bitcode file has a summary near its end. Where it seems not, or
/// the file is of another kind, nothing is said.
fn glance(file: &OpenFile) -> Option<bool> {
    let length = file.length()?;
    let head = file.part(0, length.min(HEAD) as usize)?;
    let (start, length) = if wrapper::is_wrapper(&head) {
        let (offset, size) = wrapper::place(&head)?;
        (offset, size.min(length.checked_sub(offset)?))
    } else {
        (0, length)
    };
    let head = head.get(usize::try_from(start).ok()?..)?;
    if !head.starts_with(&BITCODE_MAGIC) {
        return None;
    }
    let mut bit = 32;
    let module = loop {
        let block = top_level_of_part(head, bit, length * 8).ok()??;
        if block.id == block_id::MODULE {
            break block;
        }
        bit = block.end;
    };
    let end = module.end / 8;
    let most = near_end_bytes(&module);
    for len in [most.min(TAIL), most] {
        let tail = file.part(start + (end - len), len as usize)?;
        if find_summary_at_end(&tail, &module).is_some() {
            return Some(true);
        }
    }
    None
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
fn near_end(data: &[u8], block: &Block) -> bool {
    let end = (block.end / 8) as usize;
    let tail = data.get(end.saturating_sub(near_end_bytes(block) as usize)..end);
    find_summary_at_end(tail.unwrap_or(&[]), block).is_some()
}

/// How many bytes at a module's end are looked at: an eighth, of small modules [`TAIL`].
fn near_end_bytes(block: &Block) -> u64 {
    let whole = (block.end - block.body) / 8;
    (whole / 8).next_multiple_of(4).max(TAIL).min(whole)
}

/// Where a summary begins in `tail`, the last bytes of the module `block`, in bytes. What looks
/// like its first word must be followed by a chain of blocks up to the very end of the module;
/// without one, nothing is said.
pub(super) fn find_summary_at_end(tail: &[u8], block: &Block) -> Option<usize> {
    if block.abbrev_width != MODULE_WIDTH {
        return None;
    }
    let part = Block { body: 0, end: tail.len() as u64 * 8, ..*block };
    [block_id::GLOBALVAL_SUMMARY, block_id::FULL_LTO_GLOBALVAL_SUMMARY].into_iter().find_map(|id| {
        // ENTER_SUBBLOCK, the id and the width 4 as vbr8 and vbr4, and zeros up to the word's end.
        let word = (abbrev_id::ENTER_SUBBLOCK as u32 | id << 3 | 4 << 11).to_le_bytes();
        let mut places = memchr::memmem::find_iter(tail, &word).filter(|at| at % 4 == 0);
        places.find(|&at| ends_with_module(tail, &part, at as u64 * 8))
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
    fn a_file_is_answered_as_its_bytes_are() {
        let path = std::env::temp_dir().join(format!("quick-{}", std::process::id()));
        let check = |bytes: &[u8], glanced: Option<bool>| {
            std::fs::write(&path, bytes).unwrap();
            let file = OpenFile::open(&path).unwrap();
            assert_eq!(glance(&file), glanced, "{} bytes", bytes.len());
            assert_eq!(file_has_summary(&file).unwrap(), has_summary(bytes));
        };
        for records in [0, 1, 500, 20_000] {
            let with = module(records, summary);
            let header = [0x0B17_C0DE, 0, 20, with.len() as u32, 7];
            let mut wrapped: Vec<u8> = header.into_iter().flat_map(u32::to_le_bytes).collect();
            wrapped.extend_from_slice(&with);
            wrapped.extend_from_slice(&[0; 12]);
            check(&with, Some(true));
            check(&wrapped, Some(true));
            check(&module(records, |_| {}), None);
            check(&with[..with.len() - 8], None);
        }
        check(&[], None);
        check(&[0; 600], None);
        // Behind a second module's worth of bytes: found, but not at a glance.
        let far = module(20_000, |w| {
            summary(w);
            let block = w.begin_block(3, block_id::FUNCTION, 4);
            (0..200_000).for_each(|_| w.fixed(0, 32));
            w.end_block(block);
        });
        check(&far, None);
        std::fs::remove_file(&path).unwrap();
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
