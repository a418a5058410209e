//! Links whose inputs nobody has written to since an earlier one.
//!
//! In: the key of a link made from its files' [`Stamp`](crate::container::Stamp)s instead of their
//! contents. Out: the key made from the contents, as it was then; so an input is not read as a
//! whole to find that nothing has changed.
//!
//! It is a file in the index, `liblto-link 1 <key of the stamps> <key of the link>`. One that was
//! damaged gives a key that nothing is stored under.

use std::path::Path;
use std::time::Duration;

use super::{Cache, Key, files, read_file};

const MAGIC: &str = "liblto-link 1";

/// How long it is kept: LLVM's default for objects that are not used.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

impl Cache {
    /// The key of a link's contents.
    pub fn unwritten(&self, stamps: &Key) -> Option<Key> {
        read(&self.record_path(stamps), stamps)
    }

    /// Remembers it. All stamps must be settled. Faults are told by nothing but a miss.
    pub fn remember_unwritten(&self, stamps: &Key, link: &Key) {
        let text = format!("{MAGIC} {stamps} {link}\n");
        let _ = files::write_and_rename(&self.index, &self.record_path(stamps), text.as_bytes());
    }
}

/// What the file `path` of the index says of a link with these stamps.
pub(super) fn read(path: &Path, stamps: &Key) -> Option<Key> {
    let (_, text) = read_file(path)?;
    let line = std::str::from_utf8(&text).ok()?.strip_suffix('\n')?;
    let (named, link) = line.strip_prefix(MAGIC)?.strip_prefix(' ')?.split_once(' ')?;
    if Key::parse(named)? != *stamps {
        return None;
    }
    Key::parse(link)
}
