//! The irsymtab: the symbol table that LLVM stores in a bitcode file for the linker.
//!
//! In: the SYMTAB blob and its string table, or what [`super::build`] made in the same layout.
//! Out: symbols, comdats and the file's other properties, checked once on opening and borrowed
//! from then on. What a flag means for a link is not known here.
//!
//! Layout, little-endian words of 32 bits; a *string* is `offset, size` into the string table, a
//! *range* is `offset in bytes, count` into the blob (source: LLVM's `llvm/Object/IRSymtab.h`):
//!
//! | part | words |
//! |---|---|
//! | header | version, producer string, ranges of modules, comdats, symbols, uncommons, strings of triple, source file name and COFF linker options, range of dependent libraries |
//! | module | first symbol, end of symbols, first uncommon |
//! | comdat | name string, selection kind |
//! | symbol | name string, IR name string, comdat index or -1, flags |
//! | uncommon | common size, common alignment, COFF fallback string, section name string |
//! | dependent library | string |
//!
//! Versions 0 to 2 (LLVM 5 to 12) lack the selection kind, section names or dependent libraries;
//! no compiler that we serve writes them, and their symbols are built anew. Version 3 is that of
//! LLVM 13 to 22.

use std::borrow::Cow;

use crate::error::{Error, Result};
use crate::ir::{SelectionKind, Visibility};

/// The version that is read and written here.
pub const VERSION: u32 = 3;

/// Bytes of the parts.
pub(super) const HEADER: usize = 76;
pub(super) const MODULE: usize = 12;
pub(super) const COMDAT: usize = 12;
pub(super) const SYMBOL: usize = 24;
pub(super) const UNCOMMON: usize = 24;
pub(super) const STRING: usize = 8;

/// Flag bits of a symbol (`storage::Symbol::FlagBits`); the two lowest are the visibility.
#[allow(missing_docs)] // LLVM's names
pub mod flag {
    pub const HAS_UNCOMMON: u32 = 1 << 2;
    pub const UNDEFINED: u32 = 1 << 3;
    pub const WEAK: u32 = 1 << 4;
    pub const COMMON: u32 = 1 << 5;
    pub const INDIRECT: u32 = 1 << 6;
    pub const USED: u32 = 1 << 7;
    pub const TLS: u32 = 1 << 8;
    pub const MAY_OMIT: u32 = 1 << 9;
    pub const GLOBAL: u32 = 1 << 10;
    pub const FORMAT_SPECIFIC: u32 = 1 << 11;
    pub const UNNAMED_ADDR: u32 = 1 << 12;
    pub const EXECUTABLE: u32 = 1 << 13;
}

/// One symbol. Strings are bytes: LLVM does not promise UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'s> {
    /// The name in the object file, mangled.
    pub name: &'s [u8],
    /// The name in the IR; empty for a symbol of module assembly.
    pub ir_name: &'s [u8],
    /// The index of its comdat.
    pub comdat: Option<u32>,
    /// Bits of [`flag`].
    pub flags: u32,
    /// Bytes of a common symbol, else 0.
    pub common_size: u32,
    /// Alignment of a common symbol in bytes, 0 where it has none.
    pub common_align: u32,
    /// COFF: what a weak external resolves to if it stays undefined.
    pub coff_fallback: &'s [u8],
    /// The section that the source names, mostly empty.
    pub section: &'s [u8],
}

impl Symbol<'_> {
    /// Whether all of `bits` are set.
    #[inline]
    pub fn has(&self, bits: u32) -> bool {
        self.flags & bits == bits
    }

    /// Its visibility.
    pub fn visibility(&self) -> Visibility {
        Visibility::from_record(u64::from(self.flags & 3))
    }

    /// Declared here and defined elsewhere.
    pub fn is_undefined(&self) -> bool {
        self.has(flag::UNDEFINED)
    }

    /// Weak or linkonce, or a weak reference.
    pub fn is_weak(&self) -> bool {
        self.has(flag::WEAK)
    }

    /// A common symbol.
    pub fn is_common(&self) -> bool {
        self.has(flag::COMMON)
    }

    /// An alias.
    pub fn is_indirect(&self) -> bool {
        self.has(flag::INDIRECT)
    }

    /// Thread local.
    pub fn is_tls(&self) -> bool {
        self.has(flag::TLS)
    }

    /// A linkonce_odr symbol whose address does not matter: need not be in the dynamic table.
    pub fn can_be_omitted(&self) -> bool {
        self.has(flag::MAY_OMIT)
    }

    /// Not local to its module.
    pub fn is_global(&self) -> bool {
        self.has(flag::GLOBAL)
    }

    /// Not for the linker: intrinsics, metadata, private symbols.
    pub fn is_format_specific(&self) -> bool {
        self.has(flag::FORMAT_SPECIFIC)
    }

    /// Its address does not matter at all.
    pub fn is_unnamed_addr(&self) -> bool {
        self.has(flag::UNNAMED_ADDR)
    }

    /// A function.
    pub fn is_executable(&self) -> bool {
        self.has(flag::EXECUTABLE)
    }
}

/// A part of the blob: where it starts, in bytes, and how many entries it has.
#[derive(Clone, Copy, Debug, Default)]
struct Range {
    offset: usize,
    count: usize,
}

/// An opened table.
#[derive(Clone, Debug)]
pub struct Irsymtab<'a> {
    blob: Cow<'a, [u8]>,
    strings: Strings<'a>,
    modules: Range,
    comdats: Range,
    symbols: Range,
    uncommons: Range,
    libraries: Range,
    /// Which of the symbols stand for module assembly is told by their empty IR names.
    has_asm_symbols: bool,
}

/// A string table in two parts: one borrowed from the file, and what was added to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Strings<'a> {
    pub(super) base: &'a [u8],
    pub(super) extra: Vec<u8>,
}

impl<'a> Strings<'a> {
    fn get(&self, offset: u32, size: u32) -> Option<&[u8]> {
        let (start, size) = (offset as usize, size as usize);
        match start.checked_sub(self.base.len()) {
            // An empty string may stand right behind the end.
            Some(start) if size != 0 => self.extra.get(start..start.checked_add(size)?),
            Some(_) => Some(&[]),
            None => self.base.get(start..start.checked_add(size)?),
        }
    }

    /// Adds a string and gives its place.
    pub(super) fn add(&mut self, s: &[u8]) -> (u32, u32) {
        let start = self.base.len() + self.extra.len();
        self.extra.extend_from_slice(s);
        (start as u32, s.len() as u32)
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let raw = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(raw.try_into().ok()?))
}

/// The first two things of the header, which are the same in every version.
pub fn version_and_producer<'a>(blob: &[u8], strtab: &'a [u8]) -> Option<(u32, &'a [u8])> {
    let version = word(blob, 0)?;
    let (start, size) = (word(blob, 4)? as usize, word(blob, 8)? as usize);
    Some((version, strtab.get(start..start.checked_add(size)?)?))
}

fn outside(what: &str) -> Error {
    Error::malformed(format!("symbol table: {what} out of bounds"))
}

impl<'a> Irsymtab<'a> {
    /// Opens a table of version [`VERSION`] and checks every offset in it.
    ///
    /// # Errors
    /// Malformed where anything points out of the blob or the string table; unsupported where the
    /// version is another.
    pub fn open(blob: &'a [u8], strtab: &'a [u8]) -> Result<Self> {
        Self::checked(Cow::Borrowed(blob), Strings { base: strtab, extra: Vec::new() })
    }

    pub(super) fn checked(blob: Cow<'a, [u8]>, strings: Strings<'a>) -> Result<Self> {
        let at = |i| word(&blob, i).ok_or_else(|| outside("header"));
        let version = at(0)?;
        if version != VERSION {
            return Err(Error::unsupported(format!("symbol table of version {version}")));
        }
        let range = |i: usize, size: usize, what: &str| -> Result<Range> {
            let (offset, count) = (at(i)? as usize, at(i + 4)? as usize);
            let end = count.checked_mul(size).and_then(|n| n.checked_add(offset));
            match end {
                Some(end) if end <= blob.len() => Ok(Range { offset, count }),
                _ => Err(outside(what)),
            }
        };
        let modules = range(12, MODULE, "modules")?;
        let comdats = range(20, COMDAT, "comdats")?;
        let symbols = range(28, SYMBOL, "symbols")?;
        let uncommons = range(36, UNCOMMON, "uncommon symbols")?;
        let libraries = range(68, STRING, "dependent libraries")?;
        let mut table = Irsymtab {
            blob: Cow::Borrowed(&[]),
            strings,
            modules,
            comdats,
            symbols,
            uncommons,
            libraries,
            has_asm_symbols: false,
        };
        table.blob = blob;
        table.check()?;
        Ok(table)
    }

    fn check(&mut self) -> Result<()> {
        for at in [4, 44, 52, 60] {
            self.try_string(at).ok_or_else(|| outside("a string of the header"))?;
        }
        for i in 0..self.comdats.count {
            self.try_string(self.comdats.offset + i * COMDAT)
                .ok_or_else(|| outside("a comdat's name"))?;
        }
        for i in 0..self.libraries.count {
            self.try_string(self.libraries.offset + i * STRING)
                .ok_or_else(|| outside("a dependent library"))?;
        }
        let mut uncommons = 0usize;
        let mut has_asm_symbols = false;
        let all = self.symbols.offset..self.symbols.offset + self.symbols.count * SYMBOL;
        for symbol in self.blob.get(all).unwrap_or(&[]).chunks_exact(SYMBOL) {
            let w = |at| word(symbol, at).unwrap_or(0);
            let name = self.strings.get(w(0), w(4));
            let ir_name = self.strings.get(w(8), w(12));
            let (Some(_), Some(ir_name)) = (name, ir_name) else {
                return Err(outside("a symbol's name"));
            };
            has_asm_symbols |= ir_name.is_empty();
            let comdat = w(16);
            if comdat != u32::MAX && comdat as usize >= self.comdats.count {
                return Err(outside("a symbol's comdat"));
            }
            if w(20) & flag::HAS_UNCOMMON != 0 {
                uncommons += 1;
            }
        }
        if uncommons > self.uncommons.count {
            return Err(outside("an uncommon symbol"));
        }
        for i in 0..self.uncommons.count {
            let at = self.uncommons.offset + i * UNCOMMON;
            self.try_string(at + 8)
                .and(self.try_string(at + 16))
                .ok_or_else(|| outside("an uncommon symbol's string"))?;
        }
        for i in 0..self.modules.count {
            let at = self.modules.offset + i * MODULE;
            let w = |at| word(&self.blob, at).unwrap_or(0) as usize;
            let (begin, end, uncommon) = (w(at), w(at + 4), w(at + 8));
            if begin > end || end > self.symbols.count || uncommon > self.uncommons.count {
                return Err(outside("a module's symbols"));
            }
        }
        self.has_asm_symbols = has_asm_symbols;
        Ok(())
    }

    fn try_string(&self, at: usize) -> Option<&[u8]> {
        self.strings.get(word(&self.blob, at)?, word(&self.blob, at.checked_add(4)?)?)
    }

    /// A string whose place was checked on opening.
    fn string(&self, at: usize) -> &[u8] {
        self.try_string(at).unwrap_or(&[])
    }

    /// Who wrote the table, as in `22.1.8`.
    pub fn producer(&self) -> &[u8] {
        self.string(4)
    }

    /// The target triple of the first module.
    pub fn target_triple(&self) -> &[u8] {
        self.string(44)
    }

    /// The source file name of the first module.
    pub fn source_file_name(&self) -> &[u8] {
        self.string(52)
    }

    /// COFF: directives for the linker, each with a space before it.
    pub fn coff_linker_opts(&self) -> &[u8] {
        self.string(60)
    }

    /// The libraries that the source asks for (`#pragma comment(lib, ...)` on ELF).
    pub fn dependent_libraries(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let first = self.libraries.offset;
        (0..self.libraries.count).map(move |i| self.string(first + i * STRING))
    }

    /// The comdats that symbols refer to by index.
    pub fn comdats(&self) -> impl ExactSizeIterator<Item = (&[u8], SelectionKind)> {
        let first = self.comdats.offset;
        (0..self.comdats.count).map(move |i| {
            let at = first + i * COMDAT;
            // The stored kinds count from 0, those of records from 1.
            let kind = u64::from(word(&self.blob, at + 8).unwrap_or(0)) + 1;
            (self.string(at), SelectionKind::from_record(kind))
        })
    }

    /// The number of modules.
    pub fn num_modules(&self) -> usize {
        self.modules.count
    }

    /// The number of symbols of all modules.
    pub fn num_symbols(&self) -> usize {
        self.symbols.count
    }

    /// Whether any symbol comes from module assembly.
    pub fn has_asm_symbols(&self) -> bool {
        self.has_asm_symbols
    }

    /// The symbols of one module, those included that are not for the linker; none for a module
    /// that is not there.
    pub fn module_symbols(&self, module: usize) -> Symbols<'_> {
        let at = self.modules.offset + module * MODULE;
        let w = |at| word(&self.blob, at).unwrap_or(0) as usize;
        let (begin, end, uncommon) =
            if module < self.modules.count { (w(at), w(at + 4), w(at + 8)) } else { (0, 0, 0) };
        Symbols { table: self, next: begin, end, uncommon }
    }

    /// The symbols of all modules in order.
    pub fn symbols(&self) -> impl Iterator<Item = Symbol<'_>> {
        (0..self.modules.count).flat_map(|m| self.module_symbols(m))
    }
}

/// Walks the symbols of a module.
#[derive(Clone, Debug)]
pub struct Symbols<'s> {
    table: &'s Irsymtab<'s>,
    next: usize,
    end: usize,
    uncommon: usize,
}

impl<'s> Iterator for Symbols<'s> {
    type Item = Symbol<'s>;

    fn next(&mut self) -> Option<Symbol<'s>> {
        if self.next >= self.end {
            return None;
        }
        let t = self.table;
        let at = t.symbols.offset + self.next * SYMBOL;
        self.next += 1;
        let comdat = word(&t.blob, at + 16)?;
        let flags = word(&t.blob, at + 20)?;
        let mut symbol = Symbol {
            name: t.string(at),
            ir_name: t.string(at + 8),
            comdat: (comdat != u32::MAX).then_some(comdat),
            flags,
            common_size: 0,
            common_align: 0,
            coff_fallback: &[],
            section: &[],
        };
        if flags & flag::HAS_UNCOMMON != 0 {
            if self.uncommon < t.uncommons.count {
                let at = t.uncommons.offset + self.uncommon * UNCOMMON;
                symbol.common_size = word(&t.blob, at)?;
                symbol.common_align = word(&t.blob, at + 4)?;
                symbol.coff_fallback = t.string(at + 8);
                symbol.section = t.string(at + 16);
            }
            self.uncommon += 1;
        }
        Some(symbol)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end.saturating_sub(self.next);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Symbols<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of one module, one comdat, one common symbol.
    fn words() -> Vec<u32> {
        let at = HEADER as u32;
        let (comdats, symbols) = (at + 12, at + 24);
        let (uncommons, libraries) = (symbols + 24, symbols + 48);
        let mut w = vec![VERSION, 0, 4, at, 1, comdats, 1, symbols, 1, uncommons, 1];
        w.extend([0, 4, 4, 3, 0, 0, libraries, 1]);
        w.extend([0, 1, 0]); // module
        w.extend([4, 3, 2]); // comdat, "largest"
        w.extend([4, 3, 4, 3, 0, flag::HAS_UNCOMMON | flag::COMMON | flag::GLOBAL | 1]);
        w.extend([16, 8, 0, 0, 0, 4]); // uncommon
        w.extend([4, 3]); // library
        w
    }

    fn bytes(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|w| w.to_le_bytes()).collect()
    }

    #[test]
    fn a_table_is_read() {
        let blob = bytes(&words());
        let t = Irsymtab::open(&blob, b"22.1abc").unwrap();
        assert_eq!((t.producer(), t.num_modules(), t.num_symbols()), (&b"22.1"[..], 1, 1));
        let s = t.symbols().next().unwrap();
        assert_eq!(
            (s.name, s.common_size, s.common_align, s.section),
            (&b"abc"[..], 16, 8, &b"22.1"[..])
        );
        assert_eq!((s.visibility(), s.comdat), (Visibility::Hidden, Some(0)));
        assert_eq!(t.comdats().next(), Some((&b"abc"[..], SelectionKind::Largest)));
        assert_eq!(t.dependent_libraries().next(), Some(&b"abc"[..]));
        assert!(!t.has_asm_symbols());
    }

    #[test]
    fn no_word_may_point_outside() {
        let good = words();
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] = 0x7fff_fff0;
            let blob = bytes(&bad);
            // Sizes, alignments and flags are not checked against anything; whatever opens can
            // be walked.
            if let Ok(t) = Irsymtab::open(&blob, b"22.1abc") {
                assert!(t.symbols().count() <= 1, "word {i}");
            }
        }
        let blob = bytes(&good);
        for n in 0..blob.len() {
            assert!(Irsymtab::open(&blob[..n], b"22.1abc").is_err(), "{n} bytes");
        }
        assert!(Irsymtab::open(&blob, b"22.1ab").is_err());
    }
}
