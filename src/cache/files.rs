//! Files that are whole or not there.
//!
//! In: bytes, or a file that has them, and where they go. Out: a file under that name at once, or
//! an error and nothing left behind.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A file of the cache whose bytes were found to be an object's.
#[derive(Clone, Debug)]
pub struct Entry {
    path: PathBuf,
}

impl Entry {
    /// The entry at `path`.
    pub(super) fn at(path: PathBuf) -> Self {
        Entry { path }
    }

    /// Where it was: for a hard link.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Tells the temporary files of this process apart.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A name for a temporary file, as LLVM has them: pruning finds what a killed link left. Another
/// host may share the directory and have a process of our number, so the caller must not take a
/// name that exists.
fn temporary(directory: &Path) -> PathBuf {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    directory.join(format!("Thin-{:x}-{number:x}.tmp.o", std::process::id()))
}

/// Makes a temporary file by `make`, which fails where the name exists, and renames it.
fn make_and_rename(
    directory: &Path,
    target: &Path,
    mut make: impl FnMut(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let mut made = Err(io::Error::from(io::ErrorKind::AlreadyExists));
    for _ in 0..100 {
        let path = temporary(directory);
        made = match make(&path) {
            Ok(()) => {
                let renamed = fs::rename(&path, target);
                // Where both names are links of one file already, rename leaves them both.
                let _ = fs::remove_file(&path);
                return renamed;
            }
            Err(error) => Err(error),
        };
        if made.as_ref().is_err_and(|e| e.kind() != io::ErrorKind::AlreadyExists) {
            break;
        }
    }
    made
}

/// Writes `bytes` to `target` by way of a temporary file in `directory` of the same file system.
pub(super) fn write_and_rename(directory: &Path, target: &Path, bytes: &[u8]) -> io::Result<()> {
    make_and_rename(directory, target, |path| write_new(path, bytes))
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes).inspect_err(|_| {
        // The disk may be full: what was written must not stay.
        let _ = fs::remove_file(path);
    })
}

/// Gives `target` the file `source`, whose bytes were `bytes`, as a hard link; where that cannot be,
/// or they are others by now, as a copy.
pub(super) fn link_and_rename(
    directory: &Path,
    source: &Path,
    target: &Path,
    bytes: &[u8],
) -> io::Result<()> {
    make_and_rename(directory, target, |path| match fs::hard_link(source, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => write_new(path, bytes),
        // Somebody may have written to it since the bytes were read.
        Ok(()) if !has_bytes(path, bytes) => {
            fs::remove_file(path)?;
            write_new(path, bytes)
        }
        linked => linked,
    })
}

fn has_bytes(path: &Path, bytes: &[u8]) -> bool {
    super::read_object(path, bytes.len() as u64).is_some_and(|(_, there)| there == bytes)
}

/// Gives `target` the bytes of an object: a hard link of the cache's `entry` where there is one and
/// the file systems allow it, else a copy. What was at `target` is replaced, not written into: it
/// may be a link of another entry.
///
/// # Errors
/// What the system says of the last try, which is to write the bytes.
pub fn link_or_write(entry: Option<&Entry>, bytes: &[u8], target: &Path) -> io::Result<()> {
    let parent = target.parent().filter(|folder| !folder.as_os_str().is_empty());
    let directory = parent.unwrap_or(Path::new("."));
    match entry {
        Some(entry) => link_and_rename(directory, &entry.path, target, bytes),
        None => write_and_rename(directory, target, bytes),
    }
}
