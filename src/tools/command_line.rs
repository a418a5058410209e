//! Command lines as LLVM's tools take them.
//!
//! In: the arguments of a process. Out: them as options with values and positional arguments, in
//! order. `@FILE` stands for the arguments in a file, in GNU's quoting; such files may hold the
//! resolutions of a whole link, so that their arguments are borrowed from the file wherever they
//! have no quotes. Source: `TokenizeGNUCommandLine`, `ExpandResponseFiles` in CommandLine.cpp.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::line_runs::{LineRuns, has_quotes_or_blanks, head};
use crate::container::FileBytes;
use crate::error::{Error, Result};

/// One argument.
pub type Word<'a> = Cow<'a, [u8]>;

/// The arguments of a process before and in response files: keeps the files while their words are
/// in use.
pub struct Arguments {
    given: Vec<Vec<u8>>,
    files: Vec<Option<ResponseFile>>,
}

/// A response file.
struct ResponseFile {
    text: FileBytes,
    runs: Option<LineRuns>,
}

impl Arguments {
    /// Opens the response files among the arguments.
    ///
    /// # Errors
    /// Io, for a response file that exists and cannot be read. One that does not exist is an
    /// argument, as in LLVM.
    pub fn new(arguments: impl Iterator<Item = OsString>) -> Result<Self> {
        let given: Vec<Vec<u8>> = arguments.map(OsString::into_vec).collect();
        let mut files = Vec::with_capacity(given.len());
        for argument in &given {
            files.push(match argument.strip_prefix(b"@") {
                Some(name) if Path::new(OsStr::from_bytes(name)).exists() => {
                    let text = FileBytes::open(Path::new(OsStr::from_bytes(name)))?;
                    let runs = LineRuns::find(&text);
                    Some(ResponseFile { text, runs })
                }
                _ => None,
            });
        }
        Ok(Arguments { given, files })
    }

    /// All words, those of response files in their place.
    pub fn words(&self) -> AllWords<'_> {
        AllWords { left: self.given.iter().zip(&self.files), file: Words::default() }
    }
}

/// The words of a command line.
pub struct AllWords<'a> {
    left: std::iter::Zip<std::slice::Iter<'a, Vec<u8>>, std::slice::Iter<'a, Option<ResponseFile>>>,
    /// What is left of the response file that was begun with.
    file: Words<'a>,
}

impl<'a> Iterator for AllWords<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        loop {
            if let Some(word) = self.file.next() {
                return Some(word);
            }
            match self.left.next()? {
                (_, Some(file)) => self.file = Words::of(&file.text, file.runs.as_ref()),
                (argument, None) => return Some(Cow::Borrowed(argument)),
            }
        }
    }
}

/// The words of a response file.
#[derive(Default)]
struct Words<'a> {
    /// What is left.
    text: &'a [u8],
    /// How long the whole text is, and where runs of lines in it end.
    len: usize,
    runs: Option<&'a LineRuns>,
}

impl<'a> Words<'a> {
    fn of(text: &'a [u8], runs: Option<&'a LineRuns>) -> Self {
        Words { text, len: text.len(), runs }
    }

    /// Takes the lines that follow and begin with `prefix`, if each of them is a word as it stands.
    /// Each has its line feed before it.
    fn lines_like(&mut self, prefix: &[u8]) -> &'a [u8] {
        let fits = |&at: &usize| self.text.get(at + 1..).is_some_and(|s| s.starts_with(prefix));
        let mut feeds = memchr::memchr_iter(b'\n', self.text);
        if !feeds.next().is_some_and(|at| at == 0 && fits(&at)) {
            return &[];
        }
        let runs =
            self.runs.filter(|_| self.text.get(1..).is_some_and(|line| head(line) == prefix));
        let end = match runs {
            Some(runs) => {
                let before = self.len - self.text.len();
                runs.end(before).map_or(self.text.len(), |end| end - before)
            }
            None => feeds.find(|at| !fits(at)).unwrap_or(self.text.len()),
        };
        let (lines, rest) = self.text.split_at(end);
        if runs.is_none() && has_quotes_or_blanks(lines) {
            return &[];
        }
        self.text = rest;
        lines
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        let blank = |c: &u8| matches!(c, b' ' | b'\t' | b'\n' | b'\r');
        let start = self.text.iter().position(|c| !blank(c))?;
        let text = &self.text[start..];
        // Saved resolutions are a word to the line, and there may be millions.
        if let Some(end) = memchr::memchr(b'\n', text) {
            let line = &text[..end];
            if memchr::memchr3(b'\'', b'"', b'\\', line).is_none()
                && memchr::memchr3(b' ', b'\t', b'\r', line).is_none()
            {
                self.text = &text[end..];
                return Some(Cow::Borrowed(line));
            }
        }
        let end = text.iter().position(|c| blank(c) || matches!(c, b'\'' | b'"' | b'\\'));
        let Some(end) = end else {
            self.text = &[];
            return Some(Cow::Borrowed(text));
        };
        if blank(&text[end]) {
            self.text = &text[end..];
            return Some(Cow::Borrowed(&text[..end]));
        }
        let mut word = text[..end].to_vec();
        let mut at = end;
        let mut quote = None;
        while let Some(&c) = text.get(at) {
            at += 1;
            match (c, quote) {
                (b'\\', None) | (b'\\', Some(b'"')) => {
                    word.extend(text.get(at));
                    at += 1;
                }
                (b'\'' | b'"', None) => quote = Some(c),
                (c, Some(q)) if c == q => quote = None,
                (c, None) if blank(&c) => break,
                (c, _) => word.push(c),
            }
        }
        self.text = text.get(at..).unwrap_or(&[]);
        Some(Cow::Owned(word))
    }
}

/// An argument, taken apart.
pub enum Argument<'a> {
    /// Not an option.
    Positional(Word<'a>),
    /// `-name`, `--name`, with what follows `=` if there is any.
    Option(Word<'a>, Option<Word<'a>>),
}

impl<'a> Argument<'a> {
    /// Takes a word apart. A dash alone is positional.
    pub fn parse(word: Word<'a>) -> Self {
        let dashes = match &*word {
            [b'-', b'-', _, ..] => 2,
            [b'-', c, ..] if *c != b'-' => 1,
            _ => return Argument::Positional(word),
        };
        let equals = word.iter().position(|&c| c == b'=');
        let end = equals.unwrap_or(word.len());
        let part = |from: usize, to: usize| match &word {
            Cow::Borrowed(word) => Cow::Borrowed(&word[from..to]),
            Cow::Owned(word) => Cow::Owned(word[from..to].to_vec()),
        };
        Argument::Option(part(dashes, end), equals.map(|at| part(at + 1, word.len())))
    }
}

/// The words after an option that stands apart from its value.
pub struct Parser<'a> {
    words: AllWords<'a>,
    literal: bool,
}

impl<'a> Parser<'a> {
    /// Over these words.
    pub fn new(words: AllWords<'a>) -> Self {
        Parser { words, literal: false }
    }

    /// Of a response file, the lines behind the last word that begin with `prefix`, each with its
    /// line feed before it; nothing where one of them is not a word as it stands.
    pub fn lines_like(&mut self, prefix: &[u8]) -> &'a [u8] {
        if self.literal { &[] } else { self.words.file.lines_like(prefix) }
    }

    /// The next argument; behind `--` all are positional.
    pub fn next_argument(&mut self) -> Option<Argument<'a>> {
        let word = self.words.next()?;
        if self.literal {
            return Some(Argument::Positional(word));
        }
        if &*word == b"--" {
            self.literal = true;
            return self.next_argument();
        }
        Some(Argument::parse(word))
    }

    /// The value of an option: what stood behind `=`, or else the next word.
    ///
    /// # Errors
    /// Misuse, where there is none.
    pub fn value(&mut self, name: &[u8], value: Option<Word<'a>>) -> Result<Word<'a>> {
        value.or_else(|| self.words.next()).ok_or_else(|| {
            Error::misuse(format!("for the {} option: requires a value!", dashed(name)))
        })
    }
}

/// An option as LLVM's messages have it.
fn dashed(name: &[u8]) -> String {
    let dashes = if name.len() == 1 { "-" } else { "--" };
    format!("{dashes}{}", String::from_utf8_lossy(name))
}

/// A flag's value: `-flag`, `-flag=true`, `-flag=false`.
///
/// # Errors
/// Misuse, for another value.
pub fn boolean(name: &[u8], value: Option<Word<'_>>) -> Result<bool> {
    match value.as_deref() {
        None | Some(b"" | b"true" | b"TRUE" | b"True" | b"1") => Ok(true),
        Some(b"false" | b"FALSE" | b"False" | b"0") => Ok(false),
        Some(other) => Err(Error::misuse(format!(
            "for the {} option: '{}' is invalid value for boolean argument! Try 0 or 1",
            dashed(name),
            String::from_utf8_lossy(other)
        ))),
    }
}

/// Appends a line of several pieces.
pub(super) fn line(text: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        text.extend_from_slice(part);
    }
    text.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        Words::of(text.as_bytes(), None)
            .map(|word| String::from_utf8(word.into_owned()).unwrap())
            .collect()
    }

    #[test]
    fn response_files_have_gnu_quoting() {
        assert_eq!(words(" a  b\n-r=x,y,pl\n"), ["a", "b", "-r=x,y,pl"]);
        assert_eq!(words(r#"'a b' "c \" d" e\ f g"h"i"#), ["a b", "c \" d", "e f", "ghi"]);
        assert_eq!(words(""), [""; 0]);
    }

    #[test]
    fn lines_that_are_alike_are_taken_at_once() {
        let lines = |text: &'static str, before: usize| {
            let mut words = Words::of(text.as_bytes(), None);
            words.by_ref().take(before).for_each(drop);
            let lines = words.lines_like(b"-r=a,");
            (String::from_utf8_lossy(lines).into_owned(), words.count())
        };
        let text = "a\n-r=a,f,p\n-r=a,g,\n-r=a,h,x\nb\n-r=b,f,\n";
        assert_eq!(lines(text, 2), ("\n-r=a,g,\n-r=a,h,x".into(), 2));
        assert_eq!(lines(text, 1), ("\n-r=a,f,p\n-r=a,g,\n-r=a,h,x".into(), 2));
        assert_eq!(lines(text, 5), (String::new(), 1));
        assert_eq!(lines("-r=a,f,p\n-r=a,g,", 1), ("\n-r=a,g,".into(), 0));
        // These must be taken word by word.
        assert_eq!(lines("-r=a,f,p\n-r=a,g, -r=a,h,\n", 1), (String::new(), 2));
        assert_eq!(lines("-r=a,f,p\n-r=a,'g',p\n", 1), (String::new(), 1));
        assert_eq!(lines("-r=a,f,p -r=a,g,p\n-r=a,h,\n", 1), (String::new(), 2));
    }

    #[test]
    fn options_come_apart() {
        let parse = |word: &'static str| match Argument::parse(Cow::Borrowed(word.as_bytes())) {
            Argument::Positional(word) => (String::from_utf8_lossy(&word).into_owned(), None),
            Argument::Option(name, value) => (
                format!("<{}>", String::from_utf8_lossy(&name)),
                value.map(|v| String::from_utf8_lossy(&v).into_owned()),
            ),
        };
        assert_eq!(parse("a=b"), ("a=b".into(), None));
        assert_eq!(parse("-"), ("-".into(), None));
        assert_eq!(parse("--x=a=b"), ("<x>".into(), Some("a=b".into())));
        assert_eq!(parse("-x"), ("<x>".into(), None));
    }
}
