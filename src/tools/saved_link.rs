//! A link as LLVM's linkers save it: files, and what was said of each of their symbols.
//!
//! In: the words of a `resolution.txt`, or of `llvm-lto2 run`. Out: [`SavedLink`], whose
//! [`FileInput`]s are what the thin link reads. Source: `run` of llvm-lto2.cpp, `addFile` of lld's
//! InputFiles.cpp for the names of members of archives.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use parking_lot::Mutex;

use super::command_line::{Parser, Word, line};
use super::resolutions::{Resolutions, Said, Sayings};
use crate::container::{Archive, FileBytes, MemberData, OpenFile};
use crate::distributed::Source;
use crate::error::{Error, Result};
use crate::resolution::SymbolResolution;
use crate::summary::Excerpt;
use crate::symbols::{InputFile, Symbol};

/// Files and resolutions.
#[derive(Default)]
pub struct SavedLink<'a> {
    /// The files, in the order of the link.
    pub files: Vec<Word<'a>>,
    resolutions: Resolutions<'a>,
}

impl<'a> SavedLink<'a> {
    /// `-r FILE,SYMBOL,RESOLUTION`; neither file nor symbol may hold a comma. The lines behind it in
    /// a response file, as far as they are about the same file, are taken along, and taken apart by
    /// who reads that file.
    ///
    /// # Errors
    /// Misuse, for text of another form.
    pub fn add_resolution(
        &mut self,
        name: &[u8],
        value: Option<Word<'a>>,
        parser: &mut Parser<'a>,
    ) -> Result<()> {
        let text = parser.value(name, value)?;
        let (file, said) = Said::parse(text)?;
        let lines = parser.lines_like(&[b"-r=", &*file, b","].concat());
        self.resolutions.add(file, said, lines);
        Ok(())
    }

    /// Whether anything was said of any symbol.
    pub fn has_resolutions(&self) -> bool {
        !self.resolutions.is_empty()
    }

    /// Says of every symbol what a linker would that makes a shared library of the files alone:
    /// the first definition of a name prevails, and all are seen from outside.
    ///
    /// # Errors
    /// As [`InputFile::open`].
    pub fn assume_resolutions(&mut self) -> Result<()> {
        let mut defined: HashSet<Box<[u8]>> = HashSet::new();
        for path in &self.files {
            let blame = |e: Error| e.in_file(String::from_utf8_lossy(path));
            let bytes = FileInput::new(path, Sayings::default()).bytes().map_err(blame)?;
            let file = InputFile::open(&bytes).map_err(blame)?;
            let said = file
                .symbols()
                .map(|symbol| Said {
                    symbol: Cow::Owned(symbol.name.to_vec()),
                    resolution: SymbolResolution {
                        prevailing: !symbol.is_undefined() && defined.insert(symbol.name.into()),
                        visible_to_regular_obj: true,
                        ..SymbolResolution::default()
                    },
                })
                .collect::<Vec<_>>();
            self.resolutions.set(path.clone(), said);
        }
        Ok(())
    }

    /// The files with what was said of them.
    ///
    /// # Errors
    /// Misuse, where something was said of a file that is not in the link.
    pub fn inputs(&self) -> Result<Vec<FileInput<'_>>> {
        let known: HashSet<&[u8]> = self.files.iter().map(|file| &**file).collect();
        let strays = self.resolutions.files().filter(|(file, _)| !known.contains(file));
        if let Some((file, said)) = strays.min_by_key(|f| f.0) {
            return Err(unused(file, &said.first_symbol()));
        }
        let inputs = self.files.iter();
        Ok(inputs.map(|path| FileInput::new(path, self.resolutions.of(path))).collect())
    }
}

/// The resolutions as LLVM saves them, and as `run` takes them again: in the order of each file's
/// symbols, whatever the order in which they were given.
///
/// # Errors
/// Where a file cannot be read or does not fit its resolutions.
pub fn resolution_text(inputs: &[FileInput<'_>]) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    for input in inputs {
        line(&mut text, &[input.path]);
        let bytes = input.bytes()?;
        let file = InputFile::open(&bytes)?;
        let symbols: Vec<Symbol<'_>> = file.symbols().collect();
        for (symbol, r) in symbols.iter().zip(input.resolve(&symbols)?) {
            let letters: Vec<u8> = [
                (r.prevailing, b'p'),
                (r.final_definition_in_linkage_unit, b'l'),
                (r.visible_to_regular_obj, b'x'),
                (r.linker_redefined, b'r'),
            ]
            .iter()
            .filter(|(on, _)| *on)
            .map(|&(_, letter)| letter)
            .collect();
            line(&mut text, &[b"-r=", input.path, b",", symbol.name, b",", &letters]);
        }
    }
    Ok(text)
}

/// A file of the command line and what was said of its symbols.
pub struct FileInput<'a> {
    path: &'a [u8],
    said: Sayings<'a>,
    /// What was opened and is no file: a pipe must not be opened twice.
    opened: Mutex<Option<OpenFile>>,
}

impl Source for FileInput<'_> {
    type Bytes = FileBytes;

    fn path(&self) -> &[u8] {
        self.path
    }

    fn bytes(&self) -> Result<FileBytes> {
        if let Some(opened) = self.opened.lock().take() {
            return opened.bytes();
        }
        let path = Path::new(OsStr::from_bytes(self.path));
        match member_of_archive(self.path) {
            Some((archive, offset)) if !path.exists() => read_member(archive, offset),
            _ => FileBytes::open(path),
        }
    }

    fn excerpt(&self) -> Option<Excerpt> {
        let opened = OpenFile::open(Path::new(OsStr::from_bytes(self.path))).ok()?;
        if opened.length().is_none() {
            *self.opened.lock() = Some(opened);
            return None;
        }
        Excerpt::read(&opened)
    }

    fn resolve(&self, symbols: &[Symbol<'_>]) -> Result<Vec<SymbolResolution>> {
        // Saved resolutions stand in the order of the symbols, so that most often no look-up is
        // needed. A symbol that stands several times takes its resolutions in their order.
        let mut said = self.said.clone();
        let mut resolutions = Vec::with_capacity(symbols.len());
        for symbol in symbols {
            match said.next_of(symbol.name)? {
                Some(resolution) => resolutions.push(resolution),
                None => return self.resolve_by_name(symbols),
            }
        }
        if said.next().is_none() { Ok(resolutions) } else { self.resolve_by_name(symbols) }
    }
}

impl<'a> FileInput<'a> {
    fn new(path: &'a [u8], said: Sayings<'a>) -> Self {
        FileInput { path, said, opened: Mutex::new(None) }
    }

    /// Looks each symbol up among what was said, which may stand in any order.
    fn resolve_by_name(&self, symbols: &[Symbol<'_>]) -> Result<Vec<SymbolResolution>> {
        let said: Vec<Said<'_>> = self.said.clone().collect::<Result<_>>()?;
        let mut by_name: HashMap<&[u8], VecDeque<SymbolResolution>> = HashMap::new();
        for said in &said {
            by_name.entry(&said.symbol).or_default().push_back(said.resolution);
        }
        let mut resolutions = Vec::with_capacity(symbols.len());
        for symbol in symbols {
            // Splitting a module adds a dot and a hash to the names of promoted locals.
            let short = symbol.name.iter().rposition(|&c| c == b'.');
            let short = short.map(|at| &symbol.name[..at]);
            let known = if by_name.get(symbol.name).is_some_and(|q| !q.is_empty()) {
                by_name.get_mut(symbol.name)
            } else {
                short.and_then(|name| by_name.get_mut(name))
            };
            match known.and_then(VecDeque::pop_front) {
                Some(resolution) => resolutions.push(resolution),
                None => {
                    return Err(Error::misuse(format!(
                        "missing symbol resolution for {},{}",
                        String::from_utf8_lossy(self.path),
                        String::from_utf8_lossy(symbol.name)
                    )));
                }
            }
        }
        match by_name.iter().filter(|(_, left)| !left.is_empty()).map(|(name, _)| name).min() {
            Some(name) => Err(unused(self.path, name)),
            None => Ok(resolutions),
        }
    }
}

#[cold]
fn unused(file: &[u8], symbol: &[u8]) -> Error {
    Error::misuse(format!(
        "unused symbol resolution for {},{}",
        String::from_utf8_lossy(file),
        String::from_utf8_lossy(symbol)
    ))
}

/// The archive that a name like `lib.a.llvm.68.a.c` (LLVM's gold plugin) or `lib.a(a.o at 68)` (lld)
/// means, and where in it the member is: for lld its header.
fn member_of_archive(name: &[u8]) -> Option<(&[u8], u64)> {
    let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse().ok();
    if let Some(inner) = name.strip_suffix(b")") {
        let at = memchr::memmem::rfind(inner, b" at ")?;
        let open = inner.get(..at)?.iter().rposition(|&c| c == b'(')?;
        return Some((inner.get(..open)?, number(inner.get(at + 4..)?)?));
    }
    let at = memchr::memmem::rfind(name, b".llvm.")?;
    let rest = name.get(at + 6..)?;
    let digits = rest.iter().take_while(|c| c.is_ascii_digit()).count();
    (rest.get(digits) == Some(&b'.')).then_some(())?;
    Some((name.get(..at)?, number(rest.get(..digits)?)?))
}

/// The member whose header or contents start at `offset`.
fn read_member(archive: &[u8], offset: u64) -> Result<FileBytes> {
    /// The size of a member's header, in bytes (`struct ar_hdr`).
    const HEADER: u64 = 60;
    let path = Path::new(OsStr::from_bytes(archive));
    let bytes = FileBytes::open(path)?;
    for member in Archive::parse(&bytes)?.members() {
        let member = member?;
        if member.offset != offset && member.offset != offset.saturating_add(HEADER) {
            continue;
        }
        return match (&member.data, member.path(path)) {
            (MemberData::Here(bytes), _) => {
                let file = File::open(path).map_err(|e| Error::io("cannot open", &e))?;
                FileBytes::from_fd(file.as_raw_fd(), member.offset, Some(bytes.len() as u64))
            }
            (MemberData::File(_), Some(path)) => FileBytes::open(&path),
            (MemberData::File(_), None) => break,
        };
    }
    Err(Error::misuse(format!("the archive has no member at {offset}"))
        .in_file(path.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_members_come_apart() {
        assert_eq!(member_of_archive(b"d/lib.a.llvm.68.a.c"), Some((&b"d/lib.a"[..], 68)));
        assert_eq!(member_of_archive(b"d/lib.a(a.o at 68)"), Some((&b"d/lib.a"[..], 68)));
        for plain in [&b"a.o"[..], b"lib.a(a.o)", b"a.llvm.x.c", b"a.llvm.68", b""] {
            assert_eq!(member_of_archive(plain), None);
        }
    }
}
