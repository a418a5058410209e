//! The cache of objects, shared by links that run at any time on any number of processes.
//!
//! In: [`Key`]s that cover everything an object is made from, objects, a [`Policy`]. Out: objects
//! of earlier links. It must not know linkers, what an object is made from, or how.
//!
//! The layout of the directory is LLVM's (`localCache` of Caching.cpp, `ModuleCacheEntry` of
//! ThinLTOCodeGenerator.cpp), so that other linkers may share it and their tools prune it:
//!
//! | name | what it is |
//! |---|---|
//! | `llvmcache-<40 hex digits>` | an object, whole and bare: linkers take hard links of it |
//! | `llvmcache.timestamp` | an empty file whose modification time is the last pruning's |
//! | `Thin-*.tmp.o` | an object that is being written |
//! | `.llvmcache-index/<40 hex digits>` | ours: a [`record`] of which entry a key stands for, or what else is known of it ([`notes`]) |
//!
//! A link knows keys that are cheap to compute and change too easily, and dearer ones that change
//! more rarely ([`Level`]). All of them stand for the same object: the entry bears the name of one
//! of them, and the records of the others refer to it ([`Search`]).
//!
//! **Every fault is a miss.** An entry counts only if there is a record of its key, the record
//! says this key, and length and checksum of the object are those of the record. So a torn write, a
//! full disk, a flipped bit, a hard link that somebody wrote through, or another process that prunes
//! costs time and never gives a wrong object. Files are written aside and renamed. The one error is
//! that the directory cannot be made: then the user's wish cannot be fulfilled at all, and LLVM
//! says so too.

mod files;
mod key;
mod notes;
mod outside;
mod policy;
mod prune;
mod record;
mod search;

use std::fs::{self, File, FileTimes};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;

pub use files::{Entry, link_or_write};
pub use key::{Key, KeyBuilder, content_key};
pub use notes::Note;
pub use outside::reads_other_files;
pub use policy::Policy;
pub use prune::{LinkFiles, Pruned};
use search::LEVELS;
pub use search::{Level, Search};

use crate::container::FileBytes;
use crate::error::{Error, Result};
use record::Record;

/// Where the records are; a name that LLVM's pruning leaves alone and `ls` does not show.
const INDEX: &str = ".llvmcache-index";

/// A cache in a directory.
#[derive(Debug)]
pub struct Cache {
    directory: PathBuf,
    index: PathBuf,
    made: Mutex<bool>,
    counters: Counters,
}

/// An object that was found.
#[derive(Debug)]
pub struct Hit {
    /// The object. It stays as it is, whoever writes to its file.
    pub object: Vec<u8>,
    /// Its file in the cache. Another process may remove it at any time.
    pub entry: Entry,
    record: Record,
}

#[derive(Debug, Default)]
struct Counters {
    hits: [AtomicUsize; LEVELS],
    misses: [AtomicUsize; LEVELS],
    stored: AtomicUsize,
    not_stored: AtomicUsize,
}

/// What a cache was good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Objects found, by the [`Level`] of the key.
    pub hits: [usize; LEVELS],
    /// Keys not found, by [`Level`].
    pub misses: [usize; LEVELS],
    /// Objects put in.
    pub stored: usize,
    /// Objects that could not be put in.
    pub not_stored: usize,
}

impl Statistics {
    /// Objects found by keys of this level.
    pub fn hits(&self, level: Level) -> usize {
        self.hits.get(level as usize).copied().unwrap_or_default()
    }

    /// Keys of this level not found.
    pub fn misses(&self, level: Level) -> usize {
        self.misses.get(level as usize).copied().unwrap_or_default()
    }
}

impl Cache {
    /// The cache in this directory, which is made when the first object is stored.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        let index = directory.join(INDEX);
        Cache { directory, index, made: Mutex::new(false), counters: Counters::default() }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file of the object whose first key this is, whether it exists or not.
    pub fn entry_path(&self, key: &Key) -> PathBuf {
        self.directory.join(format!("llvmcache-{key}"))
    }

    fn record_path(&self, key: &Key) -> PathBuf {
        self.index.join(key.to_string())
    }

    /// The object of a key. Being asked for counts as a use, which pruning looks at.
    pub fn lookup(&self, key: &Key) -> Option<Hit> {
        let (_, text) = read_file(&self.record_path(key))?;
        let record = Record::parse(key, &text)?;
        let path = self.entry_path(&record.entry);
        let (file, object) = read_object(&path, record.length)?;
        if !record.describes(&object) {
            return None;
        }
        let entry = Entry::at(path);
        // Not every file system and every owner lets us; then it is the mount's own habit.
        let _ = file.set_times(FileTimes::new().set_accessed(SystemTime::now()));
        Some(Hit { object, entry, record })
    }

    /// Puts an object in under a key, and gives it back as it was found there. None where it could not
    /// be stored.
    ///
    /// # Errors
    /// Io, where the directory cannot be made. Whatever else goes wrong is a miss the next time.
    pub fn store(&self, key: &Key, object: &[u8]) -> Result<Option<Hit>> {
        self.make_directory()?;
        let entry = self.entry_path(key);
        let record = Record::of(key, object);
        let stored = files::write_and_rename(&self.directory, &entry, object)
            .and_then(|()| self.write_record(key, &record))
            .is_ok();
        let counter = if stored { &self.counters.stored } else { &self.counters.not_stored };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(if stored { self.lookup(key) } else { None })
    }

    /// Makes a key stand for an object that was found by another, as an entry of its own: a hard
    /// link. Faults are told by nothing but a miss.
    fn adopt(&self, key: &Key, hit: &Hit) -> Option<Hit> {
        if hit.record.entry == *key {
            // The entry was this key's, and only the record of that was lost.
            let _ = self.write_record(key, &hit.record);
            return None;
        }
        let record = hit.record.with_entry(key);
        files::link_and_rename(
            &self.directory,
            hit.entry.path(),
            &self.entry_path(key),
            &hit.object,
        )
        .and_then(|()| self.write_record(key, &record))
        .ok()?;
        self.lookup(key)
    }

    /// Makes a key refer to the entry of another.
    fn refer(&self, key: &Key, record: &Record) {
        let known = read_file(&self.record_path(key))
            .is_some_and(|(_, bytes)| Record::parse(key, &bytes).as_ref() == Some(record));
        if !known {
            // A record that is not there is a miss.
            let _ = self.write_record(key, record);
        }
    }

    fn write_record(&self, key: &Key, record: &Record) -> std::io::Result<()> {
        let text = record.to_text(key);
        files::write_and_rename(&self.index, &self.record_path(key), text.as_bytes())
    }

    /// Makes the directory, once; with LLVM's words where that fails.
    fn make_directory(&self) -> Result<()> {
        let mut made = self.made.lock();
        if *made {
            return Ok(());
        }
        let what = format!("can't create cache directory {}", self.directory.display());
        // For owner and group, as LLVM's `create_directories`.
        let mut builder = fs::DirBuilder::new();
        let made_it = builder.recursive(true).mode(0o770).create(&self.directory);
        made_it.map_err(|e| Error::io(what, &e))?;
        // Without it nothing is found again, and nothing else happens.
        let _ = fs::create_dir_all(&self.index);
        *made = true;
        Ok(())
    }

    /// Removes what the policy does not want to keep, if it is time to.
    pub fn prune(&self, policy: &Policy, files: &LinkFiles) -> Pruned {
        prune::prune(&self.directory, &self.index, policy, files)
    }

    /// Starts the search for one object.
    pub fn search(&self) -> Search<'_> {
        Search::new(self)
    }

    /// What has happened so far.
    pub fn statistics(&self) -> Statistics {
        let counts = |of: &[AtomicUsize; LEVELS]| {
            let mut counts = [0; LEVELS];
            for (count, counter) in counts.iter_mut().zip(of) {
                *count = counter.load(Ordering::Relaxed);
            }
            counts
        };
        Statistics {
            hits: counts(&self.counters.hits),
            misses: counts(&self.counters.misses),
            stored: self.counters.stored.load(Ordering::Relaxed),
            not_stored: self.counters.not_stored.load(Ordering::Relaxed),
        }
    }

    fn count(&self, level: Level, hit: bool) {
        let counters = if hit { &self.counters.hits } else { &self.counters.misses };
        if let Some(counter) = counters.get(level as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Does not wait for the writer of a pipe that somebody put there.
fn open_to_read(path: &Path) -> std::io::Result<File> {
    File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

/// A regular file with its bytes; None for whatever is none or cannot be read.
fn read_file(path: &Path) -> Option<(File, FileBytes)> {
    let file = open_to_read(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let bytes = FileBytes::from_fd(file.as_raw_fd(), 0, None).ok()?;
    Some((file, bytes))
}

/// A file of `length` bytes that may be an object, in memory: what is mapped, another process could
/// change after its checksum was compared.
fn read_object(path: &Path, length: u64) -> Option<(File, Vec<u8>)> {
    let mut file = open_to_read(path).ok()?;
    let found = file.metadata().ok()?;
    if !found.is_file() || found.len() != length {
        return None;
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(length).ok()?).ok()?;
    (&mut file).take(length).read_to_end(&mut bytes).ok()?;
    Some((file, bytes))
}

#[cfg(test)]
mod tests;
