//! What the command line says of symbols, file by file.
//!
//! In: `FILE,SYMBOL,RESOLUTION`, one at a time or as the lines of a response file. Out: [`Sayings`]
//! of a file. Links have millions of them, so that lines stay what they are until the thread that
//! reads the file compares them with its symbols.

use std::borrow::Cow;
use std::collections::HashMap;

use super::command_line::Word;
use crate::error::{Error, Result};
use crate::resolution::SymbolResolution;

/// A resolution and the symbol that it is of.
pub(super) struct Said<'a> {
    pub(super) symbol: Cow<'a, [u8]>,
    pub(super) resolution: SymbolResolution,
}

impl<'a> Said<'a> {
    /// Takes `FILE,SYMBOL,RESOLUTION` apart, of which the last part may be missing.
    ///
    /// # Errors
    /// Misuse, for text of another form.
    pub(super) fn parse(text: Word<'a>) -> Result<(Word<'a>, Self)> {
        let first = memchr::memchr(b',', &text).ok_or_else(|| invalid(&text))?;
        let (symbol, resolution) = symbol_and_resolution(&text, first + 1)?;
        Ok(match text {
            Cow::Borrowed(text) => {
                let symbol = Cow::Borrowed(&text[symbol]);
                (Cow::Borrowed(&text[..first]), Said { symbol, resolution })
            }
            Cow::Owned(text) => {
                let symbol = Cow::Owned(text[symbol].to_vec());
                (Cow::Owned(text[..first].to_vec()), Said { symbol, resolution })
            }
        })
    }
}

#[cold]
fn invalid(text: &[u8]) -> Error {
    Error::misuse(format!("invalid resolution: {}", String::from_utf8_lossy(text)))
}

/// Where in `FILE,SYMBOL,RESOLUTION` the symbol is, which starts at `start`, and the resolution.
fn symbol_and_resolution(
    text: &[u8],
    start: usize,
) -> Result<(std::ops::Range<usize>, SymbolResolution)> {
    let rest = text.get(start..).filter(|rest| !rest.is_empty()).ok_or_else(|| invalid(text))?;
    let end = memchr::memchr(b',', rest).unwrap_or(rest.len());
    let resolution = resolution(rest.get(end + 1..).unwrap_or(&[]), text)?;
    Ok((start..start + end, resolution))
}

/// The resolution that the letters behind the second comma of `text` say.
fn resolution(letters: &[u8], text: &[u8]) -> Result<SymbolResolution> {
    let mut resolution = SymbolResolution::default();
    for &c in letters {
        match c {
            b'p' => resolution.prevailing = true,
            b'l' => resolution.final_definition_in_linkage_unit = true,
            b'x' => resolution.visible_to_regular_obj = true,
            b'r' => resolution.linker_redefined = true,
            other => {
                return Err(Error::misuse(format!(
                    "invalid character {} in resolution: {}",
                    char::from(other),
                    String::from_utf8_lossy(text)
                )));
            }
        }
    }
    Ok(resolution)
}

/// A piece of what was said of a file.
enum Piece<'a> {
    /// Of one symbol.
    One(Said<'a>),
    /// Of many: lines `-r=FILE,SYMBOL,RESOLUTION`, each with its line feed before it.
    Lines(&'a [u8]),
}

/// What was said of a file.
struct OfFile<'a> {
    file: Word<'a>,
    pieces: Vec<Piece<'a>>,
}

impl OfFile<'_> {
    fn sayings(&self) -> Sayings<'_> {
        Sayings { before: PREFIX.len() + self.file.len(), lines: &[], pieces: &self.pieces }
    }
}

/// What stands before and behind the file in a line.
const PREFIX: &[u8] = b"\n-r=,";

/// What was said of each file's symbols.
#[derive(Default)]
pub(super) struct Resolutions<'a> {
    by_file: HashMap<Vec<u8>, usize>,
    files: Vec<OfFile<'a>>,
}

impl<'a> Resolutions<'a> {
    /// Adds what is said of a symbol of `file`, and lines that begin with `-r=FILE,`.
    pub(super) fn add(&mut self, file: Word<'a>, said: Said<'a>, lines: &'a [u8]) {
        let pieces = self.pieces(file);
        pieces.push(Piece::One(said));
        if !lines.is_empty() {
            pieces.push(Piece::Lines(lines));
        }
    }

    /// Says this of a file and nothing else.
    pub(super) fn set(&mut self, file: Word<'a>, said: Vec<Said<'a>>) {
        *self.pieces(file) = said.into_iter().map(Piece::One).collect();
    }

    /// The pieces of a file. Saved resolutions stand file by file, so that the last one is tried
    /// before the table.
    fn pieces(&mut self, file: Word<'a>) -> &mut Vec<Piece<'a>> {
        let last = self.files.len().wrapping_sub(1);
        let at = match self.files.last() {
            Some(of_file) if of_file.file == file => last,
            _ => match self.by_file.get(&*file) {
                Some(&at) => at,
                None => {
                    self.by_file.insert(file.to_vec(), self.files.len());
                    self.files.push(OfFile { file, pieces: Vec::new() });
                    self.files.len() - 1
                }
            },
        };
        &mut self.files[at].pieces
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// All files that something was said of.
    pub(super) fn files(&self) -> impl Iterator<Item = (&[u8], Sayings<'_>)> {
        self.files.iter().map(|of_file| (&*of_file.file, of_file.sayings()))
    }

    /// What was said of a file.
    pub(super) fn of(&self, file: &[u8]) -> Sayings<'_> {
        self.by_file.get(file).map(|&at| self.files[at].sayings()).unwrap_or_default()
    }
}

/// What was said of a file's symbols, one by one.
#[derive(Clone, Default)]
pub(super) struct Sayings<'a> {
    /// How many bytes of a line stand before the symbol.
    before: usize,
    /// Lines that were begun with.
    lines: &'a [u8],
    pieces: &'a [Piece<'a>],
}

impl<'a> Sayings<'a> {
    /// The resolution that comes next, if it is of this symbol; otherwise it stays.
    ///
    /// # Errors
    /// Misuse, for text that says no resolution.
    pub(super) fn next_of(&mut self, symbol: &[u8]) -> Result<Option<SymbolResolution>> {
        if self.lines.is_empty() {
            match self.pieces.split_first() {
                Some((Piece::Lines(lines), rest)) => (self.lines, self.pieces) = (lines, rest),
                Some((Piece::One(said), rest)) if *said.symbol == *symbol => {
                    self.pieces = rest;
                    return Ok(Some(said.resolution));
                }
                _ => return Ok(None),
            }
        }
        // Symbols are mostly said in their order: a comparison, and no search for commas.
        let rest = self.lines.get(self.before..).and_then(|line| line.strip_prefix(symbol));
        let Some([b',', rest @ ..]) = rest else { return Ok(None) };
        let len = rest.iter().position(|&c| c == b'\n').unwrap_or(rest.len());
        let (letters, rest) = rest.split_at(len);
        let (line, _) = self.lines.split_at(self.lines.len() - rest.len());
        let resolution = resolution(letters, line.get(PREFIX.len() - 1..).unwrap_or(line))?;
        self.lines = rest;
        Ok(Some(resolution))
    }

    /// The symbol of the first of them, or nothing.
    pub(super) fn first_symbol(&self) -> Cow<'a, [u8]> {
        self.clone().next().and_then(Result::ok).map(|said| said.symbol).unwrap_or_default()
    }
}

impl<'a> Iterator for Sayings<'a> {
    type Item = Result<Said<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.lines.is_empty() {
            let (piece, rest) = self.pieces.split_first()?;
            self.pieces = rest;
            match piece {
                Piece::One(Said { symbol, resolution }) => {
                    return Some(Ok(Said {
                        symbol: Cow::Borrowed(symbol),
                        resolution: *resolution,
                    }));
                }
                Piece::Lines(lines) => self.lines = lines,
            }
        }
        let end = memchr::memchr(b'\n', self.lines.get(1..)?).map_or(self.lines.len(), |at| at + 1);
        let (line, rest) = self.lines.split_at(end);
        self.lines = rest;
        // Without line feed and `-r=`, as it would stand apart from the option.
        let text = line.get(PREFIX.len() - 1..)?;
        let said = symbol_and_resolution(text, self.before + 1 - PREFIX.len());
        Some(said.map(|(symbol, resolution)| Said {
            symbol: Cow::Borrowed(text.get(symbol).unwrap_or(&[])),
            resolution,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Symbols and letters of all that is said, or the first error.
    fn all(sayings: Sayings<'_>) -> std::result::Result<Vec<(String, bool)>, String> {
        let text = |said: Said<'_>| {
            (String::from_utf8_lossy(&said.symbol).into_owned(), said.resolution.prevailing)
        };
        sayings.map(|said| said.map(text).map_err(|e| e.to_string())).collect()
    }

    fn sayings<'a>(lines: &'a str, all: &mut Resolutions<'a>) {
        let (file, said) = Said::parse(Cow::Borrowed(b"d/a.o,f,p")).unwrap();
        all.add(file, said, lines.as_bytes());
    }

    #[test]
    fn lines_are_taken_apart_as_words_are() {
        let mut known = Resolutions::default();
        sayings("\n-r=d/a.o,g,px\n-r=d/a.o,h\n-r=d/a.o,i,", &mut known);
        let said = |s: &str, p| (s.to_owned(), p);
        let expected = [said("f", true), said("g", true), said("h", false), said("i", false)];
        assert_eq!(all(known.of(b"d/a.o")).unwrap(), expected);
        assert_eq!(known.of(b"d/b.o").count(), 0);

        let mut in_order = known.of(b"d/a.o");
        assert!(in_order.next_of(b"g").unwrap().is_none());
        assert!(in_order.next_of(b"f").unwrap().is_some_and(|r| r.prevailing));
        assert!(in_order.next_of(b"").unwrap().is_none());
        assert!(in_order.next_of(b"gg").unwrap().is_none());
        assert!(in_order.next_of(b"g").unwrap().is_some_and(|r| r.visible_to_regular_obj));
        // Without letters it stays for who looks symbols up.
        assert!(in_order.next_of(b"h").unwrap().is_none());
        assert_eq!(all(in_order).unwrap(), expected[2..]);
    }

    #[test]
    fn lines_that_say_nothing_are_errors() {
        for (lines, expected) in [
            ("\n-r=d/a.o,g,p\n-r=d/a.o,h,z", "invalid character z in resolution: d/a.o,h,z"),
            ("\n-r=d/a.o,", "invalid resolution: d/a.o,"),
        ] {
            let mut known = Resolutions::default();
            sayings(lines, &mut known);
            let error = all(known.of(b"d/a.o")).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let mut known = Resolutions::default();
        sayings("\n-r=d/a.o,g,z", &mut known);
        let mut in_order = known.of(b"d/a.o");
        assert!(in_order.next_of(b"f").unwrap().is_some());
        let error = in_order.next_of(b"g").unwrap_err().to_string();
        assert!(error.contains("invalid character z in resolution: d/a.o,g,z"), "{error}");
    }
}
