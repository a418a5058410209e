//! Pruning: which entries go, and when it is time to look.
//!
//! In: the directory, a [`Policy`]. Out: fewer files. The rules are those of `pruneCache` in LLVM's
//! CachePruning.cpp, since linkers with LLVM inside prune the same directory: only files that are
//! named as entries are looked at, those go first that were not used for longest.
//!
//! Two names may be hard links of one file here; its bytes count once, and are free when the
//! last of the names in the directory is gone. Records whose entry is gone go with it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::record::Record;
use super::{Key, Policy, notes, read_file};

/// The objects of the link that prunes, for the warning that they do not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkFiles {
    /// How many.
    pub count: u64,
    /// Bytes of all of them.
    pub bytes: u64,
}

/// What pruning did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Whether it was time to look.
    pub looked: bool,
    /// How many entries went.
    pub removed: usize,
    /// LLVM's warnings, for the user.
    pub warnings: Vec<String>,
}

/// An entry, in the order of going: longest unused, then largest, then by name.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    accessed: SystemTime,
    size: std::cmp::Reverse<u64>,
    path: PathBuf,
    /// Device and inode.
    file: (u64, u64),
}

pub(super) fn prune(directory: &Path, index: &Path, policy: &Policy, files: &LinkFiles) -> Pruned {
    let mut pruned = Pruned::default();
    if !directory.is_dir()
        || (policy.expiration.is_zero()
            && policy.max_size_percentage_of_available_space == 0
            && policy.max_size_bytes == 0
            && policy.max_size_files == 0)
        || !is_time(&directory.join("llvmcache.timestamp"), policy)
    {
        return pruned;
    }
    pruned.looked = true;
    let mut entries = Entries::read(directory, policy);
    if policy.max_size_files != 0 {
        if files.count > policy.max_size_files {
            pruned.warnings.push(format!(
                "ThinLTO cache pruning happens since the number of created files ({}) exceeds the \
                 maximum number of files ({}); consider adjusting --thinlto-cache-policy",
                files.count, policy.max_size_files
            ));
        }
        while entries.by_age.len() as u64 > policy.max_size_files && entries.remove_first() {}
    }
    if let Some(target) = entries.target(directory, policy) {
        if files.bytes > target {
            pruned.warnings.push(format!(
                "ThinLTO cache pruning happens since the total size of the cache files consumed by \
                 the current link job ({}  bytes) exceeds maximum cache size ({target} bytes); \
                 consider adjusting --thinlto-cache-policy",
                files.bytes
            ));
        }
        while entries.total > target && entries.remove_first() {}
    }
    pruned.removed = entries.removed;
    remove_records(directory, index);
    pruned
}

/// Whether the last pruning was long enough ago; if so, the timestamp says that it is now.
fn is_time(timestamp: &Path, policy: &Policy) -> bool {
    match fs::metadata(timestamp) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(_) => return false,
        Ok(metadata) => {
            let Some(interval) = policy.interval else { return false };
            if !interval.is_zero() && metadata.modified().is_ok_and(|time| age(time) <= interval) {
                return false;
            }
        }
    }
    // Two processes may come here at once; then both look, and no harm is done.
    if let Ok(file) = File::create(timestamp) {
        let _ = file.set_modified(SystemTime::now());
    }
    true
}

/// How long ago; what lies in the future is now.
fn age(time: SystemTime) -> Duration {
    SystemTime::now().duration_since(time).unwrap_or_default()
}

struct Entries {
    by_age: BTreeSet<Entry>,
    /// How many names each file has among the entries.
    names: HashMap<(u64, u64), usize>,
    /// Bytes of all files.
    total: u64,
    removed: usize,
}

impl Entries {
    /// Reads the directory, and removes what has expired.
    fn read(directory: &Path, policy: &Policy) -> Self {
        let mut entries =
            Entries { by_age: BTreeSet::new(), names: HashMap::new(), total: 0, removed: 0 };
        for item in fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = item.file_name();
            let name = name.as_bytes();
            // The user may have named the wrong directory: nothing else is touched.
            if !name.starts_with(b"llvmcache-") && !name.starts_with(b"Thin-") {
                continue;
            }
            // Another process may have removed it.
            let Ok(metadata) = fs::metadata(item.path()) else { continue };
            let Ok(accessed) = metadata.accessed() else { continue };
            if !policy.expiration.is_zero() && age(accessed) > policy.expiration {
                entries.removed += usize::from(fs::remove_file(item.path()).is_ok());
                continue;
            }
            entries.add(item.path(), &metadata, accessed);
        }
        entries
    }

    fn add(&mut self, path: PathBuf, metadata: &Metadata, accessed: SystemTime) {
        let file = (metadata.dev(), metadata.ino());
        let size = metadata.len();
        let names = self.names.entry(file).or_default();
        *names += 1;
        if *names == 1 {
            self.total += size;
        }
        self.by_age.insert(Entry { accessed, size: std::cmp::Reverse(size), path, file });
    }

    /// Removes the entry that was not used for longest. False where there is none.
    fn remove_first(&mut self) -> bool {
        let Some(entry) = self.by_age.pop_first() else { return false };
        // Where it cannot be removed it counts as if it were, as in LLVM: others do not go for it.
        self.removed += usize::from(fs::remove_file(&entry.path).is_ok());
        if let Some(names) = self.names.get_mut(&entry.file) {
            *names -= 1;
            if *names == 0 {
                self.total -= entry.size.0;
            }
        }
        true
    }

    /// How many bytes may stay; None where there is no limit or the system does not say.
    fn target(&self, directory: &Path, policy: &Policy) -> Option<u64> {
        let percentage = u64::from(policy.max_size_percentage_of_available_space.min(100));
        if percentage == 0 && policy.max_size_bytes == 0 {
            return None;
        }
        let space = rustix::fs::statvfs(directory).ok()?;
        let available = space.f_bfree.saturating_mul(space.f_frsize).saturating_add(self.total);
        let percentage = if percentage == 0 { 100 } else { percentage };
        let share = u128::from(available) * u128::from(percentage) / 100;
        let share = u64::try_from(share).unwrap_or(u64::MAX);
        Some(match policy.max_size_bytes {
            0 => share,
            most => share.min(most),
        })
    }
}

/// Removes records whose entry is gone, and what a killed link left among them.
fn remove_records(directory: &Path, index: &Path) {
    let entries: HashSet<OsString> =
        fs::read_dir(directory).into_iter().flatten().flatten().map(|e| e.file_name()).collect();
    let is_there = |r: Record| entries.contains(OsStr::new(&format!("llvmcache-{}", r.entry)));
    for item in fs::read_dir(index).into_iter().flatten().flatten() {
        let path = item.path();
        let name = item.file_name();
        let younger_than =
            |limit| item.metadata().and_then(|m| m.modified()).is_ok_and(|time| age(time) < limit);
        let stays = match name.to_str().and_then(Key::parse) {
            Some(key) if notes::is_note(&path, &key) => younger_than(notes::KEPT_FOR),
            Some(key) => read_file(&path)
                .and_then(|(_, text)| Record::parse(&key, &text))
                .is_some_and(is_there),
            // A temporary file is old after an hour.
            None => younger_than(Duration::from_secs(3600)),
        };
        if !stays {
            let _ = fs::remove_file(&path);
        }
    }
}
