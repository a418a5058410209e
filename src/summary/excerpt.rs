//! A module's file without what only code generation reads.
//!
//! In: an open file. Out: bitcode in which everything that summaries and symbols are read from
//! stands as in the file; constants, metadata and function bodies, most of its bytes, are left
//! out. They are not even read: what is in the page cache is mostly not in the processor's, so
//! that bytes are what reading costs.
//!
//! LLVM's writer puts types and globals first, then constants, metadata and bodies, and the
//! summary behind them. Both ends are read, and what is between the first words that look like
//! the head of one of those blocks with its length and the summary is cut out. Whether it was such
//! a head, only a reader of the module can tell: it must meet the summary right at the cut
//! ([`Excerpt::holds`]). Where it does not, or anything else is unusual, there is no excerpt, and
//! the whole file is read.

use std::cell::Cell;
use std::ops::{Deref, Range};
use std::path::Path;

use super::index::ModuleSummaryIndex;
use super::part::IndexPart;
use super::quick::find_summary_at_end;
use super::read::{ReadOptions, Room, read_file};
use crate::bitcode::{BITCODE_MAGIC, BitcodeFile, block_id};
use crate::bitstream::{Block, abbrev_id, top_level_of_part};
use crate::container::{FileKind, OpenFile, identify};
use crate::error::Result;

/// Smaller files are read whole: what is cut out would not pay for a second call.
const SMALL: u64 = 24 * 1024;
/// Larger files are left to be mapped.
const LARGE: u64 = 1 << 30;
/// The least that is read of a file's beginning at once.
const HEAD: usize = 12 * 1024;
/// The least by which more of it is read.
const MORE: usize = 4 * 1024;
/// The least that is read of a module's end.
const TAIL: u64 = 4 * 1024;
/// Buffers up to this size are kept for the thread's next file.
const KEPT: usize = 2 << 20;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A file's bitcode, or the part of it that summaries and symbols are read from.
#[derive(Debug)]
pub struct Excerpt {
    /// The bytes, and around them what is left of earlier files.
    buffer: Vec<u8>,
    range: Range<usize>,
    /// Where bodies were left out, in bits.
    cut: Option<u64>,
}

impl Drop for Excerpt {
    fn drop(&mut self) {
        if self.buffer.len() <= KEPT {
            // A thread that ends has no buffer any more.
            let _ = BUFFER.try_with(|kept| kept.set(std::mem::take(&mut self.buffer)));
        }
    }
}

impl Deref for Excerpt {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.buffer.get(self.range.clone()).unwrap_or(&[])
    }
}

impl Excerpt {
    /// Lets go of the buffer that the thread keeps for its next file.
    pub(super) fn let_go_of_buffer() {
        let _ = BUFFER.try_with(Cell::take);
    }

    /// Reads what is needed of a file of raw bitcode; `None` where the whole file must be looked
    /// at, whatever the reason.
    pub fn read(file: &OpenFile) -> Option<Self> {
        let length = file.length().filter(|&length| length <= LARGE)?;
        let buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
        let mut excerpt = Excerpt { buffer, range: 0..0, cut: None };
        if length <= SMALL {
            file.read_at(0, excerpt.room(0, length as usize)?)?;
            excerpt.range.end = length as usize;
            return (identify(&excerpt) == FileKind::Bitcode).then_some(excerpt);
        }
        excerpt.read_ends(file, length)?;
        Some(excerpt)
    }

    /// Whether what was read of the excerpt is what the whole file holds: the summary was met
    /// right behind the cut.
    pub fn holds(&self, part: &IndexPart) -> bool {
        self.cut.is_none() || self.cut == part.summary_at
    }

    /// The bytes from `start` to `end`, whatever they hold.
    fn room(&mut self, start: usize, end: usize) -> Option<&mut [u8]> {
        if self.buffer.len() < end {
            self.buffer.resize(end.next_multiple_of(64 * 1024), 0);
        }
        self.buffer.get_mut(start..end)
    }

    /// Reads the ends of a file, cuts out what is between them, and gives the module the length
    /// that is left of it.
    fn read_ends(&mut self, file: &OpenFile, length: u64) -> Option<()> {
        let (mut have, mut want) = (0, HEAD.max((length as usize / 9) & !3));
        let mut module = None;
        let (module, cut) = loop {
            file.read_at(have as u64, self.room(have, want)?)?;
            let head = self.buffer.get(..want)?;
            let module = match module {
                Some(module) => module,
                None => *module.insert(module_of(head, length)?),
            };
            // The last word may have been a head without its length.
            let from = have.saturating_sub(4).max((module.body / 8) as usize);
            let room = (module.end / 8).checked_sub(from as u64)?;
            if let Some(at) = behind_globals(head.get(from..)?, room) {
                break (module, from + at);
            }
            if want as u64 > length / 2 {
                return None;
            }
            (have, want) = (want, (want + (want / 5).max(MORE)) & !3);
        };
        let end = module.end / 8;
        let whole = end.checked_sub(cut as u64)?;
        for part in [12, 4] {
            let len = (whole / part).next_multiple_of(4).max(TAIL).min(whole);
            let rest = (length - (end - len)) as usize;
            let tail = self.room(cut, cut + rest)?;
            file.read_at(end - len, tail)?;
            let Some(at) = find_summary_at_end(tail.get(..len as usize)?, &module) else {
                continue;
            };
            // The shorter part moves to the other.
            if cut < rest - at {
                self.buffer.copy_within(..cut, at);
                self.range = at..cut + rest;
            } else {
                tail.copy_within(at.., 0);
                self.range = 0..cut + rest - at;
            }
            self.cut = Some(cut as u64 * 8);
            let body = (module.body / 8) as usize;
            let words = u32::try_from((cut - body + len as usize - at) / 4).ok()?;
            let head = self.buffer.get_mut(self.range.start..)?;
            head.get_mut(body - 4..body)?.copy_from_slice(&words.to_le_bytes());
            return Some(());
        }
        None
    }
}

/// The summaries of many files, in the order in which they were added.
#[derive(Debug, Default)]
pub struct IndexParts {
    /// Of several modules each, where that saves memory and time.
    parts: Vec<IndexPart>,
}

impl IndexParts {
    /// Adds those of the file at `path`, of which no more is read than needed. Modules' own
    /// summaries go by `name`. False, and nothing is added, where the file has none.
    ///
    /// # Errors
    /// As [`read_file`], and io where the file cannot be read.
    pub fn add_file(&mut self, path: &Path, name: &[u8], options: &ReadOptions) -> Result<bool> {
        let file = OpenFile::open(path)?;
        if self.add_module_of(&file, name, options) {
            return Ok(true);
        }
        // An error is told by who has read all of the file, and knows the bits' places in it.
        let parts = read_file(&file.bytes()?, name, options)?;
        let any = !parts.is_empty();
        parts.into_iter().for_each(|part| self.add(part));
        Ok(any)
    }

    /// As [`IndexParts::add_file`], for a file of raw bitcode that is one module with a summary.
    /// False, and nothing is added, for all others and whatever is wrong: they must be read whole.
    pub fn add_module_of(&mut self, file: &OpenFile, name: &[u8], options: &ReadOptions) -> bool {
        Excerpt::read(file).is_some_and(|excerpt| self.add_excerpt(&excerpt, name, options))
    }

    /// Adds a part.
    pub fn add(&mut self, part: IndexPart) {
        self.parts.push(part);
    }

    /// Adds the summary of the one module of an excerpt; false where that must be done otherwise.
    fn add_excerpt(&mut self, excerpt: &Excerpt, name: &[u8], options: &ReadOptions) -> bool {
        let Ok(file) = BitcodeFile::read(excerpt) else { return false };
        let [module] = file.modules.as_slice() else { return false };
        Room::lend(|room| {
            if !room.read(module, name, options, None).unwrap_or(false)
                || !excerpt.holds(&room.part)
            {
                return false;
            }
            let last = self.parts.last_mut();
            if !last.is_some_and(|last| last.absorb(&mut room.part)) {
                self.parts.push(room.part.take_compact());
            }
            true
        })
    }

    /// Those of some files, and behind them those of `more`.
    pub fn append(&mut self, more: IndexParts) {
        self.parts.extend(more.parts);
    }

    /// The index of all of them.
    ///
    /// # Errors
    /// As [`ModuleSummaryIndex::combine`].
    pub fn combine(self) -> Result<ModuleSummaryIndex> {
        ModuleSummaryIndex::combine(self.parts)
    }
}

/// The module block, where `head` is the beginning of raw bitcode of `length` bytes.
fn module_of(head: &[u8], length: u64) -> Option<Block> {
    if !head.starts_with(&BITCODE_MAGIC) || !length.is_multiple_of(4) {
        return None;
    }
    let mut bit = 32;
    loop {
        let block = top_level_of_part(head, bit, length * 8).ok()??;
        if block.id == block_id::MODULE {
            return Some(block);
        }
        bit = block.end;
    }
}

/// The blocks that stand behind the globals of a module, and the widths that LLVM's writers have
/// used for abbreviation ids in them.
const BEHIND_GLOBALS: [(u32, u32); 6] = [
    (block_id::CONSTANTS, 4),
    (block_id::METADATA_KIND, 3),
    (block_id::METADATA, 3),
    (block_id::METADATA, 4),
    (block_id::FUNCTION, 4),
    (block_id::FUNCTION, 5),
];

/// ENTER_SUBBLOCK; the id and a width follow as vbr8 and vbr4, and zeros up to the word's end.
const ENTER: u32 = abbrev_id::ENTER_SUBBLOCK as u32;
/// Where in such a word id and width are.
const PLACES: u32 = 0x7f << 3 | 7 << 11;

/// Where the first two words stand that look like the head of a block behind the globals, in bytes.
/// From the beginning of `head` to the end of the module are `room` bytes.
fn behind_globals(head: &[u8], room: u64) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + first_head(head.get(from..)?)?;
        let word = |at: usize| head.get(at..)?.first_chunk().copied().map(u32::from_le_bytes);
        let length = word(at + 4)? as usize * 4;
        let end = at + 8 + length;
        // No block is empty, and behind such a one stands another, as far as that can be seen.
        if length > 0 && end as u64 <= room && word(end).is_none_or(|next| next & !PLACES == ENTER)
        {
            return Some(at);
        }
        from = at + 4;
    }
}

/// Where the first word stands that looks like that of such a head.
fn first_head(head: &[u8]) -> Option<usize> {
    let is_head = |word: u32| {
        word & !PLACES == ENTER && BEHIND_GLOBALS.contains(&(word >> 3 & 0x7f, word >> 11))
    };
    let words = |bytes: &[u8; 64]| {
        let mut words = [0; 16];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        words
    };
    let (rows, rest) = head.as_chunks::<64>();
    // Few words have no bits beside those of id and width.
    let may_be =
        |row: &[u8; 64]| words(row).iter().fold(false, |any, word| any | (word & !PLACES == ENTER));
    for (number, row) in rows.iter().enumerate() {
        if may_be(row)
            && let Some(at) = words(row).into_iter().position(is_head)
        {
            return Some(number * 64 + at * 4);
        }
    }
    let at = rest.as_chunks::<4>().0.iter().position(|word| is_head(u32::from_le_bytes(*word)))?;
    Some(rows.len() * 64 + at * 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bitcode::module_code;
    use crate::bitstream::Writer;
    use crate::summary::fs;

    const NAMES: &[u8] = b"mainhelper";

    /// A module of two functions with 50,000 bytes of bodies, whose type table has `types` in it.
    fn module(types: &[u32], before_bodies: impl Fn(&mut Writer)) -> Vec<u8> {
        let mut w = Writer::new();
        w.bytes(&BITCODE_MAGIC);
        let module = w.begin_block(2, block_id::MODULE, 3);
        w.record(3, module_code::VERSION, &[2]);
        let table = w.begin_block(3, block_id::TYPE_NEW, 4);
        types.iter().for_each(|&word| w.fixed(u64::from(word), 32));
        w.end_block(table);
        w.record(3, module_code::FUNCTION, &[0, 4, 0, 0, 0, 0]);
        w.record(3, module_code::FUNCTION, &[4, 6, 0, 0, 0, 0]);
        before_bodies(&mut w);
        for _ in 0..2 {
            let body = w.begin_block(3, block_id::FUNCTION, 5);
            (0..25_000 / 4).for_each(|n| w.fixed(n * 7919, 32));
            w.end_block(body);
        }
        let summary = w.begin_block(3, block_id::GLOBALVAL_SUMMARY, 4);
        w.record(4, fs::VERSION, &[12]);
        w.record(4, fs::PERMODULE_PROFILE, &[0, 0, 10, 0, 0, 0, 0, 1, 0]);
        w.record(4, fs::PERMODULE_PROFILE, &[1, 0, 20, 0, 0, 0, 0]);
        w.end_block(summary);
        w.record(3, module_code::HASH, &[1, 2, 3, 4, 5]);
        w.end_block(module);
        let strtab = w.begin_block(2, block_id::STRTAB, 3);
        let blob = crate::bitstream::Abbrev {
            scalars: vec![crate::bitstream::Scalar::Literal(1)],
            tail: crate::bitstream::Tail::Blob,
        };
        w.define_abbrev(3, &blob);
        w.abbreviated(3, 4, &blob, 1, &[], Some(NAMES));
        w.end_block(strtab);
        w.finish()
    }

    fn constants(w: &mut Writer) {
        let block = w.begin_block(3, block_id::CONSTANTS, 4);
        w.end_block(block);
    }

    /// How many bytes the excerpt of a file has, and whether its summary counts.
    fn check(name: &str, bytes: &[u8]) -> (Option<usize>, bool) {
        let path = std::env::temp_dir().join(format!("excerpt-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        let options = ReadOptions::THIN_LINK;
        let file = OpenFile::open(&path).unwrap();
        let len = Excerpt::read(&file).map(|excerpt| excerpt.len());
        let glanced = IndexParts::default().add_module_of(&file, b"m", &options);
        let mut parts = IndexParts::default();
        let read = parts.add_file(&path, b"m", &options);
        std::fs::remove_file(&path).unwrap();
        match read_file(bytes, b"m", &options) {
            Ok(whole) => {
                assert_eq!(read.unwrap(), !whole.is_empty());
                let expected = ModuleSummaryIndex::combine(whole).unwrap();
                let index = parts.combine().unwrap();
                assert_eq!(index.modules(), expected.modules());
                assert_eq!(
                    index.to_bitcode(&Default::default()),
                    expected.to_bitcode(&Default::default())
                );
            }
            Err(error) => assert_eq!(read.unwrap_err().to_string(), error.in_file("m").to_string()),
        }
        (len, glanced)
    }

    #[test]
    fn bodies_are_left_out() {
        let (len, glanced) = check("plain", &module(&[], constants));
        assert!(glanced && len.is_some_and(|len| len < 1000), "{len:?}");
        // The first body does not start at a word here, so that the second is cut out.
        let (len, glanced) = check("no-constants", &module(&[], |_| {}));
        assert!(glanced && len.is_some_and(|len| len < 26_000), "{len:?}");
    }

    #[test]
    fn what_only_looks_like_a_block_is_found_out() {
        let head = |id: u32, width: u32| 1 | id << 3 | width << 11;
        for (number, word) in
            [head(block_id::CONSTANTS, 4), head(block_id::FUNCTION, 5)].into_iter().enumerate()
        {
            let (len, glanced) =
                check(&format!("word{number}"), &module(&[0, word, 1, 0, word], constants));
            assert!(len.is_some() && !glanced, "{len:?}");
            // Such a block would have nothing in it, no other behind it, or not end in the module.
            for length in [0, 2, 1 << 20] {
                let other = module(&[0, word, length, 0, 0, 0], constants);
                let (len, glanced) = check(&format!("no-word{number}"), &other);
                assert!(glanced && len.is_some_and(|len| len < 1000), "{length}: {len:?}");
            }
        }
        // Wherever the first read ends: before, within and behind the head of the constants.
        for words in HEAD / 4 - 40..HEAD / 4 {
            let (len, glanced) = check("end", &module(&vec![0; words], constants));
            assert!(glanced && len.is_some_and(|len| len < HEAD + 1000), "{words}: {len:?}");
        }
    }

    #[test]
    fn what_stands_between_bodies_is_not_lost_unnoticed() {
        let whole = module(&[], constants);
        // A file that ends early, one with bytes behind it, one that is no bitcode.
        assert!(!check("short", &whole[..whole.len() - 40]).1);
        assert!(check("long", &[&whole[..], &[0; 4]].concat()).1);
        assert!(!check("other", &vec![b'x'; 60_000]).1);
        // Summaries before the bodies.
        let early = |w: &mut Writer| {
            let summary = w.begin_block(3, block_id::GLOBALVAL_SUMMARY, 4);
            w.record(4, fs::VERSION, &[12]);
            w.end_block(summary);
            constants(w);
        };
        assert!(!check("early", &module(&[], early)).1);
    }
}
