//! What else is known of a key: a few words in the index.
//!
//! In: a key, and what was found out about it. Out: the same in a later link. A note is a file
//! `<kind> <key> <words>`. One that is missing, damaged or old costs time only: what is made of the
//! words is a key again, under which nothing is stored if they are wrong.

use std::fs::FileTimes;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::{Cache, Key, files, read_file};

/// How long a note is kept that nobody asks for: LLVM's default for objects.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a note is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// The key is of a link, made from its files' [`Stamp`](crate::container::Stamp)s; the note the
    /// key that was made from their contents.
    Link,
    /// The key is of a module without names of a kind; the note says which of them its object has.
    Names,
}

impl Note {
    fn kind(self) -> &'static str {
        match self {
            Note::Link => "liblto-link 1",
            Note::Names => "liblto-names 1",
        }
    }
}

impl Cache {
    /// What was noted. To be asked for counts as a use.
    pub fn note(&self, note: Note, key: &Key) -> Option<String> {
        let (file, text) = read_file(&self.record_path(key))?;
        let words = parse(&text, note, key)?;
        // Not every owner lets us.
        let _ = file.set_times(FileTimes::new().set_modified(SystemTime::now()));
        Some(words.to_owned())
    }

    /// Notes something. Faults are told by nothing but its absence.
    pub fn write_note(&self, note: Note, key: &Key, words: &str) {
        let text = format!("{} {key} {words}\n", note.kind());
        let _ = files::write_and_rename(&self.index, &self.record_path(key), text.as_bytes());
    }
}

/// Whether the file at `path` is a note about this key.
pub(super) fn is_note(path: &Path, key: &Key) -> bool {
    read_file(path).is_some_and(|(_, text)| {
        [Note::Link, Note::Names].iter().any(|&note| parse(&text, note, key).is_some())
    })
}

fn parse<'t>(text: &'t [u8], note: Note, key: &Key) -> Option<&'t str> {
    let line = std::str::from_utf8(text).ok()?.strip_suffix('\n')?;
    let (about, words) = line.strip_prefix(note.kind())?.strip_prefix(' ')?.split_once(' ')?;
    (Key::parse(about)? == *key).then_some(words)
}
